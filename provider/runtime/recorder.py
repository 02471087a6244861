"""Where a step run is recorded: in the metadata database, or, on remote compute, in the result itself.

A step costs at most two transactions: one when it starts, one when it ends. A cached step costs one. The database may
be away for a while (a restart, a fail-over): a recorder waits for it with growing pauses, up to ``patience`` seconds.
Then it keeps the record in the spool, if there is one, and the step goes on; its outputs have no version number until
the record is replayed. Whoever finds something in the spool, and the database there, replays it first.
"""

from __future__ import annotations

import logging
import os
import random
import socket
import time
from datetime import datetime, timezone
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

from ..errors import MetadataUnavailable, WindsockError
from .redaction import error_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..metadata.runs import CachedStep, StepFinish, StepStart
    from ..metadata.store import Metadata
    from ..stack import Stack
    from .invocation import Ref, StepInvocation, StepResult
    from .spool import Spool

T = TypeVar("T")
_ARTIFACT_FIELDS = ("artifact", "uri", "digest", "size", "type", "materializer", "metadata")
_LOG = logging.getLogger(__name__)
PATIENCE = 90.0
"""Seconds to wait for a metadata database that does not answer."""
FAILURE_PATIENCE = 5.0
"""The same when a failure is to be recorded: the step's own exception matters more."""


class Facts(Protocol):
    """What is known about a step run before it runs."""

    invocation: StepInvocation
    cache_key: str | None
    values: dict[str, Any]
    inputs: list[tuple[str, Ref]]
    present: dict[str, str]
    """What was stored again after a pruner had removed it: URI, and when it was removed."""


class Hit(NamedTuple):
    """What the cache knows: the earlier step run, its outputs as references, and their full records."""

    step_run: str
    outputs: dict[str, Ref]
    artifacts: list[dict[str, Any]]


class Recorder(Protocol):
    """Idempotent: the same step run recorded twice is one step run.

    Raises ``MetadataUnavailable`` when the database is away and there is no spool, or that cannot be written either.
    """

    def find_cached(self, facts: Facts) -> Hit | None:
        """An earlier step run with the same key, and its outputs."""
        ...

    def start(self, facts: Facts) -> None: ...

    def finish(self, facts: Facts, result: StepResult, *, patience: float | None = None) -> dict[str, Ref]:
        """Record the end; returns the outputs as references that carry version numbers."""
        ...


class CollectingRecorder:
    """For a process without a database: keeps the :class:`StepResult`, which its reader records."""

    def __init__(self) -> None:
        self.result: StepResult | None = None

    def find_cached(self, facts: Facts) -> Hit | None:
        return None

    def start(self, facts: Facts) -> None:
        """Nothing to do: the worker that submitted the step has recorded its start."""

    def finish(self, facts: Facts, result: StepResult, *, patience: float | None = None) -> dict[str, Ref]:
        self.result = result
        return result.outputs


