"""Where a step run is recorded: in the metadata database, or, on remote compute, in the result itself.

A step costs at most two transactions: one when it starts, one when it ends. A cached step costs one. The database may
be away for a while (a restart, a fail-over): a recorder waits for it with growing pauses, up to ``patience`` seconds.
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

from ..errors import MetadataUnavailable
from .redaction import error_line

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..metadata.runs import StepStart
    from ..metadata.store import Metadata
    from .invocation import Ref, StepInvocation, StepResult

T = TypeVar("T")
_ARTIFACT_FIELDS = ("artifact", "uri", "digest", "size", "type", "materializer", "metadata")
_LOG = logging.getLogger(__name__)
PATIENCE = 60.0
"""Seconds to wait for a metadata database that does not answer."""


class Facts(Protocol):
    """What is known about a step run before it runs."""

    invocation: StepInvocation
    cache_key: str | None
    values: dict[str, Any]
    inputs: list[tuple[str, Ref]]


class Hit(NamedTuple):
    """What the cache knows: the earlier step run, its outputs as references, and their full records."""

    step_run: str
    outputs: dict[str, Ref]
    artifacts: list[dict[str, Any]]


class Recorder(Protocol):
    """Idempotent: the same step run recorded twice is one step run. Raises ``MetadataUnavailable``."""

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
    ) -> None:
        self._connect = connect
        self._register = register
        self._patience = patience
        self._version: int | None = None

    def find_cached(self, facts: Facts) -> Hit | None:
        pipeline, key = _scope(facts.invocation), facts.cache_key
        if key is None:
            return None
        found = self._wait(lambda m: m.runs.find_cached(pipeline, facts.invocation.step, key), "look in the step cache")
        if found is None:
            return None
        versions = found.outputs.items()
        return Hit(
            step_run=found.step_run,
            outputs={name: version.ref() for name, version in versions},
            artifacts=[{**{k: getattr(v, k) for k in _ARTIFACT_FIELDS}, "output": name} for name, v in versions],
        )

    def start(self, facts: Facts) -> None:
        self._wait(lambda m: m.runs.start_step(self._start(facts, m)), "record the start of")

    def finish(self, facts: Facts, result: StepResult, *, patience: float | None = None) -> dict[str, Ref]:
        from ..metadata.artifacts import NewArtifact
        from ..metadata.runs import EdgeIn, MetricPoint, StepFinish

        def write(metadata: Metadata) -> Any:
            return metadata.runs.finish_step(
                StepFinish(
                    start=self._start(facts, metadata),
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
                )
            )

        recorded = self._wait(write, "record the end of", patience)
        return {name: recorded[name].ref() if name in recorded else ref for name, ref in result.outputs.items()}

    def _start(self, facts: Facts, metadata: Metadata) -> StepStart:
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

    def _pipeline_version(self, invocation: StepInvocation, metadata: Metadata) -> int | None:
        if invocation.pipeline_version is not None:
            return invocation.pipeline_version
        if self._version is None and self._register is not None:
            self._version = self._register(metadata)
        return self._version

    def _wait(self, action: Callable[[Metadata], T], what: str, patience: float | None = None) -> T:
        limit = time.monotonic() + (self._patience if patience is None else patience)
        pause = 0.1
        while True:
            try:
                return action(self._connect())
            except MetadataUnavailable as error:
                if time.monotonic() + pause >= limit:
                    raise _gave_up(error, what) from None
                _LOG.warning("cannot %s the step yet, trying again in %.1f s: %s", what, pause, error_line(error))
            time.sleep(pause * random.uniform(0.8, 1.2))  # noqa: S311 - spreads workers, no secret
            pause = min(pause * 2, 5.0)


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
        self.values = {name: bound["value"] for name, bound in invocation.arguments.items() if "value" in bound}
        self.inputs = [(name, ref) for name, bound in invocation.arguments.items() for ref in bound_refs(bound)]
