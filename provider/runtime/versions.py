"""The version of a pipeline: its graph, its source and what was installed, registered when it runs.

A new version is made when the spec or the project code of any step has changed. Libraries are recorded but do not make
a new version. The steps' modules are read, not imported: a task registers the whole pipeline without loading what the
other steps need.
"""

from __future__ import annotations

import platform
import sys
from functools import lru_cache
from hashlib import blake2b
from importlib.metadata import Distribution
from pathlib import Path
from typing import TYPE_CHECKING

from .source import source_digests

if TYPE_CHECKING:
    from collections.abc import Iterable

    from ..metadata.store import Metadata
    from ..pipelines.spec import PipelineSpec

UNKNOWN = "unknown"
"""Source digest of a pipeline with a step whose code cannot be read, such as one edited after it was imported."""

_REGISTERED: dict[tuple[str, str, str], int] = {}


def register_pipeline(metadata: Metadata, spec: PipelineSpec) -> int:
    """The number of this version of the pipeline; registers it if it is new. Once per process a version."""
    source, packages = source_digests(step.function for step in spec.steps)
    source = source or UNKNOWN
    digest = f"blake2b:{blake2b(f'{spec.digest} {source}'.encode(), digest_size=16).hexdigest()}"
    key = (metadata.url, spec.name, digest)
    number = _REGISTERED.get(key)
    if number is None:
        # Asked first, because finding out what is installed costs a task more than the rest of its bookkeeping.
        number = metadata.pipelines.number(spec.name, digest)
        if number is None:
            number = metadata.pipelines.register(
                spec.name,
                digest=digest,
                spec=spec.to_dict(),
                source_digest=source,
                requirements=requirements(packages),
            ).number
        _REGISTERED[key] = number
    return number


def requirements(packages: Iterable[str] = ()) -> dict[str, str]:
    """``{distribution: version}`` of ``packages`` (import names) and of everything imported so far, and Python's.

    Versions are read from the names of the ``.dist-info`` folders: no file is opened for a package whose import name
    is its distribution's name. Takes milliseconds once, then microseconds.
    """
    tops = {name.partition(".")[0] for name in tuple(sys.modules)} | set(packages)
    tops -= sys.stdlib_module_names
    found = {"python": platform.python_version()}
    for top in sorted(tops):
        known = _distribution_of(top.lower().replace("-", "_"))
        if known is not None:
            found[known[0]] = known[1]
    return found


@lru_cache(maxsize=4096)
def _distribution_of(top: str) -> tuple[str, str] | None:
    installed = _installed()
    return installed.get(top) or installed.get(_names_of_imports().get(top, ""))


@lru_cache(maxsize=1)
def _installed() -> dict[str, tuple[str, str]]:
    """Normalised distribution name -> (name, version)."""
    found: dict[str, tuple[str, str]] = {}
    for info in _infos():
        name, _, version = info.name.removesuffix(".dist-info").partition("-")
        if version:
            found.setdefault(name.lower().replace(".", "_"), (name.replace("_", "-").lower(), version))
    return found


@lru_cache(maxsize=1)
def _infos() -> tuple[Path, ...]:
    return tuple(
        info
        for folder in map(Path, sys.path)
        if folder.name in {"site-packages", "dist-packages"} and folder.is_dir()
        for info in folder.glob("*.dist-info")
    )


@lru_cache(maxsize=1)
def _names_of_imports() -> dict[str, str]:
    """Import name -> normalised distribution name, where they differ (``sklearn``, ``yaml``)."""
    names: dict[str, str] = {}
    for info in _infos():
        distribution = info.name.partition("-")[0].lower().replace(".", "_")
        for top in (Distribution.at(info).read_text("top_level.txt") or "").split():
            names.setdefault(top.lower(), distribution)
    return {**names, **_WITHOUT_LISTING}


_WITHOUT_LISTING = {"sklearn": "scikit_learn", "yaml": "pyyaml", "pil": "pillow", "dateutil": "python_dateutil"}
