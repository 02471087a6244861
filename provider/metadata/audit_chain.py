"""The hash chain of audit events: each event's hash covers the hash before it, so nothing in the middle can change.

    hash = SHA-256( previous + "\n" + canonical JSON of the event )

Canonical JSON is what ``json.dumps(event, sort_keys=True, separators=(",", ":"), ensure_ascii=False)`` writes, in
UTF-8, with the keys of :data:`FIELDS`; times in UTC with six digits, and a float without a fraction as an integer
(``jsonb`` does not tell 1.0 from 1e0). So an auditor needs a few lines of any language to check an export, and trusts
none of ours. The first event's ``previous`` is 64 zeros.

What it proves: nothing was edited, removed, inserted or reordered, as long as somebody keeps a *head* (``12:ab34…``,
the number of events and the last hash) where the database's owner cannot write. Whoever can rewrite the whole
table can compute a new chain; only a head kept elsewhere shows that.

This format is frozen: a change would break every chain there is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from hashlib import sha256
from typing import TYPE_CHECKING, Any

from ..errors import AuditBroken
from .columns import as_utc, dumps, loads

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

GENESIS = "0" * 64
FIELDS = ("at", "actor", "action", "subject_kind", "subject", "before", "after", "reason")


@dataclass(frozen=True)
class Head:
    """The end of a chain of ``events`` events: what to keep elsewhere. Its text is ``events:hash``."""

    events: int = 0
    hash: str = GENESIS

    def __str__(self) -> str:
        return f"{self.events}:{self.hash}"

    @classmethod
    def parse(cls, text: str) -> Head:
        """Raises ``AuditBroken`` for a text that is no head."""
        events, _, digits = text.strip().partition(":")
        if not events.isdigit() or len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            raise AuditBroken(
                f"{text!r} is no head of an audit chain.", hint="A head is EVENTS:HASH, as `windsock audit head` says."
            )
        return cls(int(events), digits)


def link(previous: str, event: Mapping[str, Any]) -> str:
    """The hash of an event that follows the one of hash ``previous``: 64 hexadecimal digits."""
    return sha256(f"{previous}\n{canonical(event)}".encode()).hexdigest()


def canonical(event: Mapping[str, Any]) -> str:
    """The text that is hashed; the same for an event that was read from any database or from an export."""
    at = event["at"]
    values = {
        "at": at if isinstance(at, str) else as_utc(at).isoformat(timespec="microseconds"),
        **{name: event[name] for name in ("actor", "action", "subject_kind", "subject", "reason")},
        # As they will be read back: what is no JSON is stored as its text.
        **{name: None if event[name] is None else _plain(loads(dumps(event[name]))) for name in ("before", "after")},
    }
    return json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return int(value) if value.is_integer() else value
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list) else value


class Chain:
    """Checks events one by one, in their order; raises ``AuditBroken`` at the first that does not fit.

    ``heads`` were kept from earlier: the event of that number must have that hash. :meth:`end` says where the chain
    ends, and sees to it that no kept head lies beyond.
    """

    def __init__(self, heads: Sequence[Head] = ()) -> None:
        self.head = Head()
        self._heads = {head.events: head for head in heads if head.events}

    def feed(self, events: Iterable[Mapping[str, Any]]) -> None:
        for event in events:
            self._check(event)

    def _check(self, event: Mapping[str, Any]) -> None:
        number = self.head.events + 1
        if event["hash"] != link(event["previous"], event):
            raise _broken(number, event, "was changed: its hash is not that of what it says")
        if event["previous"] != self.head.hash:
            raise _broken(number, event, "does not follow the event before it: one was removed, inserted or moved here")
        self.head = Head(number, event["hash"])
        kept = self._heads.pop(number, None)
        if kept is not None and kept != self.head:
            raise _broken(number, event, f"is not the one that was kept as {kept}: the chain was written anew")

    def end(self) -> Head:
        """The head. Raises ``AuditBroken`` if a kept head says that there were more events."""
        if self._heads:
            raise _cut(self.head, self._heads[max(self._heads)])
        return self.head


def _broken(number: int, event: Mapping[str, Any], what: str) -> AuditBroken:
    who = f"{event['actor']} {event['action']} {event['subject_kind']} {event['subject']}"
    return AuditBroken(
        f"Audit event {number} (id {event['id']}: {who}) {what}.",
        hint="Compare with an earlier export: windsock audit verify EXPORT. Restore the table from a backup.",
        number=number,
        event=event["id"],
    )


def _cut(found: Head, kept: Head) -> AuditBroken:
    return AuditBroken(
        f"The audit chain ends after event {found.events}, but there were {kept.events} ({kept}): those at its end are "
        "missing.",
        hint="Compare with an earlier export: windsock audit verify EXPORT. Restore the table from a backup.",
        number=found.events + 1,
        event=None,
    )
