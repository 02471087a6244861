"""Making and changing the schema: what ``windsock db upgrade`` and ``windsock db check`` call.

Alembic is imported here, inside the functions, and nowhere else: opening a database does not need it.
"""

from __future__ import annotations

from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.exc import DBAPIError

from ..errors import MetadataUnavailable, RecordNotFound
from . import schema
from .database import Database
from .state import SchemaState, current

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection

MIGRATIONS = Path(__file__).parent / "migrations"

_LOCK = "CONCAT('windsock.', SHA1(DATABASE()))"  # MySQL's names of locks are the server's, and end at 64 characters
_PATIENCE_S = 600


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
    at the old one, never between. On MySQL, which commits each change of a schema at once, a call that was cut off is
    finished by the next one. Raises ``MetadataUnavailable``.
    """
    return _migrate(url, "upgrade", revision) or ""


def downgrade(url: str, revision: str) -> str | None:
    """Bring the database back to ``revision`` (``base``: no tables, **no data**).

    Rows are kept as far as the older schema has a place for them. Only an older Windsock works with what comes out.
    A database that is at that revision or an older one is left alone.
    """
    return _migrate(url, "downgrade", revision)


def _migrate(url: str, command: str, revision: str) -> str | None:
    from alembic import command as commands

    from .state import outdated, prepare

    known(revision)
    database, found = Database(url), check(url).current
    steps = ["base", *revisions()]
    if found is not None and found not in steps:
        raise outdated(database, SchemaState(found, schema.HEAD))
    if command == "downgrade" and steps.index(found or "base") <= steps.index(
        revision if revision in steps else steps[-1]
    ):
        return found
    try:
        prepare(database)
        with database.transaction() as connection, alone(connection):
            getattr(commands, command)(_config(connection), revision)
    except DBAPIError as error:
        raise database.translated(error) from None
    return current(database)


def revisions() -> tuple[str, ...]:
    """Every revision of the schema that this Windsock knows, the oldest first."""
    from alembic.script import ScriptDirectory

    scripts = ScriptDirectory(str(MIGRATIONS), version_locations=[str(MIGRATIONS / "versions")])
    return tuple(script.revision for script in scripts.walk_revisions())[::-1]


def known(revision: str) -> None:
    """Raises ``RecordNotFound`` unless ``revision`` is one of :func:`revisions`, ``head`` or ``base``."""
    names = ["base", *revisions(), "head"]
    if revision not in names:
        raise RecordNotFound(
            f"There is no schema revision {revision!r}.", hint=f"Known: {', '.join(names)}.", revision=revision
        )


@contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Let one process at a time change the schema. SQLite's write transaction does that by itself.

    PostgreSQL holds the lock until the transaction ends; MySQL's transaction ends at the first change, so there it is
    a lock of the session.
    """
    dialect = connection.dialect.name
    if dialect == "postgresql":
        from .patient import unhurried

        with unhurried(connection):
            connection.exec_driver_sql("SELECT pg_advisory_xact_lock(1464421956, 0)")
            yield
    elif dialect == "mysql":
        with _alone_on_mysql(connection):
            yield
    else:
        yield


@contextmanager
def _alone_on_mysql(connection: Connection) -> Iterator[None]:
    from .mysql import unhurried

    with unhurried(connection):
        if connection.exec_driver_sql(f"SELECT GET_LOCK({_LOCK}, {_PATIENCE_S})").scalar() != 1:
            raise MetadataUnavailable(
                f"Another process has been changing the schema of the metadata database for {_PATIENCE_S} s.",
                hint="Wait for it, then: windsock db check",
            )
        try:
            yield
        finally:
            if not connection.invalidated:
                connection.exec_driver_sql(f"SELECT RELEASE_LOCK({_LOCK})")


def _config(connection: Any) -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    return config
