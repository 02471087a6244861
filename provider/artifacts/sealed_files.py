"""Writing sealed files: from a stream, with the digest of what went in, or from a file that is there."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from ..security.sealing import CHUNK, GROUP, STRIDE, DataKey, Pipe, Sealer
from .digests import ALGORITHM, HashingFile, write_all

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

_PIECE = 4 << 20
"""Bytes handed to the hashing thread at a time."""
_BEHIND = 4
"""Groups of chunks that may wait for the disk while the next ones are sealed."""


class SealingFile(HashingFile):
    """A :class:`HashingFile` that writes the sealed form: the digest is that of what went in, hashed beside.

    The last chunk is sealed when the file is closed, because it says under which name the file will be, and that is
    made of the digest.
    """

    def __init__(self, path: Path, key: DataKey, name_of: Callable[[str], str]) -> None:
        super().__init__(path)
        self._sealer = Sealer(key)
        self._name_of = name_of
        self._waiting = memoryview(bytearray(CHUNK))
        self._filled = 0
        self._disk = Pipe(lambda data: write_all(self._fd, data))
        self._buffer = memoryview(b"")  # until there is a whole chunk, which small files never have
        self._sealed = 0
        self._busy: deque[memoryview] = deque()
        write_all(self._fd, memoryview(self._sealer.header))

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        for start in range(0, view.nbytes, _PIECE):
            piece = view[start : start + _PIECE]
            self._hasher.update(piece)
            self._add(piece)
        self.size += view.nbytes
        return view.nbytes

    def _add(self, view: memoryview) -> None:
        """Seal what makes whole chunks, and keep the rest: it may be the last."""
        start = 0
        while start < len(view):
            if self._filled == CHUNK:  # and more comes, so it is not the last
                self._chunk(self._waiting)
                self._filled = 0
            if self._filled == 0 and len(view) - start > CHUNK:
                self._chunk(view[start : start + CHUNK])
                start += CHUNK
            else:
                part = view[start : start + CHUNK - self._filled]
                self._waiting[self._filled : self._filled + len(part)] = part
                self._filled += len(part)
                start += len(part)

    def close(self) -> None:
        if self.closed:
            return
        try:
            if self._sealed:
                self._disk.put(self._buffer[: self._sealed])
            while self._disk.waiting:
                self._disk.take()
            digest = f"{ALGORITHM}:{self._hasher.hexdigest()}"
            write_all(self._fd, self._sealer.last(self._waiting[: self._filled], self._name_of(digest)))
        finally:
            self._disk.close()
            super().close()

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self.close()
        elif not self.closed:  # without an end it cannot be opened; it is removed with its staging
            self._disk.close()
            super().close()

    def _chunk(self, data: memoryview) -> None:
        """Seal a chunk here; a few together are written on the other thread, some behind."""
        if not self._buffer:
            self._buffer = memoryview(bytearray(GROUP * STRIDE))
        self._sealer.chunk(data, self._buffer[self._sealed : self._sealed + STRIDE])
        self._sealed += STRIDE
        if self._sealed == len(self._buffer):
            self._hand_over()

    def _hand_over(self) -> None:
        self._disk.put(self._buffer[: self._sealed])
        self._busy.append(self._buffer)
        self._sealed = 0
        if len(self._busy) < _BEHIND:
            self._buffer = memoryview(b"")
        else:
            self._disk.take()
            self._buffer = self._busy.popleft()


def seal_file(source: Path, target: Path, key: DataKey, name: str) -> None:
    """The sealed form of a file, a chunk at a time."""
    sealer = Sealer(key)
    buffer, spare = memoryview(bytearray(2 * CHUNK)), memoryview(bytearray(STRIDE))
    with source.open("rb", buffering=0) as plain, target.open("wb", buffering=0) as sealed:
        out = sealed.fileno()
        write_all(out, memoryview(sealer.header))
        held = _fill(plain, buffer[:CHUNK])
        while held == CHUNK and (more := _fill(plain, buffer[CHUNK:])):
            write_all(out, sealer.chunk(buffer[:CHUNK], spare))
            buffer[:more] = buffer[CHUNK : CHUNK + more]
            held = more
        write_all(out, sealer.last(buffer[:held], name))


def _fill(file: Any, target: memoryview) -> int:
    done = 0
    while done < len(target) and (count := file.readinto(target[done:])):
        done += count
    return done