class MetadataRecorder:
    """Writes to the metadata database that ``connect`` opens; it is asked again after an outage."""

    def __init__(
        self,
        connect: Callable[[], Metadata],
        register: Callable[[Metadata], int | None] | None = None,
        *,
        patience: float = PATIENCE,
        spool: Spool | None = None,
    ) -> None:
        self._connect = connect
        self._register = register
        self._patience = patience
        self._spool = spool
        self._version: int | None = None
        self._spooled_start: StepStart | None = None

    def find_cached(self, facts: Facts) -> Hit | None:
        pipeline, key = _scope(facts.invocation), facts.cache_key
        if key is None:
            return None

        def look(metadata: Metadata) -> CachedStep | None:
            self._catch_up(metadata, facts)
            return metadata.runs.find_cached(pipeline, facts.invocation.step, key)

        try:
            found = self._wait(look, "look in the step cache")
        except MetadataUnavailable:
            if self._spool is None:
                raise
            return None  # computed once more, and the record spooled
        if found is None:
            return None
        versions = found.outputs.items()
        return Hit(
            step_run=found.step_run,
            outputs={name: version.ref() for name, version in versions},
            artifacts=[{**{k: getattr(v, k) for k in _ARTIFACT_FIELDS}, "output": name} for name, v in versions],
        )

    def start(self, facts: Facts) -> None:
        def write(metadata: Metadata) -> None:
            self._catch_up(metadata, facts)
            metadata.runs.start_step(self._start(facts, metadata))

        try:
            self._wait(write, "record the start of")
        except MetadataUnavailable as error:
            start = self._start(facts, None).model_copy(update={"started_at": _now()})
            self._keep(error, lambda spool: spool.append("start", start.run_key, start, self._undescribed()))
            self._spooled_start = start

    def finish(self, facts: Facts, result: StepResult, *, patience: float | None = None) -> dict[str, Ref]:
        def write(metadata: Metadata) -> Any:
            self._catch_up(metadata, facts)
            return metadata.runs.finish_step(_end(facts, result, self._start(facts, metadata)))

        try:
            recorded = self._wait(write, "record the end of", patience)
        except MetadataUnavailable as error:
            start = self._spooled_start or self._start(facts, None)
            end = _end(facts, result, start).model_copy(update={"ended_at": _now()})
            self._keep(error, lambda spool: spool.append("finish", start.run_key, end, self._undescribed()))
            return result.outputs
        return {name: recorded[name].ref() if name in recorded else ref for name, ref in result.outputs.items()}

    def end_run(self, dag_id: str, run_id: str, state: str, *, patience: float | None = None) -> None:
        """Close a run. What is left of it in the spool comes first."""

        def write(metadata: Metadata) -> None:
            self._catch_up(metadata)
            metadata.runs.end(dag_id, run_id, state)

        try:
            self._wait(write, "record the end of the run of", patience)
        except MetadataUnavailable as error:
            at = _now()
            self._keep(error, lambda spool: spool.append_end(dag_id, run_id, state, at))

    def _catch_up(self, metadata: Metadata, facts: Facts | None = None) -> None:
        """Replay the spool if it may hold something that this step follows, and learn its inputs' numbers."""
        nameless = [ref for _, ref in facts.inputs if ref.get("version") is None] if facts is not None else []
        if self._spool is None or not (nameless or self._spool.at_hand()):
            return
        done = self._spool.replay(metadata)
        if done.recorded:
            _LOG.info("recorded %d entries of the spool", done.recorded)
        self._spooled_start = None
        for ref in nameless:
            for version in metadata.artifacts.by_digest(ref["digest"]):
                if version.artifact == ref["artifact"]:
                    ref["version"] = version.version

    def _undescribed(self) -> dict[str, Any] | None:
        """The version of the pipeline, if nobody could register it yet."""
        from .spool import described

        return described(self._register) if self._version is None else None

    def _keep(self, error: MetadataUnavailable, append: Callable[[Spool], str]) -> None:
        """Put a record into the spool. Raises ``error`` if there is none, or if it cannot be written."""
        if self._spool is None:
            raise error
        try:
            uri = append(self._spool)
        except (WindsockError, OSError) as second:
            _LOG.warning("the spool cannot be written either: %s", error_line(second))
            raise error from second
        self._spool.away = True
        _LOG.warning(
            "%s The record is kept in the artifact store and will be written when the database is back, "
            "or by: windsock db replay (%s)",
            error.message,
            uri,
        )

    def _start(self, facts: Facts, metadata: Metadata | None) -> StepStart:
        from ..metadata.runs import StepStart

        invocation, identity = facts.invocation, facts.invocation.identity
        return StepStart(
            dag_id=identity.dag_id,
            run_id=identity.run_id,
            task_id=identity.task_id,
            map_index=identity.map_index,
            try_number=identity.try_number,
            pipeline=_scope(invocation),
            pipeline_version=self._pipeline_version(invocation, metadata),
            stack=invocation.stack,
            parameters=invocation.run_parameters,
            reason=invocation.reason,
            triggered_by=invocation.triggered_by,
            step=invocation.step,
            step_parameters=facts.values,
            cache_key=facts.cache_key,
            worker=_worker(),
        )

    def _pipeline_version(self, invocation: StepInvocation, metadata: Metadata | None) -> int | None:
        if self._version is None:
            self._version = invocation.pipeline_version
        if self._version is None and self._register is not None and metadata is not None:
            self._version = self._register(metadata)
        return self._version

    def _wait(self, action: Callable[[Metadata], T], what: str, patience: float | None = None) -> T:
        waiting = self._patience if patience is None else min(patience, self._patience)
        limit = time.monotonic() + (0.0 if self._spool is not None and self._spool.away else waiting)
        pause = 0.1
        while True:
            try:
                return action(self._connect())
            except MetadataUnavailable as error:
                left = limit - time.monotonic()
                if left <= 0:
                    raise _gave_up(error, what) from None
                _LOG.warning("cannot %s the step yet, trying again in %.1f s: %s", what, pause, error_line(error))
            time.sleep(min(left, pause * random.uniform(0.8, 1.2)))  # noqa: S311 - spreads workers, no secret
            pause = min(pause * 2, 5.0)


