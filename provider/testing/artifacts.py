"""What every artifact store must do: subclass :class:`ArtifactStoreContract` in the tests of yours.

::

    class TestAcmeStore(ArtifactStoreContract):
        @pytest.fixture
        def store(self, server): return AcmeStore(AcmeStore.Config(url=server.url), context)

        @pytest.fixture
        def broken_store(self, server): return AcmeStore(AcmeStore.Config(url=server.url, bucket="gone"), context)

Run it against a real server or a faithful emulator: a mock has no races.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from ..artifacts.digests import digest_bytes
from ..artifacts.saving import available, load, save
from ..artifacts.store import ArtifactStore, object_key
from ..errors import ArtifactCorrupted, ArtifactNotFound, StoreUnavailable

if TYPE_CHECKING:
    from pathlib import Path

    from ..artifacts.saving import StoredArtifact


class ArtifactStoreContract:
    """The behaviour that saving, caching and serving rely on. Override ``store`` and ``broken_store``."""

    @pytest.fixture
    def store(self) -> ArtifactStore:
        """An empty store, ready for use."""
        raise NotImplementedError("Override the fixture `store`.")

    @pytest.fixture
    def broken_store(self) -> ArtifactStore:
        """A store whose bucket or folder cannot be used."""
        raise NotImplementedError("Override the fixture `broken_store`.")

    @staticmethod
    def reference(stored: StoredArtifact) -> dict[str, Any]:
        return {"uri": stored.uri, "digest": stored.digest, "type": stored.type}

    # ------------------------------------------------------------------ keys

    def test_what_was_written_is_read(self, store: ArtifactStore) -> None:
        data = os.urandom(100_000)
        uri = store.put_bytes("some/key.bin", data)
        assert uri == f"{store.root}/some/key.bin"
        assert (store.get_bytes(uri), store.size(uri), store.exists(uri)) == (data, len(data), True)
        with store.open(uri) as file:
            assert file.read(10) + file.read() == data

    def test_a_key_accepts_its_uri_and_the_other_way_round(self, store: ArtifactStore) -> None:
        store.put_bytes("a/b", b"1")
        assert store.get_bytes("a/b") == store.get_bytes(f"{store.root}/a/b") == b"1"

    def test_a_missing_key_is_not_found(self, store: ArtifactStore) -> None:
        assert not store.exists("objects/none")
        for ask in (store.get_bytes, store.size):
            with pytest.raises(ArtifactNotFound, match="objects/none"):
                ask("objects/none")
        with pytest.raises(ArtifactNotFound), store.open("objects/none") as file:
            file.read()

    def test_a_prefix_is_no_key(self, store: ArtifactStore) -> None:
        store.put_bytes("folder/leaf", b"1")
        assert not store.exists("folder")

    def test_a_second_write_is_refused_and_changes_nothing(self, store: ArtifactStore) -> None:
        store.put_bytes("claim", b"first")
        with pytest.raises(FileExistsError):
            store.put_bytes("claim", b"second")
        assert store.get_bytes("claim") == b"first"
        store.put_bytes("claim", b"third", overwrite=True)
        assert store.get_bytes("claim") == b"third"

    def test_of_racing_writers_one_wins(self, store: ArtifactStore) -> None:
        def claim(n: int) -> bool:
            return store.write("race", str(n).encode())

        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(claim, range(16)))
        assert sum(won) == 1
        assert store.get_bytes("race") == str(won.index(True)).encode()

    def test_lists_by_prefix(self, store: ArtifactStore) -> None:
        for key in ("p/a/1", "p/a/2", "p/ab/3", "q/4"):
            store.put_bytes(key, b"x")
        assert sorted(store.list("p/a/")) == [f"{store.root}/p/a/1", f"{store.root}/p/a/2"]
        assert len(list(store.list("p/a"))) == 3
        assert list(store.list("nothing/")) == []

    def test_deletes_once_and_twice(self, store: ArtifactStore) -> None:
        store.put_bytes("gone", b"x")
        store.delete("gone")
        store.delete("gone")
        assert not store.exists("gone")

    def test_a_key_stays_inside(self, store: ArtifactStore) -> None:
        for key in ("../outside", "/etc/passwd", "s3://other-bucket/key", "a/../../b"):
            with pytest.raises(ArtifactNotFound):
                store.get_bytes(key)

    # ------------------------------------------------------------------ commits

    def test_commit_is_idempotent(self, store: ArtifactStore, tmp_path: Path) -> None:
        file = tmp_path / "blob"
        file.write_bytes(b"content")
        key = object_key(digest_bytes(b"content"), ".bin")
        assert store.commit(file, key) == store.commit(file, key) == store.uri_of(key)
        assert file.read_bytes() == b"content", "the source belongs to the caller"
        file.write_bytes(b"changed")
        assert store.get_bytes(key) == b"content", "a commit is a copy"

    def test_a_torn_blob_is_repaired(self, store: ArtifactStore, tmp_path: Path) -> None:
        file = tmp_path / "blob"
        file.write_bytes(b"content")
        key = object_key(digest_bytes(b"content"))
        store.put_bytes(key, b"con")
        store.commit(file, key)
        assert store.get_bytes(key) == b"content"

    def test_a_folder_appears_with_its_manifest(self, store: ArtifactStore, tmp_path: Path) -> None:
        folder = tmp_path / "folder"
        (folder / "deep").mkdir(parents=True)
        (folder / "a.txt").write_text("a")
        (folder / "deep" / "b.txt").write_text("bb")
        stored = save(folder, store)
        ref = self.reference(stored)
        loaded = load(ref, store)
        assert sorted(p.relative_to(loaded).as_posix() for p in loaded.rglob("*.txt")) == ["a.txt", "deep/b.txt"]
        assert (loaded / "deep" / "b.txt").read_text() == "bb"
        assert (stored.size, store.size(stored.uri)) == (3, 3)
        assert save(folder, store).uri == stored.uri
        store.delete(stored.uri)
        assert not available(ref, store)
        assert list(store.list("objects/")) == []

    def test_a_small_and_a_big_value(self, store: ArtifactStore) -> None:
        for value in (b"", b"x", os.urandom(9 << 20)):
            stored = save(value, store)
            assert load(self.reference(stored), store) == value
            assert store.size(stored.uri) == stored.size == len(value)

    # ------------------------------------------------------------------ what goes wrong

    def test_a_vanished_blob(self, store: ArtifactStore) -> None:
        ref = self.reference(save([1, 2], store))
        assert available(ref, store)
        store.delete(ref["uri"])
        assert not available(ref, store)
        with pytest.raises(ArtifactNotFound, match="not in the artifact store"):
            load(ref, store)

    def test_a_corrupted_blob(self, store: ArtifactStore) -> None:
        for value in ([1, 2, 3], os.urandom(3 << 20)):
            ref = self.reference(save(value, store))
            data = bytearray(store.get_bytes(ref["uri"]))
            data[len(data) // 2] ^= 1
            store.write(store.key_of(ref["uri"]), bytes(data), overwrite=True)
            with pytest.raises(ArtifactCorrupted, match="not what was stored"):
                load(ref, store)

    def test_a_broken_store_says_so_in_one_paragraph(self, broken_store: ArtifactStore) -> None:
        for action in (
            lambda: save([1], broken_store),
            lambda: broken_store.exists("objects/x"),
            lambda: broken_store.get_bytes("objects/x"),
            lambda: list(broken_store.list("objects/")),
        ):
            with pytest.raises(StoreUnavailable) as caught:
                action()
            assert broken_store.root in str(caught.value)
            assert caught.value.hint
            assert len(str(caught.value).splitlines()) <= 2

    def test_check_tells_working_from_broken(self, store: ArtifactStore, broken_store: ArtifactStore) -> None:
        works = store.check()
        assert works.ok, works.detail
        assert not list(store.list("checks/"))
        broken = broken_store.check()
        assert not broken.ok
        assert broken.hint
