"""Artifacts and their versions: a version is one distinct content of a name.

``(artifact, digest)`` is unique: a retry, or another run that yields the same bytes, finds the version that is there.
"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Any

from pydantic import Field
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    CompoundSelect,
    Connection,
    Select,
    and_,
    bindparam,
    func,
    insert,
    null,
    select,
    union_all,
    update,
)

from ..errors import ArtifactNotFound, Conflict, ContentRemoved, did_you_mean
from ..names import check_name
from . import schema, tombstones
from .database import Database, PerDialect
from .direct import Direct, unpacked
from .listing import Listing, See, Term, begins, between, equals
from .records import ANY, JSON, Any_, Page, Record, now

if TYPE_CHECKING:
    import builtins
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from .filters import ArtifactFilter


class NewArtifact(Record):
    """A stored value that is to be recorded; ``output`` is the step's output that it is."""

    output: str = "output"
    artifact: str
    uri: str
    digest: str
    size: int
    type: str
    materializer: str | None = None
    metadata: JSON = Field(default_factory=dict)


class ArtifactVersion(Record):
    """One immutable stored value. ``producer`` is the step run that made it first, None if no step did."""

    id: int
    artifact: str
    version: int
    uri: str
    digest: str
    size: int
    type: str
    materializer: str | None
    metadata: JSON
    producer: str | None
    created_at: datetime

    def ref(self) -> JSON:
        """The reference that travels through XCom."""
        return {
            "artifact": self.artifact,
            "version": self.version,
            "uri": self.uri,
            "digest": self.digest,
            "type": self.type,
        }


class Artifact(Record):
    """A name, and what stands under it."""

    name: str
    latest_version: int
    created_at: datetime


_A, _V, _T = schema.artifact, schema.artifact_version, schema.tombstone
_ensure = Direct(PerDialect(lambda insert: insert(_A).on_conflict_do_nothing()))


def lock_artifacts() -> Select[Any]:
    """Lock the rows of the artifacts ``names``, in one order for all: whoever holds the locks may number versions."""
    names: BindParameter[Any] = bindparam("names", expanding=True)
    return select(_A.c.name).where(_A.c.name.in_(names)).order_by(_A.c.name).with_for_update()


_LOCK = lock_artifacts()


def _listed(name: str) -> Any:
    return bindparam(name, expanding=True)


def _pairs(items: Callable[[str], Any]) -> ColumnElement[bool]:
    # Two lists and not one of pairs: SQLite reads the whole table for (artifact, digest) IN (VALUES ...). What comes
    # beyond the pairs asked for is dropped where it is read.
    return and_(_V.c.artifact.in_(items("of_artifacts")), _V.c.digest.in_(items("digests")))


def _known_and_highest(items: Callable[[str], Any]) -> CompoundSelect[Any]:
    """Both questions of a step's end: which contents are known, and what is the highest number so far.

    Rows of the second kind have no id. A third question: are the blobs known that somebody wants to remove? Those rows
    have a state for a type.
    """
    stones = {"digest": _T.c.blob, "type": _T.c.state, "created_at": _T.c.since}
    numbers = {"artifact": _A.c.name, "version": func.coalesce(_highest, 0)}
    return union_all(
        select(_V).where(_pairs(items)),
        select(*(numbers.get(column.name, null()).label(column.name) for column in _V.c)).where(
            _A.c.name.in_(items("names"))
        ),
        select(*(stones.get(column.name, null()).label(column.name) for column in _V.c)).where(
            _T.c.blob.in_(items("blobs"))
        ),
    )


