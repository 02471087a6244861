"""The store of local files against the contract."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from stores_lab import context
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.errors import StoreUnavailable
from windsock.provider.testing.artifacts import ArtifactStoreContract


class TestLocalStore(ArtifactStoreContract):
    @pytest.fixture
    def store(self, tmp_path):
        return LocalArtifactStore.from_mapping({}, context(tmp_path / "home"))

    @pytest.fixture
    def broken_store(self, tmp_path):
        (tmp_path / "file").write_text("in the way")
        return LocalArtifactStore.from_mapping({"path": str(tmp_path / "file" / "artifacts")}, context(tmp_path))

    def test_its_root_is_below_home_by_default(self, store, tmp_path):
        assert store.root == (tmp_path / "home" / "artifacts").as_uri()

    def test_blobs_are_read_only_files(self, store):
        path = store.local_path(save("text", store).uri)
        assert not path.stat().st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH)

    def test_nothing_temporary_stays(self, store, tmp_path):
        folder = tmp_path / "data"
        folder.mkdir()
        (folder / "x").write_text("x")
        save("text", store)
        save(folder, store)
        staging = store.local_path("objects").parent / ".staging"
        assert list(staging.iterdir()) == []

    def test_what_killed_writers_left_is_swept_after_a_day(self, store, tmp_path):
        save("text", store)
        staging = store.local_path("objects").parent / ".staging"
        (staging / "old").write_text("half")
        (staging / "new").write_text("being written")
        os.utime(staging / "old", (0, 0))
        save("other", LocalArtifactStore.from_mapping({}, context(tmp_path / "home")))
        assert [p.name for p in staging.iterdir()] == ["new"]

    def test_with_fsync_it_does_the_same(self, tmp_path):
        store = LocalArtifactStore.from_mapping({"path": str(tmp_path / "a"), "fsync": True}, context(tmp_path))
        assert load(self.reference(save({"a": 1}, store)), store) == {"a": 1}

    def test_without_hard_links_it_is_still_exclusive(self, store, monkeypatch):
        def no_links(*_, **__):
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(os, "link", no_links)
        self.test_of_racing_writers_one_wins(store)
        assert load(self.reference(save({"a": 1}, store)), store) == {"a": 1}
        assert [uri.rpartition("/")[2] for uri in store.list("race")] == ["race"]

    def test_a_full_disk_is_one_paragraph(self, store):
        full = Path("/dev/full")
        if not full.exists():
            pytest.skip("no /dev/full here")
        with pytest.raises(StoreUnavailable, match="No space left"), store._errors("writing"), full.open("wb") as file:
            file.write(b"x")
