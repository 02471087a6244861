"""Runs and step runs: what ran, with what, and what came of it.

A run is a DAG run, a step run one attempt of one task instance. The keys are computed from Airflow's own identity, so
writing the same thing twice changes nothing. ``parameters`` hold what users pass, as they pass it: secrets belong into
connections.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime  # noqa: TC003 - pydantic reads annotations
from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field
from sqlalchemy import (
    BindParameter,
    Connection,
    Select,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)

from ..errors import ArtifactNotFound, RecordNotFound
from ..faults import reach
from . import schema
from .artifacts import ArtifactVersion, Attempts, NewArtifact, lock_artifacts, record_all
from .columns import clean_text
from .database import Database, PerDialect
from .direct import Direct
from .keys import run_key, step_run_key
from .listing import Listing
from .records import JSON, Page, Record, finite, now
from .terms import values_of

if TYPE_CHECKING:
    import builtins

    from .filters import RunFilter


class StepStart(Record):
    """One attempt of one step, about to run."""

    dag_id: str
    run_id: str
    task_id: str
    map_index: int = -1
    try_number: int = 1
    pipeline: str | None = None
    pipeline_version: int | None = None
    stack: str | None = None
    parameters: JSON = Field(default_factory=dict)
    reason: JSON | None = None
    triggered_by: str | None = None
    step: str
    step_parameters: JSON = Field(default_factory=dict)
    cache_key: str | None = None
    worker: str | None = None
    started_at: datetime | None = None
    """Set when it is recorded afterwards (from the spool); else it begins now."""

    @property
    def run_key(self) -> str:
        return run_key(self.dag_id, self.run_id)

    @property
    def key(self) -> str:
        """The id of the step run."""
        return step_run_key(self.dag_id, self.run_id, self.task_id, self.map_index, self.try_number)


class EdgeIn(Record):
    """An artifact that a step read: the argument's name and the reference."""

    name: str
    ref: JSON


class MetricPoint(Record):
    """One logged value; ``step`` is the caller's own counter (an epoch), ``at`` defaults to the end of the step."""

    key: str
    value: float
    step: int | None = None
    at: datetime | None = None


StepState = Literal["success", "cached", "failed", "skipped"]


class StepFinish(Record):
    """How an attempt ended. ``metrics``: the last value of each, or the whole series."""

    start: StepStart
    state: StepState
    inputs: Sequence[EdgeIn] = ()
    outputs: Sequence[NewArtifact] = ()
    metrics: dict[str, float] | list[MetricPoint] = Field(default_factory=dict)
    parameters: JSON = Field(default_factory=dict)
    cached_from: str | None = None
    error: str | None = None
    started_at: datetime | None = None
    ended_at: datetime | None = None
    """Set when it is recorded afterwards (from the spool); else it ends now."""
    present: dict[str, str] = Field(default_factory=dict)
    """Outputs that were stored again after a ``ContentRemoved``: what its ``removed`` said."""


class Run(Record):
    """One execution of a pipeline."""

    id: str
    dag_id: str
    run_id: str
    pipeline: str | None
    pipeline_version: int | None
    stack: str | None
    state: str
    parameters: JSON
    reason: JSON | None
    triggered_by: str | None
    started_at: datetime
    ended_at: datetime | None


class StepRun(Record):
    """One attempt of one step. ``metrics`` are the last values."""

    id: str
    run: str
    step: str
    task_id: str
    map_index: int
    try_number: int
    state: str
    cache_key: str | None
    cached_from: str | None
    worker: str | None
    parameters: JSON
    metrics: dict[str, float]
    error: str | None
    started_at: datetime
    ended_at: datetime | None


class CachedStep(Record):
    """An earlier step run that did the same, and what it made."""

    step_run: str
    outputs: dict[str, ArtifactVersion]


_R, _S, _M, _E, _V = schema.run, schema.step_run, schema.metric, schema.edge, schema.artifact_version

