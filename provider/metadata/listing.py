"""How a list is read: narrowed, in one order, a page at a time.

A page begins where the one before ended (keyset), in an index that yields the rows in the list's order. A condition
that this index does not know is *rare* or *common*, and nobody can say which from the statement alone: metrics above
0.9 may be three runs in a million, or nearly all. So such conditions are first counted in an index of their own, up to
:data:`MANY`. The rarest, if it stays below, is gathered and sorted; otherwise the list is walked in its order, and
finds a page soon, because what is common lies close. Either way a page is at most two statements, and its cost has a
bound that does not grow with the table.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from sqlalchemy import Boolean, Column, ColumnElement, Integer, Select, and_, bindparam, func, or_, select, tuple_
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from ..errors import FilterInvalid
from .columns import UtcDateTime
from .records import JSON, Page, Record, no_page
from .terms import TEXT

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from .database import Database
    from .filters import Where

R = TypeVar("R", bound=Record)
See = Callable[[Any], Any]
"""A column as a condition sees it: itself, or in a form that no index is entered by."""

MANY = 10_000
"""From so many matches on, a condition counts as common."""

_KEPT = 256


@dataclass(frozen=True)
class Term:
    """One condition. ``shape`` is all that its SQL depends on; ``values`` are the bound parameters.

    ``gather``, for a condition that the list's own order does not serve: the keys of what meets it, by an index.
    """

    shape: Hashable
    build: Callable[[See], ColumnElement[bool]]
    values: JSON = field(default_factory=dict)
    gather: Callable[[], Select[Any]] | None = None


def equals(column: Column[Any], value: Any) -> list[Term]:
    """``column = value``, or nothing if the value is None."""
    if value is None:
        return []
    name = f"of_{column.name}"
    return [Term(("=", column.name), lambda see: see(column) == bindparam(name, type_=column.type), {name: value})]


def between(column: Column[Any], since: Any, until: Any) -> list[Term]:
    """``since <= column < until``, each only if given."""
    terms = []
    if since is not None:
        low = f"since_{column.name}"
        terms.append(Term((low,), lambda see: see(column) >= bindparam(low, type_=column.type), {low: since}))
    if until is not None:
        high = f"until_{column.name}"
        terms.append(Term((high,), lambda see: see(column) < bindparam(high, type_=column.type), {high: until}))
    return terms


class _WithinBytes(FunctionElement[bool]):
    """``low <= text < high`` by bytes, in whatever language the database sorts."""

    type = Boolean()
    inherit_cache = True


@compiles(_WithinBytes)
def _within(element: _WithinBytes, compiler: Any, **options: Any) -> str:
    text, low, high = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({text} >= {low} AND {text} < {high})"


@compiles(_WithinBytes, "postgresql")
def _within_postgresql(element: _WithinBytes, compiler: Any, **options: Any) -> str:
    text, low, high = (compiler.process(clause, **options) for clause in element.clauses)
    return f"({text} ~>=~ {low} AND {text} ~<~ {high})"


def begins(
    column: Column[Any],
    prefix: str | None,
    gather: Callable[[ColumnElement[bool]], Select[Any]],
    *,
    indexed: Column[Any] | None = None,
) -> list[Term]:
    """Texts that begin with ``prefix``: a range, because ``LIKE`` takes no index on SQLite, and % and _ for wildcards.

    ``gather``: from the condition to the keys of what meets it; there, the condition is on ``indexed``, if given.
    """
    if prefix is None:
        return []

    def within(looked_at: Any) -> ColumnElement[bool]:
        low, high = (bindparam(name, type_=column.type) for name in ("prefix_low", "prefix_high"))
        return _WithinBytes(looked_at, low, high)

    values = {"prefix_low": prefix, "prefix_high": prefix + "\U0010ffff"}
    own = column if indexed is None else indexed
    return [Term(("prefix",), lambda see: within(see(column)), values, lambda: gather(within(own)))]


def compares(
    kind: str,
    number: int,
    where: Where,
    *,
    walk: Callable[[ColumnElement[bool]], ColumnElement[bool]],
    gather: Callable[[ColumnElement[bool]], Select[Any]],
    name: Column[Any],
    value: Column[Any],
    text: Column[Any] | None = None,
) -> Term:
    """A comparison of a named value, the ``number``-th of its ``kind`` in this list.

    ``name``, ``value`` and ``text`` are the columns that it looks into; ``walk`` and ``gather`` make a condition on
    them one on the list's own rows, and the keys of those rows.
    """
    as_text = isinstance(where.value, str)
    column = text if as_text else value
    if column is None:
        raise FilterInvalid(f"{where.name} {where.op} {where.value!r}: a {kind} is a number.")
    names = f"{kind}_{number}_name", f"{kind}_{number}_value"

    def condition(see: See) -> ColumnElement[bool]:
        compared = bindparam(names[1], type_=column.type)
        return and_(name == bindparam(names[0], type_=name.type), _OPERATORS[where.op](see(column), compared))

    given = str(where.value)[:TEXT] if as_text else float(where.value)
    return Term(
        (kind, number, where.op, as_text),
        lambda _see: walk(condition(_quiet)),
        {names[0]: where.name, names[1]: given},
        lambda: gather(condition(_itself)),
    )


_OPERATORS: dict[str, Callable[[Any, Any], Any]] = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


class Listing(Generic[R]):
    """One list of records: its columns, and the key that it is ordered by, unique and never NULL."""

    def __init__(
        self, record: type[R], rows: Select[Any], key: Sequence[Column[Any]], *, newest_first: bool = True
    ) -> None:
        self._record = record
        self._rows = rows
        self._key = tuple(key)
        self._down = newest_first
        self._statements: dict[Hashable, Select[Any]] = {}

    def page(self, database: Database, terms: Sequence[Term], *, limit: int, before: object = None) -> Page[R]:
        """Up to ``limit`` records from where the page before ended. Raises ``RecordNotFound`` for no such place."""
        values: JSON = {"limit": limit + 1, "many": MANY}
        for term in terms:
            values |= term.values
        if before is not None:
            values |= self._place(before)

        def query(connection: Connection) -> tuple[R, ...]:
            statement = self._statement(terms, self._rarest(connection, terms, values), before is not None)
            return self._record.many(connection.execute(statement, values))

        items = database.fetch(query)
        if len(items) <= limit:
            return Page(items)
        return Page(items[:limit], self._mark(items[limit - 1]))

    def _rarest(self, connection: Connection, terms: Sequence[Term], values: JSON) -> Term | None:
        """The condition to begin with, if one is rare enough."""
        unsure = [term for term in terms if term.gather is not None]
        if not unsure:
            return None
        counts = connection.execute(self._count(unsure), values).one()
        fewest = min(range(len(unsure)), key=counts.__getitem__)
        return unsure[fewest] if counts[fewest] < MANY else None

    def _count(self, unsure: Sequence[Term]) -> Select[Any]:
        def build() -> Select[Any]:
            counted = []
            for number, term in enumerate(unsure):
                assert term.gather is not None
                found = term.gather().limit(bindparam("many")).subquery(f"found_{number}")
                counted.append(select(func.count()).select_from(found).scalar_subquery().label(f"count_{number}"))
            return select(*counted)

        return self._kept(("count", *(term.shape for term in unsure)), build)

    def _statement(self, terms: Sequence[Term], rarest: Term | None, continued: bool) -> Select[Any]:
        def build() -> Select[Any]:
            statement = self._rows
            # What is not to be entered by must not tempt the planner.
            see = _quiet if rarest is not None else _itself
            for term in terms:
                if term is rarest:
                    continue
                statement = statement.where(term.build(_quiet if term.gather is not None else see))
            if rarest is not None and rarest.gather is not None:
                found = rarest.gather().limit(bindparam("many")).subquery("found")  # MariaDB has no LIMIT right in IN
                wanted = [self._rows.selected_columns[column.name] for column in found.c]
                statement = statement.where((wanted[0] if len(wanted) == 1 else tuple_(*wanted)).in_(select(*found.c)))
            if continued:
                statement = statement.where(self._behind(see))
            order = [column.desc() if self._down else column.asc() for column in self._key]
            return statement.order_by(*order).limit(bindparam("limit"))

        shapes = tuple(term.shape for term in terms)
        return self._kept((shapes, None if rarest is None else rarest.shape, continued), build)

    def _behind(self, see: See) -> ColumnElement[bool]:
        """Beyond the place: ``a < x OR a = x AND b < y``, written so that the index is entered at the place."""

        def beyond(position: int) -> ColumnElement[bool]:
            column, place = see(self._key[position]), self._bound(position)
            further: ColumnElement[bool] = column < place if self._down else column > place
            if position == len(self._key) - 1:
                return further
            return or_(further, and_(column == place, beyond(position + 1)))

        if len(self._key) == 1:
            return beyond(0)
        first, place = see(self._key[0]), self._bound(0)
        return and_(first <= place if self._down else first >= place, beyond(0))

    def _bound(self, position: int) -> Any:
        return bindparam(f"place_{position}", type_=self._key[position].type)

    def _place(self, before: object) -> JSON:
        parts = str(before).split("|")
        if len(parts) != len(self._key):
            raise no_page(before)
        try:
            read = [_read(column, part) for column, part in zip(self._key, parts, strict=True)]
        except ValueError:
            raise no_page(before) from None
        return {f"place_{position}": value for position, value in enumerate(read)}

    def _mark(self, item: R) -> str:
        parts = (getattr(item, column.name) for column in self._key)
        return "|".join(part.isoformat() if isinstance(part, datetime) else str(part) for part in parts)

    def _kept(self, key: Hashable, build: Callable[[], Select[Any]]) -> Select[Any]:
        """One statement for each set of conditions, kept, so that SQLAlchemy compiles it once."""
        statement = self._statements.get(key)
        if statement is None:
            if len(self._statements) >= _KEPT:
                self._statements.clear()
            statement = self._statements[key] = build()
        return statement


def _itself(column: Any) -> Any:
    return column


class _Quiet(FunctionElement[Any]):
    """A column that SQLite enters no index by: it takes any index rather than none. The others know their rows."""

    inherit_cache = True

    def __init__(self, column: Any) -> None:
        super().__init__(column)
        self.type = column.type


@compiles(_Quiet)
def _quiet_anywhere(element: _Quiet, compiler: Any, **options: Any) -> str:
    return str(compiler.process(next(iter(element.clauses)), **options))


@compiles(_Quiet, "sqlite")
def _quiet_sqlite(element: _Quiet, compiler: Any, **options: Any) -> str:
    return f"+{compiler.process(next(iter(element.clauses)), **options)}"


def _quiet(column: Any) -> Any:
    return _Quiet(column)


def _read(column: Column[Any], text: str) -> Any:
    if isinstance(column.type, UtcDateTime):
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None:
            raise ValueError(text)
        return moment
    return min(int(text), 2**63 - 1) if isinstance(column.type, Integer) else text
