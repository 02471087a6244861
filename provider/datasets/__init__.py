"""Data sets: versioned tables. The public names, resolved on first use."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .diff import DatasetDiff as DatasetDiff
    from .handle import Dataset as Dataset
    from .handle import dataset as dataset
    from .version import DatasetVersion as DatasetVersion

_PUBLIC = {"Dataset": ".handle", "DatasetDiff": ".diff", "DatasetVersion": ".version", "dataset": ".handle"}


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    value = globals()[name] = getattr(import_module(_PUBLIC[name], __name__), name)
    return value
