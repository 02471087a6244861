"""Airflow connections as the core's ``Credentials``: the only place where secrets enter Windsock."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

from airflow.sdk import BaseHook

from ..provider.errors import ConnectionNotFound
from ..provider.security.credentials import Connection

if TYPE_CHECKING:
    from ..provider.security.tokens import TokenSource


class AirflowCredentials:
    """Implements :class:`~windsock.provider.security.credentials.Credentials` with Airflow's own look-up.

    Environment variables, secrets backends and the connection table are searched in the order that the installation
    configures. Thread-safe; holds no connection.
    """

    def connection(self, conn_id: str) -> Connection:
        """Look up a connection. Raises ``ConnectionNotFound``."""
        from airflow.sdk.exceptions import AirflowNotFoundException, AirflowRuntimeError

        try:
            found = BaseHook.get_connection(conn_id)
        except (AirflowNotFoundException, AirflowRuntimeError) as error:
            raise ConnectionNotFound(
                f'Airflow connection "{conn_id}" was not found: {type(error).__name__}.',
                hint=f"Create it: airflow connections add {conn_id} --conn-type …",
                conn_id=conn_id,
            ) from None
        return Connection(
            conn_id=conn_id,
            conn_type=found.conn_type or "",
            host=found.host,
            login=found.login,
            password=found.password,
            schema=found.schema,
            port=found.port,
            extra=found.extra_dejson or {},
        )

    def tokens(self, url: str, ca_file: str | None = None) -> TokenSource:
        """What this process proves itself with to the API server: as the task that it runs."""
        return _tokens(url, ca_file)


@lru_cache(maxsize=8)
def _tokens(url: str, ca_file: str | None) -> TokenSource:
    from .tokens import TaskTokens

    return TaskTokens(url, ca_file)
