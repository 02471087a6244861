"""Run one step: the one code path of Airflow tasks, ``pipeline.run()`` and remote processes.

Order, and why: the key is computed and the cache asked before anything is loaded. The start is recorded before the
step's code runs, so that a killed process leaves a trace. Outputs are stored before they are recorded: a reader of the
database never finds a reference to bytes that are not there, and a retry that makes the same bytes stores nothing.
"""

from __future__ import annotations

import logging
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from ..errors import ContentRemoved, MaterializerNotFound
from ..faults import reach
from .binding import Binder, Target, target
from .cache import cache_key, usable
from .context import StepContext, entered
from .invocation import Ref, State, StepInvocation, StepResult
from .outputs import artifact_record, check_types, figure_artifact, named, unrecorded_ref
from .redaction import error_line

if TYPE_CHECKING:
    from ..artifacts.store import ArtifactStore
    from ..stack import Stack
    from .recorder import Recorder

_PRUNER_PATIENCE = 120.0
_PRUNER_PAUSE = 0.2
"""Seconds to wait for, and between looks at, a pruner that is removing what the step has stored."""
_PASSING = frozenset({"TaskDeferred", "AirflowRescheduleException", "AirflowTaskRescheduled"})
"""Not an end of the step: Airflow will come back to it."""


