"""Render a pipeline as an Airflow DAG, or as a task group of one.

The DAG is a pure function of the pipeline and the stack's description: the same bytes at every parse, so that Airflow
keeps one DAG version until somebody changes something.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import DAG, TaskGroup

from ..provider.compiler.compile import CONDITION_OPERATOR, FAN_OUT_OPERATOR, STEP_OPERATOR, compile_pipeline
from ..provider.errors import PipelineInvalid, did_you_mean
from ..provider.pipelines.functions import resolve, why_not_importable
from ..provider.pipelines.parameters import is_template
from ..provider.pipelines.spec import leaves
from . import wiring
from .conditions import ConditionCall, ConditionOperator, FanOutOperator
from .params import dag_param
from .steps import StepCall, StepOperator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..provider.compiler.plan import DagPlan, TaskPlan
    from ..provider.pipelines.pipeline import Pipeline
    from ..provider.pipelines.spec import Argument, StepSpec

_OPERATORS: dict[str, Any] = {
    CONDITION_OPERATOR: ConditionOperator,
    FAN_OUT_OPERATOR: FanOutOperator,
    STEP_OPERATOR: StepOperator,
}
_DURATIONS = ("retry_delay", "execution_timeout")

RETRIES: Mapping[str, Any] = {"retries": 1, "retry_delay": timedelta(seconds=30)}
"""What a step gets if neither it nor ``default_args`` says otherwise.