_highest = select(func.max(_V.c.version)).where(_V.c.artifact == _A.c.name).correlate(_A).scalar_subquery()
_ids_by_pairs = Direct(
    select(_V.c.artifact, _V.c.digest, _V.c.id).where(_pairs(_listed)),
    fixed=select(_V.c.artifact, _V.c.digest, _V.c.id).where(_pairs(unpacked)),
)
_look_up = Direct(_known_and_highest(_listed), fixed=_known_and_highest(unpacked))
_insert = Direct(insert(_V).returning(_V.c.artifact, _V.c.digest, _V.c.id))  # in no order: SQLite has none to offer
_INSERT_ONLY = insert(_V)
_MOVE = update(_V).where(_V.c.id == bindparam("of_id")).values(uri=bindparam("new_uri"))
_ONE = select(_V).where(_V.c.artifact == bindparam("artifact"), _V.c.version == bindparam("version"))
_NEWEST_FIRST = (
    select(_V)
    .where(_V.c.artifact == bindparam("artifact"), _V.c.version < bindparam("before"))
    .order_by(_V.c.version.desc())
    .limit(bindparam("limit"))
)
_BY_DIGEST = select(_V).where(_V.c.digest == bindparam("digest")).order_by(_V.c.id).limit(1000)
_LIST = Listing(ArtifactVersion, select(_V), [_V.c.created_at, _V.c.id])
_LIST_OF_ONE = Listing(ArtifactVersion, select(_V), [_V.c.version])
_NAMES = Listing(
    Artifact,
    select(_A.c.name, func.coalesce(_highest, 0).label("latest_version"), _A.c.created_at),
    [_A.c.name],
    newest_first=False,
)


class Artifacts:
    def __init__(self, database: Database) -> None:
        self._database = database

    def record(
        self,
        new: NewArtifact,
        *,
        producer: str | None = None,
        present: Mapping[str, str] | None = None,
        refers: Iterable[str] = (),
        expected: int | Any_ = ANY,
    ) -> ArtifactVersion:
        """Record one stored value outside a step; idempotent by (artifact, digest).

        ``refers``: URIs of other content that this one needs. ``expected``: the latest version that the caller knows
        (0: none). ``present``: what was stored again after a ``ContentRemoved``, its ``removed``. Raises that if a
        pruner removed content since it was found in the store, and ``Conflict`` if there is a later version by now.
        """
        attempts = Attempts()

        def work(connection: Connection) -> ArtifactVersion:
            lock = attempts.again() or connection.dialect.name != "sqlite"
            tombstones.refer(connection, refers, present=present)
            version = record_all(connection, [new], producer, lock=lock, present=present)[0][0]
            if expected is not ANY and version.version != expected + 1:
                raise Conflict(
                    f'"{new.artifact}" was at version {expected}, and is at {version.version - 1} now.',
                    hint="Read it again and decide.",
                )
            return version

        return self._database.write(work)

    def find(self, name: str, version: int | None = None) -> ArtifactVersion | None:
        """Version ``version``, or the latest; None if there is none."""
        statement = _NEWEST_FIRST if version is None else _ONE
        values = {"artifact": name, "version": version, "before": 2**31 - 1, "limit": 1}
        row = self._database.fetch(lambda connection: connection.execute(statement, values).mappings().first())
        return None if row is None else ArtifactVersion(**row)

    def get(self, name: str, version: int | None = None) -> ArtifactVersion:
        """Version ``version``, or the latest. Raises ``ArtifactNotFound``."""
        found = self.find(name, version)
        if found is not None:
            return found
        latest = self.find(name)
        if latest is not None:
            raise ArtifactNotFound(
                f'Artifact "{name}" has no version {version}; the latest is {latest.version}.',
                hint="List them: windsock artifact list --name " + name,
                artifact=name,
                version=version,
            )
        names = [artifact.name for artifact in self.names(limit=200)]
        raise ArtifactNotFound(
            f'Artifact "{name}" is not recorded.', hint=did_you_mean(name, names), artifact=name, version=version
        )

    def list(
        self,
        name: str | None = None,
        type: str | None = None,  # noqa: A002 - the field's own name
        limit: int = 100,
        before: str | int | None = None,
    ) -> Page[ArtifactVersion]:
        """Versions, the newest first, of one artifact and one type if given."""
        from .filters import ArtifactFilter

        return self.search(ArtifactFilter(name=name, type=type), limit, before)

    def search(
        self, wanted: ArtifactFilter, limit: int = 100, before: str | int | None = None
    ) -> Page[ArtifactVersion]:
        """The versions that meet the filter, the newest first; those of one artifact by their number."""
        listing = _LIST if wanted.name is None else _LIST_OF_ONE
        return listing.page(self._database, _terms(wanted), limit=limit, before=before)

    def versions(self, name: str, limit: int = 100, before: str | int | None = None) -> Page[ArtifactVersion]:
        """The versions of one artifact, the newest first."""
        return self.list(name, limit=limit, before=before)

    def names(self, limit: int = 100, after: str = "", *, prefix: str | None = None) -> Page[Artifact]:
        """The artifacts themselves, by name."""
        terms = begins(_A.c.name, prefix, lambda condition: select(_A.c.name).where(condition))
        return _NAMES.page(self._database, terms, limit=limit, before=after or None)

    def by_digest(self, digest: str) -> builtins.list[ArtifactVersion]:
        """Every artifact version of that content, the oldest first (at most 1,000)."""
        return [*self._all(_BY_DIGEST, {"digest": digest})]

    def _all(self, statement: Select[Any], values: JSON) -> tuple[ArtifactVersion, ...]:
        return self._database.fetch(lambda connection: ArtifactVersion.many(connection.execute(statement, values)))