def recorder_for(stack: Stack, register: Callable[[Metadata], int | None] | None = None) -> MetadataRecorder:
    """The recorder of a stack, with its patience and its spool."""
    from .spool import Spool

    return MetadataRecorder(
        lambda: stack.metadata, register, patience=stack.settings.metadata_patience, spool=Spool.of(stack)
    )


def _end(facts: Facts, result: StepResult, start: StepStart) -> StepFinish:
    from ..metadata.artifacts import NewArtifact
    from ..metadata.runs import EdgeIn, MetricPoint, StepFinish

    return StepFinish(
        start=start,
        state=result.state,
        inputs=[EdgeIn(name=name, ref=ref) for name, ref in facts.inputs],
        outputs=[NewArtifact(**artifact) for artifact in result.artifacts],
        # Not validated again, point by point: log_metric made each what it says.
        metrics=[
            MetricPoint.model_construct(
                key=p.key, value=p.value, step=p.step, at=datetime.fromtimestamp(p.at, timezone.utc)
            )
            for p in result.points
        ],
        parameters=result.parameters,
        cached_from=result.cached_from,
        error=result.error,
        present=facts.present,
    )


def _now() -> datetime:
    return datetime.now(timezone.utc)


def _gave_up(error: MetadataUnavailable, what: str) -> MetadataUnavailable:
    return MetadataUnavailable(
        f"Cannot {what} the step: {error.message}",
        hint="What the step made is safe in the artifact store. When the database answers again, retry the task: "
        f"unchanged bytes are not stored twice. {error.hint or 'Check it: windsock stack check'}",
        **{**error.facts, "gave_up_recording": True},
    )


def _scope(invocation: StepInvocation) -> str:
    """The pipeline; a step in a DAG of one's own belongs to its DAG."""
    return invocation.pipeline or invocation.identity.dag_id


@lru_cache(maxsize=8)
def _worker_of(pid: int) -> str:
    return f"{socket.gethostname()}:{pid}"


def _worker() -> str:
    return _worker_of(os.getpid())


def record_result(
    result: StepResult,
    metadata: Metadata,
    invocation: StepInvocation,
    *,
    register: Callable[[Metadata], int | None] | None = None,
) -> StepResult:
    """Record what a remote process has run; returns the result with version numbers. Idempotent."""
    recorder = MetadataRecorder(lambda: metadata, register)
    facts = CollectedFacts(invocation, result)
    return result.with_outputs(recorder.finish(facts, result))


class CollectedFacts:
    """The facts of a step run that another process has run."""

    def __init__(self, invocation: StepInvocation, result: StepResult) -> None:
        from .binding import bound_refs

        self.invocation = invocation
        self.cache_key = result.cache_key
        self.present: dict[str, str] = {}
        self.values = {name: bound["value"] for name, bound in invocation.arguments.items() if "value" in bound}
        self.inputs = [(name, ref) for name, bound in invocation.arguments.items() for ref in bound_refs(bound)]
