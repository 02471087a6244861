"""Audit events: who changed what, from what, to what, and why. Append-only: no method changes or deletes one."""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from typing import Any

from sqlalchemy import Connection, bindparam, insert, select

from . import schema
from .columns import clean_text
from .database import Database, in_order
from .records import JSON, Page, Record, now, page_start

ORDER = 1


class AuditEvent(Record):
    """One change. ``before`` and ``after`` hold what an operator needs to see, never a secret."""

    id: int
    at: datetime
    actor: str
    action: str
    subject_kind: str
    subject: str
    before: JSON | None = None
    after: JSON | None = None
    reason: str | None = None


_T = schema.audit_event
_INSERT = insert(_T)
_LIST = select(_T).order_by(_T.c.id.desc()).limit(bindparam("limit"))
_LIST_BEFORE = _LIST.where(_T.c.id < bindparam("before"))


class Audit:
    def __init__(self, database: Database) -> None:
        self._database = database

    def append(  # noqa: PLR0917 - who, what, of what, from, to, why: always all of them, always in this order
        self,
        actor: str,
        action: str,
        subject_kind: str,
        subject: str,
        before: JSON | None = None,
        after: JSON | None = None,
        reason: str | None = None,
    ) -> None:
        """Write one event, within the open transaction if there is one."""
        self._database.write(
            lambda connection: append(connection, actor, action, subject_kind, subject, before, after, reason)
        )

    def list(self, limit: int = 100, before: str | int | None = None) -> Page[AuditEvent]:
        """The newest first."""
        values: dict[str, Any] = {
            "limit": limit + 1,
            "before": None if before is None else page_start(before, 2**63 - 1),
        }
        statement = _LIST if before is None else _LIST_BEFORE
        rows = self._database.fetch(lambda connection: connection.execute(statement, values).mappings().all())
        items = tuple(AuditEvent(**row) for row in rows[:limit])
        return Page(items, str(items[-1].id) if len(rows) > limit else None)


def append(  # noqa: PLR0917
    connection: Connection,
    actor: str,
    action: str,
    subject_kind: str,
    subject: str,
    before: JSON | None = None,
    after: JSON | None = None,
    reason: str | None = None,
) -> None:
    """Write one event in a transaction that another noun has open."""
    in_order(connection, ORDER)
    connection.execute(
        _INSERT,
        {
            "at": now(),
            "actor": actor,
            "action": action,
            "subject_kind": subject_kind,
            "subject": subject,
            "before": before,
            "after": after,
            "reason": clean_text(reason),
        },
    )