def _terms(wanted: ArtifactFilter) -> builtins.list[Term]:
    """What the filter means in SQL."""

    def named(condition: ColumnElement[bool]) -> Select[Any]:
        return select(_V.c.id).select_from(_A).join(_V, _V.c.artifact == _A.c.name).where(condition)

    return [
        *equals(_V.c.artifact, wanted.name),
        *begins(_V.c.artifact, wanted.prefix, named, indexed=_A.c.name),
        *equals(_V.c.type, wanted.type),
        *equals(_V.c.producer, wanted.producer),
        *between(_V.c.created_at, wanted.since, wanted.until),
        *_sized(wanted.min_size, wanted.max_size),
    ]


def _sized(least: int | None, most: int | None) -> builtins.list[Term]:
    terms = between(_V.c.size, least, None if most is None else most + 1)
    if not terms:
        return []

    def build(see: See) -> ColumnElement[bool]:
        return and_(*(term.build(see) for term in terms))

    values = {name: value for term in terms for name, value in term.values.items()}
    shape = tuple(term.shape for term in terms)
    return [Term(shape, build, values, lambda: select(_V.c.id).where(build(lambda column: column)))]


class Attempts:
    """Counts the runs of a unit of work: the second one locks first what the first one collided on."""

    def __init__(self) -> None:
        self._count = 0

    def again(self) -> bool:
        self._count += 1
        return self._count > 1


