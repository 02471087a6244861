"""Credentials: the one seam through which secrets reach a component.

A stack names Airflow connection ids and nothing else. Inside Airflow, ``hooks/`` implements this protocol with the
official hooks; outside (CLI, model server, remote job), :class:`EnvironmentCredentials` reads the same
``AIRFLOW_CONN_<ID>`` variables that Airflow reads.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import parse_qsl, unquote, urlsplit

from ..errors import ConnectionNotFound

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True)
class Connection:
    """An Airflow connection as plain data. ``repr`` shows no secret."""

    conn_id: str
    conn_type: str
    host: str | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    schema: str | None = None
    port: int | None = None
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)


class Credentials(Protocol):
    """Turns a connection id into a connection.

    Thread-safe and idempotent. Raises ``ConnectionNotFound``.
    """

    def connection(self, conn_id: str) -> Connection: ...


class EnvironmentCredentials:
    """Connections from ``AIRFLOW_CONN_<ID>``, as JSON or as a URI, in Airflow's own two notations."""

    def __init__(self, environ: Mapping[str, str] | None = None) -> None:
        self._environ = os.environ if environ is None else environ

    def connection(self, conn_id: str) -> Connection:
        variable = f"AIRFLOW_CONN_{conn_id.upper()}"
        text = self._environ.get(variable)
        if not text:
            raise ConnectionNotFound(
                f'Connection "{conn_id}" is not known here: {variable} is not set.',
                hint=f"Set {variable} (JSON or URI), or run this inside Airflow, where the connection is defined.",
                conn_id=conn_id,
            )
        return parse_connection(conn_id, text)


def parse_connection(conn_id: str, text: str) -> Connection:
    """Read Airflow's JSON or URI notation of a connection."""
    if text.lstrip().startswith("{"):
        data = json.loads(text)
        extra = data.get("extra") or {}
        if isinstance(extra, str):
            extra = json.loads(extra) if extra.strip() else {}
        return Connection(
            conn_id=conn_id,
            conn_type=data.get("conn_type", ""),
            host=data.get("host"),
            login=data.get("login"),
            password=data.get("password"),
            schema=data.get("schema"),
            port=int(data["port"]) if data.get("port") else None,
            extra=extra,
        )
    url = urlsplit(text)
    query = dict(parse_qsl(url.query, keep_blank_values=True))
    extra = json.loads(query["__extra__"]) if "__extra__" in query else query
    return Connection(
        conn_id=conn_id,
        conn_type=url.scheme.replace("-", "_"),
        host=unquote(url.hostname) if url.hostname else None,
        login=unquote(url.username) if url.username else None,
        password=unquote(url.password) if url.password else None,
        schema=unquote(url.path[1:]) or None,
        port=url.port,
        extra=extra,
    )
