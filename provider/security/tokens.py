"""Tokens: what a process proves itself with to Airflow's API server."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from ..errors import TokenInvalid

if TYPE_CHECKING:
    from collections.abc import Mapping

VARIABLE = "WINDSOCK_API_TOKEN"


class TokenSource(Protocol):
    """Gives a token that is valid now. Thread-safe, cheap to ask; never logs one."""

    def token(self, *, renew: bool = False) -> str:
        """``renew``: the last one was refused. Raises ``TokenInvalid``, ``NotPermitted``, ``MetadataUnavailable``."""
        ...


@runtime_checkable
class Identity(Protocol):
    """Credentials that can prove to an API server who this process is."""

    def tokens(self, url: str, ca_file: str | None = None) -> TokenSource: ...


class EnvironmentToken:
    """A token that somebody put into the environment, for people and for machines that are no tasks."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def __repr__(self) -> str:
        return f"<EnvironmentToken {VARIABLE}>"

    def token(self, *, renew: bool = False) -> str:
        text = self._environ.get(VARIABLE, "").strip()
        if not text or renew:
            said = "was refused: it has expired, or is for another Airflow" if text else "is not set"
            raise TokenInvalid(
                f"{VARIABLE} {said}.",
                hint=f"Ask Airflow for a token (POST /auth/token with username and password) and set {VARIABLE} to it.",
            )
        return text
