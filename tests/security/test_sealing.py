"""The sealed file format: what goes in comes out, and nothing else opens."""

from __future__ import annotations

import io
import os
import random
import subprocess
import sys

import pytest
from windsock.provider.errors import ArtifactCorrupted
from windsock.provider.security import sealing
from windsock.provider.security.sealing import CHUNK, HEADER_SIZE, TAG, DataKey, SealedReader, plain_size, sealed_size

KEY = DataKey.new()
STRIDE = CHUNK + TAG


def seal(data: bytes, name: str = "objects/a") -> bytes:
    return sealing.seal(data, KEY, name)


def reader(sealed: bytes, name: str = "objects/a", secret: bytes = KEY.secret) -> SealedReader:
    return SealedReader(io.BytesIO(sealed), len(sealed), name=name, uri="s3://b/x", find_key=lambda _: secret)


def broken(sealed: bytes, match: str, **options) -> ArtifactCorrupted:
    with pytest.raises(ArtifactCorrupted, match=match) as caught:
        reader(sealed, **options).read()
    assert "s3://b/x is not what was stored" in str(caught.value)
    return caught.value


@pytest.fixture(scope="module")
def content():
    return random.Random(7).randbytes(3 * CHUNK + 1000)


class TestRoundTrip:
    @pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 3 * CHUNK + 5])
    def test_any_size(self, content, size):
        sealed = seal(content[:size])
        assert (len(sealed), plain_size(len(sealed))) == (sealed_size(size), size)
        assert reader(sealed).read() == content[:size]
        memory = memoryview(bytearray(size))
        parts = []
        reader(sealed).pour(memory, lambda part: parts.append(len(part)))
        assert bytes(memory) == content[:size]
        assert sum(parts) == size

    def test_it_is_read_from_anywhere(self, content):
        file, rng = reader(seal(content)), random.Random(1)
        for _ in range(300):
            start, length = rng.randrange(len(content)), rng.choice([1, 10, 5000, CHUNK, 2 * CHUNK + 7])
            file.seek(start)
            assert file.read(length) == content[start : start + length]
        assert (file.seek(-10, io.SEEK_END), file.read(), file.tell()) == (
            len(content) - 10,
            content[-10:],
            len(content),
        )

    def test_a_size_that_no_sealed_file_has(self):
        assert [plain_size(n) for n in (0, HEADER_SIZE, HEADER_SIZE + TAG - 1)] == [None, None, None]
        assert plain_size(HEADER_SIZE + STRIDE + TAG) is None, "a last chunk is never empty"

    def test_the_same_content_looks_different_each_time(self):
        first, second = seal(b"the same"), seal(b"the same")
        assert first[HEADER_SIZE:] != second[HEADER_SIZE:]
        assert b"the same" not in first

    def test_without_the_newest_cryptography(self, content, monkeypatch):
        """``cryptography`` before 48 cannot write into given memory: both ways are one format."""
        sealed = seal(content)
        monkeypatch.setattr(sealing, "hasattr", lambda obj, name: False, raising=False)
        assert reader(sealed).read() == content
        old = seal(content)
        monkeypatch.undo()
        assert reader(old).read() == content

    def test_memory_stays_flat(self, tmp_path):
        """Sealing and reading 160 MB in a process that may have little more than Python itself."""
        program = f"""
import resource, sys
from pathlib import Path
from windsock.provider.security.sealing import CHUNK, DataKey, SealedReader
from windsock.provider.artifacts.sealed_files import SealingFile
def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
path, key, piece = Path({str(tmp_path / "sealed")!r}), DataKey.new(), bytes(1 << 20)
def write(pieces):
    with SealingFile(path, key, lambda digest: "name") as file:
        for _ in range(pieces): file.write(piece)
def read():
    raw, size = path.open("rb", buffering=0), path.stat().st_size
    file = SealedReader(raw, size, name="name", uri="u", find_key=lambda _: key.secret)
    total, buffer = 0, bytearray(1 << 20)
    while count := file.readinto(buffer): total += count
    return total
write(2); read(); before = peak()
write(160); assert read() == 160 << 20
print(peak() - before)
"""
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert int(done.stdout) < 80 << 10, "kilobytes: the digest may run 64 MB behind"


