"""Which schema a database has, asked with one SELECT and without Alembic."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, Select, column, select, table, text
from sqlalchemy.exc import DBAPIError, OperationalError, ProgrammingError

from ..errors import SchemaOutdated
from . import schema
from .engine import BUSY_TIMEOUT_MS, dispose, engine_for

if TYPE_CHECKING:
    from .database import Database

_VERSION: Select[Any] = select(column("version_num")).select_from(table(schema.VERSION_TABLE))
_checked: set[URL] = set()


@dataclass(frozen=True)
class SchemaState:
    """``current`` is None when there is no schema; ``ok`` when this code can work with it."""

    current: str | None
    head: str

    @property
    def ok(self) -> bool:
        return self.current == self.head


def current(database: Database) -> str | None:
    """The revision of the database's schema. Raises ``MetadataUnavailable``."""
    try:
        with engine_for(database.url).connect() as connection:
            return connection.execute(_VERSION).scalar()
    except (OperationalError, ProgrammingError) as error:
        if _no_table(error):
            return None
        raise database.translated(error) from None
    except DBAPIError as error:
        raise database.translated(error) from None


def _no_table(error: DBAPIError) -> bool:
    """Whether the table is missing, in the words of PostgreSQL, SQLite and MySQL."""
    cause: Any = error.orig
    return getattr(cause, "sqlstate", None) == "42P01" or "no such table" in str(cause) or cause.args[:1] == (1146,)


def ensure(database: Database) -> None:
    """Make the tables of an empty SQLite file; otherwise raise ``SchemaOutdated`` unless the schema is this one."""
    key = database.url
    if key in _checked:
        if _still_there(database):
            return
        dispose(key)  # the pooled connections lead into a file that was removed
    found = current(database)
    if found is None and database.url.get_backend_name() == "sqlite":
        found = _create(database)
    state = SchemaState(found, schema.HEAD)
    if not state.ok:
        raise outdated(database, state)
    _checked.add(key)


def outdated(database: Database, state: SchemaState) -> SchemaOutdated:
    """The one sentence, and what to do."""
    facts = {"url": database.name, "current": state.current, "head": state.head}
    if state.current is None:
        message = f"The metadata database {database.name} has no Windsock tables yet."
    elif state.current < state.head:
        message = f"The metadata database {database.name} has schema {state.current}; this Windsock needs {state.head}."
    else:
        return SchemaOutdated(
            f"The metadata database {database.name} has schema {state.current}, which is newer than the {state.head} "
            "of this Windsock.",
            hint="Run: pip install --upgrade airflow-provider-windsock  (then: windsock db upgrade)",
            **facts,
        )
    return SchemaOutdated(message, hint="Run: windsock db upgrade", **facts)


def _still_there(database: Database) -> bool:
    """A file may have been removed since it was checked (tests, a demo that starts afresh)."""
    from pathlib import Path

    path = database.url.database
    return database.url.get_backend_name() != "sqlite" or bool(path and Path(path).exists())


def _create(database: Database) -> str | None:
    """Make all tables in one transaction, unless another process just did, or the file is somebody else's."""
    try:
        prepare(database)
        with database.transaction() as connection:
            found = {row[0] for row in connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'"))}
            if schema.VERSION_TABLE in found:
                return connection.execute(_VERSION).scalar()
            if found:
                return None
            schema.metadata.create_all(connection, checkfirst=False)
            stamp(connection)
            return schema.HEAD
    except DBAPIError as error:
        raise database.translated(error) from None


def prepare(database: Database) -> None:
    """Before the first table: what SQLite cannot do inside a transaction."""
    if database.url.get_backend_name() == "sqlite":
        with engine_for(database.url).connect() as connection:
            _write_ahead(connection)


def stamp(connection: Connection) -> None:
    """Write Alembic's own version table, as it would."""
    name = schema.VERSION_TABLE
    connection.execute(
        text(f"CREATE TABLE {name} (version_num VARCHAR(32) NOT NULL, CONSTRAINT {name}_pkc PRIMARY KEY (version_num))")
    )
    connection.execute(text(f"INSERT INTO {name} (version_num) VALUES (:head)"), {"head": schema.HEAD})  # noqa: S608


def _write_ahead(connection: Connection) -> None:
    """Switch the file to write-ahead logging, for good. SQLite does not wait for a lock here: we do."""
    deadline = time.monotonic() + BUSY_TIMEOUT_MS / 1000
    while True:
        try:
            if connection.exec_driver_sql("PRAGMA journal_mode=WAL").scalar() == "wal":
                return
        except OperationalError as error:
            if "locked" not in str(error.orig):
                raise
        if time.monotonic() > deadline:
            return  # a file system without shared memory: slower, but right
        time.sleep(0.01)
