"""Airflow connections as the core's ``Credentials``: the only place where secrets enter Windsock."""

from __future__ import annotations

from airflow.sdk import BaseHook

from ..provider.errors import ConnectionNotFound
from ..provider.security.credentials import Connection


class AirflowCredentials:
    """Implements :class:`~windsock.provider.security.credentials.Credentials` with Airflow's own look-up.

    Environment variables, secrets backends and the connection table are searched in the order that the installation
    configures. Thread-safe; holds nothing.
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