Airflow's own default is 0. A step may always be tried again (a killed one leaves no half artifact, and its retry gives
the same versions), and most of what fails once in a cluster is not the step: a worker that is evicted, a database that
restarts.
"""


def airflow_dag(
    pipeline: Pipeline, *, dag_id: str | None = None, schedule: Any = None, stack: str | None = None, **dag_kwargs: Any
) -> DAG:
    """The pipeline as a DAG of its own: parameters become typed ``params``, steps become tasks.

    :param pipeline: what ``@pipeline`` or ``load_pipeline`` made, possibly with bound parameters.
    :param dag_id: default: the pipeline's name.
    :param schedule: as for any DAG; assets too.
    :param stack: the stack to run on; default: the pipeline's, else the active one.
    :param dag_kwargs: further arguments of ``DAG``. ``catchup`` is False unless you say otherwise, and
        ``tags`` gain ``windsock``.
    """
    spec = pipeline.spec
    stack = stack or pipeline.stack
    plan = compile_pipeline(spec, _description(stack))
    free = [parameter for parameter in spec.parameters if parameter.name not in pipeline.bound]
    _check_schedulable(pipeline, free, schedule)
    params = {p.name: dag_param(p) for p in free} | dict(dag_kwargs.pop("params", None) or {})
    dag_kwargs["tags"] = sorted({"windsock", *(dag_kwargs.get("tags") or ())})
    dag_kwargs.setdefault("catchup", False)
    if "doc_md" not in dag_kwargs:
        dag_kwargs["doc_md"] = _documentation(pipeline)
    dag = DAG(dag_id or pipeline.name, schedule=schedule, **dag_kwargs)
    # A DAG made inside a library would be shown, and re-parsed, as the library's file.
    dag.fileloc = sys._getframe(1).f_code.co_filename
    parameters = {
        p.name: _bound(pipeline.bound[p.name]) if p.name in pipeline.bound else wiring.Parameter(p.name)
        for p in spec.parameters
    }
    _Rendering(plan, dag, dag.task_group, parameters, stack).render()
    if params:
        # Last, because a task copies the params that its DAG has, and repeats them in the serialized DAG; what a run
        # sees is the same either way.
        dag.params = params  # type: ignore[assignment]
    return dag


def airflow_task_group(
    pipeline: Pipeline,
    *,
    group_id: str | None = None,
    stack: str | None = None,
    dag: DAG | None = None,
    **group_kwargs: Any,
) -> TaskGroup:
    """The pipeline as a task group of a DAG that you write: put it between other tasks with ``>>``.

    Its parameters are those that were bound (``churn.bind(snapshot="{{ ds }}")``, Jinja allowed) and its own defaults,
    not the DAG's ``params``.

    :param pipeline: what ``@pipeline`` or ``load_pipeline`` made.
    :param group_id: default: the pipeline's name.
    :param stack: the stack to run on; default: the pipeline's, else the active one.
    :param dag: default: the DAG whose ``with`` block is open.
    :param group_kwargs: further arguments of ``TaskGroup``.
    """
    spec = pipeline.spec
    stack = stack or pipeline.stack
    missing = [p.name for p in spec.parameters if p.required and p.name not in pipeline.bound]
    if missing:
        raise PipelineInvalid(
            f'Pipeline "{pipeline.name}" needs {" and ".join(missing)} to be a task group.',
            hint=f"Bind it: {pipeline.name}.bind({missing[0]}=...).",
            missing=missing,
        )
    plan = compile_pipeline(spec, _description(stack))
    if dag is not None:  # given as None, it would hide the DAG whose block is open
        group_kwargs["dag"] = dag
    group = TaskGroup(group_id or pipeline.name, **group_kwargs)
    parameters = {p.name: _bound(pipeline.bound.get(p.name, p.default)) for p in spec.parameters}
    _Rendering(plan, group.dag, group, parameters, stack).render()
    return group


def _bound(value: Any) -> Any:
    return value if is_template(value) else wiring.shown(value)


def _description(stack: str | None) -> Mapping[str, Any]:
    from ..hooks.settings import airflow_settings
    from ..provider.stack import Stack

    return Stack.describe(stack, settings=airflow_settings())


def _check_schedulable(pipeline: Pipeline, parameters: list[Any], schedule: Any) -> None:
    required = [parameter.name for parameter in parameters if parameter.required]
    if schedule is not None and required:
        raise PipelineInvalid(
            f'Pipeline "{pipeline.name}" is scheduled, and its parameter "{required[0]}" has no default.',
            hint=f"Nobody is asked when a schedule fires: airflow_dag({pipeline.name}.bind({required[0]}=...), ...).",
            missing=required,
        )


def _documentation(pipeline: Pipeline) -> str | None:
    from inspect import cleandoc

    from ..provider.compiler.mermaid import mermaid

    graph = mermaid(pipeline.spec)
    parts = [cleandoc(pipeline.spec.doc)] if pipeline.spec.doc else []
    if graph:
        parts.append(f"```mermaid\n{graph}\n```")
    return "\n\n".join(parts) or None


class _Rendering:
    """One plan on its way into one DAG."""

    def __init__(self, plan: DagPlan, dag: DAG, root: Any, parameters: Mapping[str, Any], stack: str | None) -> None:
        self.plan = plan
        self.dag = dag
        self.parameters = parameters
        self.stack = stack
        chosen = {**dag.default_args, **root.default_args}
        self.defaults = {key: value for key, value in RETRIES.items() if key not in chosen}
        self.groups: dict[str | None, Any] = {None: root}
        self.tasks: dict[str, Any] = {}

    def render(self) -> None:
        for name in self.plan.groups:
            parent, _, label = name.rpartition(".")
            outer = self.groups[parent or None]
            self.groups[name] = TaskGroup(label, parent_group=outer, dag=self.dag)
        for task in self.plan.tasks:
            self.tasks[task.task_id] = self._task(task)
        for task in self.plan.tasks:
            if task.upstream:
                self.tasks[task.task_id].set_upstream([self.tasks[name] for name in task.upstream])
            if task.skips:
                self.tasks[task.task_id].set_downstream([self.tasks[name] for name in task.skips])

    def _task(self, task: TaskPlan) -> Any:
        kwargs: dict[str, Any] = {
            "task_id": task.task_id[len(task.group) + 1 :] if task.group else task.task_id,
            "dag": self.dag,
            "task_group": self.groups[task.group],
            **self.defaults,
        }
        if task.settings:
            kwargs.update(task.settings)
            for key in _DURATIONS:
                if key in task.settings:
                    kwargs[key] = timedelta(seconds=task.settings[key])
        if task.kind == "step":
            return self._step(task, kwargs)
        if task.kind == "fan_out":
            assert task.step is not None
            inputs = {n: self._shown(a) for n, a in task.step.arguments if n in task.step.mapped}
            return _operator(task)(step=self._call(task.step), inputs=inputs, **kwargs)
        return self._condition(task, kwargs)

    def _step(self, task: TaskPlan, kwargs: dict[str, Any]) -> Any:
        step = task.step
        assert step is not None
        follows = isinstance(task.items, str) and task.items in self.plan.spec.by_name
        gate = self.groups[None].child_id(step.condition) if step.optional and step.condition else None
        kwargs["step"] = self._call(step, follows=follows, gate=gate)
        kwargs["inputs"] = {
            name: self._shown(argument) for name, argument in step.arguments if not (follows and name in step.mapped)
        }
        if step.options.asset:
            from ..hooks.assets import artifact_asset

            kwargs["outlets"] = [artifact_asset(step.artifact(self.plan.spec.name, o)) for o in step.outputs]
        if task.options:
            kwargs["compute"] = task.compute
        operator = _operator(task)
        if task.items is None:
            made = operator(**kwargs)
            return made.as_teardown() if step.teardown else made
        items = self.tasks[task.items].output if isinstance(task.items, str) else [dict(item) for item in task.items]
        return operator.partial(map_index_template="{{ windsock_item }}", **kwargs).expand(item=items)

    def _call(self, step: StepSpec, *, follows: bool = False, gate: str | None = None) -> StepCall:
        local = resolve(step.function) if why_not_importable(step.function) else None
        return StepCall(
            step,
            artifacts_of=self.plan.spec.name,
            pipeline=self.plan.spec,
            parameters=self.parameters,
            stack=step.options.stack or self.stack,
            function=local,
            follows=follows,
            gate=gate,
        )

    def _condition(self, task: TaskPlan, kwargs: dict[str, Any]) -> Any:
        assert task.condition is not None
        skips = tuple(self.groups[None].child_id(name) for name in task.skips)
        call = ConditionCall(task.condition, skips, self.stack)
        inputs = [self._shown(leaf) for leaf in leaves(task.condition.expression)]
        return _operator(task)(condition=call, inputs=inputs, **kwargs)

    def _shown(self, argument: Argument) -> Any:
        """An argument as it stands in a template field."""
        if "step" in argument:
            return wiring.StepOutput(self.tasks[argument["step"]], argument["output"])
        if "value" in argument:
            return wiring.shown(argument["value"])
        if "parameter" in argument:
            return self.parameters[argument["parameter"]]
        return [self._shown(item) for item in argument["list"]]


def _operator(task: TaskPlan) -> Any:
    operator = _OPERATORS.get(task.operator)
    if operator is None:
        from importlib import import_module

        module, _, name = task.operator.partition(":")
        try:
            operator = _OPERATORS[task.operator] = getattr(import_module(module), name)
        except (ImportError, AttributeError) as error:
            raise PipelineInvalid(
                f'Task "{task.task_id}" runs on compute "{task.compute}", whose operator {task.operator} '
                f"cannot be imported: {error}.",
                hint=f"Install what it needs. {did_you_mean(task.operator, _OPERATORS)}",
            ) from error
    return operator
