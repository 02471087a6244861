"""Audit events are chained by hash; tombstones say what content is being removed.

Events that are there already are chained in the order in which they were written.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from windsock.provider.metadata.audit_chain import GENESIS, link
from windsock.provider.metadata.columns import JsonObject, Key, Name, Serial, UtcDateTime

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_EVENT = "windsock_audit_event"
_INDEX = "ix_windsock_audit_event_subject"
_PAGE = 1000


def upgrade() -> None:
    op.create_table(
        "windsock_audit_head",
        sa.Column("name", Name, nullable=False),
        sa.Column("events", sa.BigInteger(), nullable=False),
        sa.Column("hash", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_windsock_audit_head")),
    )
    op.create_table(
        "windsock_tombstone",
        sa.Column("blob", Key, nullable=False, comment="a digest of the place: URIs are too long for an index"),
        sa.Column("place", sa.String(length=1024), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("reason", sa.String(length=50), nullable=False),
        sa.Column("since", UtcDateTime, nullable=False),
        sa.Column("owner", Key, nullable=True),
        sa.PrimaryKeyConstraint("blob", name=op.f("pk_windsock_tombstone")),
    )
    op.create_index("ix_windsock_tombstone_state", "windsock_tombstone", ["state", "since", "blob"], unique=False)
    links = [
        sa.Column("previous", sa.String(length=64), nullable=True, comment=_COMMENTS["previous"]),
        sa.Column("hash", sa.String(length=64), nullable=True, comment=_COMMENTS["hash"]),
    ]
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(chained=True)
        return
    for column in links:
        op.add_column(_EVENT, column)
    _chain()
    for column in links:
        op.alter_column(
            _EVENT, column.name, existing_type=sa.String(length=64), existing_comment=column.comment, nullable=False
        )


def downgrade() -> None:
    op.drop_table("windsock_tombstone")
    op.drop_table("windsock_audit_head")
    if op.get_bind().dialect.name == "sqlite":
        _rebuild(chained=False)
        return
    op.drop_column(_EVENT, "hash")
    op.drop_column(_EVENT, "previous")


_COMMENTS = {
    "previous": "the hash of the event before; zeros for the first",
    "hash": "see audit_chain.py",
}
_OLD = ("id", "at", "actor", "action", "subject_kind", "subject", "before", "after", "reason")


def _rebuild(*, chained: bool) -> None:
    """SQLite can add no column that must be filled: the table is made anew beside the old one."""
    op.drop_index(_INDEX, table_name=_EVENT)
    op.rename_table(_EVENT, "windsock_audit_event_old")
    columns: list[sa.Column[Any]] = [
        sa.Column("id", Serial, autoincrement=True, nullable=False),
        sa.Column("at", UtcDateTime, nullable=False),
        sa.Column("actor", sa.String(length=250), nullable=False),
        sa.Column("action", sa.String(length=50), nullable=False),
        sa.Column("subject_kind", sa.String(length=50), nullable=False),
        sa.Column("subject", sa.String(length=250), nullable=False),
        sa.Column("before", JsonObject, nullable=True),
        sa.Column("after", JsonObject, nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
    ]
    if chained:
        columns += [sa.Column(name, sa.String(length=64), nullable=False) for name in ("previous", "hash")]
    op.create_table(
        _EVENT, *columns, sa.PrimaryKeyConstraint("id", name=op.f("pk_windsock_audit_event")), sqlite_autoincrement=True
    )
    names = ", ".join(f'"{name}"' for name in _OLD)
    values = names + (", '', ''" if chained else "")
    into = names + (', "previous", "hash"' if chained else "")
    op.execute(f"INSERT INTO {_EVENT} ({into}) SELECT {values} FROM windsock_audit_event_old ORDER BY id")  # noqa: S608 - constants
    # Numbers of events that were rolled back or deleted are not given again.
    op.execute(
        f"UPDATE sqlite_sequence SET seq = (SELECT max(seq) FROM sqlite_sequence WHERE name IN "  # noqa: S608
        f"('{_EVENT}', 'windsock_audit_event_old')) WHERE name = '{_EVENT}'"
    )
    op.drop_table("windsock_audit_event_old")
    op.create_index(_INDEX, _EVENT, ["subject_kind", "subject", "id"], unique=False)
    if chained:
        _chain()


def _chain() -> None:
    """Link the events that are there, and write down the end of the chain."""
    connection = op.get_bind()
    text = sa.String(length=64)
    event = sa.table(
        _EVENT,
        sa.column("id", Serial),
        sa.column("at", UtcDateTime()),
        *(sa.column(name, sa.String()) for name in ("actor", "action", "subject_kind", "subject", "reason")),
        sa.column("before", JsonObject()),
        sa.column("after", JsonObject()),
        sa.column("previous", text),
        sa.column("hash", text),
    )
    page = sa.select(event).where(event.c.id > sa.bindparam("last")).order_by(event.c.id).limit(_PAGE)
    change = (
        sa.update(event)
        .where(event.c.id == sa.bindparam("of_id"))
        .values(previous=sa.bindparam("new_previous"), hash=sa.bindparam("new_hash"))
    )
    last, count, end = 0, 0, GENESIS
    while rows := connection.execute(page, {"last": last}).mappings().all():
        changes = []
        for row in rows:
            made = link(end, dict(row))
            changes.append({"of_id": row["id"], "new_previous": end, "new_hash": made})
            end, last, count = made, row["id"], count + 1
        connection.execute(change, changes)
    head = sa.table("windsock_audit_head", sa.column("name"), sa.column("events"), sa.column("hash"))
    connection.execute(sa.delete(head))  # of an upgrade that was cut off here: MySQL keeps what it did
    connection.execute(sa.insert(head).values(name="audit", events=count, hash=end))