class TestWhatWasChangedDoesNotOpen:
    def test_one_bit_anywhere(self, content):
        sealed = seal(content)
        rng = random.Random(3)
        places = [
            8,
            30,
            70,
            HEADER_SIZE + STRIDE + 5,
            len(sealed) - 1,
            *(rng.randrange(len(sealed)) for _ in range(30)),
        ]
        for place in places:
            changed = bytearray(sealed)
            changed[place] ^= 1 << rng.randrange(8)
            with pytest.raises(ArtifactCorrupted):
                reader(bytes(changed)).read()

    def test_a_changed_chunk_is_named_and_the_others_can_be_read(self, content):
        sealed = bytearray(seal(content))
        sealed[HEADER_SIZE + STRIDE + 100] ^= 1
        assert broken(bytes(sealed), "chunk 1 does not open: it was changed").chunk == 1
        file = reader(bytes(sealed))
        assert file.read(CHUNK) == content[:CHUNK]
        file.seek(2 * CHUNK)
        assert file.read() == content[2 * CHUNK :]

    @pytest.mark.parametrize(
        "cut", [0, 10, HEADER_SIZE, HEADER_SIZE + 5, HEADER_SIZE + STRIDE, HEADER_SIZE + 3 * STRIDE]
    )
    def test_a_file_cut_off(self, content, cut):
        broken(seal(content)[:cut], "it is cut off")

    def test_a_file_cut_within_a_chunk(self, content):
        for cut in (HEADER_SIZE + STRIDE + 500, len(seal(content)) - 1):
            broken(seal(content)[:cut], "does not open")

    def test_an_empty_file_cut_to_less(self):
        broken(seal(b"")[:-1], "cut off")

    def test_a_file_that_pretends_to_be_empty(self, content):
        broken(seal(content)[: HEADER_SIZE + TAG], "does not open")

    def test_something_appended(self, content):
        with pytest.raises(ArtifactCorrupted):
            reader(seal(content) + bytes(100)).read()

    def test_chunks_in_another_order(self, content):
        sealed = seal(content)
        chunks = [sealed[HEADER_SIZE + i * STRIDE : HEADER_SIZE + (i + 1) * STRIDE] for i in range(4)]
        broken(b"".join([sealed[:HEADER_SIZE], chunks[1], chunks[0], *chunks[2:]]), "chunk 0 does not open")
        broken(b"".join([sealed[:HEADER_SIZE], chunks[0], chunks[0], *chunks[2:]]), "chunk 1 does not open")
        broken(b"".join([sealed[:HEADER_SIZE], *chunks[:2], chunks[3]]), "does not open")

    def test_chunks_of_another_file(self, content):
        one, two = seal(content), seal(bytes(len(content)))
        at = HEADER_SIZE + STRIDE
        broken(one[:at] + two[at : at + STRIDE] + one[at + STRIDE :], "chunk 1 does not open")

    def test_the_whole_of_another_file(self):
        broken(seal(b"approved: no", "results/1"), "another object's", name="results/2")

    def test_another_key(self, content):
        broken(seal(content), "chunk 0 does not open", secret=os.urandom(32))

    def test_a_format_of_the_future(self, content):
        sealed = seal(content)
        with pytest.raises(ArtifactCorrupted, match="format that this version does not know"):
            reader(sealed[:7] + b"\x02" + sealed[8:])


def test_a_data_key_does_not_show_itself():
    assert KEY.secret.hex() not in repr(KEY)
    assert repr(KEY.secret) not in repr(KEY)
    assert KEY.id.hex() in repr(KEY)
