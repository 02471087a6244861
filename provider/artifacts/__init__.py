"""Artifacts: typed values in a content-addressed store. The public names, resolved on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .handle import Artifact as Artifact
    from .handle import Columns as Columns
    from .materializers.allowed import trust as trust
    from .materializers.base import LoadRequest as LoadRequest
    from .materializers.base import Materializer as Materializer
    from .materializers.choose import register_materializer as register_materializer
    from .saving import StoredArtifact as StoredArtifact
    from .saving import available as available
    from .saving import load as load
    from .saving import save as save
    from .store import ArtifactStore as ArtifactStore

_PUBLIC = {
    "Artifact": ".handle",
    "ArtifactStore": ".store",
    "Columns": ".handle",
    "LoadRequest": ".materializers.base",
    "Materializer": ".materializers.base",
    "StoredArtifact": ".saving",
    "available": ".saving",
    "load": ".saving",
    "register_materializer": ".materializers.choose",
    "save": ".saving",
    "trust": ".materializers.allowed",
}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_PUBLIC[name], __name__), name)
    return value
