"""Pipelines and their versions: a version is one distinct spec and source, numbered 1, 2, 3…"""

from __future__ import annotations

from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING

from sqlalchemy import Connection, bindparam, func, insert, select

from ..errors import RecordNotFound, did_you_mean
from ..names import check_name
from . import schema
from .database import Database, PerDialect
from .records import JSON, Page, Record, now, page_start

if TYPE_CHECKING:
    from collections.abc import Mapping


class PipelineVersion(Record):
    """An immutable snapshot: the graph, the digest of the source, and what was installed."""

    pipeline: str
    number: int
    digest: str
    spec: JSON
    source_digest: str
    requirements: dict[str, str]
    created_at: datetime


_P, _V = schema.pipeline, schema.pipeline_version
_ENSURE = PerDialect(lambda insert: insert(_P).on_conflict_do_nothing())
_LOCK = select(_P.c.name).where(_P.c.name == bindparam("pipeline")).with_for_update()
_BY_DIGEST = select(_V).where(_V.c.pipeline == bindparam("pipeline"), _V.c.digest == bindparam("digest"))
_NUMBER = select(_V.c.number).where(_V.c.pipeline == bindparam("pipeline"), _V.c.digest == bindparam("digest"))
_HIGHEST = select(func.coalesce(func.max(_V.c.number), 0)).where(_V.c.pipeline == bindparam("pipeline"))
_INSERT = insert(_V)
_NEWEST_FIRST = (
    select(_V)
    .where(_V.c.pipeline == bindparam("pipeline"), _V.c.number < bindparam("before"))
    .order_by(_V.c.number.desc())
    .limit(bindparam("limit"))
)
_ONE = select(_V).where(_V.c.pipeline == bindparam("pipeline"), _V.c.number == bindparam("number"))
_latest = select(func.max(_V.c.number)).where(_V.c.pipeline == _P.c.name).correlate(_P).scalar_subquery()
_LIST = (
    select(_V)
    .select_from(_P.join(_V, (_V.c.pipeline == _P.c.name) & (_V.c.number == _latest)))
    .where(_P.c.name > bindparam("after"))
    .order_by(_P.c.name)
    .limit(bindparam("limit"))
)
_NAMES = select(_P.c.name).order_by(_P.c.name).limit(200)

_ENDLESS = 2**31 - 1


class Pipelines:
    def __init__(self, database: Database) -> None:
        self._database = database

    def register(
        self,
        name: str,
        *,
        digest: str,
        spec: JSON,
        source_digest: str,
        requirements: Mapping[str, str] | None = None,
    ) -> PipelineVersion:
        """The version of that digest: the one there is, else the next number. Idempotent and safe in a race."""
        check_name("pipeline", name)
        key = {"pipeline": name, "digest": digest}

        def work(connection: Connection) -> PipelineVersion:
            connection.execute(_ENSURE(connection), {"name": name, "created_at": now()})
            connection.execute(_LOCK, key)
            row = connection.execute(_BY_DIGEST, key).mappings().first()
            if row is not None:
                return PipelineVersion(**row)
            version = PipelineVersion(
                pipeline=name,
                number=connection.execute(_HIGHEST, key).scalar_one() + 1,
                digest=digest,
                spec=spec,
                source_digest=source_digest,
                requirements=dict(requirements or {}),
                created_at=now(),
            )
            connection.execute(_INSERT, version.model_dump())
            return version

        # The common case, a known digest, is one read and no lock.
        row = self._database.fetch(lambda connection: connection.execute(_BY_DIGEST, key).mappings().first())
        return PipelineVersion(**row) if row is not None else self._database.write(work)

    def number(self, name: str, digest: str) -> int | None:
        """The number of the version of that digest, or None: for who need not read the version itself."""
        key = {"pipeline": name, "digest": digest}
        return self._database.fetch(lambda connection: connection.execute(_NUMBER, key).scalar())

    def find(self, name: str, number: int | None = None) -> PipelineVersion | None:
        """Version ``number``, or the latest; None if there is none."""
        statement = _NEWEST_FIRST if number is None else _ONE
        values = {"pipeline": name, "number": number, "before": _ENDLESS, "limit": 1}
        row = self._database.fetch(lambda connection: connection.execute(statement, values).mappings().first())
        return None if row is None else PipelineVersion(**row)

    def get(self, name: str, number: int | None = None) -> PipelineVersion:
        """Version ``number``, or the latest. Raises ``RecordNotFound``."""
        found = self.find(name, number)
        if found is not None:
            return found
        asked = f'Pipeline "{name}"' + (f" has no version {number}." if number is not None else " is not registered.")
        names = self._database.fetch(lambda connection: connection.execute(_NAMES).scalars().all())
        raise RecordNotFound(asked, hint=did_you_mean(name, names) if name not in names else None, pipeline=name)

    def list(self, limit: int = 1000, after: str = "") -> Page[PipelineVersion]:
        """The latest version of each pipeline, by name."""
        values = {"limit": limit + 1, "after": after}
        rows = self._database.fetch(lambda connection: connection.execute(_LIST, values).mappings().all())
        items = tuple(PipelineVersion(**row) for row in rows[:limit])
        return Page(items, items[-1].pipeline if len(rows) > limit else None)

    def versions(self, name: str, limit: int = 100, before: str | int | None = None) -> Page[PipelineVersion]:
        """The newest first."""
        values = {"pipeline": name, "before": page_start(before, _ENDLESS), "limit": limit + 1}
        rows = self._database.fetch(lambda connection: connection.execute(_NEWEST_FIRST, values).mappings().all())
        items = tuple(PipelineVersion(**row) for row in rows[:limit])
        return Page(items, str(items[-1].number) if len(rows) > limit else None)
