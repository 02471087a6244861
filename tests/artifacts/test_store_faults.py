"""Object stores behind a network that breaks: throttled, cut in the middle of a part, answers lost, conditions ignored.

A TCP proxy stands between the store and the real server, so what is broken is what breaks outside, too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from urllib.parse import urlsplit

import pytest
from proxy import Proxy, answering, cut_after, cut_at
from stores_lab import azure_store, gcs_store, s3_store
from windsock.provider.artifacts.digests import digest_bytes
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.store import object_key
from windsock.provider.artifacts.stores import claims
from windsock.provider.errors import StoreUnavailable

MIB = 1 << 20


class Line:
    """A store whose requests go through a proxy: ``store()`` makes another one on the same bucket."""

    def __init__(self, proxy, make):
        self.proxy = proxy
        self._make = make
        self._bucket = None
        self.requests: list[str] = []

    def store(self, **options):
        store = self._make(self._bucket, **{"part_size": 5 * MIB, **options})
        self._bucket = store.config.bucket
        return store

    def count(self, rule=None):
        """Note each request line, and do what ``rule`` does."""
        self.requests = []

        def counted(piece):
            if piece.upwards and piece.data.split(b" ", 1)[0] in (b"GET", b"HEAD", b"PUT", b"POST", b"DELETE"):
                self.requests.append(piece.data.split(b" HTTP/", 1)[0].decode())
            return piece.data if rule is None else rule(piece)

        self.proxy.rule = counted


@pytest.fixture(params=["s3", "gcs", "azure"])
def line(request, tmp_path):
    if request.param == "azure":
        connection = request.getfixturevalue("azurite_server")
        url = connection.partition("BlobEndpoint=")[2].rstrip(";")
    else:
        url = request.getfixturevalue("moto_server" if request.param == "s3" else "gcs_server")
    with Proxy("127.0.0.1", urlsplit(url).port) as proxy:
        through = url.replace(str(urlsplit(url).port), str(proxy.port))
        if request.param == "azure":
            through = connection.replace(url, through)
        stores = {"s3": s3_store, "gcs": gcs_store, "azure": azure_store}
        yield Line(proxy, lambda bucket, **options: stores[request.param](tmp_path, through, bucket, **options))


@pytest.fixture
def s3_line(moto_server, tmp_path):
    port = urlsplit(moto_server).port
    with Proxy("127.0.0.1", port) as proxy:
        through = moto_server.replace(str(port), str(proxy.port))
        yield Line(proxy, lambda bucket, **options: s3_store(tmp_path, through, bucket, **options))


@pytest.fixture
def big(tmp_path):
    """A file of three parts, and its key."""
    data = os.urandom(12 * MIB)
    (tmp_path / "big").write_bytes(data)
    return tmp_path / "big", object_key(digest_bytes(data), ".bin"), data


class TestPatience:
    @pytest.mark.parametrize(("status", "reason"), [(503, "Slow Down"), (429, "Too Many Requests")])
    def test_throttled_writes_and_reads_succeed(self, line, status, reason):
        store = line.store(concurrency=1)
        line.proxy.rule = answering(status, reason, times=2)
        ref = save({"a": 1}, store).__dict__
        line.proxy.rule = answering(status, reason, times=2)
        assert load(ref, store) == {"a": 1}

    def test_a_part_cut_in_its_middle_is_sent_again(self, line, big):
        path, key, data = big
        store = line.store()
        line.proxy.rule = cut_after(2 * MIB, upwards=True, times=2)
        assert store.get_bytes(store.commit(path, key)) == data

    def test_a_download_cut_in_its_middle_goes_on(self, line, big):
        path, key, data = big
        store = line.store()
        uri = store.commit(path, key)
        line.proxy.rule = cut_after(3 * MIB, upwards=False, times=2)
        assert store.get_bytes(uri) == data

    def test_a_write_whose_answer_is_lost_was_ours(self, line):
        store = line.store()
        marker = os.urandom(16).hex().encode()
        line.proxy.rule = cut_at(marker, pass_on=True)
        assert store.write("claim", b"owner " + marker), "the second try must know its own first one"
        assert not store.write("claim", b"owner " + marker), "and nobody else's, though it says the same"

    def test_an_outage_is_one_paragraph(self, line):
        store = line.store(retries=1)
        line.proxy.refuse()
        with pytest.raises(StoreUnavailable) as caught:
            save({"a": 1}, store)
        assert store.root in str(caught.value)
        assert "does not answer" in caught.value.hint
        line.proxy.accept()
        assert load(save({"a": 1}, store).__dict__, store) == {"a": 1}

    def test_a_check_does_not_wait(self, line):
        store = line.store(retries=20)
        line.proxy.refuse()
        assert not store.check().ok


class TestResuming:
    def interrupt(self, line, path, key, parts_before):
        """A writer whose connection is gone for good when it has sent so many parts."""
        writer = line.store(retries=0, concurrency=1)
        seen = []

        def rule(piece):
            if piece.upwards and any(mark in piece.data for mark in (b"partNumber=", b"comp=block&", b"uploadType=")):
                seen.append(piece.number)
            return None if len(seen) > parts_before else piece.data

        line.proxy.rule = rule
        with pytest.raises(StoreUnavailable):
            writer.commit(path, key)

    def sent(self, line):
        marks = ("partNumber=", "comp=block&", "uploadType=")
        return sum(1 for request in line.requests if any(mark in request for mark in marks))

    def test_the_next_writer_sends_what_is_missing(self, line, big):
        path, key, data = big
        self.interrupt(line, path, key, 2)
        reader = line.store()
        line.proxy.rule = lambda piece: piece.data
        assert not reader.exists(key), "what is half there is not there"
        line.count()
        store = line.store()
        assert store.get_bytes(store.commit(path, key)) == data
        assert self.sent(line) == 1, line.requests
        assert list(store.keys("")) == [key]

    def test_other_content_under_the_key_is_not_mixed(self, line, big, tmp_path):
        """As when two writers encrypt the same content, each with a key of its own."""
        path, key, data = big
        self.interrupt(line, path, key, 2)
        line.count()
        other = data[: 5 * MIB] + os.urandom(7 * MIB)
        (tmp_path / "other").write_bytes(other)
        store = line.store()
        assert store.write(key, tmp_path / "other")
        assert store.get_bytes(key) == other
        assert self.sent(line) == 2, "the part that they share is there"

    def test_what_nobody_goes_on_with_is_swept(self, line, big):
        path, key, _ = big
        self.interrupt(line, path, key, 2)
        line.count()
        store = line.store()
        azure = store.scheme == "abfs"  # the service sweeps by itself
        if store.scheme == "gs":  # moto's uploads are all of 2010
            assert store.sweep(3600) == 0, "it may still be going on"
        assert store.sweep(-3600) == {"s3": 1, "gs": 2, "abfs": 0}[store.scheme]
        store.commit(path, key)
        assert self.sent(line) == (1 if azure else 3)


class TestRequests:
    def test_a_folder_costs_one_request_a_file(self, line, tmp_path):
        store = line.store()
        folder = tmp_path / "folder"
        folder.mkdir()
        for n in range(40):
            (folder / f"{n}.bin").write_bytes(os.urandom(1000))
        line.count()
        stored = save(folder, store)
        assert len(line.requests) <= 2 + 40 + 1, "is it there, is the bucket, its files, its manifest"
        line.count()
        assert save(folder, store).uri == stored.uri
        assert len(line.requests) == 1
        line.count()
        load(stored.__dict__, store)
        assert len(line.requests) == 1 + 40
        line.count()
        load(stored.__dict__, store)
        assert len(line.requests) == 1, "its files are in the cache"

    def test_a_small_value_costs_one_each_way(self, line):
        store = line.store(cache_size=0)
        line.count()
        stored = save({"a": 1}, store)
        load(stored.__dict__, store)
        assert len(line.requests) == 2, line.requests

    @pytest.mark.parametrize("line", ["gcs", "azure"], indirect=True)  # moto's server closes every connection
    def test_connections_are_used_again(self, line, tmp_path):
        store = line.store(concurrency=4)
        folder = tmp_path / "folder"
        folder.mkdir()
        for n in range(60):
            (folder / f"{n}.bin").write_bytes(os.urandom(1000))
        line.count()
        before = line.proxy.connections
        save(folder, store)
        assert line.proxy.connections - before <= 5


class TestWithoutConditions:
    """A server that ignores ``If-None-Match``, as old Ceph and MinIO do."""

    @pytest.fixture
    def old(self, s3_line):
        ignored = b"X-None-Match: *"
        s3_line.count(
            lambda piece: piece.data.replace(b"If-None-Match: *", ignored).replace(b"if-none-match: *", ignored)
        )
        return s3_line

    def test_the_check_finds_out_and_says_what_to_do(self, old, monkeypatch):
        monkeypatch.setattr(claims, "SETTLE", 0.1)
        found = old.store().check()
        assert not found.ok
        assert "conditional_writes: false" in found.hint
        assert old.store(conditional_writes=False).check().ok

    def test_content_is_committed_as_ever(self, old, big):
        path, key, data = big
        store = old.store(conditional_writes=False)
        assert store.get_bytes(store.commit(path, key)) == data
        sent = len(old.requests)
        store.commit(path, key)
        assert len(old.requests) == sent + 1, "a look is enough"

    def test_of_racing_claims_one_wins(self, old, monkeypatch):
        monkeypatch.setattr(claims, "SETTLE", 0.7)
        store = old.store(conditional_writes=False)
        with ThreadPoolExecutor(8) as pool:
            won = list(pool.map(lambda n: store.write("claim", f"writer {n}".encode()), range(8)))
        assert sum(won) == 1
        assert store.get_bytes("claim") == f"writer {won.index(True)}".encode()
        assert not store.write("claim", b"late")
        assert list(store.keys("")) == ["claim"]


class TestMemory:
    def test_a_big_file_is_sent_in_bounded_memory(self, moto_server, tmp_path):
        program = (
            "import sys, pathlib\n"
            "from stores_lab import s3_store\n"
            "def peak():\n"
            "    lines = pathlib.Path('/proc/self/status').read_text().splitlines()\n"
            "    return next(int(line.split()[1]) for line in lines if line.startswith('VmHWM')) << 10\n"
            "store = s3_store(pathlib.Path(sys.argv[1]), sys.argv[2], part_size=5 << 20, concurrency=2)\n"
            "store.put_bytes('warm', b'x')\n"
            "pathlib.Path('/proc/self/clear_refs').write_text('5')\n"
            "before = peak()\n"
            "store.write('big', pathlib.Path(sys.argv[1]) / 'big')\n"
            "print(peak() - before)\n"
        )
        (tmp_path / "big").write_bytes(os.urandom(64 * MIB))
        run = [sys.executable, "-c", program, str(tmp_path), moto_server]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
        done = subprocess.run(run, capture_output=True, text=True, check=True, env=environment)
        assert int(done.stdout) < 48 * MIB
