"""Airflow's ``ObjectStoragePath``: the step returns where data is, and the artifact is a reference to it.

What it names stays where it is and is not copied: whoever owns the bucket owns it. The reference holds the size and the
fingerprint (ETag, generation, or time of change) of each object below the path, so that new data is a new version,
and loading says clearly when the data was changed or removed since. To have a copy that nobody can change, return a
``pathlib.Path`` or the value itself.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, ArtifactNotFound, MaterializerNotFound, MissingExtra
from .base import BufferMaterializer, LoadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..digests import HashingFile

_FINGERPRINTS = ("ETag", "etag", "generation", "md5Hash", "mtime", "LastModified", "last_modified")
_PREVIEW = 20


class ObjectPathMaterializer(BufferMaterializer):
    """``connection@bucket`` in the path stays: an id, and never a secret."""

    name = "object_path"
    extension = ".objectpath.json"

    def write(self, value: Any, file: HashingFile) -> None:
        objects = _objects(value)
        if not objects:
            raise MaterializerNotFound(
                f"The step returned the path {str(value)!r}, but there is no such object, and none below it.",
                hint="Return a path that exists when the step ends, or return its text: str(path).",
                path=str(value),
            )
        found = {"path": str(value), "objects": objects}
        file.write(json.dumps(found, sort_keys=True, ensure_ascii=False, separators=(",", ":")).encode())

    def describe(self, value: Any) -> dict[str, Any]:
        objects = _objects(value)
        sizes = [found["size"] for found in objects.values()]
        return {
            "path": str(value),
            "files": len(sizes),
            "bytes": sum(sizes),
            "preview": dict([*objects.items()][:_PREVIEW]),
        }

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        found = json.loads(bytes(data))
        path = _path_class()(found["path"])
        now = _objects(path)
        if not now:
            raise ArtifactNotFound(
                f"{found['path']} is not there any more. The artifact is a reference to it, not a copy.",
                hint="Restore it, or run the step again that made it.",
                uri=found["path"],
            )
        if now != found["objects"]:
            changed = [name or str(path) for name in sorted({*now, *found["objects"]}) if _differs(name, now, found)]
            raise ArtifactCorrupted(
                f"What {found['path']} names has changed since the step returned it: {', '.join(changed[:3])}"
                f"{' and more' if len(changed) > 3 else ''}.",
                hint="Run the step again that made it: the new content becomes a new version.",
                uri=found["path"],
            )
        return path


def _differs(name: str, now: Mapping[str, Any], found: Mapping[str, Any]) -> bool:
    return bool(now.get(name) != found["objects"].get(name))


def _objects(path: Any) -> dict[str, dict[str, Any]]:
    """Size and fingerprint of the object at the path, or of all below it by relative name."""
    filesystem, base = path.fs, str(path.path).rstrip("/")
    filesystem.invalidate_cache()
    try:
        about = filesystem.info(base)
    except FileNotFoundError:
        return {}
    if about["type"] == "file":
        return {"": _facts(about)}
    found = filesystem.find(base, detail=True)
    root = str(about["name"]).rstrip("/")
    return {name.removeprefix(f"{root}/"): _facts(about) for name, about in sorted(found.items())}


def _facts(about: Mapping[str, Any]) -> dict[str, Any]:
    mark = next((about[name] for name in _FINGERPRINTS if about.get(name) is not None), "")
    return {"size": int(about["size"]), "fingerprint": str(mark).strip('"')}


def _path_class() -> Any:
    # By name, because only who has returned such a path needs Airflow to read it again.
    try:
        return import_module("airflow.sdk").ObjectStoragePath
    except ImportError:
        raise MissingExtra(
            "The artifact is an ObjectStoragePath of Airflow, which is not installed here.",
            hint="Run: pip install apache-airflow-task-sdk",
        ) from None
