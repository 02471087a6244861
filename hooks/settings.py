"""Airflow configuration and connections -> :class:`~windsock.provider.settings.Settings`.

The ``[windsock]`` section is read through Airflow's own configuration, so ``airflow.cfg``, ``AIRFLOW__WINDSOCK__*``,
``_CMD`` and ``_SECRET`` all work. If ``[windsock] connection`` names a connection of type ``windsock``, the database
and the stack come from there; nothing is looked up otherwise, because each look-up is a call to the API server.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING

from ..provider.settings import Settings

if TYPE_CHECKING:
    from ..provider.security.credentials import Connection

_OPTIONS = ("home", "sql_alchemy_conn", "stack", "stacks_folder", "actor", "step_cache")


@lru_cache(maxsize=8)
def airflow_settings(windsock_conn_id: str | None = None) -> Settings:
    """The settings of this Airflow installation, resolved once a process.

    :param windsock_conn_id: connection of type ``windsock``; default: what ``[windsock] connection`` names, if any.
    """
    from airflow.sdk.configuration import conf

    options = {name: conf.get("windsock", name, fallback=None) for name in _OPTIONS}
    options["actor"] = options["actor"] or "airflow"
    settings = Settings.load(options)
    conn_id = windsock_conn_id or conf.get("windsock", "connection", fallback=None)
    if not conn_id:
        return settings
    from .connections import AirflowCredentials

    return _with_connection(settings, AirflowCredentials().connection(conn_id))


def _with_connection(settings: Settings, connection: Connection) -> Settings:
    changes: dict[str, str] = {}
    if connection.host or connection.schema:
        from ..provider.metadata.component import connection_url

        changes["sql_alchemy_conn"] = connection_url(connection)
    if stack := connection.extra.get("stack"):
        changes["stack"] = str(stack)
    return replace(settings, **changes)  # type: ignore[arg-type]
