"""A cache of blobs on this machine's disk, by digest: what was fetched once is not fetched again.

The name of an entry is the digest of its content, so an entry is never stale, whoever wrote it and for which stack.
It is shared by all processes of one user: an entry appears by a link, whole or not at all, and goes while others still
read it. Every hit is verified before it is used, and one that is damaged is thrown away and fetched again.

The least recently used entries go when the cache is full: beyond ``limit`` bytes, or beyond half of what the disk could
give it, so that a small disk is never filled by it. Only plain blobs of remote stores are kept here: what a store
encrypts must not lie about decrypted, and what is local needs no copy.
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import time
import uuid
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from .digests import digest_file, hex_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_LOCK = ".lock"
_TEMPORARY = ".new-"
_KEEP = 0.9
"""How full the cache is after a clean-up, so that not every new entry needs one."""
_OFTEN = 0.02
"""Entries of this share of the limit are added between two looks at the whole cache."""


class BlobCache:
    """Blobs below ``folder``. Thread-safe, and safe between processes; never raises for a full or read-only disk."""

    def __init__(self, folder: Path, limit: int) -> None:
        self.folder = folder
        self.limit = limit
        self._unseen = limit  # bytes added since the last look; the first entry of a process looks
        self._ready: bool | None = None

    def ready(self) -> bool:
        """Whether there is a cache at all: it may hold something, and its folder can be made."""
        if self._ready is None:
            self._ready = self.limit > 0
            try:
                if self._ready:
                    self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
                    self._ready = os.access(self.folder, os.W_OK | os.X_OK)
            except OSError:
                self._ready = False
        return self._ready

    def link(self, digest: str, target: Path, *, verify: bool = True) -> bool:
        """Put the blob at ``target``, a path that is not there yet; False if it is not in the cache."""
        entry = self._entry(digest)
        try:
            _link(entry, target)
        except OSError:
            target.unlink(missing_ok=True)
            return False
        if verify and digest_file(target) != digest:
            target.unlink()
            with suppress(OSError):
                entry.unlink()
            return False
        with suppress(OSError):
            os.utime(entry, (time.time(), entry.stat().st_mtime))
        return True

    def add(self, digest: str, path: Path) -> None:
        """Keep a file whose digest has been compared. It becomes read-only, because the cache may share its bytes."""
        entry = self._entry(digest)
        size = path.stat().st_size
        if size > self.limit * _KEEP:
            return
        try:
            path.chmod(path.stat().st_mode & 0o555)
            entry.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            with suppress(FileExistsError):
                _link(path, entry)
        except OSError:
            return
        self._unseen += size
        if self._unseen > self.limit * _OFTEN:
            self._unseen = 0
            with suppress(OSError):
                self.trim()

    def trim(self) -> int:
        """Remove what was not used for longest until there is room; returns the bytes that stay."""
        with self._alone():
            entries = []
            for path in self.folder.glob("??/*"):
                with suppress(FileNotFoundError):
                    found = path.stat()
                    entries.append((found.st_atime, found.st_size, path))
            total = sum(size for _, size, _ in entries)
            limit = min(self.limit, (shutil.disk_usage(self.folder).free + total) // 2)
            if total > limit:
                for _, size, path in sorted(entries):
                    with suppress(FileNotFoundError):
                        path.unlink()
                    total -= size
                    if total <= limit * _KEEP:
                        break
            return total

    def _entry(self, digest: str) -> Path:
        digits = hex_of(digest)
        return self.folder / digits[:2] / digits

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """One at a time: two that trim at once would throw away twice as much."""
        lock = os.open(self.folder / _LOCK, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)


def _link(source: Path, target: Path) -> None:
    """The same bytes under another name; copied first where a link is not possible (another disk, FAT)."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in (errno.EXDEV, errno.EPERM, errno.EMLINK, errno.ENOTSUP):
            raise
        temporary = target.with_name(f"{_TEMPORARY}{uuid.uuid4().hex}")
        try:
            shutil.copyfile(source, temporary)
            temporary.chmod(0o400)
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
