"""Run a whole pipeline in this process, without a scheduler: the developer's loop, and what tests call.

The same steps, artifacts, cache and records as under Airflow, one after the other. A step is retried as often as its
options say. The first failure ends the run: only exit handlers still run, then the step's own exception is raised.
What belongs to Airflow is left to it: pools, timeouts, resources, remote compute, running things side by side.
"""

from __future__ import annotations

import logging
import secrets
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime, timezone
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from ..errors import ArtifactNotFound, MetadataUnavailable, PipelineInvalid, did_you_mean
from ..faults import reach
from ..stack import Stack
from . import wiring
from .binding import select
from .conditions import evaluate
from .invocation import Bound, Ref, RunIdentity, StepInvocation, StepResult
from .lost import close_lost, held
from .recorder import FAILURE_PATIENCE, recorder_for
from .redaction import error_line
from .runner import run_step

if TYPE_CHECKING:
    from ..pipelines.spec import PipelineSpec, StepSpec
    from ..settings import Settings

_LOG = logging.getLogger("windsock.run")
_NO_RETRY = frozenset({"AirflowFailException", "AirflowSkipException"})
RAN = frozenset({"success", "cached"})


class StepEvent(NamedTuple):
    """Something happened to a step. ``state``: running, retrying, success, cached, failed or skipped."""

    step: str
    map_index: int
    state: str
    seconds: float = 0.0
    error: str | None = None


Progress = Callable[[StepEvent], None]


@dataclass(frozen=True)
class RunResult:
    """A run that has ended well.

    ``outputs`` is by step and output: a reference, or of a mapped step a list of references. ``states`` is by step.
    """

    pipeline: str
    dag_id: str
    run_id: str
    outputs: dict[str, dict[str, Any]]
    states: dict[str, str]
    metrics: dict[str, dict[str, float]]
    seconds: float
    stack: Stack = field(repr=False)

    def load(self, step: str, output: str | None = None) -> Any:
        """The value of an output; of a mapped step, the list of values. Raises ``ArtifactNotFound``.

        ``output`` may be left out when the step has one.
        """
        from ..artifacts.saving import load

        found = self.ref(step, output)
        refs = found if isinstance(found, list) else [found]
        # The run itself made these bytes a moment ago: a pickle among them was allowed by its step.
        values = [load(ref, self.stack.artifact_store, allow_pickle=True) for ref in refs]
        return values if isinstance(found, list) else values[0]

    def ref(self, step: str, output: str | None = None) -> Any:
        if step not in self.outputs:
            state = self.states.get(step)
            what = f"was {state}" if state else f"is not in the run. {did_you_mean(step, self.states)}"
            raise ArtifactNotFound(f'Run {self.run_id}: step "{step}" {what}.', step=step)
        given = self.outputs[step]
        name = output if output is not None else next(iter(given), "output")
        if name not in given or (output is None and len(given) > 1):
            wrong = f'has no output "{name}"' if output is not None else "has several outputs"
            raise ArtifactNotFound(
                f'Step "{step}" {wrong}.', hint=did_you_mean(output or "", given), step=step, output=output
            )
        return given[name]


def run_pipeline(
    pipeline: Any,
    parameters: Mapping[str, Any] | None = None,
    *,
    stack: Stack | str | None = None,
    settings: Settings | None = None,
    progress: Progress | bool | None = None,
) -> RunResult:
    """Run ``pipeline`` (a ``Pipeline`` or a ``PipelineSpec``) and return references to all that it made.

    ``progress`` is called with each :class:`StepEvent`; True prints a line for each step if stderr is a terminal.
    Raises ``UnknownParameter``, and what a step raises.
    """
    spec: PipelineSpec = getattr(pipeline, "spec", pipeline)
    chosen = stack if isinstance(stack, Stack) else Stack.load(stack or spec.stack, settings=settings)
    run = _Run(spec, chosen, run_parameters(spec, parameters or {}), _progress(progress))
    close_lost(chosen)
    with held(chosen, spec.name, run.run_id):
        return run.run()