_open_run = Direct(
    PerDialect(
        lambda insert: insert(_R).on_conflict_do_update(
            index_elements=[_R.c.id], set_={"state": "running", "ended_at": None}, where=_R.c.state != "running"
        )
    )
)
_ensure_run = Direct(PerDialect(lambda insert: insert(_R).on_conflict_do_nothing()))
_start = Direct(PerDialect(lambda insert: insert(_S).on_conflict_do_nothing()))
_ENDS = ("state", "cache_key", "cached_from", "parameters", "metrics", "error", "ended_at")
_KILLED = "The attempt ended without a word: its process was killed or lost."
_OUTLIVED = "The run ended before the attempt reported an end: its process was killed or lost."
# Only a guess made these two, so the attempt's own report, if it comes after all, is what counts. Not so when a newer
# attempt has begun: then that one's result stands, and the older one stays lost.
_OPEN = or_(_S.c.state == "running", and_(_S.c.state == "failed", or_(_S.c.error == _KILLED, _S.c.error == _OUTLIVED)))
_NEWER = select(_S.c.id).where(
    _S.c.run == bindparam("of_run"),
    _S.c.task_id == bindparam("of_task"),
    _S.c.map_index == bindparam("of_index"),
    _S.c.try_number > bindparam("of_try"),
)
_END_LATE = (
    update(_S).where(_S.c.id == bindparam("key"), _OPEN).values({name: bindparam(f"new_{name}") for name in _ENDS})
)
# LIMIT keeps MySQL from merging the subquery into the UPDATE, which it refuses to read its own table in.
_END_STEP = _END_LATE.where(~exists(select(_NEWER.limit(1).subquery("newer").c.id)))
_end_step = Direct(_END_STEP)
_AT: BindParameter[Any] = bindparam("at", type_=_S.c.ended_at.type)
# Clocks differ between machines: nothing ends before it began.
_NOT_BEFORE = case((_S.c.started_at > _AT, _S.c.started_at), else_=_AT)
_BEGUN_BEFORE = _NEWER.where(_S.c.started_at < bindparam("at")).limit(1)
_give_up_step = Direct(
    update(_S)
    .where(_S.c.id == bindparam("key"), _S.c.state == "running")
    .values(state="failed", error=_KILLED, ended_at=_NOT_BEFORE)
)
# With servers the same statement takes the locks of the artifacts that are about to get a version, so that the next
# one sees every version there is. Two steps that end at once wait for each other here instead of colliding later.
# MySQL has no WITH before an UPDATE.
_END_STEP_LOCKING = {
    dialect: _END_STEP.where(select(func.count()).select_from(locked).scalar_subquery() >= 0)
    for dialect, locked in {
        "postgresql": lock_artifacts().cte("locked"),
        "mysql": lock_artifacts().subquery("locked"),
    }.items()
}
_record_step = Direct(
    PerDialect(
        lambda insert: (statement := insert(_S)).on_conflict_do_update(
            index_elements=[_S.c.id],
            set_={name: statement.excluded[name] for name in _ENDS},
            where=_S.c.state == "running",
        )
    )
)
_LOST = (
    update(_S)
    .where(
        _S.c.run == bindparam("of_run"),
        _S.c.task_id == bindparam("of_task"),
        _S.c.map_index == bindparam("of_index"),
        _S.c.try_number < bindparam("of_try"),
        _S.c.state == "running",
    )
    .values(state="failed", error=_KILLED, ended_at=_NOT_BEFORE)
)
_all_lost = Direct(
    update(_S)
    .where(_S.c.run == bindparam("of_run"), _S.c.state == "running")
    .values(state="failed", error=_OUTLIVED, ended_at=_NOT_BEFORE)
)
_add_edges = Direct(PerDialect(lambda insert: insert(_E).on_conflict_do_nothing()))
_add_metrics = Direct(insert(_M))
_add_values = Direct(PerDialect(lambda insert: insert(schema.run_parameter).on_conflict_do_nothing()))
_newest = (
    select(_S.c.id)
    .where(
        _S.c.pipeline == bindparam("pipeline"),
        _S.c.step == bindparam("step"),
        _S.c.cache_key == bindparam("cache_key"),
        _S.c.state == "success",
    )
    .order_by(_S.c.ended_at.desc())
    .limit(1)
    .subquery()
)
_CACHED = select(_newest.c.id.label("step_run"), _E.c.name.label("output"), _V).select_from(
    _newest.outerjoin(_E, and_(_E.c.step_run == _newest.c.id, _E.c.direction == "out")).outerjoin(
        _V, _V.c.id == _E.c.artifact_version
    )
)
_OUTPUTS = (
    select(_E.c.name.label("output"), _V)
    .join_from(_E, _V, _V.c.id == _E.c.artifact_version)
    .where(_E.c.step_run == bindparam("step_run"), _E.c.direction == "out")
)
_INPUTS = (
    select(_E.c.name.label("output"), _V)
    .join_from(_E, _V, _V.c.id == _E.c.artifact_version)
    .where(_E.c.step_run == bindparam("step_run"), _E.c.direction == "in")
)
_end_run = Direct(
    update(_R)
    .where(_R.c.id == bindparam("key"))
    .values(state=bindparam("new_state"), ended_at=case((_R.c.started_at > _AT, _R.c.started_at), else_=_AT))
)
_GOES_ON = select(_S.c.id).where(_S.c.run == bindparam("of_run"), _S.c.started_at > bindparam("at")).limit(1)
_RUN = select(_R).where(_R.c.id == bindparam("key"))
_LATEST = select(_R).where(_R.c.dag_id == bindparam("dag_id")).order_by(_R.c.started_at.desc(), _R.c.id.desc()).limit(1)
_LIST = Listing(Run, select(_R), [_R.c.started_at, _R.c.id])
_STEP_COLUMNS = [column for column in _S.c if column.name != "pipeline"]
_STEPS = (
    select(*_STEP_COLUMNS)
    .where(_S.c.run == bindparam("run"))
    .order_by(_S.c.started_at, _S.c.task_id, _S.c.map_index, _S.c.try_number)
)
_STEP = select(*_STEP_COLUMNS).where(_S.c.id == bindparam("key"))
_METRICS = (
    select(_M.c.key, _M.c.value, _M.c.step, _M.c.at)
    .where(_M.c.step_run == bindparam("step_run"))
    .order_by(_M.c.position)
)


