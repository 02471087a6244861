"""What travels: arguments and answers as JSON, errors as errors.

A value arrives as the one that was sent: NaN and infinity travel as the numbers they are (JSON's own parsers refuse
them, pydantic's reads them), and what users put into JSON fields without it being JSON travels as what the database
would have kept of it.
"""

from __future__ import annotations

import gzip
import json
import math
import zlib
from datetime import datetime, timezone
from typing import Any

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_json

from ... import errors
from ...errors import MetadataError, WindsockError
from ..columns import clean_text
from ..records import Page, Record

BIG = 256 * 1024
"""Bytes from which on a body is compressed: below, it takes longer than it saves."""

LIMIT = 64 * 1024 * 1024
"""Bytes that a body may have, unpacked."""

_PLAIN: dict[str, type[Exception]] = {"ValueError": ValueError, "TypeError": TypeError, "OverflowError": OverflowError}


def encode_arguments(arguments: dict[str, Any]) -> bytes:
    plain = {name: value.model_dump() if isinstance(value, BaseModel) else value for name, value in arguments.items()}
    try:
        return to_json(plain, inf_nan_mode="constants", fallback=_kept)
    except (PydanticSerializationError, UnicodeEncodeError):  # a lone surrogate, or a key that is no text
        return to_json(_cleaned(plain), inf_nan_mode="constants", fallback=_kept)


def encode_answer(answer: Any) -> bytes:
    return to_json(answer, inf_nan_mode="constants", fallback=str)


def encode_error(error: Exception) -> dict[str, Any]:
    """``{"error", "detail", "hint", "facts"}``: facts are what of them is JSON."""
    if not isinstance(error, WindsockError):
        return {"error": type(error).__name__, "detail": str(error), "hint": None, "facts": {}}
    facts = {name: value for name, value in error.facts.items() if name != "url" and _is_json(value)}
    return {"error": type(error).__name__, "detail": error.message, "hint": error.hint, "facts": facts}


def decode_error(body: Any) -> Exception | None:
    """The error that the server raised, of the same class; None if the body tells of none."""
    if not isinstance(body, dict) or not isinstance(body.get("error"), str):
        return None
    name, detail = body["error"], str(body.get("detail") or "")
    if name in _PLAIN:
        return _PLAIN[name](detail)
    kind = getattr(errors, name, None)
    if isinstance(kind, type) and issubclass(kind, WindsockError):
        facts = body.get("facts")
        return kind(detail, hint=body.get("hint"), **(facts if isinstance(facts, dict) else {}))
    return None


def in_utc(answer: Any) -> Any:
    """The answer with its times in ``timezone.utc``, as the database gives them; pydantic has a zone of its own."""
    if isinstance(answer, Record):
        for name, value in vars(answer).items():
            if isinstance(value, datetime):
                vars(answer)[name] = value.replace(tzinfo=timezone.utc)
    elif isinstance(answer, (Page, list, tuple)):
        for item in answer:
            in_utc(item)
    elif isinstance(answer, dict):
        for item in answer.values():
            in_utc(item)
    return answer


def pack(body: bytes) -> tuple[bytes, bool]:
    """The body, compressed if it is big; and whether it is."""
    return (gzip.compress(body, 1), True) if len(body) > BIG else (body, False)


def unpack(body: bytes) -> bytes:
    """Raises ``MetadataError`` for what is not gzip, and for more than :data:`LIMIT` bytes."""
    unpacker = zlib.decompressobj(wbits=31)
    try:
        data = unpacker.decompress(body, LIMIT)
    except zlib.error:
        raise MetadataError("The body says that it is compressed, and it is not.") from None
    if unpacker.unconsumed_tail or not unpacker.eof:
        raise too_big()
    return data


def too_big() -> MetadataError:
    return MetadataError(
        f"A call over REST may carry at most {LIMIT // 1024**2} MiB.",
        hint="Data belongs into an artifact; parameters, metrics and metadata are what describes it.",
    )


def _kept(value: Any) -> Any:
    """What the database keeps of a value that is no JSON: numpy's numbers and arrays, else its text."""
    if hasattr(value, "tolist") and hasattr(value, "dtype"):
        return value.tolist()
    return str(value)


def _cleaned(value: Any) -> Any:
    if isinstance(value, str):
        return clean_text(value)
    if isinstance(value, dict):
        return {_key(key): _cleaned(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_cleaned(inner) for inner in value]
    return value


def _key(key: Any) -> str:
    return str(clean_text(key if isinstance(key, str) else json.dumps(key, default=str).strip('"')))


def _is_json(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, (list, tuple)):
        return all(map(_is_json, value))
    if isinstance(value, dict):
        return all(isinstance(key, str) and _is_json(inner) for key, inner in value.items())
    return value is None or isinstance(value, (str, int, bool))
