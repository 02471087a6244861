"""The stores against the contract: local files, S3 by a real server."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.artifacts.stores.s3 import S3ArtifactStore
from windsock.provider.component import ComponentContext
from windsock.provider.errors import StoreUnavailable
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.settings import Settings
from windsock.provider.testing.artifacts import ArtifactStoreContract


def context(home: Path, **connections: str) -> ComponentContext:
    environ = {f"AIRFLOW_CONN_{name.upper()}": value for name, value in connections.items()}
    settings = Settings.load(environ={"WINDSOCK_HOME": str(home)})
    return ComponentContext(settings=settings, credentials=EnvironmentCredentials(environ))


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


S3_CONNECTION = (
    '{{"conn_type": "aws", "login": "key", "password": "secret", "extra": {{"endpoint_url": "{url}", '
    '"region_name": "us-east-1", "config_kwargs": {{"s3": {{"addressing_style": "path"}}}}}}}}'
)


class TestS3Store(ArtifactStoreContract):
    @pytest.fixture
    def make(self, moto_server, tmp_path):
        def make(bucket: str, url: str = moto_server) -> S3ArtifactStore:
            options = {"bucket": bucket, "prefix": "team/artifacts", "connection": "aws_ml"}
            return S3ArtifactStore.from_mapping(options, context(tmp_path, aws_ml=S3_CONNECTION.format(url=url)))

        return make

    @pytest.fixture
    def store(self, make, tmp_path):
        store = make(f"bucket-{os.path.basename(tmp_path).replace('_', '-')[-30:].strip('-').lower()}")
        bucket = store.config.bucket
        if store.filesystem.exists(bucket):
            store.filesystem.rm(bucket, recursive=True)
        else:
            store.filesystem.call_s3("create_bucket", Bucket=bucket)
        return store

    @pytest.fixture
    def broken_store(self, make):
        return make("bucket-that-is-gone")

    def test_its_root_names_bucket_and_prefix(self, store):
        assert store.root == f"s3://{store.config.bucket}/team/artifacts"

    def test_a_gone_bucket_says_which(self, broken_store):
        with pytest.raises(StoreUnavailable, match="bucket 'bucket-that-is-gone' does not exist"):
            save([1], broken_store)

    def test_a_dead_endpoint_says_which_connection(self, make):
        with pytest.raises(StoreUnavailable, match="endpoint") as caught:
            save([1], make("bucket", url="http://127.0.0.1:9"))
        assert "aws_ml" in caught.value.hint
        assert "Traceback" not in str(caught.value)

    def test_it_works_in_a_forked_process(self, store):
        ref = self.reference(save({"a": 1}, store))
        child = os.fork()
        if child == 0:
            os._exit(0 if load(ref, store) == {"a": 1} and save("x", store) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
