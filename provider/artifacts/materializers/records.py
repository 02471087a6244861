"""Instances of dataclasses and pydantic models, as JSON of their fields.

The class is found again by the recorded type, so it must be importable where the artifact is loaded. Only classes
that are dataclasses or models are ever called.
"""

from __future__ import annotations

import dataclasses
import json
from functools import reduce
from importlib import import_module
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, MaterializerNotFound
from .base import BufferMaterializer, LoadRequest
from .plain import decode, dumps, encode, preview

if TYPE_CHECKING:
    from ..digests import HashingFile


class DataclassMaterializer(BufferMaterializer):
    """A dataclass whose fields are plain data; its ``__post_init__`` runs again when it is loaded."""

    name = "dataclass"
    extension = ".dataclass.json"

    def write(self, value: Any, file: HashingFile) -> None:
        find_class(f"{type(value).__module__}.{type(value).__qualname__}")
        file.write(dumps(encode(_fields(value), None, type(value).__name__)))

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        cls: Any = find_class(request.type)
        if not hasattr(cls, "__dataclass_fields__"):
            raise ArtifactCorrupted(f"{request.type} is not a dataclass.", type=request.type)
        fields = decode(json.loads(bytes(data)))
        late = {f.name for f in dataclasses.fields(cls) if not f.init}
        try:
            value = cls(**{name: item for name, item in fields.items() if name not in late})
        except TypeError as error:
            raise ArtifactCorrupted(
                f"{request.type} does not take the fields that were stored: {error}.", type=request.type
            ) from error
        for name in late & set(fields):
            object.__setattr__(value, name, fields[name])
        return value

    def describe(self, value: Any) -> dict[str, Any]:
        return {"preview": preview(_fields(value))}


class ModelMaterializer(BufferMaterializer):
    """A pydantic model, validated again when it is loaded."""

    name = "pydantic"
    extension = ".pydantic.json"

    def write(self, value: Any, file: HashingFile) -> None:
        find_class(f"{type(value).__module__}.{type(value).__qualname__}")
        file.write(value.model_dump_json(round_trip=True).encode())

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        from pydantic import BaseModel, ValidationError

        cls = find_class(request.type)
        if not (isinstance(cls, type) and issubclass(cls, BaseModel)):
            raise ArtifactCorrupted(f"{request.type} is not a pydantic model.", type=request.type)
        try:
            return cls.model_validate_json(bytes(data))
        except ValidationError as error:
            raise ArtifactCorrupted(
                f"{request.type} does not accept what was stored: {error}.", type=request.type
            ) from error

    def describe(self, value: Any) -> dict[str, Any]:
        return {"preview": preview(value.model_dump(mode="json"))}


def _fields(value: Any) -> dict[str, Any]:
    return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}


def find_class(name: str) -> Any:
    """``package.module.Outer.Inner``: the longest part that imports is the module. Raises ``MaterializerNotFound``."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        try:
            module = import_module(".".join(parts[:cut]))
            return reduce(getattr, parts[cut:], module)
        except (ModuleNotFoundError, AttributeError, ValueError):
            continue
    raise MaterializerNotFound(
        f"The class {name} cannot be imported, so its values can be neither stored nor loaded.",
        hint="Define it at the top level of a module that is installed here.",
        type=name,
    )
