"""What may leave the server: no password, no token, no database URL, no rows of anybody's data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...provider.errors import MetadataUnavailable, WindsockError
from ...provider.runtime.redaction import redact

HIDDEN = "***"
# What a key is called whose value nobody may read. Names of connections are no secrets, and stay.
_SECRET_KEY = re.compile(
    r"passw|secret|token|api_?key|access_?key|private_?key|account_?key|credential|dsn|connection_string|sql_alchemy",
    re.IGNORECASE,
)
_DATABASE = re.compile(
    r"\b(sqlite|postgres(?:ql)?|mysql|mariadb|oracle|mssql)(?:\+\w+)?:/{2,4}[^\s'\",;)]*[^\s'\",;):.]", re.IGNORECASE
)
_ROWS = frozenset({"preview", "thumbnail"})


def text(value: str) -> str:
    """A sentence without passwords and without the addresses of databases."""
    return redact(_DATABASE.sub(lambda found: found[1].lower(), value))


def options(kind: str, given: Mapping[str, Any]) -> dict[str, Any]:
    """A component's options as they stand in the stack's file, without what does not belong there."""
    secret = {"url"} if kind == "metadata_store" else set()
    return {key: HIDDEN if key in secret else _value(key, value) for key, value in given.items() if key != "flavor"}


def change(given: Mapping[str, Any]) -> dict[str, Any]:
    """What an audit event says that a thing was, or became."""
    return {key: _value(key, value) for key, value in given.items()}


def facts(given: Mapping[str, Any]) -> dict[str, Any]:
    """What is known about an artifact, without a look into it."""
    return {key: value for key, value in given.items() if key not in _ROWS}


def problem(error: WindsockError) -> dict[str, Any]:
    """The body of every answer that is no success: ``{"error", "detail", "hint"}``."""
    # Drivers like to tell all they know about their server.
    down = isinstance(error, MetadataUnavailable)
    detail = "The metadata database does not answer." if down else text(error.message)
    return {"error": type(error).__name__, "detail": detail, "hint": text(error.hint) if error.hint else None}


def _value(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key):
        return HIDDEN
    if isinstance(value, Mapping):
        return {str(inner): _value(str(inner), one) for inner, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [_value(key, one) for one in value]
    return redact(value) if isinstance(value, str) else value
