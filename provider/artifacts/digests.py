"""Digests: BLAKE3 of the bytes stored, computed while they are written or read.

A digest is the text ``blake3:<64 hex>``. It is the identity of an artifact's content: of a file, the hash of its
bytes; of a folder, the hash of its *manifest* (the sorted relative names with size and digest of each file), which
is itself stored and verified like any file.

Hashing runs on a thread of its own. Both ``os.write`` and ``blake3.update`` release the GIL, so on two cores a
digest costs less than a tenth of the time to write the bytes.
"""

from __future__ import annotations

import json
import os
from collections import deque
from pathlib import Path
from threading import Condition, Thread
from typing import IO, TYPE_CHECKING, Any

import blake3

from ..errors import ArtifactCorrupted
from ..faults import reach

if TYPE_CHECKING:
    from collections.abc import Iterator

ALGORITHM = "blake3"
_CHUNK = 4 << 20
_INLINE = 256 << 10
"""Smaller writes are hashed where they are: handing them to a thread costs more than the hash."""
_BUFFER = 1 << 20
_BACKLOG = 64 << 20
"""How far writing may run ahead of hashing, in bytes kept alive."""


def digest_bytes(data: Any, *, parallel: bool = False) -> str:
    """Digest of a bytes-like object, ``parallel`` on all cores."""
    threads = blake3.blake3.AUTO if parallel else 1
    return f"{ALGORITHM}:{blake3.blake3(data, max_threads=threads).hexdigest()}"


def digest_file(path: Path) -> str:
    """Digest of a file's content, through a buffer that stays in the processor's cache.

    A memory map is no faster, and its pages would count as this process's memory.
    """
    with path.open("rb", buffering=0) as file:
        buffer = bytearray(min(_BUFFER, file.seek(0, os.SEEK_END) or 1))
        file.seek(0)
        view = memoryview(buffer)
        hasher = blake3.blake3()
        while count := file.readinto(buffer):
            hasher.update(view[:count])
        return f"{ALGORITHM}:{hasher.hexdigest()}"


def hex_of(digest: str) -> str:
    """The 64 hexadecimal digits of a digest. Raises ``ArtifactCorrupted`` if it is none of ours."""
    algorithm, _, digits = digest.partition(":")
    if algorithm != ALGORITHM or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
        raise ArtifactCorrupted(f"{digest!r} is not a digest that this version can verify.", digest=digest)
    return digits


class Hasher:
    """BLAKE3 fed from one thread and computed on another; ``update`` keeps a reference until it was hashed.

    Not thread-safe: one writer. The caller must not change a buffer that it handed in before ``hexdigest``.
    """

    def __init__(self) -> None:
        self._hash = blake3.blake3()
        self._pending: deque[Any] = deque()
        self._bytes = 0
        self._done = False
        self._error: BaseException | None = None
        self._thread: Thread | None = None
        self._changed = Condition()

    def update(self, data: memoryview) -> None:
        if self._thread is None:
            if data.nbytes < _INLINE:
                self._hash.update(data)
                return
            self._thread = Thread(target=self._run, name="windsock-hash", daemon=True)
            self._thread.start()
        with self._changed:
            while self._bytes > _BACKLOG and self._error is None:
                self._changed.wait()
            self._pending.append(data)
            self._bytes += data.nbytes
            self._changed.notify()

    def _run(self) -> None:
        try:
            while True:
                with self._changed:
                    while not self._pending and not self._done:
                        self._changed.wait()
                    if not self._pending:
                        return
                    data = self._pending.popleft()
                self._hash.update(data)
                with self._changed:
                    self._bytes -= data.nbytes
                    self._changed.notify()
        except BaseException as error:  # noqa: BLE001 - handed to the writing thread
            with self._changed:
                self._error = error
                self._changed.notify()

    def close(self) -> None:
        """Wait until everything is hashed."""
        if self._thread is not None:
            with self._changed:
                self._done = True
                self._changed.notify()
            self._thread.join()
            self._thread = None
        if self._error is not None:
            raise self._error

    def hexdigest(self) -> str:
        self.close()
        return self._hash.hexdigest()


