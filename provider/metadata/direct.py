"""The writes that every step makes, handed to SQLite's driver directly.

What SQLAlchemy does around a statement (find it compiled, make a context and a result) takes three times as long as
SQLite takes for the statement. It still compiles each, once, and its types still convert the values; it only steps
aside when the statement runs. What fails is its error, so that collisions are recognised and repeated as ever.

Any other database is asked through SQLAlchemy, and so is SQLite when somebody listens to its statements, as tracing
tools do: they shall see all of them. Reads stay with SQLAlchemy, too: their rows need its types.
"""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.exc import DBAPIError

from .database import PerDialect

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from sqlalchemy import Connection, Executable

    from .records import JSON


class _Compiled(NamedTuple):
    """SQL, the constants in it, and of each place in it the value's name and how it is converted."""

    sql: str
    constants: Mapping[str, Any]
    places: Sequence[tuple[str, Callable[[Any], Any] | None]]

    def bind(self, values: JSON) -> tuple[Any, ...]:
        given = {**self.constants, **values}
        return tuple([given[name] if convert is None else convert(given[name]) for name, convert in self.places])


class Direct:
    """One INSERT or UPDATE that returns no rows, called with its connection and its values.

    The values must always have the same names, and none may be a list that the SQL is expanded by.
    """

    def __init__(self, statement: Executable | PerDialect) -> None:
        self._statement = statement
        self._compiled: _Compiled | None = None

    def __call__(self, connection: Connection, values: JSON | list[JSON]) -> int:
        """Run it in the connection's transaction; how many rows it met. A list runs it once for each of its values."""
        if connection.dialect.name != "sqlite" or connection.dispatch.before_cursor_execute:
            return int(connection.execute(self._for(connection), values).rowcount)
        compiled = self._compiled
        if compiled is None:
            compiled = self._compiled = self._compile(connection, values[0] if isinstance(values, list) else values)
        driver: Any = connection.connection.dbapi_connection
        try:
            if isinstance(values, list):
                return int(driver.executemany(compiled.sql, [compiled.bind(each) for each in values]).rowcount)
            return int(driver.execute(compiled.sql, compiled.bind(values)).rowcount)
        except sqlite3.Error as error:
            raise DBAPIError.instance(
                compiled.sql, None, error, sqlite3.Error, hide_parameters=True, dialect=connection.dialect
            ) from error

    def _for(self, connection: Connection) -> Any:
        return self._statement(connection) if isinstance(self._statement, PerDialect) else self._statement

    def _compile(self, connection: Connection, values: JSON) -> _Compiled:
        dialect = connection.dialect
        compiled: Any = self._for(connection).compile(dialect=dialect, column_keys=list(values))
        convert = {n: bind.type.dialect_impl(dialect).bind_processor(dialect) for n, bind in compiled.binds.items()}
        return _Compiled(str(compiled), dict(compiled.params), [(n, convert[n]) for n in compiled.positiontup])
