"""Tables of numbers that were read a moment ago: the next step of the same process that wants one gets a copy.

In a run within one process a step often reads what the step before it has just read, and decoding a small file costs
twenty times what copying its columns costs. Only local files are remembered, by what the file system says of them:
content that was changed, damaged or removed since is read, verified and refused as ever. Nobody gets the same object
twice. What it does not keep: anything that is big, or that a copy would share with its original.
"""

from __future__ import annotations

import os
from threading import Lock
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Hashable
    from pathlib import Path

LARGEST = 1 << 19
"""Bytes of a file."""
_MOST = 8

_kept: dict[Hashable, Any] = {}
_lock = Lock()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - a lock that another thread held while forking stays locked in the child
    _lock = Lock()


os.register_at_fork(after_in_child=_after_fork)


def place_of(path: Path, digest: str, kind: str, columns: Any) -> Hashable | None:
    """What a file's value is remembered under; None for what is not to be."""
    if kind != "pandas.DataFrame":
        return None
    found = path.stat()
    if found.st_size >= LARGEST:
        return None
    wanted = None if columns is None else tuple(columns)
    return digest, wanted, str(path), found.st_ino, found.st_mtime_ns, found.st_size


def recall(place: Hashable) -> Any:
    """A copy of the value, or None."""
    with _lock:
        value = _kept.pop(place, None)
        if value is None:
            return None
        _kept[place] = value  # the last one used goes last
    return value.copy()


def remember(place: Hashable, value: Any) -> None:
    """Keep a copy of a DataFrame of numbers; other values are not kept."""
    kinds = set(value.dtypes)
    if value.size * 8 > LARGEST or any(type(kind).__module__.partition(".")[0] != "numpy" for kind in kinds):
        return
    if any(kind.kind not in "biufcmM" for kind in kinds):
        return
    copy = value.copy()
    with _lock:
        _kept[place] = copy
        while len(_kept) > _MOST:
            del _kept[next(iter(_kept))]
