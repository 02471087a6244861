"""Tombstones: content that is to be removed from a store, is being removed, or was.

Content is shared (the same bytes are stored once) and stores have no transactions, so whether somebody still needs a
blob is decided here, in the database, in the transaction that makes or drops a reference::

    marked    nobody refers to it; it is still there. Whoever refers to it again takes the mark away, and has won.
    removing  a pruner is deleting it right now. Nobody may refer to it until that is over.
    removed   it is gone. Who stored it again says so when recording it, and the tombstone goes.

A mark must stand for a grace period before its content is removed. That period must be longer than a transaction, and
nothing else depends on it: a step that found the content in the store hours ago learns here, when it records it, that
it has gone meanwhile, and stores it again.

What it does not do: find out who refers to what (``provider/retention``), or delete anything.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from functools import lru_cache
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Literal

from sqlalchemy import Connection, bindparam, delete, func, select, update

from ..errors import ContentRemoved
from . import schema
from .database import Database, PerDialect
from .direct import Direct, unpacked
from .records import JSON, Record, now

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import timedelta

State = Literal["marked", "removing", "removed"]
_CHUNK = 500
_PAGE = 10_000


class Tombstone(Record):
    """One blob. ``since``: in this state; ``size`` in bytes; ``reason``: ``expired`` or ``orphan``."""

    blob: str
    place: str
    state: State
    size: int
    reason: str
    since: datetime
    owner: str | None = None


@lru_cache(maxsize=4096)
def blob_key(uri: str) -> str:
    """The 32 hexadecimal digits by which a blob is found: a URI is too long for an index."""
    return blake2b(uri.encode(), digest_size=16).hexdigest()


_T = schema.tombstone
_blobs = _T.c.blob.in_(bindparam("blobs", expanding=True))
_state = func.coalesce(_T.c.state, "")
"""The state of rows that are found by their key: as a column, SQLite would walk all of that state instead."""
_MARK = PerDialect(lambda insert: insert(_T).on_conflict_do_nothing())
_MARK_AGAIN = (
    update(_T)
    .where(_blobs, _state == "removed")
    .values(state="marked", reason="orphan", since=bindparam("at"), owner=None)
)
_UNMARK = delete(_T).where(_blobs, _state == "marked")
_BACK = delete(_T).where(_T.c.blob == bindparam("of_blob"), _state == "removed", _T.c.since == bindparam("of_since"))
_CLAIM = (
    update(_T)
    .where(_blobs, _state == "marked", _T.c.since <= bindparam("marked_before"))
    .values(state="removing", since=bindparam("at"), owner=bindparam("new_owner"))
)
_TAKE_OVER = (
    update(_T)
    .where(_blobs, _state == "removing", _T.c.since <= bindparam("abandoned_before"))
    .values(since=bindparam("at"), owner=bindparam("new_owner"))
)
_MINE = select(_T).where(_blobs, _state == "removing", _T.c.owner == bindparam("of_owner"))
_GONE = (
    update(_T)
    .where(_blobs, _state == "removing", _T.c.owner == bindparam("of_owner"))
    .values(state="removed", since=bindparam("at"), owner=None)
)
_GIVE_BACK = (
    update(_T)
    .where(_blobs, _state == "removing", _T.c.owner == bindparam("of_owner"))
    .values(state="marked", since=bindparam("at"), owner=None)
)
_FORGET = delete(_T).where(_T.c.state == "removed", _T.c.reason == "orphan", _T.c.since <= bindparam("before"))
_STATES = select(_T.c.blob, _T.c.state, _T.c.since).where(_blobs)
_states = Direct(_STATES, fixed=select(_T.c.blob, _T.c.state, _T.c.since).where(_T.c.blob.in_(unpacked("blobs"))))
_OF_STATE = (
    select(_T)
    .where(_T.c.state == bindparam("of_state"), _T.c.blob > bindparam("after"))
    .order_by(_T.c.blob)
    .limit(bindparam("limit"))
)
_ONE = select(_T).where(_T.c.blob == bindparam("blob"))
_TOTALS = select(_T.c.state, func.count().label("blobs"), func.sum(_T.c.size).label("bytes")).group_by(_T.c.state)


class Tombstones:
    def __init__(self, database: Database) -> None:
        self._database = database

    def mark(self, blobs: Mapping[str, int], reason: str) -> None:
        """Mark the content of these URIs (with its size). What is marked, or being removed, stays as it is.

        An orphan that was removed before is there again: its old tombstone is marked anew.
        """
        for chunk in _chunks(blobs.items()):
            at = now()
            rows = [
                {"blob": blob_key(uri), "place": uri, "state": "marked", "size": size, "reason": reason, "since": at}
                for uri, size in chunk
            ]

            def work(connection: Connection, rows: list[JSON] = rows, at: datetime = at) -> None:
                connection.execute(_MARK(connection), rows)
                if reason == "orphan":
                    connection.execute(_MARK_AGAIN, {"blobs": [row["blob"] for row in rows], "at": at})

            self._database.write(work)

    def unmark(self, uris: Iterable[str]) -> None:
        """Somebody needs it after all."""
        for chunk in _chunks(uris):
            blobs = [blob_key(uri) for uri in chunk]
            self._database.write(lambda connection, blobs=blobs: connection.execute(_UNMARK, {"blobs": blobs}))  # type: ignore[misc]

    def claim(self, uris: Iterable[str], owner: str, *, marked_before: datetime) -> list[Tombstone]:
        """Begin to remove those of them that are still marked, and were before that time. They are the owner's."""
        return self._take(_CLAIM, uris, owner, {"marked_before": marked_before})

    def take_over(self, uris: Iterable[str], owner: str, *, abandoned_before: datetime) -> list[Tombstone]:
        """Go on with what another began to remove before that time, and did not end."""
        return self._take(_TAKE_OVER, uris, owner, {"abandoned_before": abandoned_before})

    def _take(self, statement: Any, uris: Iterable[str], owner: str, limits: JSON) -> list[Tombstone]:
        blobs = [blob_key(uri) for uri in uris]

        def work(connection: Connection) -> list[Tombstone]:
            connection.execute(statement, {"blobs": blobs, "new_owner": owner, "at": now(), **limits})
            rows = connection.execute(_MINE, {"blobs": blobs, "of_owner": owner}).mappings()
            return [Tombstone(**row) for row in rows]

        return self._database.write(work)

    def removed(self, uris: Iterable[str], owner: str) -> None:
        """The content is gone."""
        values = {"blobs": [blob_key(uri) for uri in uris], "of_owner": owner, "at": now()}
        self._database.write(lambda connection: connection.execute(_GONE, values))

    def forget(self, age: timedelta) -> None:
        """Drop tombstones of orphans that were removed so long ago: no metadata ever named them."""
        values = {"before": now() - age}
        self._database.write(lambda connection: connection.execute(_FORGET, values))

    def give_back(self, uris: Iterable[str], owner: str) -> None:
        """What was claimed and not touched is marked again."""
        values = {"blobs": [blob_key(uri) for uri in uris], "of_owner": owner, "at": now()}
        self._database.write(lambda connection: connection.execute(_GIVE_BACK, values))

    def find(self, uri: str) -> Tombstone | None:
        row = self._database.fetch(lambda c: c.execute(_ONE, {"blob": blob_key(uri)}).mappings().first())
        return None if row is None else Tombstone(**row)

    def of_state(self, state: State) -> Iterator[Tombstone]:
        """All in that state, a page at a time."""
        last = ""
        while True:
            values = {"of_state": state, "after": last, "limit": _PAGE}
            rows = self._database.fetch(lambda c, values=values: c.execute(_OF_STATE, values).mappings().all())  # type: ignore[misc]
            for row in rows:
                yield Tombstone(**row)
            if len(rows) < _PAGE:
                return
            last = rows[-1]["blob"]

    def totals(self) -> dict[str, tuple[int, int]]:
        """State -> how many blobs, how many bytes."""
        rows = self._database.fetch(lambda connection: connection.execute(_TOTALS).all())
        return {row.state: (row.blobs, int(row.bytes or 0)) for row in rows}