class HashingFile:
    """A binary file opened for writing that knows the digest of what was written; append-only, never seeks.

    Big buffers are written straight from memory, without a copy, in chunks, so that hashing reads each chunk while
    it is still in the processor's cache.
    """

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
        self._hasher = Hasher()
        self._digest: str | None = None
        self.size = 0
        self.facts: dict[str, Any] = {}
        """What the writer found out about the content on the way, to be stored in the artifact's metadata."""
        self.closed = False
        self.name = str(path)
        reach("artifacts.save.temp_created")

    def write(self, data: Any) -> int:
        view = memoryview(data)
        if view.format != "B" or view.ndim != 1:
            view = view.cast("B")
        for start in range(0, view.nbytes, _CHUNK):
            chunk = view[start : start + _CHUNK]
            self._hasher.update(chunk)
            write_all(self._fd, chunk)
            if start == 0:
                reach("artifacts.save.half_written")
        self.size += view.nbytes
        return view.nbytes

    @property
    def digest(self) -> str:
        """Known once the file is closed."""
        if self._digest is None:
            raise ValueError("the digest is known when the file is closed")
        return self._digest

    def close(self) -> None:
        if self.closed:
            return
        self.closed = True
        os.close(self._fd)
        self._digest = f"{ALGORITHM}:{self._hasher.hexdigest()}"
        reach("artifacts.save.written")

    def fileno(self) -> int:
        return self._fd

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Nothing is buffered here."""

    def readable(self) -> bool:
        return False

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def __enter__(self) -> HashingFile:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def write_all(fd: int, view: memoryview) -> None:
    written = os.write(fd, view)
    while written < view.nbytes:
        written += os.write(fd, view[written:])


class BackgroundDigest:
    """The digest of a file, computed on another thread while the caller reads the same file."""

    def __init__(self, path: Path) -> None:
        self._digest = ""
        self._error: BaseException | None = None
        self._thread = Thread(target=self._run, args=(path,), name="windsock-verify", daemon=True)
        self._thread.start()

    def _run(self, path: Path) -> None:
        try:
            self._digest = digest_file(path)
        except BaseException as error:  # noqa: BLE001 - handed to the reading thread
            self._error = error

    def result(self) -> str:
        self._thread.join()
        if self._error is not None:
            raise self._error
        return self._digest


def copy_stream(source: IO[bytes], target: Path) -> str:
    """Copy a stream into a new file; returns the digest of what passed."""
    with HashingFile(target) as file:
        while chunk := source.read(_CHUNK):
            file.write(chunk)
    return file.digest


def files_of(folder: Path) -> Iterator[tuple[str, Path]]:
    """Relative POSIX name and path of each file below a folder, sorted by name; empty folders are not seen.

    Symbolic links are followed, but for those to a folder that they are in.
    """
    found: list[tuple[str, Path]] = []
    for parent, folders, names in os.walk(folder, followlinks=True):
        here = Path(parent)
        above = here.resolve()
        folders[:] = [n for n in folders if not above.is_relative_to((here / n).resolve())]
        found += [((here / name).relative_to(folder).as_posix(), here / name) for name in names]
    yield from sorted(found)


def folder_manifest(folder: Path) -> bytes:
    """What a folder contains, as canonical JSON: name, size and digest of each file, sorted by name."""
    files = [{"name": n, "size": p.stat().st_size, "digest": digest_file(p)} for n, p in files_of(folder)]
    return json.dumps({"files": files}, ensure_ascii=False, separators=(",", ":")).encode()


def read_manifest(data: bytes, uri: str) -> list[dict[str, Any]]:
    """The files of a folder artifact. Raises ``ArtifactCorrupted`` if a name could leave the folder."""
    try:
        files: list[dict[str, Any]] = json.loads(data)["files"]
        for file in files:
            parts = str(file["name"]).split("/")
            if "" in parts or "." in parts or ".." in parts or not isinstance(file["size"], int):
                raise ValueError(f"name {file['name']!r}")
            hex_of(file["digest"])
    except (ValueError, KeyError, TypeError, ArtifactCorrupted) as error:
        raise ArtifactCorrupted(f"{uri} is not the list of files of a folder: {error}.", uri=uri) from None
    return files