def run_parameters(spec: PipelineSpec, given: Mapping[str, Any]) -> dict[str, Any]:
    """All parameters, with defaults. Raises ``UnknownParameter``, ``TypeMismatch``, ``PipelineInvalid``."""
    from ..pipelines.parameters import check_values

    values = check_values(spec, given)
    for parameter in spec.parameters:
        if parameter.required and parameter.name not in values:
            raise PipelineInvalid(
                f'Pipeline "{spec.name}" needs the parameter "{parameter.name}".',
                hint=f"Pass it: {spec.name}.run({parameter.name}=…), or give it a default.",
                pipeline=spec.name,
                parameter=parameter.name,
            )
        values.setdefault(parameter.name, parameter.default)
    return values


class _Run:
    """One run on its way."""

    def __init__(self, spec: PipelineSpec, stack: Stack, parameters: dict[str, Any], progress: Progress) -> None:
        from .versions import register_pipeline

        self.spec = spec
        self.stack = stack
        self.parameters = parameters
        self.progress = progress
        moment = datetime.now(timezone.utc).isoformat()
        self.run_id = f"local__{moment}_{secrets.token_hex(3)}"
        self.version = register_pipeline(stack.metadata, spec)
        self.given: dict[str, Any] = {}
        self.states: dict[str, str] = {}
        self.metrics: dict[str, dict[str, float]] = {}
        self._decided: dict[str, bool | None] = {}
        self._stacks: dict[str, Stack] = {stack.name: stack}

    def run(self) -> RunResult:
        began = time.perf_counter()
        steps = self.spec.ordered()
        try:
            try:
                for step in steps:
                    if not step.teardown:
                        self._step(step)
            finally:
                self._exit_handlers([step for step in steps if step.teardown])
        except BaseException:
            with suppress(MetadataUnavailable):  # what went wrong in a step matters more
                self._end("failed", patience=FAILURE_PATIENCE)
            raise
        self._end("success")
        return RunResult(
            pipeline=self.spec.name,
            dag_id=self.spec.name,
            run_id=self.run_id,
            outputs={name: _by_output(given) for name, given in self.given.items()},
            states=self.states,
            metrics=self.metrics,
            seconds=time.perf_counter() - began,
            stack=self.stack,
        )

    def _exit_handlers(self, steps: Sequence[StepSpec]) -> None:
        """Each runs, whatever became of the others. A failure of theirs does not change how the run ended."""
        for step in steps:
            with suppress(Exception):  # recorded and told by _attempts
                self._step(step)

    def _end(self, state: str, patience: float | None = None) -> None:
        reach("runtime.run.before_end")
        recorder_for(self.stack).end_run(self.spec.name, self.run_id, state, patience=patience)
        reach("runtime.run.ended")

    # ------------------------------------------------------------------ one step

    def _step(self, step: StepSpec) -> None:
        arguments = self._ready(step)
        if arguments is None:
            self._became(step, "skipped")
            return
        if step.mapped:
            self._mapped(step, arguments)
            return
        result = self._attempts(step, arguments, -1)
        if result is not None:
            self.given[step.name] = result.outputs
            self.states[step.name] = result.state
            self.metrics[step.name] = result.metrics

    def _ready(self, step: StepSpec) -> dict[str, Bound] | None:
        """Its arguments, if its branch is taken and all that it needs is there."""
        if not all(self._holds(name) for name in reversed(self.spec.branch(step.condition))):
            return None
        if not step.teardown and any(self.states.get(name) not in RAN for name in step.after):
            return None
        return wiring.bind_arguments(step, self.parameters, self.given)

    def _holds(self, name: str) -> bool:
        if name not in self._decided:
            condition = self.spec.conditions_by_name[name]
            there = all(self.states.get(step) in RAN for step in condition.upstream())
            self._decided[name] = there and evaluate(condition.expression, self._value)
        return bool(self._decided[name])

    def _value(self, argument: Mapping[str, Any]) -> Any:
        return self._loaded(wiring.bind(argument, self.parameters, self.given))

    def _loaded(self, bound: Bound) -> Any:
        if "value" in bound:
            return bound["value"]
        if "list" in bound:
            return [self._loaded(item) for item in bound["list"]]
        return self._load(bound["artifact"], bound["path"])

    def _load(self, ref: Ref, path: Sequence[Any], allow_pickle: bool = False) -> Any:
        from ..artifacts.saving import load

        value = load(ref, self.stack.artifact_store, allow_pickle=allow_pickle)
        return select(value, path, self.spec.name, str(ref["artifact"]))

    def _mapped(self, step: StepSpec, arguments: dict[str, Bound]) -> None:
        results = []
        load = partial(self._load, allow_pickle=step.options.pickle)
        for index, bound in enumerate(wiring.instances(step, arguments, load)):
            result = self._attempts(step, bound, index)
            if result is not None:
                results.append(result)
        if not results:
            self._became(step, "skipped")
            return
        self.given[step.name] = [result.outputs for result in results]
        self.states[step.name] = "cached" if all(r.state == "cached" for r in results) else "success"

    def _attempts(self, step: StepSpec, arguments: dict[str, Bound], map_index: int) -> StepResult | None:
        """Run one instance, again after a failure as often as the step says; None if it skipped itself."""
        retries = step.options.retries or 0
        for attempt in range(1, retries + 2):
            began = time.perf_counter()
            self.progress(StepEvent(step.name, map_index, "running"))
            try:
                result = self._once(step, arguments, map_index, attempt)
            except Exception as error:
                seconds = time.perf_counter() - began
                kinds = {kind.__name__ for kind in type(error).__mro__}
                if "AirflowSkipException" in kinds:
                    self._became(step, "skipped", map_index, seconds)
                    return None
                if attempt > retries or kinds & _NO_RETRY:
                    self._became(step, "failed", map_index, seconds, error_line(error))
                    raise
                self.progress(StepEvent(step.name, map_index, "retrying", seconds, error_line(error)))
                time.sleep(step.options.retry_delay or 0.0)
            else:
                self.progress(StepEvent(step.name, map_index, result.state, result.seconds))
                return result
        raise AssertionError("unreachable")

    def _once(self, step: StepSpec, arguments: dict[str, Bound], map_index: int, attempt: int) -> StepResult:
        stack = self._stack(step.options.stack)
        invocation = StepInvocation(
            step=step.name,
            function=step.function,
            identity=RunIdentity(self.spec.name, self.run_id, step.name, map_index, attempt),
            arguments=arguments,
            outputs=wiring.output_targets(self.spec, step),
            pipeline=self.spec.name,
            pipeline_digest=self.spec.digest,
            pipeline_version=self.version,
            cache=step.options.cache,
            allow_pickle=step.options.pickle,
            stack=stack.name,
            run_parameters=self.parameters,
            triggered_by=self.stack.settings.actor,
            config=None if step.config is None else dict(step.config),
        )
        return run_step(invocation, stack=stack)

    def _stack(self, name: str | None) -> Stack:
        """A step may run on another stack; its metadata must then be the same database."""
        if name is None:
            return self.stack
        if name not in self._stacks:
            self._stacks[name] = Stack.load(name, settings=self.stack.settings, credentials=self.stack.credentials)
        return self._stacks[name]

    def _became(
        self, step: StepSpec, state: str, map_index: int = -1, seconds: float = 0.0, error: str | None = None
    ) -> None:
        self.states[step.name] = state
        self.progress(StepEvent(step.name, map_index, state, seconds, error))


def _by_output(given: Any) -> dict[str, Any]:
    if isinstance(given, Mapping):
        return dict(given)
    return {name: [item[name] for item in given] for name in given[0]} if given else {}


def _progress(wanted: Progress | bool | None) -> Progress:
    if wanted is not None and not isinstance(wanted, bool):
        return wanted
    if wanted:
        import sys

        if sys.stderr.isatty():
            return _printer()
    return lambda event: None


_COLOURS = {"success": "green", "cached": "cyan", "failed": "red", "retrying": "yellow", "skipped": "dim"}


def _printer() -> Progress:
    """A line for each step that ends. No live display: a step may draw a bar of its own."""
    from rich.console import Console
    from rich.markup import escape

    console = Console(stderr=True, highlight=False)

    def show(event: StepEvent) -> None:
        if event.state == "running":
            return
        name = event.step if event.map_index < 0 else f"{event.step}[{event.map_index}]"
        colour = _COLOURS.get(event.state, "white")
        line = f"  [{colour}]{event.state:<9}[/] {escape(name):<32} {event.seconds:8.3f} s"
        console.print(f"{line}  {escape(event.error)}" if event.error else line)

    return show
