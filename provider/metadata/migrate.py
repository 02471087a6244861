"""Making and changing the schema: what ``windsock db upgrade`` and ``windsock db check`` call.

Alembic is imported here, inside the functions, and nowhere else: opening a database does not need it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from . import schema
from .database import Database
from .state import SchemaState, current

MIGRATIONS = Path(__file__).parent / "migrations"


def check(url: str) -> SchemaState:
    """Which schema the database has, and which this code needs. Raises ``MetadataUnavailable``; changes nothing.

    Safe to call for an SQLite file that is missing: it is not made.
    """
    database = Database(url)
    path = database.url.database
    if database.url.get_backend_name() == "sqlite" and path and not Path(path).exists():
        return SchemaState(None, schema.HEAD)
    return SchemaState(current(database), schema.HEAD)


def upgrade(url: str, revision: str = "head") -> str:
    """Bring the database to ``revision``; returns the revision that it has then.

    Idempotent; safe when several processes call it at once. Each call is one transaction: it is at the new revision or
    at the old one, never between. Raises ``MetadataUnavailable``.
    """
    return _migrate(url, "upgrade", revision) or ""


def downgrade(url: str, revision: str) -> str | None:
    """Bring the database back to ``revision`` (``base``: no tables, **no data**)."""
    return _migrate(url, "downgrade", revision)


def _migrate(url: str, command: str, revision: str) -> str | None:
    from alembic import command as commands

    from .state import prepare

    database = Database(url)
    try:
        prepare(database)
        with database.transaction() as connection:
            lock(connection)
            getattr(commands, command)(_config(connection), revision)
    except DBAPIError as error:
        raise database.translated(error) from None
    return current(database)


def lock(connection: Any) -> None:
    """Let one process at a time change the schema. SQLite's write transaction does that by itself."""
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1464421956, 0)")


def _config(connection: Any) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
