"""Audit events: who changed what, from what, to what, and why. Append-only: no method changes or deletes one.

Each event carries the hash of the one before (:mod:`.audit_chain`). Appending locks the row that holds the end of the
chain, in the transaction of the change itself: two changes at once are two events in one order, on any database, and
a change that is rolled back leaves no event and no gap.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping  # noqa: TC003 - pydantic reads annotations
from datetime import datetime  # noqa: TC003
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, bindparam, insert, select, update

from ..errors import FilterInvalid
from . import schema
from .audit_chain import GENESIS, Chain, Head, link
from .columns import clean_text
from .database import Database, PerDialect
from .direct import Direct
from .listing import Listing, Term, between, equals
from .records import JSON, Page, Record, now

if TYPE_CHECKING:
    import builtins

    from .filters import AuditFilter

_HEAD = "audit"
_PAGE = 1000


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
    previous: str
    hash: str


_T, _H = schema.audit_event, schema.audit_head
_insert = Direct(insert(_T))
_of_head = _H.c.name == bindparam("head")
_read_head = Direct(select(_H.c.events, _H.c.hash).where(_of_head).with_for_update())
_make_head = Direct(PerDialect(lambda insert: insert(_H).on_conflict_do_nothing()))
_move_head = Direct(update(_H).where(_of_head).values(events=bindparam("new_events"), hash=bindparam("new_hash")))
_LAST = select(_T.c.hash).order_by(_T.c.id.desc()).limit(1)
_LIST = Listing(AuditEvent, select(_T), [_T.c.at, _T.c.id])
_IN_ORDER = select(_T).where(_T.c.id > bindparam("after")).order_by(_T.c.id).limit(_PAGE)
_STORED_HEAD = select(_H.c.events, _H.c.hash).where(_H.c.name == _HEAD)


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

    def list(
        self,
        limit: int = 100,
        before: str | int | None = None,
        *,
        subject_kind: str | None = None,
        subject: str | None = None,
    ) -> Page[AuditEvent]:
        """The newest first; of one kind of subject, or of one subject of that kind."""
        from .filters import AuditFilter

        return self.search(AuditFilter(subject_kind=subject_kind, subject=subject), limit, before)

    def search(self, wanted: AuditFilter, limit: int = 100, before: str | int | None = None) -> Page[AuditEvent]:
        """The events that meet the filter, the newest first. Raises ``FilterInvalid``."""
        if wanted.subject is not None and wanted.subject_kind is None:
            raise FilterInvalid(
                f'Of what kind is "{wanted.subject}"?', hint="Say subject_kind as well: model, deployment, artifact, …"
            )
        terms = [
            *(term for name in ("actor", "action", "subject_kind", "subject") for term in _equals(wanted, name)),
            *between(_T.c.at, wanted.since, wanted.until),
        ]
        return _LIST.page(self._database, terms, limit=limit, before=before)

    def events(self) -> Iterator[Mapping[str, Any]]:
        """All of them as they are stored, the oldest first, a page at a time."""
        last = 0
        while True:
            rows = self._database.fetch(
                lambda connection, after=last: connection.execute(_IN_ORDER, {"after": after}).mappings().all()  # type: ignore[misc]
            )
            yield from rows
            if len(rows) < _PAGE:
                return
            last = rows[-1]["id"]

    def head(self) -> Head:
        """The end of the chain: keep it where who owns the database cannot write."""
        row = self._database.fetch(lambda connection: connection.execute(_STORED_HEAD).first())
        return Head() if row is None else Head(row.events, row.hash)

    def verify(self, *heads: Head) -> Head:
        """Read the whole chain and check every event, and that the heads kept from earlier are in it.

        Raises ``AuditBroken``, which names the first event that is wrong. Events appended meanwhile do no harm.
        """
        began = self.head()
        chain = Chain([*heads, *([began] if began.events else [])])
        chain.feed(self.events())
        return chain.end()


def _equals(wanted: AuditFilter, name: str) -> builtins.list[Term]:
    return equals(_T.c[name], getattr(wanted, name))


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
    """Write one event in a transaction that another noun has open; the last thing that the transaction locks."""
    head = _locked_head(connection)
    event: JSON = {
        "at": now(),
        "actor": actor,
        "action": action,
        "subject_kind": subject_kind,
        "subject": subject,
        "before": before,
        "after": after,
        "reason": clean_text(reason),
    }
    made = link(head.hash, event)
    _insert(connection, {**event, "previous": head.hash, "hash": made})
    _move_head(connection, {"head": _HEAD, "new_events": head.events + 1, "new_hash": made})


def _locked_head(connection: Connection) -> Head:
    """The end of the chain, nobody else's until this transaction ends."""
    rows = _read_head.rows(connection, {"head": _HEAD})
    if not rows:
        last = connection.execute(_LAST).scalar()
        _make_head(connection, [{"name": _HEAD, "events": 0, "hash": last or GENESIS}])
        rows = _read_head.rows(connection, {"head": _HEAD})
    return Head(rows[0]["events"], rows[0]["hash"])