@dataclass
class Execution:
    """One step run on its way. ``stack`` is None on remote compute."""

    invocation: StepInvocation
    store: ArtifactStore
    recorder: Recorder
    stack: Stack | None = None
    use_cache: bool = True
    logger: logging.Logger | None = None
    function: Any = None
    cache_key: str | None = None
    values: dict[str, Any] = field(default_factory=dict)
    inputs: list[tuple[str, Ref]] = field(default_factory=list)
    present: dict[str, str] = field(default_factory=dict)
    _began: float = field(default_factory=time.perf_counter)

    def run(self) -> StepResult:
        """Raises whatever the step raises, unchanged, after it has been recorded."""
        context = StepContext(self.invocation, self.logger or self._logger(), self.store, self.stack)
        try:
            found, binder = self._prepare()
            return self._cached() or self._borrowed(context) or self._fresh(found, binder, context)
        except BaseException as error:
            if not getattr(error, "gave_up_recording", False):
                self._failed(error, context)
            raise

    def _logger(self) -> logging.Logger:
        return logging.getLogger(f"windsock.step.{self.invocation.step}")

    def _prepare(self) -> tuple[Target, Binder]:
        found = target(self.invocation, self.function)
        binder = Binder(self.invocation, found)
        self.values = binder.values()
        self.inputs = list(binder.refs())
        if self.use_cache and self.invocation.cache:
            self.cache_key = cache_key(self.invocation, found, binder, self.store)
        return found, binder

    def _cached(self) -> StepResult | None:
        hit = self.recorder.find_cached(self) if self.cache_key else None
        if hit is None or not usable(hit.outputs, self.invocation, self.store):
            return None
        reach("runtime.cache.hit")
        outputs = {output.name: hit.outputs[output.name] for output in self.invocation.outputs}
        return self._record_cached(outputs, tuple(hit.artifacts), hit.step_run)

    def _borrowed(self, context: StepContext) -> StepResult | None:
        """What a stack that this one trusts has computed, copied."""
        if self.cache_key is None or self.stack is None or not self.stack.borrows_from:
            return None
        from .borrowing import borrow

        found = borrow(self.invocation, self.cache_key, self.stack, self.store)
        if found is None:
            return None
        name, records = found
        context.logger.info("cached: computed by stack %s before, and copied from there", name)
        outputs = {output.name: unrecorded_ref(output, records[output.name]) for output in self.invocation.outputs}
        return self._record_cached(outputs, tuple(records.values()), None)

    def _record_cached(
        self, outputs: dict[str, Ref], artifacts: tuple[dict[str, Any], ...], cached_from: str | None
    ) -> StepResult | None:
        result = StepResult(
            outputs=outputs,
            state="cached",
            seconds=time.perf_counter() - self._began,
            artifacts=artifacts,
            cache_key=self.cache_key,
            cached_from=cached_from,
        )
        try:
            refs = self.recorder.finish(self, result)
        except ContentRemoved:  # by a pruner, after it was seen in the store: a miss
            return None
        reach("runtime.cache.recorded")
        return result if cached_from else result.with_outputs(refs)

    def _fresh(self, found: Target, binder: Binder, context: StepContext) -> StepResult:
        reach("runtime.step.before_start")
        self.recorder.start(self)
        reach("runtime.step.started")
        positional, keywords = binder.load(self.store)
        reach("runtime.inputs.loaded")
        with entered(context):
            value = found.call(*positional, **keywords)
        reach("runtime.function.returned")
        outputs = named(value, self.invocation)
        check_types(outputs, self.invocation, found.signed)
        return self._recorded(outputs, context)

    def _recorded(self, outputs: dict[str, Any], context: StepContext) -> StepResult:
        """Store the outputs, then record them. What a pruner removes meanwhile is stored once more."""
        deadline = time.monotonic() + _PRUNER_PATIENCE
        while True:
            records = self._save(outputs)
            result = self._result("success", context, records)
            reach("runtime.step.before_finish")
            try:
                refs = self.recorder.finish(self, result)
            except ContentRemoved as error:
                if time.monotonic() > deadline:
                    raise
                context.logger.info("a pruner was faster, storing again: %s", error_line(error))
                if error.removing:
                    time.sleep(_PRUNER_PAUSE)
                # Stored again in the next round; a figure is not, so it must be there.
                again = {record["uri"] for record in records}
                gone = {uri: at for uri, at in error.removed.items() if uri in again or self.store.exists(uri)}
                self.present = {**self.present, **gone}
                continue
            reach("runtime.step.finished")
            return result.with_outputs(refs)

    def _save(self, outputs: dict[str, Any]) -> list[dict[str, Any]]:
        from ..artifacts.saving import save

        records = []
        for output in self.invocation.outputs:
            try:
                stored = save(
                    outputs[output.name],
                    self.store,
                    declared_type=output.type,
                    allow_pickle=self.invocation.allow_pickle,
                )
            except MaterializerNotFound as error:
                where = f'Output "{output.name}" of step "{self.invocation.step}"'
                raise MaterializerNotFound(f"{where}: {error.message}", hint=error.hint, **error.facts) from error
            reach("runtime.output.saved")
            # A version of a data set is recorded already, under the data set's name.
            artifact = stored.metadata["dataset"] if stored.materializer == "dataset" else output.artifact
            records.append(artifact_record(output.name, artifact, stored))
        return records

    def _result(self, state: State, context: StepContext, records: list[dict[str, Any]]) -> StepResult:
        figures = [
            artifact_record(name, figure_artifact(self.invocation, name), stored)
            for name, stored in context._figures.items()
        ]
        return StepResult(
            outputs={
                output.name: unrecorded_ref(output, record)
                for output, record in zip(self.invocation.outputs, records, strict=False)
            },
            state=state,
            metrics=context.latest_metrics(),
            seconds=time.perf_counter() - self._began,
            points=tuple(context._points),
            parameters=dict(context._parameters),
            artifacts=(*records, *figures),
            cache_key=self.cache_key,
        )

    def _failed(self, error: BaseException, context: StepContext) -> None:
        """Record the end of a step that raised. Never raises: the step's own exception is what matters."""
        kinds = {kind.__name__ for kind in type(error).__mro__}
        if kinds & _PASSING:
            return
        state: State = "skipped" if "AirflowSkipException" in kinds else "failed"
        from .recorder import FAILURE_PATIENCE

        result = replace(self._result(state, context, []), error=error_line(error), error_type=type(error).__qualname__)
        try:
            self.recorder.finish(self, result, patience=FAILURE_PATIENCE)
        except Exception as second:  # noqa: BLE001 - see above
            with suppress(Exception):
                context.logger.warning("could not record the failure of the step: %s", error_line(second))
