"""From a pipeline and a stack to a :class:`DagPlan`: linear, pure, without importing what will run."""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING, Any

from ..errors import PipelineInvalid, StepNotImportable, did_you_mean
from ..pipelines.functions import why_not_importable
from ..pipelines.spec import DEFAULT_OPTIONS, leaves
from .plan import DagPlan, TaskPlan

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from ..pipelines.spec import ConditionSpec, PipelineSpec, StepOptions, StepSpec

STEP_OPERATOR = "windsock.operators.steps:StepOperator"
CONDITION_OPERATOR = "windsock.operators.conditions:ConditionOperator"
FAN_OUT_OPERATOR = "windsock.operators.conditions:FanOutOperator"

OPERATORS: Mapping[str, str] = {"local": STEP_OPERATOR}
"""Flavor of compute -> operator. A flavor that is not here is asked for its own (``Compute.operator``)."""

RESERVED = ("azureml", "batch", "kubernetes", "sagemaker", "vertex")
"""Flavors with a name and, in this version, no operator."""

_LOCAL: Mapping[str, Any] = {"default": "local", "local": {"flavor": "local"}}


def compile_pipeline(spec: PipelineSpec, stack: Mapping[str, Any] | None = None) -> DagPlan:
    """The DAG of ``spec`` on ``stack`` (a description as ``Stack.describe`` gives it; None: everything runs locally).

    Raises ``PipelineInvalid`` for a compute that the stack does not have, ``StepNotImportable`` for a step that could
    not run where it is sent.
    """
    places = _Places(stack)
    fan_outs = _fan_outs(spec)
    members = _members(spec, fan_outs) if spec.conditions else {}
    pending = dict(spec.conditions_by_name)
    tasks: list[TaskPlan] = []
    for step in spec.ordered():
        for name in reversed(spec.branch(step.condition)):
            if name in pending:
                tasks.append(_condition(pending.pop(name), members))  # noqa: PERF401 - a branch, not a list
        tasks.extend(_step(spec, step, places, fan_outs))
    tasks.extend(_condition(condition, members) for condition in pending.values())
    groups = {group: None for task in tasks if task.group for group in _prefixes(task.group)}
    return DagPlan(spec, stack["name"] if stack else None, tuple(_exits(tasks)), tuple(groups))


def _step(spec: PipelineSpec, step: StepSpec, places: _Places, fan_outs: Mapping[str, str]) -> Iterator[TaskPlan]:
    compute, operator, options = places.of(step)
    settings = _settings(step.options)
    if step.optional and not step.teardown:
        # An optional input's step may have been skipped; all_success would then skip this one too.
        settings["trigger_rule"] = "none_failed"
    items: str | tuple[Mapping[str, int], ...] | None = None
    if step.name in fan_outs:
        items = fan_outs[step.name]
        rule = {"trigger_rule": settings["trigger_rule"]} if "trigger_rule" in settings else {}
        yield TaskPlan(items, "fan_out", FAN_OUT_OPERATOR, step, settings=rule, upstream=step.after, group=step.group)
    elif step.mapped:
        items = _items(spec, step)
    yield TaskPlan(
        step.name,
        "step",
        operator,
        step,
        settings=settings,
        upstream=step.after,
        items=items,
        group=step.group,
        compute=compute,
        options=options,
    )


def _exits(tasks: list[TaskPlan]) -> list[TaskPlan]:
    """Let every exit handler wait for the last task of each path."""
    if not any(task.step is not None and task.step.teardown for task in tasks):
        return tasks
    work = [task for task in tasks if not (task.step is not None and task.step.teardown)]
    waited = {name for task in work for name in (*sources(task), *task.upstream)}
    waited |= {task.items for task in work if isinstance(task.items, str)}
    ends = tuple(task.task_id for task in work if task.task_id not in waited and not task.skips)
    return [
        task._replace(upstream=tuple(dict.fromkeys((*task.upstream, *ends))))
        if task.step is not None and task.step.teardown and task.kind == "step"
        else task
        for task in tasks
    ]


def _settings(options: StepOptions) -> dict[str, Any]:
    """Airflow's arguments, only those that the step sets."""
    if options is DEFAULT_OPTIONS:
        return {}
    pairs = (
        ("retries", options.retries),
        ("retry_delay", options.retry_delay),
        ("execution_timeout", options.timeout),
        ("pool", options.pool),
    )
    return {key: value for key, value in pairs if value is not None}


def _fan_outs(spec: PipelineSpec) -> dict[str, str]:
    """Mapped steps whose items are only known when the DAG runs -> the task that lists them."""
    taken = {*spec.by_name, *spec.conditions_by_name}
    return {
        step.name: _free(f"{step.name}_items", taken)
        for step in spec.steps
        if step.mapped and _items(spec, step) is None
    }


