"""What refers to content: the questions of a pruner, each one walk through a table in the order of an index.

They are for maintenance, and read much: a page at a time, of a table of a million rows.
"""

from __future__ import annotations

from collections.abc import Iterator  # noqa: TC003 - pydantic reads annotations
from datetime import datetime  # noqa: TC003
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import Text, bindparam, cast, or_, select, union

from . import schema

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .database import Database

_PAGE = 5000
_CHUNK = 300


class RunFacts(NamedTuple):
    """A run as a retention policy sees it."""

    id: str
    dag_id: str
    pipeline: str | None
    state: str
    started_at: datetime


class ContentFacts(NamedTuple):
    """A version as a pruner sees it."""

    id: int
    artifact: str
    version: int
    uri: str
    size: int
    type: str
    producer: str | None
    created_at: datetime


_R, _S, _E, _V, _M, _A, _D, _DR = (
    schema.run,
    schema.step_run,
    schema.edge,
    schema.artifact_version,
    schema.model_version,
    schema.alias,
    schema.deployment,
    schema.drift_report,
)
_RUNS = (
    select(_R.c.id, _R.c.dag_id, _R.c.pipeline, _R.c.state, _R.c.started_at)
    .where(_R.c.id > bindparam("after"))
    .order_by(_R.c.id)
    .limit(_PAGE)
)
_of_runs = _S.c.run.in_(bindparam("runs", expanding=True))
_VERSIONS_OF_RUNS = union(
    select(_E.c.artifact_version).join_from(_E, _S, _E.c.step_run == _S.c.id).where(_of_runs),
    select(_V.c.id).join_from(_V, _S, _V.c.producer == _S.c.id).where(_of_runs),
)
_aliased = select(_A.c.alias).where(_A.c.model == _M.c.model, _A.c.version == _M.c.version).exists()
_served = (
    select(_D.c.name)
    .where(
        _D.c.model == _M.c.model,
        _D.c.phase != "deleted",
        or_(_D.c.version == _M.c.version, _D.c.previous_version == _M.c.version),
    )
    .exists()
)
_ROOTS = select(_M.c.artifact_version, _M.c.baseline_version, _M.c.evaluation_version).where(
    or_(_M.c.state == "active", _aliased, _served)
)
_CONTENTS = (
    select(*(_V.c[name] for name in ContentFacts._fields))
    .where(_V.c.id > bindparam("after"))
    .order_by(_V.c.id)
    .limit(_PAGE)
)
# A version's metadata may name other content: a preview beside it, the parts of a dataset.
_NAMING = select(_V.c.id, _V.c.metadata).where(cast(_V.c.metadata, Text).like("%objects/%"))
_REPORTS = select(_DR.c.report_uri, _DR.c.json_uri)


class Reach:
    """Read only."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def runs(self) -> Iterator[RunFacts]:
        """Every run, in no useful order."""
        after = ""
        while rows := self._rows(_RUNS, {"after": after}):
            yield from (RunFacts(*row) for row in rows)
            after = rows[-1].id

    def versions_of_runs(self, runs: Sequence[str]) -> set[int]:
        """Numbers of the artifact versions that steps of these runs read or made."""
        found: set[int] = set()
        for start in range(0, len(runs), _CHUNK):
            found.update(row[0] for row in self._rows(_VERSIONS_OF_RUNS, {"runs": runs[start : start + _CHUNK]}))
        return found

    def versions_of_models(self) -> set[int]:
        """Those of model versions that are active, have an alias, or are served (or were, before the present one).

        The model itself, its drift baseline and its evaluation data.
        """
        return {number for row in self._rows(_ROOTS, {}) for number in row if number is not None}

    def contents(self) -> Iterator[ContentFacts]:
        """Every artifact version, in the order in which they were recorded."""
        after = 0
        while rows := self._rows(_CONTENTS, {"after": after}):
            yield from (ContentFacts(*row) for row in rows)
            after = rows[-1].id

    def naming(self) -> dict[int, Any]:
        """The metadata of versions in which other content may be named, by number."""
        return {row.id: row.metadata for row in self._rows(_NAMING, {})}

    def reports(self) -> set[str]:
        """Where drift reports are."""
        return {uri for row in self._rows(_REPORTS, {}) for uri in row if uri}

    def _rows(self, statement: Any, values: dict[str, Any]) -> Any:
        return self._database.fetch(lambda connection: connection.execute(statement, values).all())
