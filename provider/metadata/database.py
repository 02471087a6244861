"""Units of work: how every noun reads and writes.

``read()`` gives a connection for looking; ``write(work)`` runs one function as one transaction and runs it again when
another process was in the way; ``transaction()`` lets a caller join several writes into one. Nothing else in this
package begins or commits.
"""

from __future__ import annotations

import os
import random
import re
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

from sqlalchemy import URL, Connection, RootTransaction, bindparam, column, func, select, table
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from ..errors import Conflict, MetadataError, MetadataUnavailable, RecordNotFound
from ..faults import reach
from . import schema
from .engine import WRITE, dispose, engine_for, parse_url, safe_url

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

T = TypeVar("T")

ATTEMPTS = 10
_SERIALIZATION = {"40001", "40P01", "55P03"}
_UNIQUE = {"23505"}
# Shutting down, too many connections, disk or memory full, an I/O error, read-only (a standby, in the middle of a
# fail-over), and all that says the connection is lost.
_DOWN = {"57P01", "57P02", "57P03", "57P05", "53000", "53100", "53200", "53300", "53400", "58030", "25006"}
_DOWN |= {"08000", "08001", "08003", "08004", "08006", "08P01"}
# MySQL and MariaDB number their errors. Deadlock, lock wait, changed since read; duplicate key.
_MYSQL_SERIALIZATION = {1020, 1205, 1213}
_MYSQL_UNIQUE = {1062, 1586}
# Too many connections, no access, no such database, shutting down, read-only, and all of the client's about its socket.
_MYSQL_DOWN = {1040, 1044, 1045, 1049, 1053, 1129, 1130, 1203, 1226, 1290, 1836, 1927, 3100, 4031, *range(2000, 2060)}


class Database:
    """One metadata database. Cheap, thread-safe, and usable on both sides of a fork."""

    def __init__(self, url: str | URL) -> None:
        self.url = parse_url(url) if isinstance(url, str) else url
        self.name = safe_url(self.url)
        self._thread = threading.local()

    @property
    def joined(self) -> Connection | None:
        """The connection of the transaction that this thread has open."""
        open_: tuple[int, Connection] | None = getattr(self._thread, "open", None)
        return open_[1] if open_ is not None and open_[0] == os.getpid() else None

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """A connection to look with: the open transaction's, else one where each statement stands alone."""
        joined = self.joined
        if joined is not None:
            yield joined
            return
        engine = engine_for(self.url)
        try:
            with engine.connect() as connection:
                if connection.dialect.name == "postgresql":
                    connection.execution_options(isolation_level="AUTOCOMMIT")
                yield connection
        except (DBAPIError, PoolTimeout) as error:
            raise self.translated(error) from error

    def fetch(self, query: Callable[[Connection], T]) -> T:
        """Run ``query`` on a connection to look with; once more if the pooled connection turns out to be dead."""
        try:
            with self.read() as connection:
                return query(connection)
        except OverflowError as error:
            raise self._too_large() from error
        except MetadataUnavailable as error:
            cause = error.__cause__
            if self.joined is not None or not isinstance(cause, Exception) or not _worth_repeating(cause, 1):
                raise
        with self.read() as connection:
            return query(connection)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """One transaction of this thread; a second one inside it is the same one.

        Not repeated when it collides with another: only the caller knows what else it did. Raises ``Conflict``.
        """
        joined = self.joined
        if joined is not None:
            yield joined
            return
        try:
            with self._begun() as connection:
                yield connection
        except (DBAPIError, PoolTimeout) as error:
            raise self.translated(error) from error

    def write(self, work: Callable[[Connection], T]) -> T:
        """Run ``work`` in one transaction, again if it collided: it must have no effect but its SQL.

        Inside an open :meth:`transaction` it joins that one, and a collision is the caller's.
        """
        joined = self.joined
        if joined is not None:
            return work(joined)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                with self._begun() as connection:
                    return work(connection)
            except OverflowError as error:
                raise self._too_large() from error
            except (DBAPIError, PoolTimeout) as error:
                if attempt == ATTEMPTS or not _worth_repeating(error, attempt):
                    raise self.translated(error) from error
                # Jitter, or the same two meet again.
                time.sleep(random.uniform(0, min(0.002 * 2**attempt, 0.2)))  # noqa: S311 - no secret
        raise AssertionError("unreachable")

    def _too_large(self) -> RecordNotFound:
        """SQLite cannot even be asked for such a number; PostgreSQL answers with a ``DataError``."""
        return RecordNotFound(f"The metadata database {self.name} has no number that large.")

    @contextmanager
    def _begun(self) -> Iterator[Connection]:
        with engine_for(self.url).connect() as connection:
            connection.execution_options(**{WRITE: True})
            transaction = connection.begin()
            self._thread.open = (os.getpid(), connection)
            try:
                yield connection
                reach("metadata.commit.before")
                self._thread.open = None
                self._commit(transaction)
                reach("metadata.commit.after")
            finally:
                self._thread.open = None
                if transaction.is_active:
                    transaction.rollback()

    def _commit(self, transaction: RootTransaction) -> None:
        try:
            transaction.commit()
        except DBAPIError as error:
            if not error.connection_invalidated:
                raise
            # Nobody knows whether the server committed: not to be repeated here, where it might count twice.
            raise MetadataUnavailable(
                f"The metadata database {self.name} was lost during a commit; it may or may not be recorded.",
                hint="Do it again when the database is back: what is recorded already is not recorded twice.",
                url=self.name,
            ) from error

    def close(self) -> None:
        dispose(self.url)

    def translated(self, error: Exception) -> MetadataError:
        """The error of our tree for one of SQLAlchemy's. Never shows a password or the values of a statement."""
        detail = _detail(error)
        if isinstance(error, IntegrityError) and not _is_unique(error):
            return MetadataError(f"The metadata database {self.name} refuses the record: {detail}")
        if _is_unique(error) or _is_serialization(error):
            return Conflict(
                f"Another process changed the same record of {self.name} at the same time: {detail}",
                hint="Do it again.",
            )
        if _is_down(error):
            return MetadataUnavailable(
                f"The metadata database {self.name} does not answer: {detail}",
                hint="Check that its file may be read and written, and the space on its disk: windsock doctor"
                if self.name.startswith("sqlite")
                else "Check that the server runs and [windsock] sql_alchemy_conn names it: windsock doctor",
                url=self.name,
            )
        return MetadataError(
            f"The metadata database {self.name} failed: {detail}",
            hint="Check its schema: windsock db check",
        )


