"""Airflow configuration and connections -> :class:`~windsock.provider.settings.Settings`.

The ``[windsock]`` section is read through Airflow's own configuration, so ``airflow.cfg``, ``AIRFLOW__WINDSOCK__*``,
``_CMD`` and ``_SECRET`` all work. If ``[windsock] connection`` names a connection of type ``windsock``, the database
and the stack come from there; nothing is looked up otherwise, because each look-up is a call to the API server.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from ..provider.settings import DIRECT, Settings

if TYPE_CHECKING:
    from ..provider.security.credentials import Connection

_OPTIONS = (
    "home",
    "sql_alchemy_conn",
    "stack",
    "stacks_folder",
    "actor",
    "step_cache",
    "metadata_patience",
    "spool",
    "metadata_transport",
    "api_url",
    "artifact_cache_size",
    "metrics_pushgateway",
    "require_signatures",
    "signing_connection",
    "trusted_keys",
)


@lru_cache(maxsize=8)
def airflow_settings(windsock_conn_id: str | None = None) -> Settings:
    """The settings of this Airflow installation, resolved once a process.

    :param windsock_conn_id: connection of type ``windsock``; default: what ``[windsock] connection`` names, if any.
    """
    from airflow.sdk.configuration import conf

    options = {name: conf.get("windsock", name, fallback=None) for name in _OPTIONS}
    options["actor"] = options["actor"] or "airflow"
    options["api_url"] = options["api_url"] or _api_url(conf)
    settings = Settings.load(options)
    conn_id = windsock_conn_id or conf.get("windsock", "connection", fallback=None)
    if not conn_id:
        return settings
    from .connections import AirflowCredentials

    return _with_connection(settings, AirflowCredentials().connection(conn_id))


def server_settings() -> Settings:
    """The settings of a process that has the metadata database by its side: API server, scheduler, triggerer.

    ``metadata_transport`` is about the others, which ask the API server; it may well be set for the installation.
    """
    return replace(airflow_settings(), metadata_transport=DIRECT)


def _api_url(conf: Any) -> str | None:
    """Windsock on the API server that tasks talk to anyway."""
    url = conf.get("core", "execution_api_server_url", fallback=None)
    if not url and (base := conf.get("api", "base_url", fallback=None)):
        url = f"{base.rstrip('/')}/execution/"
    return f"{url.rstrip('/').removesuffix('/execution')}/windsock" if url else None


def _with_connection(settings: Settings, connection: Connection) -> Settings:
    changes: dict[str, str] = {}
    if connection.host or connection.schema:
        from ..provider.metadata.component import connection_url

        changes["sql_alchemy_conn"] = connection_url(connection)
    if stack := connection.extra.get("stack"):
        changes["stack"] = str(stack)
    return replace(settings, **changes)  # type: ignore[arg-type]
