"""Containers of things that each have a materializer: ``{"model": forest, "columns": index, "threshold": 0.4}``.

A folder: ``value.json`` holds the plain part and says which file holds what; every other item is a file of its own, in
its own format, chosen and loaded by its own materializer. Nothing is pickled because it stands in a dict.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, PickleRefused
from .base import LoadRequest, Materializer
from .plain import decode, dumps, encode, preview

if TYPE_CHECKING:
    from pathlib import Path

_INDEX = "value.json"


class CompositeMaterializer(Materializer):
    """dict, list or tuple whose items are plain data or types that Windsock can store, at any depth."""

    name = "composite"
    extension = ".composite"
    keeps_path = True  # an item may be a lazy frame, which goes on reading

    def save(self, value: Any, path: Path) -> None:
        from .choose import materializer_for, public_name

        path.mkdir()
        count = 0

        def item(part: Any, where: str) -> dict[str, Any]:
            nonlocal count
            materializer = materializer_for(part, where=where)
            name = f"{count}{materializer.extension_of(part)}"
            count += 1
            materializer.save(part, path / name)
            return {"$item": {"file": name, "materializer": materializer.name, "type": public_name(type(part))}}

        (path / _INDEX).write_bytes(dumps(encode(value, item)))

    def load(self, path: Path, request: LoadRequest) -> Any:
        from .choose import materializer_named

        def item(data: dict[str, Any]) -> Any:
            facts = data["$item"]
            name = str(facts["file"])
            if "/" in name or name.startswith("."):
                raise ArtifactCorrupted(f"{name!r} is not the name of an item.")
            materializer = materializer_named(facts["materializer"])
            if materializer.unsafe:
                raise PickleRefused("An item of this artifact is a pickle, which a container never holds.")
            return materializer.load(path / name, LoadRequest(facts["type"], materializer=materializer.name))

        try:
            return decode(json.loads((path / _INDEX).read_bytes()), item)
        except (ValueError, KeyError, TypeError, FileNotFoundError) as error:
            raise ArtifactCorrupted(f"The artifact's folder cannot be read: {error}.") from error

    def describe(self, value: Any) -> dict[str, Any]:
        names = list(value) if isinstance(value, dict) else range(len(value))
        items = value.values() if isinstance(value, dict) else value
        kinds = {str(n): type(item).__name__ for n, item in zip(names, items, strict=True)}
        return {"length": len(value), "items": preview(kinds)}
