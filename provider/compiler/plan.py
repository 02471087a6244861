"""What Airflow will get, as frozen data: tasks with their operators named by string.

A plan is a pure function of the spec and of the stack's description. ``operators/dag.py`` renders one; a test resolves
every operator string.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..pipelines.spec import ConditionSpec, PipelineSpec, StepSpec

Kind = Literal["step", "condition", "fan_out"]


class TaskPlan(NamedTuple):
    """One task.

    ``step`` is what a ``step`` task runs, and what a ``fan_out`` task makes the items for; ``condition`` is what a
    ``condition`` task decides. ``settings`` are Airflow's own operator arguments, durations in seconds. ``upstream``
    are the tasks it waits for without taking anything from them (what it takes is in the step's arguments).

    ``items``, of a mapped step: the mapped step whose instances it follows one by one, the fan-out task that lists
    them, or the list itself: ``{argument: index of the element}`` for each instance. ``skips`` are the tasks that a
    condition skips when it does not hold. ``compute`` is the name of the place in the stack (None: in the worker), and
    ``options`` what stands there.
    """

    task_id: str
    kind: Kind
    operator: str
    step: StepSpec | None = None
    condition: ConditionSpec | None = None
    settings: Mapping[str, Any] | None = None
    upstream: tuple[str, ...] = ()
    items: str | tuple[Mapping[str, int], ...] | None = None
    skips: tuple[str, ...] = ()
    group: str | None = None
    compute: str | None = None
    options: Mapping[str, Any] | None = None


class DagPlan(NamedTuple):
    """A whole DAG: ``tasks`` so that each comes after those that it takes something from, ``groups`` outer first."""

    spec: PipelineSpec
    stack: str | None
    tasks: tuple[TaskPlan, ...]
    groups: tuple[str, ...] = ()
