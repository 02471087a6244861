"""Values made of plain Python data, as JSON that any tool can read.

Standard JSON, so a file is what you expect for dicts with text keys, lists, text, numbers, booleans and None. What
JSON lacks is tagged with one reserved key: ``{"$float": "nan"}``, ``{"$tuple": […]}``, ``{"$datetime": "…"}``. Nothing
is silently changed: what comes back has the types and the values that went in, but for numpy numbers inside
containers, which become Python numbers.
"""

from __future__ import annotations

import base64
import datetime as dt
import json
import math
import sys
from collections.abc import Callable, Mapping
from decimal import Decimal
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ...errors import ArtifactCorrupted, MaterializerNotFound
from .base import BufferMaterializer, LoadRequest

if TYPE_CHECKING:
    from ..digests import HashingFile

_PREVIEW_ITEMS = 20
_PREVIEW_TEXT = 500

Encode = Callable[[Any, str], Any]
Decode = Callable[[dict[str, Any]], Any]


class JsonMaterializer(BufferMaterializer):
    """dict, list, tuple, set, str keys or other plain keys, int, float (NaN-safe), bool, None, dates, Decimal, UUID."""

    name = "json"
    extension = ".json"

    def write(self, value: Any, file: HashingFile) -> None:
        file.write(dumps(encode(value)))

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        try:
            return decode(json.loads(bytes(data)))
        except (ValueError, KeyError, TypeError) as error:
            raise ArtifactCorrupted(f"The artifact's JSON cannot be read: {error}.") from error

    def describe(self, value: Any) -> dict[str, Any]:
        facts: dict[str, Any] = {"preview": preview(value)}
        if isinstance(value, (dict, list, tuple, set, frozenset)):
            facts["length"] = len(value)
        return facts


class TextMaterializer(BufferMaterializer):
    """str, as UTF-8 text."""

    name = "text"
    extension = ".txt"

    def write(self, value: Any, file: HashingFile) -> None:
        file.write(value.encode("utf-8", "surrogatepass"))

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        return bytes(data).decode("utf-8", "surrogatepass")

    def describe(self, value: Any) -> dict[str, Any]:
        return {"length": len(value), "preview": value[:_PREVIEW_TEXT]}


class BytesMaterializer(BufferMaterializer):
    """bytes, bytearray, memoryview, as they are."""

    name = "bytes"
    extension = ".bin"

    def write(self, value: Any, file: HashingFile) -> None:
        file.write(value if not isinstance(value, memoryview) else value.tobytes())

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        return bytearray(data) if request.type.endswith("bytearray") else bytes(data)

    def describe(self, value: Any) -> dict[str, Any]:
        return {"length": len(value)}


def dumps(data: Any) -> bytes:
    text = json.dumps(data, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "surrogatepass")


def encode(value: Any, other: Encode | None = None, where: str = "value") -> Any:  # noqa: PLR0911 - a case a type
    """Plain data as standard JSON. ``other`` encodes what is not plain; without it that is ``MaterializerNotFound``."""
    kind = type(value)
    if value is None or kind in (str, bool, int):
        return value
    if kind is float:
        return value if math.isfinite(value) else {"$float": str(value)}
    if kind is list:
        return [encode(item, other, f"{where}[{i}]") for i, item in enumerate(value)]
    if kind is dict:
        return _encode_dict(value, other, where)
    encoder = _ENCODERS.get(kind)
    if encoder is not None:
        return encoder(value, other, where)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(value, (numpy.bool_, numpy.integer, numpy.floating)):
        plain = value.item()
        if type(plain) in (bool, int, float):  # a long double stays what it is, and is not plain
            return encode(plain)
    if isinstance(value, PurePath):
        return {"$path": str(value)}
    if other is not None:
        return other(value, where)
    raise MaterializerNotFound(
        f"{where} is a {kind.__module__}.{kind.__qualname__}, which JSON cannot hold.",
        hint="Return plain data, or give the step several outputs, each of a type that Windsock can store.",
        where=where,
    )