def _items(spec: PipelineSpec, step: StepSpec) -> str | tuple[Mapping[str, int], ...] | None:
    """What a mapped step runs over: items known now, the mapped step that it follows, or None: ask at run time."""
    arguments = dict(step.arguments)
    over = [arguments[name] for name in step.mapped]
    if all("value" in argument for argument in over):
        combinations = product(*(range(len(argument["value"])) for argument in over))
        return tuple(dict(zip(step.mapped, indexes, strict=True)) for indexes in combinations)
    if len(over) == 1 and "step" in over[0]:
        source = spec.by_name[over[0]["step"]]
        if source.mapped and not step.optional:
            return source.name
    return None


# ------------------------------------------------------------------------------------------------- conditions


def _members(spec: PipelineSpec, fan_outs: Mapping[str, str]) -> dict[str, list[str]]:
    """For each condition, the tasks that must be told to skip.

    That is every task of its block that no other task of the block already holds back: Airflow passes a skip on to
    what is downstream, except to a task whose trigger rule lets it run after a skip.
    """
    told: dict[str, list[str]] = {condition.name: [] for condition in spec.conditions}
    branches: dict[str | None, frozenset[str]] = {
        name: frozenset(spec.branch(name)) for name in (None, *spec.conditions_by_name)
    }

    def inside(name: str, condition: str) -> bool:
        return condition in branches[spec.by_name[name].condition]

    for step in spec.steps:
        if step.condition is not None and (
            step.optional or not any(inside(name, step.condition) for name in step.upstream())
        ):
            told[step.condition] += [fan_outs[step.name]] if step.name in fan_outs else []
            told[step.condition].append(step.name)
    for condition in spec.conditions:
        if condition.parent is not None and not any(inside(n, condition.parent) for n in condition.upstream()):
            told[condition.parent].append(condition.name)
    return told


def _condition(condition: ConditionSpec, members: Mapping[str, list[str]]) -> TaskPlan:
    return TaskPlan(
        condition.name,
        "condition",
        CONDITION_OPERATOR,
        condition=condition,
        skips=tuple(members[condition.name]),
        group=condition.group,
    )


# ---------------------------------------------------------------------------------------------------- compute


class _Places:
    """Where steps run: the ``compute`` section of the stack, each place looked up once."""

    def __init__(self, stack: Mapping[str, Any] | None) -> None:
        self.stack = (stack or {}).get("name", "local")
        self.entries: Mapping[str, Any] = {**_LOCAL, **((stack or {}).get("compute") or {})}
        self._known: dict[str | None, tuple[str, bool, Mapping[str, Any]]] = {}

    def of(self, step: StepSpec) -> tuple[str | None, str, Mapping[str, Any] | None]:
        """``(name of the place or None, operator, its options)``. Raises ``PipelineInvalid``, ``StepNotImportable``."""
        name = step.options.compute
        if name not in self._known:
            self._known[name] = self._look_up(step, name)
        operator, remote, options = self._known[name]
        if not remote:
            return None, operator, None
        reason = why_not_importable(step.function)
        if reason:
            raise StepNotImportable(
                f'Step "{step.name}" runs on compute "{name or self.entries["default"]}" but {reason}, '
                "which a remote process cannot import.",
                hint='Move it to a module of your package, or run it on compute "local".',
                step=step.name,
                function=step.function,
            )
        return name or self.entries["default"], operator, options

    def _look_up(self, step: StepSpec, asked: str | None) -> tuple[str, bool, Mapping[str, Any]]:
        name = asked or self.entries.get("default", "local")
        if name == "default" or name not in self.entries:
            raise PipelineInvalid(
                f'Step "{step.name}" runs on compute "{name}", which stack "{self.stack}" does not have.',
                hint=f"{did_you_mean(name, self.entries.keys() - {'default'})} "
                f'Add it under "compute:" of the stack; "{name}: {{flavor: local}}" runs it in the worker.',
                step=step.name,
                compute=name,
            )
        options = self.entries[name]
        flavor = options.get("flavor", name)
        if flavor in OPERATORS:
            return OPERATORS[flavor], flavor != "local", options
        return (*self._own_operator(step, name, flavor), options)

    def _own_operator(self, step: StepSpec, name: str, flavor: str) -> tuple[str, bool]:
        from ..flavors import known, resolve

        if flavor in RESERVED and flavor not in known("compute"):
            raise PipelineInvalid(
                f'Step "{step.name}" runs on compute "{name}", and this version of Windsock has no operator for '
                f'flavor "{flavor}" yet.',
                hint=f'Known: {", ".join(known("compute"))}. "{name}: {{flavor: local}}" in stack "{self.stack}" runs '
                "it in the Airflow worker.",
                step=step.name,
                flavor=flavor,
            )
        compute: Any = resolve("compute", flavor)
        return compute.operator, compute.remote


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _prefixes(group: str) -> list[str]:
    parts = group.split(".")
    return [".".join(parts[: i + 1]) for i in range(len(parts))]


def sources(task: TaskPlan) -> list[str]:
    """The steps whose outputs a task takes."""
    if task.condition is not None:
        return task.condition.upstream()
    if task.step is None:
        return []
    return list(
        {leaf["step"]: None for _, argument in task.step.arguments for leaf in leaves(argument) if "step" in leaf}
    )
