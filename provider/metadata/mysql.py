"""MySQL 8 and MariaDB, spoken so that a record is the same one there as in the other databases.

SQLAlchemy's PyMySQL dialect, with what our promises need and a server's defaults do not give:

- tables are InnoDB, utf8mb4, and compared by binary value: ``Churn`` and ``churn`` are two models;
- a text that is too long is an error, never cut off, whatever ``sql_mode`` the server has;
- a server that is frozen counts as gone after a minute without an answer, except while the schema is changed;
- READ COMMITTED: what follows a lock sees what was committed while it waited. Looking needs no transaction at all;
- an INSERT that met a row counts 0, 1 or 2 as it kept, made or changed it: compare-and-set is told by that count;
- :class:`Upsert` understands the two ``ON CONFLICT`` forms that this package writes.

The SQL is what both servers know. Only ``INSERT … RETURNING`` differs: MariaDB has it, MySQL does not, so who wants the
numbers of new rows asks ``dialect.insert_returning``. Imported when a MySQL database is first used, and not before.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, Connection, event, func
from sqlalchemy.dialects import mysql, registry
from sqlalchemy.dialects.mysql.base import MySQLDDLCompiler
from sqlalchemy.dialects.mysql.pymysql import MySQLDialect_pymysql

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from sqlalchemy import Engine, Table

DRIVER = "mysql+windsock"
"""The name under which ``create_engine`` finds :class:`Dialect`; URLs that people see say ``mysql+pymysql``."""

_FOUND_ROWS = 2
_IN_TRANSACTION = 1
"""Flags of the protocol: matched rows are counted, not changed ones; the session has a transaction open."""

ANSWER_TIMEOUT = 60
"""Seconds without an answer after which a server counts as gone; longer than a wait for a lock (50 s) may last."""

_SESSION: Mapping[str, Any] = {
    "autocommit": True,
    "charset": "utf8mb4",
    "collation": "utf8mb4_bin",
    "sql_mode": "STRICT_ALL_TABLES,NO_ZERO_DATE,NO_ZERO_IN_DATE,ERROR_FOR_DIVISION_BY_ZERO,NO_ENGINE_SUBSTITUTION",
    "init_command": "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED",
    "program_name": "windsock",
}


class _Tables(MySQLDDLCompiler):
    def post_create_table(self, table: Table) -> str:
        ours = " ENGINE=InnoDB DEFAULT CHARSET=utf8mb4 COLLATE=utf8mb4_bin ROW_FORMAT=DYNAMIC"
        return super().post_create_table(table) + ours


class Dialect(MySQLDialect_pymysql):
    """What the module says. Each connection commits each statement, unless a transaction was begun by a ``BEGIN``."""

    supports_statement_cache = True
    ddl_compiler = _Tables

    def create_connect_args(self, url: URL, _translate_args: dict[str, Any] | None = None) -> Any:
        arguments, options = super().create_connect_args(url, _translate_args)
        options["client_flag"] = options.get("client_flag", 0) & ~_FOUND_ROWS
        options = {"connect_timeout": 10, "read_timeout": ANSWER_TIMEOUT, "write_timeout": ANSWER_TIMEOUT, **options}
        return arguments, {**options, **_SESSION}

    def on_connect(self) -> None:  # type: ignore[override]
        """Nothing: SQLAlchemy would say ``SET NAMES`` once more, and set the collation back."""

    def do_rollback(self, dbapi_connection: Any) -> None:
        # A connection that was only looked at goes back to the pool without a word to the server.
        if dbapi_connection.server_status & _IN_TRANSACTION:
            dbapi_connection.rollback()


registry.register("mysql.windsock", __name__, "Dialect")


def begin_when_writing(engine: Engine, writing: str) -> None:
    """Open a transaction on a connection that has the execution option ``writing``, and on no other."""

    def begin(connection: Connection) -> None:
        if connection.get_execution_options().get(writing):
            connection.exec_driver_sql("BEGIN")

    event.listen(engine, "begin", begin)


@contextmanager
def unhurried(connection: Connection) -> Iterator[None]:
    """Wait for answers as long as it takes, in here."""
    raw: Any = connection.connection.dbapi_connection
    kept, raw._read_timeout = raw._read_timeout, None  # PyMySQL reads it before each answer
    try:
        yield
    finally:
        raw._read_timeout = kept


class Upsert(mysql.Insert):
    """An INSERT that says ``ON DUPLICATE KEY UPDATE`` where the other dialects say ``ON CONFLICT``.

    What it does not know: which key was met. A row that collides with *any* unique key is kept, or changed.
    """

    inherit_cache = mysql.Insert.inherit_cache  # SQLAlchemy 2.0 caches none of them

    @property
    def excluded(self) -> Any:
        """The row that was to be inserted, by the name that the other dialects have for it."""
        return self.inserted

    def on_conflict_do_nothing(self) -> Upsert:
        """Keep the row that is there. Counts 1 for a new row, 0 for a kept one. (``INSERT IGNORE`` would do that for
        every error.)
        """
        key = next(iter(self.table.primary_key.columns))  # type: ignore[attr-defined]
        return self.on_duplicate_key_update([(key.name, key)])

    def on_conflict_do_update(
        self, *, index_elements: Sequence[Any], set_: Mapping[str, Any], where: Any = None
    ) -> Upsert:
        """Change the row that is there, if it fulfils ``where``. Counts 1 for a new row, 2 for a changed one, else 0.

        MySQL assigns one column after the other and reads what it has assigned: a column that ``where`` looks at comes
        last, so that the condition is the same for all.
        """
        columns = self.table.c
        if where is None:
            return self.on_duplicate_key_update([*set_.items()])
        read = {name for name in set_ if _reads(where, columns[name])}
        if len(read) > 1:
            raise NotImplementedError(f"a condition on several of the columns that it changes: {sorted(read)}")
        ordered = sorted(set_, key=lambda name: name in read)
        return self.on_duplicate_key_update([(name, func.if_(where, set_[name], columns[name])) for name in ordered])


def _reads(condition: Any, column: Any) -> bool:
    found: Iterable[Any] = condition.get_children()
    return condition is column or any(_reads(child, column) for child in found)


def insert(table: Any) -> Upsert:
    """For :class:`~.database.PerDialect`, as ``sqlalchemy.dialects.postgresql.insert`` is."""
    return Upsert(table)