def record_all(
    connection: Connection,
    new: Sequence[NewArtifact],
    producer: str | None,
    *,
    lock: bool,
    inputs: Iterable[tuple[str, str]] = (),
    present: Mapping[str, str] | None = None,
    reads: Iterable[str] = (),
) -> tuple[builtins.list[ArtifactVersion], dict[tuple[str, str], ArtifactVersion]]:
    """The versions of ``new``, in that order, in the caller's transaction; those that are missing are made.

    Also returns what is known by (artifact, digest), ``inputs`` included. One statement when all are known, two when
    not, three when a name is new. ``lock``: lock the artifacts' rows first, unless the caller did. Raises
    ``ContentRemoved`` for content that a pruner removes or removed (:mod:`.tombstones`), unless it is ``present``
    again; from what it ``reads`` (URIs), marks of a pruner are taken away.
    """
    names = sorted({check_name("artifact", item.artifact) for item in new})
    if lock and names:
        connection.execute(_LOCK, {"names": names})
    pairs = dict.fromkeys([*((item.artifact, item.digest) for item in new), *inputs])
    known: dict[tuple[str, str], ArtifactVersion] = {}
    highest: dict[str, int] = {}
    stones: dict[str, tuple[str, datetime]] = {}
    blobs = {tombstones.blob_key(item.uri): item.uri for item in new}
    read = {tombstones.blob_key(uri): uri for uri in reads}
    asked = {**_lists(pairs), "names": names, "blobs": [*blobs, *read]}
    for row in _look_up.rows(connection, asked) if pairs else ():
        if row["id"] is None and row["digest"] is not None:
            stones[row["digest"]] = row["type"], row["created_at"]
        elif row["id"] is None:
            highest[row["artifact"]] = row["version"]
        elif (row["artifact"], row["digest"]) in pairs:
            known[row["artifact"], row["digest"]] = ArtifactVersion(**row)
    if stones:
        tombstones.release(connection, [read[blob] for blob in stones.keys() & read.keys()])
        if own := {blob: stone for blob, stone in stones.items() if blob in blobs}:
            tombstones.resolve(connection, blobs, own, present)
    for item in new:
        _follow(connection, item, known)
    missing = {(item.artifact, item.digest): item for item in new if (item.artifact, item.digest) not in known}
    if missing:
        _make(connection, [*missing.values()], producer, known, highest)
    return [known[item.artifact, item.digest] for item in new], known


def _follow(connection: Connection, item: NewArtifact, known: dict[tuple[str, str], ArtifactVersion]) -> None:
    """The same content was recorded at another place (another store): if it is gone from there, it is here now."""
    version = known.get((item.artifact, item.digest))
    if version is None or version.uri == item.uri:
        return
    try:
        tombstones.refer(connection, [version.uri])
    except ContentRemoved:
        connection.execute(_MOVE, {"of_id": version.id, "new_uri": item.uri})
        known[item.artifact, item.digest] = version.model_copy(update={"uri": item.uri})


def ids_by_content(connection: Connection, pairs: Iterable[tuple[str, str]]) -> dict[tuple[str, str], int]:
    """Numbers of versions by (artifact, digest)."""
    rows = _ids_by_pairs.rows(connection, _lists(wanted := dict.fromkeys(pairs)))
    found = {(row["artifact"], row["digest"]): row["id"] for row in rows}
    return {pair: number for pair, number in found.items() if pair in wanted}


def _lists(pairs: Iterable[tuple[str, str]]) -> JSON:
    return {
        "of_artifacts": [*dict.fromkeys(artifact for artifact, _ in pairs)],
        "digests": [*dict.fromkeys(digest for _, digest in pairs)],
    }


def _make(
    connection: Connection,
    new: Sequence[NewArtifact],
    producer: str | None,
    known: dict[tuple[str, str], ArtifactVersion],
    highest: dict[str, int],
) -> None:
    at = now()
    if unknown := sorted({item.artifact for item in new} - highest.keys()):
        _ensure(connection, [{"name": name, "created_at": at} for name in unknown])
    rows = []
    for item in new:
        highest[item.artifact] = highest.get(item.artifact, 0) + 1
        values = item.model_dump(exclude={"output"})
        rows.append({**values, "version": highest[item.artifact], "producer": producer, "created_at": at})
    numbers = _inserted(connection, rows)
    for row in rows:
        pair = row["artifact"], row["digest"]
        known[pair] = ArtifactVersion(id=numbers[pair], **row)


def _inserted(connection: Connection, rows: builtins.list[JSON]) -> dict[tuple[str, str], int]:
    """Write the rows; the numbers that they got. MySQL does not return what it inserts: it is asked for it."""
    if connection.dialect.insert_returning:
        return {(made["artifact"], made["digest"]): made["id"] for made in _insert.rows(connection, rows)}
    connection.execute(_INSERT_ONLY, rows)
    return ids_by_content(connection, [(row["artifact"], row["digest"]) for row in rows])
