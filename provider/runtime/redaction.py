"""One line about an exception, without secrets.

An error of a database driver or of a cloud SDK often quotes the URL that it was given. What is recorded and logged
goes through here. It hides the passwords of URLs, ``password=…`` pairs and the passwords of the connections that this
process can read from its environment. It does not guess what else may be secret: a parameter's value is the user's.
"""

from __future__ import annotations

import os
import re
from functools import lru_cache

_URL_PASSWORD = re.compile(r"(?P<head>[a-z][a-z0-9+.\-]*://[^\s:/@'\"]*:)[^\s@]+(?=@)", re.IGNORECASE)
_PAIR = re.compile(
    r"(?P<key>\b(?:password|passwd|pwd|secret|token|api[_-]?key|access[_-]?key|secret[_-]?access[_-]?key)"
    r"['\"]?\s*[=:]\s*['\"]?)(?P<value>[^\s'\",;&)]+)",
    re.IGNORECASE,
)
_LIMIT = 500


def error_line(error: BaseException) -> str:
    """``ValueError: could not convert …``: at most 500 characters, one line, no secrets."""
    text = " ".join(str(getattr(error, "message", None) or error).split())
    line = f"{type(error).__name__}: {text}" if text else type(error).__name__
    line = redact(line)
    return line if len(line) <= _LIMIT else line[: _LIMIT - 1] + "…"


def redact(text: str) -> str:
    text = _URL_PASSWORD.sub(r"\g<head>***", text)
    text = _PAIR.sub(r"\g<key>***", text)
    for secret in _known_secrets():
        text = text.replace(secret, "***")
    return text


def _known_secrets() -> tuple[str, ...]:
    return tuple(
        secret
        for name, value in os.environ.items()
        if name.startswith("AIRFLOW_CONN_")
        if (secret := _password(name, value))
    )


@lru_cache(maxsize=256)
def _password(name: str, value: str) -> str | None:
    from ..security.credentials import parse_connection

    try:
        password = parse_connection(name, value).password
    except Exception:  # noqa: BLE001 - a broken connection is not this module's to report
        return None
    return password if password and len(password) > 3 else None
