"""The metadata database as a stack component: where it is, and whether it answers."""

from __future__ import annotations

from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from pydantic import Field, model_validator

from ..component import CheckResult, Component, ComponentConfig
from ..errors import ComponentInvalid, MissingExtra

if TYPE_CHECKING:
    from typing_extensions import Self

    from ..security.credentials import Connection
    from . import Metadata

_DRIVERS = {
    "mysql": ("mysql+pymysql", "pymysql", "mysql"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgres"),
    "postgresql": ("postgresql+psycopg", "psycopg", "postgres"),
    "sqlite": ("sqlite", "sqlite3", ""),
}
"""Airflow's connection type -> SQLAlchemy's driver, its module, and the extra that brings it."""


class SqlMetadataStoreConfig(ComponentConfig):
    """``connection`` is an Airflow connection id, ``url`` an SQLAlchemy URL without a password; or neither."""

    connection: str | None = None
    url: str | None = Field(default=None, repr=False)

    @model_validator(mode="after")
    def _not_both(self) -> Self:
        if self.connection and self.url:
            raise ValueError("say connection or url, not both")
        return self


class SqlMetadataStore(Component):
    """SQLite, PostgreSQL, MySQL or MariaDB. Without options: ``[windsock] sql_alchemy_conn``."""

    kind = "metadata_store"
    Config = SqlMetadataStoreConfig

    def url(self) -> str:
        """The SQLAlchemy URL, **with** its password: for the engine, never for a log."""
        if self.config.connection:
            return connection_url(self.context.credentials.connection(self.config.connection))
        return str(self.config.url or self.context.settings.sql_alchemy_conn)

    def open(self) -> Metadata:
        """Raises ``MetadataUnavailable``, ``SchemaOutdated``."""
        from . import Metadata

        return Metadata.open(self.url())

    def check(self) -> CheckResult:
        """Write an audit event and roll it back: proves connection, schema and the right to write."""
        metadata = self.open()
        try:
            with metadata.transaction():
                metadata.audit.append(
                    actor="windsock", action="check", subject_kind="stack", subject="check", before=None, after=None
                )
                raise _RollBack
        except _RollBack:
            return CheckResult(ok=True, detail=f"{safe_url(self.url())}: wrote a row and rolled it back")


class _RollBack(Exception):
    pass


def connection_url(connection: Connection) -> str:
    """An Airflow connection as an SQLAlchemy URL, password included."""
    from sqlalchemy import URL

    kind = connection.conn_type
    if kind == "windsock":  # a type of ours, which says in a field of its own what it is
        kind = str(connection.extra.get("dialect") or "postgresql")
    try:
        driver, module, extra = _DRIVERS[kind]
    except KeyError:
        raise ComponentInvalid(
            f'Connection "{connection.conn_id}" is of type "{kind}", which is no database.',
            hint=f"Use one of: {', '.join(sorted(_DRIVERS))}.",
        ) from None
    if find_spec(module) is None:
        raise MissingExtra(
            f'Connection "{connection.conn_id}" needs {module}, which is not installed.',
            hint=f"Run: pip install 'airflow-provider-windsock[{extra}]'",
        )
    if driver == "sqlite":
        return f"sqlite:///{connection.host or connection.schema or ''}"
    url = URL.create(
        driver,
        username=connection.login,
        password=connection.password,
        host=connection.host,
        port=connection.port,
        database=connection.schema,
        query=_query(connection.extra, driver),
    )
    return url.render_as_string(hide_password=False)


def safe_url(url: str) -> str:
    """The URL with its password as ``***``."""
    from sqlalchemy import make_url

    return make_url(url).render_as_string(hide_password=True)


def _query(extra: Any, driver: str) -> dict[str, str]:
    """Connection options of the driver (``sslmode``, ``connect_timeout``…), without Airflow's own extras."""
    given = dict(extra)
    if isinstance(tls := given.get("ssl"), dict):  # as Airflow's own MySQL hook reads them
        given |= {f"ssl_{name}": value for name, value in tls.items()}
    return {k: str(v) for k, v in given.items() if isinstance(v, (str, int)) and k in _OPTIONS[driver]}


_OPTIONS = {
    "postgresql+psycopg": {
        *("sslmode", "sslrootcert", "sslcert", "sslkey", "connect_timeout", "application_name", "options"),
    },
    "mysql+pymysql": {
        *("ssl_ca", "ssl_capath", "ssl_cert", "ssl_key", "ssl_check_hostname", "connect_timeout", "read_timeout"),
    },
}