class Runs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start_step(self, start: StepStart) -> None:
        """Record that an attempt begins: one transaction, two statements (three on a retry). Idempotent."""

        def work(connection: Connection) -> None:
            at, late = start.started_at or now(), start.started_at is not None
            run = _run_row(start, at)
            if late:  # what is told late must not open a run that has ended
                _run_is_there(connection, run)
            elif _open_run(connection, run):
                _add_parameters(connection, run)
            if start.try_number > 1:
                connection.execute(_LOST, {**_attempt(start), "at": at})
            _start(connection, _step_row(start, at))
            if late and connection.execute(_NEWER.limit(1), _attempt(start)).first() is not None:
                _give_up_step(connection, {"key": start.key, "at": at})
            reach("metadata.start_step")

        self._database.write(work)

    def find_cached(self, pipeline: str | None, step: str, cache_key: str) -> CachedStep | None:
        """The newest successful step run of that key, with its outputs: one statement, no transaction.

        Whether the outputs' content is still in the artifact store is the caller's to ask.
        """
        values = {"pipeline": pipeline or "", "step": step, "cache_key": cache_key}
        rows = self._database.fetch(lambda connection: connection.execute(_CACHED, values).mappings().all())
        if not rows:
            return None
        return CachedStep(step_run=rows[0]["step_run"], outputs=_by_output(r for r in rows if r["id"] is not None))

    def finish_step(self, finish: StepFinish) -> dict[str, ArtifactVersion]:
        """Record how an attempt ended and all it made, in one transaction: all of it is visible, or nothing.

        Idempotent: an attempt that has ended is left as it is, and its outputs are returned. One that ends after a
        newer one has begun is lost, and so are its outputs: nothing is returned. Run and step run are made if
        :meth:`start_step` was not called. Raises ``ArtifactNotFound`` for an input nobody recorded.
        """
        attempts = Attempts()

        def work(connection: Connection) -> dict[str, ArtifactVersion]:
            lock = attempts.again() or finish.ended_at is not None
            at = finish.ended_at or now()
            if not _end(connection, finish, at):
                return _by_output(connection.execute(_OUTPUTS, {"step_run": finish.start.key}).mappings())
            reach("metadata.finish_step.state")
            versions = _record_outputs(connection, finish, lock=lock)
            reach("metadata.finish_step.artifacts")
            if points := _points(finish, at):
                _add_metrics(connection, points)
            reach("metadata.finish_step.metrics")
            return versions

        return self._database.write(work)

    def end(self, dag_id: str, run_id: str, state: str, *, ended_at: datetime | None = None) -> None:
        """Close a run. Attempts that still call themselves running did not survive it. Unknown runs are ignored.

        ``ended_at``: told afterwards; a run that has gone on since then is left alone.
        """
        key = run_key(dag_id, run_id)
        at = ended_at or now()

        def work(connection: Connection) -> None:
            if ended_at is not None and connection.execute(_GOES_ON, {"of_run": key, "at": at}).first() is not None:
                return
            _end_run(connection, {"key": key, "new_state": state, "at": at})
            _all_lost(connection, {"of_run": key, "at": at})

        self._database.write(work)

    def find(self, dag_id: str, run_id: str | None = None) -> Run | None:
        """That run, or the latest of the DAG; None if there is none."""
        if run_id is not None:
            return self._one(_RUN, {"key": run_key(dag_id, run_id)})
        return self._one(_LATEST, {"dag_id": dag_id})

    def get(self, dag_id: str, run_id: str) -> Run:
        """Raises ``RecordNotFound``."""
        found = self.find(dag_id, run_id)
        if found is None:
            raise RecordNotFound(
                f'DAG "{dag_id}" has no recorded run "{run_id}".',
                hint="A run is recorded when its first step starts. List them: windsock runs list",
                dag_id=dag_id,
                run_id=run_id,
            )
        return found

    def get_by_key(self, key: str) -> Run:
        """The run of that id (:func:`run_key`). Raises ``RecordNotFound``."""
        found = self._one(_RUN, {"key": key})
        if found is None:
            raise RecordNotFound(f"No run has the id {key}.", key=key)
        return found

    def list(
        self,
        pipeline: str | None = None,
        state: str | None = None,
        limit: int = 100,
        before: str | None = None,
        *,
        dag_id: str | None = None,
    ) -> Page[Run]:
        """Runs, the newest first; ``before`` is the ``next`` of the page before."""
        from .filters import RunFilter

        return self.search(RunFilter(pipeline=pipeline, state=state, dag_id=dag_id), limit, before)

    def search(self, wanted: RunFilter, limit: int = 100, before: str | None = None) -> Page[Run]:
        """The runs that meet the filter, the newest first. Raises ``FilterInvalid``."""
        from .run_search import terms

        return _LIST.page(self._database, terms(wanted), limit=limit, before=before)

    def steps(self, run: str) -> builtins.list[StepRun]:
        """Every attempt of every step of the run with that id, in the order they began."""
        rows = self._database.fetch(lambda connection: connection.execute(_STEPS, {"run": run}).mappings().all())
        return [StepRun(**row) for row in rows]

    def step(self, key: str) -> StepRun:
        """The step run of that id (:func:`step_run_key`). Raises ``RecordNotFound``."""
        row = self._database.fetch(lambda connection: connection.execute(_STEP, {"key": key}).mappings().first())
        if row is None:
            raise RecordNotFound(f"No step run has the id {key}.", key=key)
        return StepRun(**row)

    def inputs(self, step_run: str) -> builtins.list[tuple[str, ArtifactVersion]]:
        """What the step run read, by argument; an argument that takes several artifacts comes several times."""
        return self._edges(_INPUTS, step_run)

    def outputs(self, step_run: str) -> dict[str, ArtifactVersion]:
        """What the step run made, by output."""
        return dict(self._edges(_OUTPUTS, step_run))

    def metrics(self, step_run: str) -> builtins.list[MetricPoint]:
        """Every value that the step run logged, in its order."""
        rows = self._database.fetch(lambda c: c.execute(_METRICS, {"step_run": step_run}).mappings().all())
        return [MetricPoint(**row) for row in rows]

    def _edges(self, statement: Select[Any], step_run: str) -> builtins.list[tuple[str, ArtifactVersion]]:
        rows = self._database.fetch(lambda c: c.execute(statement, {"step_run": step_run}).mappings().all())
        return [_named_version(row) for row in rows]

    def _one(self, statement: Select[Any], values: JSON) -> Run | None:
        row = self._database.fetch(lambda connection: connection.execute(statement, values).mappings().first())
        return None if row is None else Run(**row)


