"""Sealed files: AES-256-GCM in chunks, so that a file of any size is written, read and verified with flat memory.

The format, version 1::

    header      64 bytes: magic 8 · id of the data key 16 · salt 32 · bytes a chunk 4 · zero 4
    chunk 0…n   ciphertext of CHUNK bytes (the last: what is left, perhaps none), and its tag of 16 bytes

It is the STREAM construction (Hoang, Reyhanitabar, Rogaway, Vizár 2015): a chunk's nonce is its number and a byte that
says whether it is the last one, so chunks that were changed, swapped, repeated, cut off or appended do not open. Each
file has a key of its own (HKDF-SHA256 of the data key and the file's random salt), so nonces never meet another use of
their key, and one data key may serve all files of a folder. The header is authenticated with every chunk, the name of
the file with the last one: a sealed file put in the place of another does not open either.

What it does not hide: the size of the file, to the byte. What it does not know: where keys come from
(:mod:`.keys`), and that a file was replaced by an older one of the same name (the recorded digest knows).

AES-GCM in ``cryptography`` holds the GIL but runs at several times the speed of a disk; digests run beside it.
"""

from __future__ import annotations

import io
import os
import struct
from collections import OrderedDict, deque
from dataclasses import dataclass
from queue import SimpleQueue
from threading import Thread
from typing import TYPE_CHECKING, Any, BinaryIO

from ..errors import ArtifactCorrupted

if TYPE_CHECKING:
    from collections.abc import Callable

CHUNK = 256 << 10
TAG = 16
STRIDE = CHUNK + TAG
GROUP = 4
"""Chunks that are read and written at a time where all of a file passes by."""
MAGIC = b"\x93WSEAL\x00\x01"
_HEADER = struct.Struct(">8s16s32sI4x")
HEADER_SIZE = _HEADER.size
_INFO = b"windsock sealed file 1"
_AHEAD = 4
_HELD = 8
_END = object()


@dataclass(frozen=True)
class DataKey:
    """A random key that seals the files of one artifact. ``repr`` does not show it."""

    id: bytes
    secret: bytes

    @classmethod
    def new(cls) -> DataKey:
        return cls(os.urandom(16), os.urandom(32))

    def __repr__(self) -> str:
        return f"<DataKey {self.id.hex()}>"


