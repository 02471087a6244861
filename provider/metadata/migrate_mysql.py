"""Alembic where each change of the schema commits by itself: what a killed upgrade did is not done a second time.

MySQL has no transaction around ``CREATE TABLE``. An upgrade (or downgrade) that was cut off is therefore run again from
the start of its revision, and each change that the database shows already is passed over: a table, column, index or
constraint is made if it is missing, and dropped if it is there. Changes of rows (``op.execute``) are run again: a
revision writes them so that they may be.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from alembic.ddl.base import AddColumn, DropColumn, RenameTable
from alembic.ddl.mysql import MySQLChangeColumn, MySQLImpl
from sqlalchemy import Index, Inspector, inspect, schema

if TYPE_CHECKING:
    from collections.abc import Callable

    from alembic.ddl.impl import DefaultImpl


class Restartable(MySQLImpl):
    """Give it to a migration context as its ``impl``."""

    @classmethod
    def of(cls, impl: DefaultImpl) -> Restartable:
        """The same, restartable. (A subclass with a dialect's name would be everybody's in this process.)"""
        made = cls.__new__(cls)
        vars(made).update(vars(impl))
        return made

    def _exec(self, construct: Any, *args: Any, **more: Any) -> Any:
        if not isinstance(construct, schema.DDLElement):
            return super()._exec(construct, *args, **more)
        look = self._look()
        done = _is_done(look, construct)
        if isinstance(construct, schema.DropIndex) and not done:
            self._keep_foreign_keys(look, construct.element)
        result = None if done else super()._exec(construct, *args, **more)
        if isinstance(construct, schema.CreateIndex):
            self._drop_spare(self._look(), construct.element)
        return result

    def _look(self) -> Inspector:
        found = inspect(self.connection)
        assert found is not None
        return found

    # A foreign key needs an index that begins with its columns. MySQL makes one, named as the key, takes it back when
    # another index will do, and then refuses to drop that other one. These two do the same in both directions.

    def _keep_foreign_keys(self, look: Inspector, going: Index) -> None:
        """Before an index goes: what keys have no other one get one of their own."""
        table = _table(going)
        others: list[list[Any]] = [[*look.get_pk_constraint(table)["constrained_columns"]]]
        others += [[*found["column_names"]] for found in look.get_indexes(table) if found["name"] != going.name]
        for key in look.get_foreign_keys(table):
            columns = key["constrained_columns"]
            if all(other[: len(columns)] != columns for other in others):
                names = ", ".join(f"`{name}`" for name in columns)
                super()._exec(f"CREATE INDEX `{key['name']}` ON `{table}` ({names})")

    def _drop_spare(self, look: Inspector, new: Index) -> None:
        """After an index came: keys that can use it need none of their own."""
        table = _table(new)
        own = {found["name"] for found in look.get_indexes(table)}
        columns = [column.name for column in new.columns]
        for key in look.get_foreign_keys(table):
            needed = key["constrained_columns"]
            if key["name"] in own and key["name"] != new.name and columns[: len(needed)] == needed:
                super()._exec(f"DROP INDEX `{key['name']}` ON `{table}`")


def _table(index: Index) -> str:
    assert index.table is not None
    return index.table.name


def _is_done(look: Inspector, change: Any) -> bool:
    """Whether the database is already as the change would make it."""
    if isinstance(change, RenameTable):
        return look.has_table(str(change.new_table_name)) and not look.has_table(str(change.table_name))
    if isinstance(change, MySQLChangeColumn):
        return change.newname not in {None, change.column_name} and change.newname in _columns(look, change.table_name)
    for make, drop, is_there in _PAIRS:
        if isinstance(change, (make, drop)):
            return is_there(look, change) is isinstance(change, make)
    return False


def _has_index(look: Inspector, index: Index) -> bool:
    return index.name in {found["name"] for found in look.get_indexes(_table(index))}


def _has_constraint(look: Inspector, table: str, name: object) -> bool:
    found = [*look.get_foreign_keys(table), *look.get_unique_constraints(table), *look.get_check_constraints(table)]
    return name in {each["name"] for each in found}


def _columns(look: Inspector, table: Any) -> set[str]:
    return {column["name"] for column in look.get_columns(str(table))}


_PAIRS: tuple[tuple[type, type, Callable[[Inspector, Any], bool]], ...] = (
    (schema.CreateTable, schema.DropTable, lambda look, change: look.has_table(change.element.name)),
    (schema.CreateIndex, schema.DropIndex, lambda look, change: _has_index(look, change.element)),
    (AddColumn, DropColumn, lambda look, change: change.column.name in _columns(look, change.table_name)),
    (
        schema.AddConstraint,
        schema.DropConstraint,
        lambda look, change: _has_constraint(look, change.element.table.name, change.element.name),
    ),
)
"""What makes, what drops, and whether the thing is there."""
