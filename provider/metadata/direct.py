"""The statements that every step makes in its two transactions, handed to SQLite's driver directly.

What SQLAlchemy does around a statement (find it compiled, make a context and a result) takes three times as long as
SQLite takes for the statement. It still compiles each, once, and its types still convert the values; it only steps
aside when the statement runs. What fails is its error, so that collisions are recognised and repeated as ever.

Any other database is asked through SQLAlchemy, and so is SQLite when somebody listens to its statements, as tracing
tools do: they shall see all of them. Other reads stay with SQLAlchemy.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import bindparam, func, select
from sqlalchemy.exc import DBAPIError

from .columns import JsonObject
from .database import PerDialect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Executable, Select

    from .records import JSON


class _Compiled(NamedTuple):
    """SQL, the constants in it, and of each place in it the value's name and how it is converted."""

    sql: str
    constants: Mapping[str, Any]
    places: Sequence[tuple[str, Callable[[Any], Any] | None]]
    columns: Sequence[tuple[str, Callable[[Any], Any] | None]]
    """Name and conversion of each column of the rows that it returns."""

    def bind(self, values: JSON) -> tuple[Any, ...]:
        given = {**self.constants, **values}
        return tuple([given[name] if convert is None else convert(given[name]) for name, convert in self.places])

    def row(self, cells: Sequence[Any]) -> JSON:
        return {
            name: cell if convert is None else convert(cell)
            for (name, convert), cell in zip(self.columns, cells, strict=True)
        }


class Direct:
    """One statement, called with its connection and its values, which must always have the same names.

    SQL that is expanded by a list has no one text to compile: ``fixed`` says the same without (see :func:`unpacked`).
    """

    def __init__(self, statement: Executable | PerDialect, *, fixed: Executable | None = None) -> None:
        self._statement = statement
        self._fixed = fixed
        self._compiled: _Compiled | None = None

    def __call__(self, connection: Connection, values: JSON | list[JSON]) -> int:
        """Run it in the connection's transaction; how many rows it met. A list runs it once for each of its values."""
        if not _unheard(connection):
            return int(connection.execute(self._for(connection), values).rowcount)
        compiled = self._ready(connection, values)
        driver: Any = connection.connection.dbapi_connection
        try:
            if isinstance(values, list):
                return int(driver.executemany(compiled.sql, [compiled.bind(each) for each in values]).rowcount)
            return int(driver.execute(compiled.sql, compiled.bind(values)).rowcount)
        except sqlite3.Error as error:
            raise _translated(error, compiled, connection) from error

    def rows(self, connection: Connection, values: JSON | list[JSON]) -> list[JSON]:
        """Run it, and the rows that it returns, by column. A list runs it once for each of its values, in no order."""
        if not _unheard(connection):
            return [dict(row) for row in connection.execute(self._for(connection), values).mappings()]
        compiled = self._ready(connection, values)
        driver: Any = connection.connection.dbapi_connection
        try:
            return [
                compiled.row(cells)
                for each in (values if isinstance(values, list) else [values])
                for cells in driver.execute(compiled.sql, compiled.bind(each)).fetchall()
            ]
        except sqlite3.Error as error:
            raise _translated(error, compiled, connection) from error

    def _for(self, connection: Connection) -> Any:
        return self._statement(connection) if isinstance(self._statement, PerDialect) else self._statement

    def _ready(self, connection: Connection, values: JSON | list[JSON]) -> _Compiled:
        if self._compiled is None:
            self._compiled = self._compile(connection, values[0] if isinstance(values, list) else values)
        return self._compiled

    def _compile(self, connection: Connection, values: JSON) -> _Compiled:
        dialect = connection.dialect
        statement: Any = self._for(connection) if self._fixed is None else self._fixed
        compiled: Any = statement.compile(dialect=dialect, column_keys=list(values))
        convert = {n: bind.type.dialect_impl(dialect).bind_processor(dialect) for n, bind in compiled.binds.items()}
        columns = [
            (column.keyname, column.type.dialect_impl(dialect).result_processor(dialect, None))
            for column in compiled._result_columns or ()
        ]
        places = [(name, convert[name]) for name in compiled.positiontup]
        return _Compiled(str(compiled), dict(compiled.params), places, columns)


def unpacked(name: str) -> Select[Any]:
    """The items of a list, given as one value: what ``IN`` wants, in SQLite's words."""
    items = func.json_each(bindparam(name, type_=JsonObject)).table_valued("value")
    return select(items.c.value)


def _unheard(connection: Connection) -> bool:
    """Whether this is SQLite, and nobody listens."""
    return connection.dialect.name == "sqlite" and not connection.dispatch.before_cursor_execute


def _translated(error: sqlite3.Error, compiled: _Compiled, connection: Connection) -> BaseException:
    return DBAPIError.instance(
        compiled.sql, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect
    )
