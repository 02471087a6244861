"""A ``@step`` called inside ``with DAG(...)``: the call as a task of that DAG."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.definitions._internal.contextmanager import DagContext, TaskGroupContext
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.xcom_arg import XComArg

from ..provider.errors import PipelineInvalid
from ..provider.pipelines.functions import resolve, why_not_importable
from ..provider.pipelines.parameters import is_template
from ..provider.pipelines.trace import Trace, check_type
from . import wiring
from .conditions import FanOutOperator
from .steps import StepCall, StepOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from airflow.sdk import DAG

    from ..provider.pipelines.spec import Argument, StepSpec
    from ..provider.pipelines.trace import Node


def make_task(
    dag: DAG, step: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any], mapped: Mapping[str, Any] | None
) -> Any:
    """What the call returns: the step's output (or outputs), to be passed on and ordered with ``>>``.

    Arguments may be constants, Jinja, outputs of other steps and any XComArg.
    """
    task_id = _free_id(dag, step)
    signature = step.signature
    if len(args) > signature.positional:
        raise PipelineInvalid(
            f'Step "{task_id}" takes {signature.positional} positional arguments and was given {len(args)}.',
            hint=f"It takes: {', '.join(signature.names)}.",
        )
    given = {**dict(zip(signature.names, args, strict=False)), **kwargs, **(mapped or {})}
    node, spec, inputs = bind_step(dag.dag_id, step, task_id, given, tuple(mapped or ()))
    operator = _operator(dag, spec, task_id, inputs)
    outputs = wiring.StepOutputs(wiring.StepOutput(operator, o.name, node.output_type(o)) for o in spec.outputs)
    return operator if not outputs else outputs[0] if len(outputs) == 1 else outputs


def bind_step(
    dag_id: str, step: Any, task_id: str, given: Mapping[str, Any], mapped: tuple[str, ...] = ()
) -> tuple[Node, StepSpec, dict[str, Any]]:
    """A step and its arguments as ``(node, spec, template fields)``; arguments are checked as in a pipeline."""
    trace = Trace(dag_id)
    node = trace.add(step, task_id)
    node.mapped = mapped
    signature = step.signature
    wired: dict[str, Argument] = {}
    inputs: dict[str, Any] = {}
    for name, value in given.items():
        wired[name], inputs[name] = _wire(node, name, value, signature.types.get(name))
    trace.bind(node, signature, wired)
    return node, node.freeze(()), inputs


def _free_id(dag: DAG, step: Any) -> str:
    group: Any = TaskGroupContext.get_current(dag)
    number, name = 1, step.name
    while (group.child_id(name) if group else name) in dag.task_dict:
        if step.fixed_name:
            break  # Airflow's own DuplicateTaskIdFound says it best
        number += 1
        name = f"{step.name}_{number}"
    return str(name)


def _wire(node: Node, name: str, value: Any, wanted: str | None) -> tuple[Argument, Any]:
    """``(argument, what stands in the template field)``."""
    over = name in node.mapped
    if isinstance(value, wiring.StepOutput):
        argument: Argument = {"step": value.operator.task_id, "output": value.output}
        check_type(node, name, argument, value.type, wanted, over=over)
        return argument, value
    if isinstance(value, (BaseOperator, MappedOperator)):
        value = value.output
    if isinstance(value, XComArg) or is_template(value):
        return {"parameter": name}, value
    if isinstance(value, wiring.StepOutputs):
        names = ", ".join(output.output for output in value)
        raise PipelineInvalid(f'Step "{node.name}" is given {name} as a group.', hint=f"Choose one output: {names}.")
    if isinstance(value, (list, tuple)) and any(isinstance(item, (XComArg, BaseOperator)) for item in value):
        pairs = [_wire(node, f"{name}", item, None) for item in value]
        return {"list": [pair[0] for pair in pairs]}, [pair[1] for pair in pairs]
    argument = node.trace.wire(node, name, value, wanted, over=over)
    return argument, wiring.shown(argument["value"])


def _operator(dag: DAG, spec: StepSpec, task_id: str, inputs: dict[str, Any]) -> Any:
    options = spec.options
    if options.compute not in (None, "local"):
        raise PipelineInvalid(
            f'Step "{task_id}" runs on compute "{options.compute}", which a step called in a plain DAG cannot.',
            hint="Put it into a @pipeline and use airflow_task_group.",
        )
    function = resolve(spec.function) if why_not_importable(spec.function) else None
    call = StepCall(spec, artifacts_of=dag.dag_id, stack=options.stack, function=function)
    settings: dict[str, Any] = {"retries": options.retries, "pool": options.pool}
    settings["retry_delay"] = None if options.retry_delay is None else timedelta(seconds=options.retry_delay)
    settings["execution_timeout"] = None if options.timeout is None else timedelta(seconds=options.timeout)
    settings = {key: value for key, value in settings.items() if value is not None}
    if options.asset:
        from ..hooks.assets import artifact_asset

        settings["outlets"] = [artifact_asset(spec.artifact(dag.dag_id, output)) for output in spec.outputs]
    if not spec.mapped:
        return StepOperator(task_id=task_id, step=call, inputs=inputs, **settings)
    over = {name: inputs[name] for name in spec.mapped}
    lists = FanOutOperator(task_id=f"{task_id}_items", step=call, inputs=over)
    partial = StepOperator.partial(
        task_id=task_id, step=call, inputs=inputs, map_index_template="{{ windsock_item }}", **settings
    )
    return partial.expand(item=lists.output)


class BuiltInStepOperator(StepOperator):
    """A built-in step as an operator with arguments of its own: recorded, retried and traced like any step.

    :param function: the step.
    :param arguments: what it is called with: constants, Jinja, XComArgs, outputs of steps; None is left out.
    :param stack: stack to run on; default: the active one.
    """

    def __init__(self, *, function: Any, arguments: Mapping[str, Any], stack: str | None = None, **kwargs: Any) -> None:
        dag = kwargs.get("dag") or DagContext.get_current()
        given = {name: value for name, value in arguments.items() if value is not None}
        owner = dag.dag_id if dag is not None else kwargs["task_id"]
        _, spec, inputs = bind_step(owner, function, kwargs["task_id"], given)
        super().__init__(step=StepCall(spec, artifacts_of=owner, stack=stack), inputs=inputs, **kwargs)

    def value(self, outputs: Mapping[str, Any]) -> Any:
        """What the step returned, read back from the artifact store."""
        from ..hooks.stacks import StackHook
        from ..provider.artifacts.saving import load

        return load(outputs["output"], StackHook(self.step.stack).stack().artifact_store)
