"""The cache of remote blobs on this machine: what it saves, what it never does, and how it stays small."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest
from stores_lab import s3_store
from windsock.provider.artifacts.cache import BlobCache
from windsock.provider.artifacts.digests import digest_bytes
from windsock.provider.artifacts.handle import Artifact
from windsock.provider.artifacts.saving import load, localized, save
from windsock.provider.errors import ArtifactCorrupted, ArtifactNotFound, SettingInvalid
from windsock.provider.settings import Settings


@pytest.fixture
def store(moto_server, tmp_path):
    return s3_store(tmp_path / "home", moto_server)


def saved(value, store):
    stored = save(value, store)
    return {"uri": stored.uri, "digest": stored.digest, "type": stored.type}


def entries(folder):
    return sorted(path.name for path in folder.glob("??/*"))


class TestReading:
    def test_the_second_load_asks_nobody(self, store, monkeypatch):
        ref = saved(np.arange(1000.0), store)
        first = load(ref, store)
        monkeypatch.setattr(store, "read", None)
        assert (load(ref, store) == first).all()
        assert (Artifact.bind(ref, store).open() == first).all()

    def test_a_folder_comes_file_by_file(self, store, tmp_path, monkeypatch):
        folder = tmp_path / "folder"
        (folder / "deep").mkdir(parents=True)
        for n in range(20):
            (folder / "deep" / f"{n}.txt").write_text(f"{n}")
        ref = saved(folder, store)
        load(ref, store)
        (folder / "deep" / "new.txt").write_text("new")
        changed = saved(folder, store)
        asked = []
        read = store.read
        monkeypatch.setattr(store, "read", lambda key: asked.append(key) or read(key))
        loaded = load(changed, store)
        assert sorted(key.rpartition("/")[2] for key in asked if not key.endswith(".tree")) == ["new.txt"]
        assert {path.name for path in (loaded / "deep").iterdir()} == {f"{n}.txt" for n in range(20)} | {"new.txt"}

    def test_another_store_with_the_same_content_shares_it(self, store, moto_server, tmp_path, monkeypatch):
        other = s3_store(tmp_path / "home", moto_server)
        load(saved({"a": 1}, store), store)
        ref = saved({"a": 1}, other)
        monkeypatch.setattr(other, "read", None)
        assert load(ref, other) == {"a": 1}

    def test_what_was_damaged_is_fetched_again(self, store):
        ref = saved("the truth", store)
        load(ref, store)
        (entry,) = store.cache.folder.glob("??/*")
        entry.chmod(0o600)
        entry.write_text("a lie....")
        assert load(ref, store) == "the truth"
        assert digest_bytes(next(store.cache.folder.glob("??/*")).read_bytes()) == ref["digest"]

    def test_what_is_damaged_in_the_store_never_gets_in(self, store):
        ref = saved("the truth", store)
        store.write(store.key_of(ref["uri"]), b"a lie", overwrite=True)
        with pytest.raises(ArtifactCorrupted):
            load(ref, store)
        assert entries(store.cache.folder) == []

    def test_asking_the_store_itself_is_possible(self, store):
        ref = saved("here today", store)
        load(ref, store)
        store.delete(ref["uri"])
        assert load(ref, store) == "here today"
        with pytest.raises(ArtifactNotFound), localized(ref, store, cached=False):
            pass

    def test_copies_are_read_only_and_leave_nothing_behind(self, store):
        ref = saved("text", store)
        with localized(ref, store) as path:
            assert not path.stat().st_mode & 0o222
        assert [entry.name for entry in store.cache.folder.iterdir() if entry.name.startswith("windsock")] == []


class TestKeepingItSmall:
    def add(self, cache, folder, content):
        path = folder / "new"
        path.write_bytes(content)
        cache.add(digest_bytes(content), path)
        path.unlink(missing_ok=True)
        return digest_bytes(content)

    def test_the_least_recently_used_go(self, tmp_path):
        cache = BlobCache(tmp_path / "cache", 100_000)
        assert cache.ready()
        digests = []
        for n in range(9):
            digests.append(self.add(cache, tmp_path, bytes([n]) * 10_000))
            entry = cache._entry(digests[-1])
            os.utime(entry, (n, entry.stat().st_mtime))
        assert cache.link(digests[0], tmp_path / "used")
        digests += [self.add(cache, tmp_path, bytes([n]) * 10_000) for n in range(9, 12)]
        held = [digest for digest in digests if cache._entry(digest).exists()]
        assert digests[0] in held
        assert digests[1] not in held
        assert set(digests[-3:]) <= set(held)
        assert sum(path.stat().st_size for path in cache.folder.glob("??/*")) <= 100_000

    def test_one_too_big_for_it_is_not_kept(self, tmp_path):
        cache = BlobCache(tmp_path / "cache", 1000)
        assert cache.ready()
        digest = self.add(cache, tmp_path, bytes(2000))
        assert not cache.link(digest, tmp_path / "out")

    def test_what_is_in_use_survives_its_removal(self, store):
        ref = saved("text" * 1000, store)
        path = Artifact.bind(ref, store).path()
        for entry in store.cache.folder.glob("??/*"):
            entry.unlink()
        assert path.stat().st_size == 4000

    def test_another_disk_is_copied_to(self, tmp_path, monkeypatch):
        def other_disk(*_):
            raise OSError(18, "Invalid cross-device link")

        monkeypatch.setattr(os, "link", other_disk)
        cache = BlobCache(tmp_path / "cache", 1 << 20)
        assert cache.ready()
        digest = self.add(cache, tmp_path, b"content")
        assert cache.link(digest, tmp_path / "out")
        assert (tmp_path / "out").read_bytes() == b"content"
        assert len(entries(cache.folder)) == 1

    def test_processes_share_it(self, tmp_path):
        program = (
            "import sys, pathlib\n"
            "from windsock.provider.artifacts.cache import BlobCache\n"
            "from windsock.provider.artifacts.digests import digest_bytes\n"
            "folder, me = pathlib.Path(sys.argv[1]), sys.argv[2]\n"
            "cache = BlobCache(folder / 'cache', 200_000)\n"
            "assert cache.ready()\n"
            "for n in range(300):\n"
            "    content = b'%03d' % (n % 40) * 3000\n"
            "    mine = folder / f'{me}-{n}'\n"
            "    if not cache.link(digest_bytes(content), mine):\n"
            "        mine.write_bytes(content)\n"
            "        cache.add(digest_bytes(content), mine)\n"
            "    assert mine.read_bytes() == content\n"
            "    mine.unlink()\n"
        )
        processes = [subprocess.Popen([sys.executable, "-c", program, str(tmp_path), str(me)]) for me in range(3)]
        assert [process.wait(60) for process in processes] == [0, 0, 0]
        held = [path.read_bytes() for path in (tmp_path / "cache").glob("??/*")]
        assert 0 < sum(map(len, held)) <= 220_000
        assert all(
            digest_bytes(content).endswith(name)
            for content, name in zip(held, [p.name for p in (tmp_path / "cache").glob("??/*")], strict=True)
        )


class TestSettings:
    def test_nothing_is_kept_when_told_so(self, moto_server, tmp_path):
        store = s3_store(tmp_path / "home", moto_server, cache_size=0)
        load(saved("text", store), store)
        assert store.cache is None
        assert not (tmp_path / "home" / "cache").exists()

    def test_the_stack_file_says_how_much_and_where(self, moto_server, tmp_path):
        store = s3_store(tmp_path / "home", moto_server, cache_size="2 GiB", cache_folder=str(tmp_path / "nvme"))
        load(saved("text", store), store)
        assert (store.cache.limit, len(entries(tmp_path / "nvme"))) == (2 << 30, 1)

    @pytest.mark.parametrize(("text", "size"), [("0", 0), ("500", 500), ("1.5 GB", 1_500_000_000), ("2GiB", 2 << 30)])
    def test_sizes(self, text, size):
        assert Settings.load(environ={"WINDSOCK_ARTIFACT_CACHE_SIZE": text}).artifact_cache_size == size

    def test_no_size(self):
        with pytest.raises(SettingInvalid, match="artifact_cache_size is 'much'"):
            Settings.load(environ={"WINDSOCK_ARTIFACT_CACHE_SIZE": "much"})

    def test_a_folder_that_cannot_be_made_is_no_error(self, moto_server, tmp_path):
        (tmp_path / "file").write_text("in the way")
        store = s3_store(tmp_path / "home", moto_server, cache_folder=str(tmp_path / "file" / "cache"))
        assert load(saved("text", store), store) == "text"