def _state(error: Exception | None) -> str:
    return getattr(getattr(error, "orig", None), "sqlstate", None) or ""


def _code(error: Exception | None) -> int | None:
    """MySQL's number of the error; None for the errors of the others."""
    cause = getattr(error, "orig", None)
    if cause is None or not type(cause).__module__.startswith("pymysql"):
        return None
    first = cause.args[0] if cause.args else 0
    return first if isinstance(first, int) else 0


def _detail(error: Exception) -> str:
    """The first line of what the database says, without the values that MySQL puts into it."""
    cause = getattr(error, "orig", None) or error
    if _code(error) is not None and len(cause.args) > 1:
        text = re.sub(r"entry '.*' for key", "entry for key", str(cause.args[1]), flags=re.DOTALL)
    else:
        text = str(cause)
    lines = text.strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _text(error: Exception | None) -> str:
    return str(getattr(error, "orig", None) or error).lower()


def _is_unique(error: Exception) -> bool:
    if _code(error) is not None:
        return _code(error) in _MYSQL_UNIQUE
    return _state(error) in _UNIQUE or (isinstance(error, IntegrityError) and "unique constraint" in _text(error))


def _is_serialization(error: Exception) -> bool:
    if _code(error) is not None:
        return _code(error) in _MYSQL_SERIALIZATION
    return _state(error) in _SERIALIZATION or "database is locked" in _text(error)


def _is_down(error: Exception) -> bool:
    if isinstance(error, PoolTimeout) or getattr(error, "connection_invalidated", False) or _state(error) in _DOWN:
        return True
    if _code(error) is not None:
        return _code(error) in _MYSQL_DOWN
    name = type(getattr(error, "orig", error)).__name__
    text = _text(error)
    # psycopg reports a refused connection without a state; SQLite reports everything about its file as text.
    return (name in {"OperationalError", "ConnectionTimeout"} and not _state(error) and "no such" not in text) or (
        "not a database" in text or "malformed" in text
    )


def _went_stale(error: BaseException | None) -> bool:
    """A pooled connection that died while it lay in the pool: the next one is fresh."""
    return bool(getattr(error, "connection_invalidated", False))


def _worth_repeating(error: Exception, attempt: int) -> bool:
    if _is_unique(error) or _is_serialization(error):
        return True
    # Once: the pool has thrown all of them away. And not when the server is frozen: it would be waited for again.
    return _went_stale(error) and attempt == 1 and not _is_silent(error)


def _is_silent(error: Exception) -> bool:
    """Whether the server was waited for in vain: ``patient.py``, or PyMySQL's ``read_timeout``."""
    return type(getattr(error, "orig", None)).__name__ == "NoAnswer" or "timed out" in _text(error)


class PerDialect:
    """A statement that databases spell differently (``ON CONFLICT``), built once a dialect, on first use."""

    def __init__(self, build: Callable[[Any], Any]) -> None:
        self._build = build
        self._built: dict[str, Any] = {}

    def __call__(self, connection: Connection) -> Any:
        dialect = connection.dialect.name
        statement = self._built.get(dialect)
        if statement is None:
            if dialect == "postgresql":
                from sqlalchemy.dialects.postgresql import insert
            elif dialect == "mysql":
                from .mysql import insert  # type: ignore[assignment]
            else:
                from sqlalchemy.dialects.sqlite import insert  # type: ignore[assignment]
            # SQLAlchemy forgets how many rows an INSERT met, unless told not to.
            statement = self._build(insert).execution_options(preserve_rowcount=True)
            self._built[dialect] = statement
        return statement


_ORDERED = select(func.pg_advisory_xact_lock(bindparam("space"), bindparam("log")))
_REVISION = table(schema.VERSION_TABLE, column("version_num"))
_ONE_ROW = select(_REVISION).with_for_update()


def in_order(connection: Connection, log: int) -> None:
    """Make the numbers of an append-only table appear in the order in which they commit.

    A sensor asks "what is new after number 41". Without this, PostgreSQL may show 43 before 42 commits, and 42 would
    never be seen. SQLite has one writer and is in order by itself. MySQL's named locks belong to a session and not to a
    transaction; what is held until the commit is the lock of a row, and the one row that is always there is the
    schema's revision: one lock for all logs.
    """
    if connection.dialect.name == "postgresql":
        connection.execute(_ORDERED, {"space": 0x57494E44, "log": log})
    elif connection.dialect.name == "mysql":
        connection.execute(_ONE_ROW)