def _encode_dict(value: dict[Any, Any], other: Encode | None, where: str) -> Any:
    if all(type(key) is str and not key.startswith("$") for key in value):
        return {key: encode(item, other, f"{where}[{key!r}]") for key, item in value.items()}
    return {
        "$dict": [[encode(k, None, f"a key of {where}"), encode(v, other, f"{where}[{k!r}]")] for k, v in value.items()]
    }


def _encode_items(tag: str) -> Callable[[Any, Encode | None, str], Any]:
    def run(value: Any, other: Encode | None, where: str) -> Any:
        return {tag: [encode(item, other, f"{where}[{i}]") for i, item in enumerate(value)]}

    return run


def _encode_set(tag: str) -> Callable[[Any, Encode | None, str], Any]:
    def run(value: Any, other: Encode | None, where: str) -> Any:
        # Sorted by their text: a set has no order, and the same set must give the same bytes.
        return {tag: sorted((encode(item, None, f"an item of {where}") for item in value), key=json.dumps)}

    return run


_ENCODERS: Mapping[type, Callable[[Any, Encode | None, str], Any]] = {
    tuple: _encode_items("$tuple"),
    set: _encode_set("$set"),
    frozenset: _encode_set("$frozenset"),
    bytes: lambda value, _, __: {"$bytes": base64.b64encode(value).decode()},
    complex: lambda value, _, __: {"$complex": [encode(value.real), encode(value.imag)]},
    dt.datetime: lambda value, _, __: {"$datetime": value.isoformat()},
    dt.date: lambda value, _, __: {"$date": value.isoformat()},
    dt.time: lambda value, _, __: {"$time": value.isoformat()},
    dt.timedelta: lambda value, _, __: {"$timedelta": [value.days, value.seconds, value.microseconds]},
    Decimal: lambda value, _, __: {"$decimal": str(value)},
    UUID: lambda value, _, __: {"$uuid": str(value)},
}


def decode(data: Any, other: Decode | None = None) -> Any:
    """The plain data again. ``other`` decodes the tags that :func:`encode`'s ``other`` wrote."""
    if isinstance(data, list):
        return [decode(item, other) for item in data]
    if not isinstance(data, dict):
        return data
    if len(data) == 1:
        ((tag, content),) = data.items()
        if tag.startswith("$"):
            return _decode_tag(tag, content, data, other)
    return {key: decode(item, other) for key, item in data.items()}


def _decode_tag(tag: str, content: Any, data: dict[str, Any], other: Decode | None) -> Any:
    if tag in _CONTAINERS:
        return _CONTAINERS[tag](decode(item, other) for item in content)
    if tag == "$dict":
        return {decode(key, other): decode(item, other) for key, item in content}
    if tag in _SCALARS:
        return _SCALARS[tag](content)
    if other is not None:
        return other(data)
    raise ArtifactCorrupted(f"The artifact's JSON has the tag {tag!r}, which this version does not know.", tag=tag)


_CONTAINERS: Mapping[str, Callable[[Any], Any]] = {"$tuple": tuple, "$set": set, "$frozenset": frozenset}
_SCALARS: Mapping[str, Callable[[Any], Any]] = {
    "$float": float,
    "$bytes": base64.b64decode,
    "$complex": lambda parts: complex(decode(parts[0]), decode(parts[1])),
    "$datetime": dt.datetime.fromisoformat,
    "$date": dt.date.fromisoformat,
    "$time": dt.time.fromisoformat,
    "$timedelta": lambda parts: dt.timedelta(*parts),
    "$decimal": Decimal,
    "$uuid": UUID,
    "$path": Path,
}


def preview(value: Any, depth: int = 3) -> Any:
    """A small part of a value as standard JSON, for people to look at; never the whole of something big."""
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    if type(value).__module__ == "numpy" and hasattr(value, "item") and value.ndim == 0:
        return preview(value.item(), 0)
    if isinstance(value, Mapping) and depth:
        return {str(k): preview(value[k], depth - 1) for k in list(value)[:_PREVIEW_ITEMS]}
    if isinstance(value, (list, tuple)) and depth:
        return [preview(item, depth - 1) for item in value[:_PREVIEW_ITEMS]]
    text = value if isinstance(value, str) else str(value)
    return text if len(text) <= _PREVIEW_TEXT else text[:_PREVIEW_TEXT] + "…"