def refer(connection: Connection, uris: Iterable[str], *, present: Mapping[str, str] | None = None) -> None:
    """Call this in each transaction that makes a reference to content: marks on it are taken away.

    ``present``: what the caller has stored again, or seen in the store, after a ``ContentRemoved`` whose ``removed``
    named it, with the time given there: if it was removed once more since then, it is not there any more.
    Raises ``ContentRemoved`` for what is being removed, or was.
    """
    wanted = {blob_key(uri): uri for uri in uris}
    if not wanted:
        return
    stones = {row["blob"]: (row["state"], row["since"]) for row in _states.rows(connection, {"blobs": [*wanted]})}
    if stones:
        resolve(connection, wanted, stones, present)


def resolve(
    connection: Connection,
    wanted: Mapping[str, str],
    stones: Mapping[str, tuple[str, datetime]],
    present: Mapping[str, str] | None = None,
) -> None:
    """The second half of :func:`refer`, for a caller that has asked for the tombstones itself: state and time."""
    if marked := [blob for blob, (state, _) in stones.items() if state == "marked"]:
        connection.execute(_UNMARK, {"blobs": marked})
    here = {blob_key(uri): since for uri, since in (present or {}).items()}
    for blob, (state, since) in stones.items():
        if state == "removed" and here.get(blob) == since.isoformat():
            connection.execute(_BACK, {"of_blob": blob, "of_since": since})
    # What was marked a moment ago may have been claimed by a pruner meanwhile: ask again.
    left = connection.execute(_STATES, {"blobs": [*stones]}).all()
    if left:
        raise _content_removed([(wanted[row.blob], row.state, row.since) for row in left])


def release(connection: Connection, uris: Iterable[str]) -> None:
    """Take marks away from what is read and not stored; what is gone by now stays gone."""
    if blobs := [blob_key(uri) for uri in uris]:
        connection.execute(_UNMARK, {"blobs": blobs})


def _content_removed(left: list[tuple[str, str, datetime]]) -> ContentRemoved:
    uri, state, _ = left[0]
    what = "is being removed by a pruner" if state == "removing" else "was removed by a pruner"
    more = f", and {len(left) - 1} more" if len(left) > 1 else ""
    return ContentRemoved(
        f"{uri} {what}{more}: it cannot be recorded as it is.",
        hint="Store the value again, then record it. A step does so by itself; a task does when it is retried.",
        removing=sorted(uri for uri, state, _ in left if state != "removed"),
        removed={uri: since.isoformat() for uri, state, since in left if state == "removed"},
    )


def _chunks(items: Iterable[Any]) -> Iterator[list[Any]]:
    chunk = []
    for item in items:
        chunk.append(item)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
