"""One engine a process and database: made on first use, made again in a child after fork.

SQLite is set up so that many processes may share the file: write-ahead log (readers never wait for a writer),
``synchronous=NORMAL`` (a commit survives the death of the process; the last ones may be lost, whole, when the machine
loses power), a busy timeout of a minute, and ``BEGIN IMMEDIATE`` for writing: a transaction that begins as a reader
and turns into a writer is the one thing that no busy timeout helps.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, OperationalError

from ..errors import MetadataUnavailable, MissingExtra, SettingInvalid
from .columns import dumps, loads

BUSY_TIMEOUT_MS = 60_000
WRITE = "windsock_write"
"""Execution option of a connection that is going to write."""

_URLS = (
    "Write sqlite:////folder/windsock.db, postgresql://user:password@host:5432/database or "
    "mysql://user:password@host:3306/database."
)

_engines: dict[tuple[int, URL], Engine] = {}
_lock = threading.Lock()


def _after_fork() -> None:
    global _lock  # noqa: PLW0603 - a lock that another thread held while forking stays locked in the child
    _lock = threading.Lock()


os.register_at_fork(after_in_child=_after_fork)


def parse_url(text: str) -> URL:
    """The database named by ``[windsock] sql_alchemy_conn``, as a driver and an absolute path.

    Raises ``SettingInvalid``, which never repeats the text: there may be a password in it.
    """
    try:
        url = make_url(text)
    except (ArgumentError, ValueError):
        raise SettingInvalid(
            "[windsock] sql_alchemy_conn is no database URL.",
            hint=_URLS,
        ) from None
    backend = url.get_backend_name()
    if backend == "sqlite":
        if not url.database or url.database == ":memory:":
            raise SettingInvalid(
                "[windsock] sql_alchemy_conn names an SQLite database in memory, which other processes cannot see.",
                hint="Name a file: sqlite:////folder/windsock.db",
            )
        if url.database.startswith("file:"):
            return url
        return url.set(drivername="sqlite", database=str(Path(url.database).expanduser().absolute()))
    if backend in {"postgresql", "postgres"}:
        return url.set(drivername="postgresql+psycopg")
    if backend in {"mysql", "mariadb"}:
        return url.set(drivername="mysql+pymysql")
    raise SettingInvalid(
        f"[windsock] sql_alchemy_conn names a database of kind {backend!r}; SQLite, PostgreSQL, MySQL and MariaDB are "
        "supported.",
        hint=_URLS,
    )


def safe_url(url: URL) -> str:
    """The URL without password and without query, for messages."""
    return url.set(query={}).set(password=None).render_as_string()


def engine_for(url: URL) -> Engine:
    """This process's engine for ``url``. An engine inherited by fork is neither used nor closed here."""
    key = (os.getpid(), url)
    engine = _engines.get(key)
    if engine is None:
        with _lock:
            engine = _engines.get(key)
            if engine is None:
                engine = _engines[key] = _create(url)
    return engine


def dispose(url: URL) -> None:
    """Close this process's idle connections to ``url``."""
    with _lock:
        engine = _engines.pop((os.getpid(), url), None)
    if engine is not None:
        engine.dispose()


def _create(url: URL) -> Engine:
    options: dict[str, Any] = {"json_serializer": dumps, "json_deserializer": loads, "pool_size": 5}
    if url.get_backend_name() == "sqlite":
        _make_folder(url)
        # A connection is a file handle: better one more than a thread that waits.
        engine = create_engine(url, max_overflow=-1, connect_args={"timeout": BUSY_TIMEOUT_MS / 1000}, **options)
        event.listen(engine, "connect", _configure_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    is_mysql = url.get_backend_name() == "mysql"
    try:
        if is_mysql:
            return _create_mysql(url, options)
        return _create_postgresql(url, options)
    except ModuleNotFoundError as error:
        raise MissingExtra(
            f"The metadata database {safe_url(url)} needs {error.name}.",
            hint=f"Run: pip install 'airflow-provider-windsock[{'mysql' if is_mysql else 'postgres'}]'",
        ) from None


_POSTGRESQL = {
    "application_name": "windsock",
    "connect_timeout": 10,
    # A server that vanished without a word is noticed within a minute, in the middle of a statement, too.
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
}


def _create_postgresql(url: URL, options: dict[str, Any]) -> Engine:
    from .patient import connect

    given = {name: value for name, value in _POSTGRESQL.items() if name not in url.query}
    engine = create_engine(url, max_overflow=20, pool_recycle=1800, connect_args=given, **options)
    event.listen(engine, "do_connect", connect)
    return engine


def _create_mysql(url: URL, options: dict[str, Any]) -> Engine:
    from .mysql import DRIVER, begin_when_writing

    engine = create_engine(url.set(drivername=DRIVER), max_overflow=20, pool_recycle=1800, **options)
    begin_when_writing(engine, WRITE)
    return engine


def _make_folder(url: URL) -> None:
    if url.database and not url.database.startswith("file:"):
        folder = Path(url.database).parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise MetadataUnavailable(
                f"The folder {folder} of the metadata database cannot be made: {error.strerror}.",
                hint="Set [windsock] sql_alchemy_conn, or WINDSOCK_HOME, to a place that you may write to.",
            ) from None


def _configure_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the sqlite3 module shall begin nothing by itself
    connection.execute(f"PRAGMA busy_timeout={BUSY_TIMEOUT_MS}")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA foreign_keys=ON")


def _begin_sqlite(connection: Connection) -> None:
    # A lone SELECT needs no BEGIN: SQLite gives it a snapshot of its own.
    if connection.get_execution_options().get(WRITE):
        try:
            connection.connection.dbapi_connection.execute("BEGIN IMMEDIATE")  # type: ignore[union-attr]
        except sqlite3.OperationalError as error:
            raise OperationalError("BEGIN IMMEDIATE", None, error) from error