def _run_row(start: StepStart, at: datetime) -> JSON:
    return {
        "id": start.run_key,
        "dag_id": start.dag_id,
        "run_id": start.run_id,
        "pipeline": start.pipeline,
        "pipeline_version": start.pipeline_version,
        "stack": start.stack,
        "state": "running",
        "parameters": start.parameters,
        "reason": start.reason,
        "triggered_by": start.triggered_by,
        "started_at": at,
        "ended_at": None,
    }


def _step_row(start: StepStart, at: datetime) -> JSON:
    return {
        "id": start.key,
        "run": start.run_key,
        "pipeline": start.pipeline or "",
        "step": start.step,
        "task_id": start.task_id,
        "map_index": start.map_index,
        "try_number": start.try_number,
        "state": "running",
        "cache_key": start.cache_key,
        "cached_from": None,
        "worker": start.worker,
        "parameters": start.step_parameters,
        "metrics": {},
        "error": None,
        "started_at": at,
        "ended_at": None,
    }


def _run_is_there(connection: Connection, run: JSON) -> None:
    if _ensure_run(connection, run):
        _add_parameters(connection, run)


def _add_parameters(connection: Connection, run: JSON) -> None:
    """What the run will be found by, when its row is new: a statement that the other steps of the run do not send."""
    if rows := [{"run": run["id"], **value} for value in values_of(run["parameters"])]:
        _add_values(connection, rows)