def sealed_size(size: int) -> int:
    """Bytes of the sealed form of ``size`` bytes."""
    return HEADER_SIZE + size + TAG * max(1, -(-size // CHUNK))


def plain_size(sealed: int) -> int | None:
    """Bytes inside a sealed file of that size; None if no sealed file has that size."""
    body = sealed - HEADER_SIZE
    count = max(1, -(-body // STRIDE))
    size = body - TAG * count
    return size if size >= 0 and sealed_size(size) == sealed else None


def is_sealed(beginning: bytes) -> bool:
    """Whether a file that begins so is a sealed one, of any version."""
    return beginning[:7] == MAGIC[:7]


def key_id_of(header: bytes) -> bytes:
    """The id of the data key that a header names."""
    return bytes(header[8:24])


class Sealer:
    """Seals one file, chunk after chunk. Not thread-safe."""

    def __init__(self, key: DataKey) -> None:
        salt = os.urandom(32)
        self.header = _HEADER.pack(MAGIC, key.id, salt, CHUNK)
        self._cipher = _Cipher(key.secret, salt)
        self._number = 0

    def chunk(self, data: Any, out: memoryview) -> memoryview:
        """A whole chunk that is not the last, sealed into ``out`` of ``CHUNK + TAG`` bytes."""
        self._cipher.seal(_nonce(self._number), data, self.header, out)
        self._number += 1
        return out

    def last(self, data: Any, name: str) -> memoryview:
        """The last chunk: at most ``CHUNK`` bytes, perhaps none."""
        out = memoryview(bytearray(len(data) + TAG))
        self._cipher.seal(_nonce(self._number, last=True), data, self.header + name.encode(), out)
        return out


def seal(data: bytes, key: DataKey, name: str) -> bytes:
    """The sealed form of something small enough for memory."""
    sealer, view = Sealer(key), memoryview(data)
    parts: list[Any] = [sealer.header]
    start = 0
    while len(data) - start > CHUNK:
        parts.append(sealer.chunk(view[start : start + CHUNK], memoryview(bytearray(STRIDE))))
        start += CHUNK
    return b"".join([*parts, sealer.last(view[start:], name)])


class SealedReader(io.RawIOBase):
    """The content of a sealed file, as a file: read on from anywhere, a chunk is verified before a byte of it is given.

    ``raw`` must seek if the reader does. ``find_key`` gives the secret of a data key's id. What is wrong raises
    ``ArtifactCorrupted`` (``chunk``: its number). Not thread-safe.
    """

    def __init__(
        self, raw: BinaryIO, raw_size: int, *, name: str, uri: str, find_key: Callable[[bytes], bytes]
    ) -> None:
        super().__init__()
        self._raw = raw
        self._name, self._uri = name, uri
        self._header = _read_exactly(raw, HEADER_SIZE)
        if len(self._header) < HEADER_SIZE:
            raise self._broken("it is cut off within its header")
        magic, key_id, salt, chunk = _HEADER.unpack(self._header)
        if magic != MAGIC or chunk != CHUNK:
            raise ArtifactCorrupted(
                f"{uri} is encrypted in a format that this version does not know.",
                hint="Install the version of Windsock that wrote it, or a newer one.",
                uri=uri,
            )
        self.key_id = key_id
        body = raw_size - HEADER_SIZE
        self._last = max(1, -(-body // STRIDE)) - 1
        self.size = max(0, body - TAG * (self._last + 1))
        self._cipher = _Cipher(find_key(key_id), salt)
        self._position = 0
        self._raw_position = HEADER_SIZE
        self._sealed = memoryview(bytearray(min(STRIDE, max(body, TAG))))
        self._held: OrderedDict[int, memoryview] = OrderedDict()
        if sealed_size(self.size) != raw_size:  # no chunk but the only one is empty, and each has its tag
            raise self._broken("it is cut off", self._last)
        if self.size == 0:  # nothing will ever be read of it, so what says that it is whole is looked at now
            self._open(0, memoryview(bytearray(0)))

    def readinto(self, target: Any) -> int:
        """Fill ``target`` as far as the file reaches."""
        out = memoryview(target).cast("B")
        done = 0
        while done < len(out) and self._position < self.size:
            number, offset = divmod(self._position, CHUNK)
            length = min(CHUNK, self.size - number * CHUNK)
            if offset == 0 and len(out) - done >= length and number not in self._held:
                self._open(number, out[done : done + length])
                taken = length
            else:
                chunk = self._chunk(number, length)
                taken = min(length - offset, len(out) - done)
                out[done : done + taken] = chunk[offset : offset + taken]
            self._position += taken
            done += taken
        return done

    def pour(self, target: memoryview, each: Callable[[memoryview], None]) -> None:
        """The whole content into memory; ``each`` is called with every part that was opened, in order.

        The file is read on another thread meanwhile.
        """
        ahead = Pipe(lambda sealed: _read_into(self._raw, sealed))
        groups = -(-(self._last + 1) // GROUP)
        free = deque(memoryview(bytearray(GROUP * STRIDE)) for _ in range(min(_AHEAD, groups)))
        waiting: deque[memoryview] = deque()
        self._raw.seek(HEADER_SIZE)
        self._raw_position = -1  # the other thread's until the end
        try:
            asked = opened = 0
            while opened < groups:
                while free and asked < groups:
                    chunks = min(GROUP, self._last + 1 - asked * GROUP)
                    plain = min(GROUP * CHUNK, self.size - asked * GROUP * CHUNK)
                    waiting.append(free.popleft()[: plain + chunks * TAG])
                    ahead.put(waiting[-1])
                    asked += 1
                sealed = waiting.popleft()
                got = ahead.take()
                each(self._open_group(opened, sealed, got, target))
                free.append(memoryview(sealed.obj))
                opened += 1
        finally:
            ahead.close()
        self._position = self.size

    def _open_group(self, group: int, sealed: memoryview, got: int, target: memoryview) -> memoryview:
        """Chunks that were read together, opened into their place in ``target``."""
        first = group * GROUP
        for number in range(first, min(first + GROUP, self._last + 1)):
            at = (number - first) * STRIDE
            out = target[number * CHUNK : min((number + 1) * CHUNK, self.size)]
            self._open_chunk(number, sealed[at : at + len(out) + TAG], max(0, min(got - at, len(out) + TAG)), out)
        return target[first * CHUNK : min((first + GROUP) * CHUNK, self.size)]

    def readall(self) -> bytes:
        out = bytearray(max(0, self.size - self._position))
        return bytes(memoryview(out)[: self.readinto(out)])

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def close(self) -> None:
        if not self.closed:
            self._raw.close()
        super().close()

    def _chunk(self, number: int, length: int) -> memoryview:
        """The chunk as it is kept for reads of less than a chunk: a few, for readers that go to and fro."""
        found = self._held.get(number)
        if found is not None:
            self._held.move_to_end(number)
            return found[:length]
        memory = self._held.popitem(last=False)[1] if len(self._held) == _HELD else None
        if memory is None or len(memory) < length:
            memory = memoryview(bytearray(min(CHUNK, self.size)))
        self._open(number, memory[:length])
        self._held[number] = memory
        return memory[:length]

    def _open(self, number: int, out: memoryview) -> None:
        at = HEADER_SIZE + number * STRIDE
        if at != self._raw_position:
            self._raw.seek(at)
        sealed = self._sealed[: len(out) + TAG]
        got = _read_into(self._raw, sealed)
        self._raw_position = at + got
        self._open_chunk(number, sealed, got, out)

    def _open_chunk(self, number: int, sealed: memoryview, got: int, out: memoryview) -> None:
        if got < len(sealed):
            raise self._broken("it is cut off", number)
        last = number == self._last
        extra = self._header + self._name.encode() if last else self._header
        if not self._cipher.open(_nonce(number, last=last), sealed, extra, out):
            # A file cut at the border of two chunks ends with one that opens, and was not the last.
            cut = last and self._cipher.open(_nonce(number), sealed, self._header, out)
            out[:] = bytes(len(out))
            raise self._broken("it is cut off" if cut else "it was changed, or is another object's", number)

    def _broken(self, why: str, chunk: int = 0) -> ArtifactCorrupted:
        return ArtifactCorrupted(
            f"The content of {self._uri} is not what was stored: encrypted chunk {chunk} does not open: {why}.",
            hint="It was changed or damaged. Run: windsock artifact verify --remove, then run again what made it.",
            uri=self._uri,
            chunk=chunk,
        )


class Pipe:
    """One thread that does one thing to each item, in order; answers are taken in the same order.

    An error of the thread is raised where its answer is taken. Not thread-safe on this side.
    """

    def __init__(self, work: Callable[[Any], Any]) -> None:
        self._work = work
        self._items: SimpleQueue[Any] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()
        self._waiting = 0
        self._thread: Thread | None = None

    def put(self, item: Any) -> None:
        if self._thread is None:
            self._thread = Thread(target=self._run, name="windsock-seal", daemon=True)
            self._thread.start()
        self._waiting += 1
        self._items.put(item)

    def take(self) -> Any:
        answer, error = self._answers.get()
        self._waiting -= 1
        if error is not None:
            raise error
        return answer

    @property
    def waiting(self) -> int:
        """Answers that were not taken yet."""
        return self._waiting

    def close(self) -> None:
        """Wait for the thread to end, whatever it still has to do."""
        if self._thread is not None:
            self._items.put(_END)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (item := self._items.get()) is not _END:
            try:
                self._answers.put((self._work(item), None))
            except BaseException as error:  # noqa: BLE001 - handed to the other side
                self._answers.put((None, error))


class _Cipher:
    """AES-256-GCM of one file, into memory that the caller has where ``cryptography`` can (48 and newer)."""

    def __init__(self, secret: bytes, salt: bytes) -> None:
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM
        from cryptography.hazmat.primitives.hashes import SHA256
        from cryptography.hazmat.primitives.kdf.hkdf import HKDF

        self._aead: Any = AESGCM(HKDF(SHA256(), 32, salt, _INFO).derive(secret))
        self._into = hasattr(self._aead, "encrypt_into")

    def seal(self, nonce: bytes, data: Any, extra: bytes, out: memoryview) -> None:
        if self._into:
            self._aead.encrypt_into(nonce, data, extra, out)
        else:
            out[:] = self._aead.encrypt(nonce, data, extra)

    def open(self, nonce: bytes, sealed: memoryview, extra: bytes, out: memoryview) -> bool:
        """False if it is not what was sealed."""
        from cryptography.exceptions import InvalidTag

        try:
            if self._into:
                self._aead.decrypt_into(nonce, sealed, extra, out)
            else:
                out[:] = self._aead.decrypt(nonce, sealed, extra)
        except InvalidTag:
            return False
        return True


def _nonce(number: int, *, last: bool = False) -> bytes:
    return number.to_bytes(11, "big") + bytes([last])


def _read_into(raw: Any, target: memoryview) -> int:
    readinto = getattr(raw, "readinto", None)
    done = 0
    while done < len(target):
        if readinto is not None:
            count = readinto(target[done:])
        else:
            part = raw.read(len(target) - done)
            count = len(part)
            target[done : done + count] = part
        if not count:
            break
        done += count
    return done


def _read_exactly(raw: BinaryIO, size: int) -> bytes:
    data = bytearray(size)
    return bytes(data[: _read_into(raw, memoryview(data))])
