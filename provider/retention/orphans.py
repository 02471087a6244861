"""What the artifact store holds and no metadata knows: left by a process that stored something and died.

Only ``objects/`` is looked at. A file below a folder belongs to the folder's list of files, whose URI is what is known.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..artifacts.store import TREE
from .survey import fingerprint

if TYPE_CHECKING:
    from collections.abc import Set

    from ..artifacts.store import ArtifactStore

_OBJECTS = "objects/"


def find_orphans(store: ArtifactStore, known: Set[int]) -> dict[str, list[str]]:
    """URI -> the keys to remove for it. One listing of the store; nothing is read."""
    found: dict[str, list[str]] = {}
    for key in store.keys(_OBJECTS):
        uri = store.uri_of(owner(key))
        if fingerprint(uri) not in known:
            found.setdefault(uri, []).append(key)
    return found


def owner(key: str) -> str:
    """The key by which metadata know what lies at ``key``: ``objects/ab/12….tree`` for ``objects/ab/12…/part.bin``."""
    parts = key.split("/")
    return key if len(parts) <= 3 else "/".join(parts[:3]) + TREE


def size_of(store: ArtifactStore, keys: list[str]) -> int:
    """Bytes under the keys that are still there."""
    return sum(store.find_size(key) or 0 for key in keys)
