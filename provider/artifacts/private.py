"""Private folders: where plain content of encrypted artifacts may lie for a moment.

Only this user can enter one (mode 0700). It is removed at the end; one that a killed process left is removed by the
next process that makes one, which it knows from the lock that died with its owner. Set ``TMPDIR`` to a disk of memory
(``/dev/shm``) if plain content must never reach a disk.
"""

from __future__ import annotations

import atexit
import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

PREFIX = "windsock-private-"
_YOUNG = 60.0
"""Seconds in which a new folder may not be locked yet."""
_swept: set[str] = set()


class PrivateFolder:
    """One folder, from its making until :meth:`remove`; at the latest until the process ends."""

    def __init__(self, parent: Path | None = None) -> None:
        place = str(parent or tempfile.gettempdir())
        if place not in _swept:
            _swept.add(place)
            sweep(place)
        self.path = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        self._lock = os.open(self.path, os.O_RDONLY)
        fcntl.flock(self._lock, fcntl.LOCK_EX)
        self._owner = os.getpid()
        atexit.register(self.remove)

    def remove(self) -> None:
        """Remove it with all that is in it. Idempotent; a forked process leaves its parent's alone."""
        if self._lock >= 0 and self._owner == os.getpid():
            atexit.unregister(self.remove)
            shutil.rmtree(self.path, ignore_errors=True)
            os.close(self._lock)
            self._lock = -1


@contextmanager
def private_folder() -> Iterator[Path]:
    """A private folder for the length of a ``with``."""
    folder = PrivateFolder()
    try:
        yield folder.path
    finally:
        folder.remove()


def sweep(place: str | None = None) -> int:
    """Remove the private folders of this user whose owners are gone; returns how many."""
    count = 0
    for path in Path(place or tempfile.gettempdir()).glob(f"{PREFIX}*"):
        with suppress(OSError):
            found = path.lstat()
            if found.st_uid != os.getuid() or time.time() - found.st_mtime < _YOUNG:
                continue
            lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(path, ignore_errors=True)
                count += 1
            finally:
                os.close(lock)
    return count