def _end(connection: Connection, finish: StepFinish, at: datetime) -> bool:
    """Move the step run from running, or from nothing, to its end; False if it has ended before."""
    start = finish.start
    ends = {
        "state": finish.state,
        "cache_key": start.cache_key,
        "cached_from": finish.cached_from,
        "parameters": {**start.step_parameters, **finish.parameters},
        "metrics": finite(_latest(finish.metrics)),
        "error": clean_text(finish.error),
        "ended_at": at,
    }
    values = {"key": start.key, **{f"new_{name}": value for name, value in ends.items()}}
    began = finish.started_at or start.started_at or at
    run, row = _run_row(start, began), {**_step_row(start, began), **ends}
    if finish.ended_at is not None:
        return _end_late(connection, start, values, run, row)
    if finish.state == "cached":  # not announced: nothing ran
        _run_is_there(connection, run)
        return _record_step(connection, row) > 0
    names = [item.artifact for item in finish.outputs]
    values |= _attempt(start)
    if names and connection.dialect.name in _END_STEP_LOCKING:
        ended = connection.execute(_END_STEP_LOCKING[connection.dialect.name], {**values, "names": names}).rowcount
    else:
        ended = _end_step(connection, values)
    if ended:
        return True
    _run_is_there(connection, run)
    if _start(connection, row):
        return True
    _give_up_step(connection, {"key": start.key, "at": at})  # if it runs, then a newer attempt has begun
    return False


