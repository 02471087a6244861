"""Steps as Airflow tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowSkipException

from ..provider.pipelines.spec import stable
from .links import LineageLink

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from ..provider.metadata import Metadata
    from ..provider.pipelines.spec import PipelineSpec, StepSpec
    from ..provider.runtime.invocation import Bound, StepInvocation
    from ..provider.stack import Stack


class StepCall:
    """What a :class:`StepOperator` runs: the step, and the pipeline that it belongs to.

    It stays out of the serialized DAG, where it appears as the name of the step's function; each task process has it
    because it has parsed the DAG file.
    """

    __slots__ = ("artifacts_of", "follows", "function", "gate", "parameters", "pipeline", "stack", "step")

    def __init__(
        self,
        step: StepSpec,
        *,
        artifacts_of: str,
        pipeline: PipelineSpec | None = None,
        parameters: Mapping[str, Any] | None = None,
        stack: str | None = None,
        function: Any = None,
        follows: bool = False,
        gate: str | None = None,
    ) -> None:
        self.step = step
        self.artifacts_of = artifacts_of
        """First part of the artifacts' names: the pipeline's name, or the DAG's."""
        self.pipeline = pipeline
        self.parameters = parameters or {}
        """The run's parameters as they may stand in a template field."""
        self.stack = stack
        self.function = function
        """The function itself, if no import finds it."""
        self.follows = follows
        """A mapped step that takes one item from each instance of another mapped step."""
        self.gate = gate
        """The task of the condition around a step that could otherwise run although its branch was skipped."""

    def __str__(self) -> str:
        return stable(self.step.function)

    def __repr__(self) -> str:
        return f"<step call {self}>"

    def __deepcopy__(self, memo: Any) -> StepCall:
        return self


class StepOperator(BaseOperator):
    """Run one step of a pipeline in the worker.

    ``airflow_dag``, ``airflow_task_group`` and calling a ``@step`` inside ``with DAG(...)`` make these; a DAG author
    does not write one by hand. The task's only XCom is ``{output: reference}``; values are in the artifact store.

    It does not defer, and its inputs are read by the step, not by the operator. A task whose input was skipped skips
    itself, unless the input has a default.

    :param step: what is run (shown as the name of its function).
    :param inputs: its arguments (templated): constants, parameters, outputs of other tasks.
    :param item: of a mapped step, which elements of its lists this instance takes.
    """

    template_fields: Sequence[str] = ("step", "inputs", "item")
    template_fields_renderers = {"inputs": "json", "item": "json"}  # noqa: RUF012
    operator_extra_links = (LineageLink(),)
    ui_color = "#d7ece8"

    def __init__(
        self,
        *,
        step: StepCall,
        inputs: Mapping[str, Any] | None = None,
        item: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.inputs = inputs if inputs is not None else {}
        self.item = item

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Run the step. Raises what the step raises, and ``AirflowSkipException`` when an input was skipped."""
        from ..hooks.stacks import StackHook

        self._check_gate(context)
        arguments = self._arguments(context)
        stack = StackHook(self.step.stack).stack()
        result = self.run(self.invocation(context, arguments, stack.name), stack)
        self._emit(context, result.outputs)
        return result.outputs or None

    def run(self, invocation: StepInvocation, stack: Stack) -> Any:
        """Run it here. Operators for other compute override this."""
        from ..provider.runtime.runner import run_step

        register = self._register if self.step.pipeline is not None else None
        return run_step(invocation, stack=stack, register=register, logger=self.log, function=self.step.function)  # type: ignore[arg-type]

    def invocation(self, context: Context, arguments: dict[str, Bound], stack: str) -> StepInvocation:
        """All that a process needs to run the step."""
        from ..hooks.actors import run_reason, task_actor
        from ..provider.runtime.invocation import OutputTarget, RunIdentity, StepInvocation

        call, step, ti = self.step, self.step.step, context["ti"]
        return StepInvocation(
            step=step.name,
            function=step.function,
            identity=RunIdentity(ti.dag_id, ti.run_id, ti.task_id, ti.map_index, ti.try_number),  # type: ignore[arg-type]
            arguments=arguments,
            outputs=tuple(OutputTarget(o.name, o.type, step.artifact(call.artifacts_of, o)) for o in step.outputs),
            pipeline=call.artifacts_of,
            pipeline_digest=call.pipeline.digest if call.pipeline is not None else None,
            cache=step.options.cache,
            allow_pickle=step.options.pickle,
            stack=stack,
            run_parameters=self.run_parameters(context),
            reason=run_reason(context),
            triggered_by=task_actor(context),
            config=dict(step.config) if step.config is not None else None,
        )

    def run_parameters(self, context: Context) -> dict[str, Any]:
        """The parameters of the run: of the pipeline, or else of the DAG."""
        if self.step.pipeline is None:
            return dict(context.get("params") or {})
        rendered: dict[str, Any] = self.render_template(dict(self.step.parameters), context)
        return rendered

    def _arguments(self, context: Context) -> dict[str, Bound]:
        from . import binding

        step = self.step.step
        inputs = self.inputs
        if self.step.follows and self.item is not None:
            (name,) = step.mapped
            leaf = dict(step.arguments)[name]
            inputs = {**inputs, name: self.item.get(leaf["output"])}
        arguments = binding.bind(step, inputs)
        if arguments is None:
            raise AirflowSkipException(f'An input of step "{step.name}" was skipped.')
        if self.item is not None:
            if not self.step.follows:
                for name, index in self.item.items():
                    arguments[name] = binding.element(arguments[name], index)
            context["windsock_item"] = _label(step.mapped, arguments, self.item)  # type: ignore[typeddict-unknown-key]
        return arguments

    def _check_gate(self, context: Context) -> None:
        gate = self.step.gate
        if gate is not None and context["ti"].xcom_pull(task_ids=gate) is not True:
            raise AirflowSkipException(f'The condition "{gate}" does not hold.')

    def _register(self, metadata: Metadata) -> int | None:
        from ..provider.runtime.versions import register_pipeline

        assert self.step.pipeline is not None
        return register_pipeline(metadata, self.step.pipeline)

    def _emit(self, context: Context, outputs: Mapping[str, Any]) -> None:
        """Tell consumers of the artifacts' assets which version it is."""
        step = self.step.step
        if not step.options.asset or not self.outlets:
            return
        for output, asset in zip(step.outputs, self.outlets, strict=False):
            if output.name in outputs:
                context["outlet_events"][asset].extra = dict(outputs[output.name])


def _label(mapped: Sequence[str], arguments: Mapping[str, Bound], item: Mapping[str, Any]) -> str:
    """What tells this instance from the others in the UI: ``depth=3``, or ``batch[7]`` when it is no plain value."""
    parts = []
    for name in mapped:
        value = arguments[name].get("value", arguments)
        plain = isinstance(value, (str, int, float)) and len(str(value)) <= 40
        parts.append(f"{name}={value}" if plain else f"{name}[{item[name]}]" if name in item else name)
    return ", ".join(parts)


def task_for_step(step: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: Mapping[str, Any] | None) -> Any:
    """The task that calling ``step`` makes inside ``with DAG(...)``; None when no DAG is open."""
    from airflow.sdk.definitions._internal.contextmanager import DagContext

    dag = DagContext.get_current()
    if dag is None:
        return None
    from .calls import make_task

    return make_task(dag, step, args, kwargs, mapped)