def _end_late(connection: Connection, start: StepStart, values: JSON, run: JSON, row: JSON) -> bool:
    """The same of an attempt that ended a while ago. It was lost only if a newer one had begun by then."""
    _run_is_there(connection, run)
    if connection.execute(_BEGUN_BEFORE, {**_attempt(start), "at": row["ended_at"]}).first() is not None:
        lost: JSON = {"state": "failed", "error": _KILLED, "cached_from": None, "metrics": {}}
        if not _start(connection, {**row, **lost}):
            _give_up_step(connection, {"key": start.key, "at": row["ended_at"]})
        return False
    return connection.execute(_END_LATE, values).rowcount > 0 or _start(connection, row) > 0


def _attempt(start: StepStart) -> JSON:
    """The values of the statements that look for other attempts of the same task."""
    return {
        "of_run": start.run_key,
        "of_task": start.task_id,
        "of_index": start.map_index,
        "of_try": start.try_number,
    }


def _record_outputs(connection: Connection, finish: StepFinish, *, lock: bool) -> dict[str, ArtifactVersion]:
    """Versions of the outputs, and the edges of inputs and outputs."""
    key = finish.start.key
    read = [(edge.name, str(edge.ref["artifact"]), str(edge.ref["digest"])) for edge in finish.inputs]
    made, known = record_all(
        connection,
        finish.outputs,
        key,
        lock=lock,
        inputs=[(artifact, digest) for _, artifact, digest in read],
        present=finish.present,
        reads=[str(edge.ref["uri"]) for edge in finish.inputs if "uri" in edge.ref],
    )
    edges = []
    for name, artifact, digest in read:
        version = known.get((artifact, digest))
        if version is None:
            raise ArtifactNotFound(
                f'Step "{finish.start.step}" read "{artifact}" ({digest[:19]}…), which is not recorded.',
                hint="Record it first: metadata.artifacts.record(...)",
                artifact=artifact,
                digest=digest,
            )
        edges.append({"step_run": key, "direction": "in", "name": name, "artifact_version": version.id})
    versions = {item.output: version for item, version in zip(finish.outputs, made, strict=True)}
    for name, version in versions.items():
        edges.append({"step_run": key, "direction": "out", "name": name, "artifact_version": version.id})
    if edges:
        _add_edges(connection, edges)
    return versions


def _latest(metrics: Mapping[str, float] | Sequence[MetricPoint]) -> dict[str, float]:
    return dict(metrics) if isinstance(metrics, Mapping) else {point.key: point.value for point in metrics}


def _points(finish: StepFinish, at: datetime) -> builtins.list[JSON]:
    key = finish.start.key
    series: list[tuple[str, float, int | None, datetime]]
    if isinstance(finish.metrics, Mapping):
        series = [(name, value, None, at) for name, value in finish.metrics.items()]
    else:
        series = [(point.key, point.value, point.step, point.at or at) for point in finish.metrics]
    last = {name: position for position, (name, *_) in enumerate(series)}
    return [
        {
            "step_run": key,
            "position": position,
            "key": name,
            "value": value,
            "step": step,
            "at": when,
            "latest": last[name] == position,
        }
        for position, (name, value, step, when) in enumerate(series)
    ]


def _named_version(row: Mapping[Any, Any]) -> tuple[str, ArtifactVersion]:
    values = dict(row)
    values.pop("step_run", None)
    return values.pop("output"), ArtifactVersion(**values)


def _by_output(rows: Any) -> dict[str, ArtifactVersion]:
    return dict(_named_version(row) for row in rows)
