"""The tasks around steps: deciding a condition, listing what a mapped step runs over."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator
from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowSkipException

from ..provider.pipelines.expressions import write
from ..provider.pipelines.spec import leaves

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from ..provider.pipelines.spec import ConditionSpec, StepSpec
    from .steps import StepCall


class ConditionCall:
    """What a :class:`ConditionOperator` decides; in the serialized DAG, the condition as text."""

    __slots__ = ("condition", "skips", "stack")

    def __init__(self, condition: ConditionSpec, skips: tuple[str, ...], stack: str | None = None) -> None:
        self.condition = condition
        self.skips = skips
        """Ids of the tasks to skip when it does not hold."""
        self.stack = stack

    def __str__(self) -> str:
        return write(self.condition.expression, short=True)

    def __deepcopy__(self, memo: Any) -> ConditionCall:
        return self


class ConditionOperator(BaseOperator, SkipMixin):
    """Decide a ``when``: if it does not hold, skip the tasks of its block, and no others.

    Unlike Airflow's ``ShortCircuitOperator`` it names the tasks to skip, so that what stands outside the block, and a
    task that joins two branches, keeps its own trigger rule. It reads outputs from the artifact store (they are small:
    a dictionary of metrics) and returns True when the condition holds.

    :param condition: what is decided (shown as text).
    :param inputs: the outputs and parameters it looks at (templated), in the order of the expression.
    """

    template_fields: Sequence[str] = ("condition", "inputs")
    template_fields_renderers = {"inputs": "json"}  # noqa: RUF012
    ui_color = "#f3e3b8"

    def __init__(self, *, condition: ConditionCall, inputs: Sequence[Any] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.condition = condition
        self.inputs = list(inputs)

    def execute(self, context: Context) -> bool | None:
        """Returns True, or raises ``DownstreamTasksSkipped``."""
        from ..provider.runtime.conditions import evaluate
        from ..provider.runtime.wiring import MISSING
        from . import binding

        call = self.condition
        given = iter(zip(leaves(call.condition.expression), self.inputs, strict=True))
        bound = {id(leaf): binding.bind_argument(leaf, value) for leaf, value in given}
        if any(value is MISSING for value in bound.values()):
            raise AirflowSkipException(f'An output that condition "{call}" looks at was skipped.')
        loader = _Loader(call.stack)
        holds = evaluate(call.condition.expression, lambda leaf: loader(bound[id(leaf)]))
        self.log.info("%s: %s", call, "holds" if holds else "does not hold, its branch is skipped")
        if not holds:
            self.skip(ti=context["ti"], tasks=[self.dag.get_task(task_id) for task_id in call.skips])
        return True if holds else None


class FanOutOperator(BaseOperator):
    """List the items of a mapped step whose number is only known when the DAG runs.

    Airflow maps over an XCom, and a step's XCom is a reference to its list. This task reads how long the lists are and
    returns ``[{argument: index}…]``: one small entry for each instance, never the elements.

    :param step: the mapped step.
    :param inputs: the lists it runs over (templated).
    """

    template_fields: Sequence[str] = ("step", "inputs")
    template_fields_renderers = {"inputs": "json"}  # noqa: RUF012
    ui_color = "#e6e6e6"

    def __init__(self, *, step: StepCall, inputs: Mapping[str, Any] | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.step = step
        self.inputs = inputs if inputs is not None else {}

    def execute(self, context: Context) -> list[dict[str, int]]:
        """Raises ``PipelineInvalid`` if what the step is to run over is no list."""
        from ..provider.runtime.wiring import MISSING
        from . import binding

        step: StepSpec = self.step.step
        loader = _Loader(self.step.stack, allow_pickle=step.options.pickle)
        lengths = {}
        for name, argument in step.arguments:
            if name in step.mapped:
                bound = binding.bind_argument(argument, self.inputs.get(name))
                if bound is MISSING:
                    raise AirflowSkipException(f'The list that step "{step.name}" runs over was skipped.')
                lengths[name] = _length(step.name, name, loader(bound))
        items: list[dict[str, int]] = [{}]
        for name in step.mapped:
            items = [{**item, name: index} for item in items for index in range(lengths[name])]
        return items


class _Loader:
    """Loads what a bound argument stands for; the stack is only built if there is an artifact to read."""

    def __init__(self, stack: str | None, *, allow_pickle: bool = False) -> None:
        self._stack = stack
        self._allow_pickle = allow_pickle
        self._values: dict[str, Any] = {}

    def __call__(self, bound: Mapping[str, Any]) -> Any:
        if "value" in bound:
            return bound["value"]
        if "list" in bound:
            return [self(item) for item in bound["list"]]
        ref = bound["artifact"]
        if ref["uri"] not in self._values:
            from ..hooks.stacks import StackHook
            from ..provider.artifacts.saving import load

            store = StackHook(self._stack).stack().artifact_store
            self._values[ref["uri"]] = load(ref, store, allow_pickle=self._allow_pickle)
        value = self._values[ref["uri"]]
        path = bound.get("path") or ()
        from ..provider.runtime.binding import select

        return select(value, path, ref["artifact"], ref["artifact"]) if path else value


def _length(step: str, name: str, value: Any) -> int:
    if isinstance(value, (list, tuple)):
        return len(value)
    from ..provider.errors import PipelineInvalid

    raise PipelineInvalid(
        f'Step "{step}" runs over the elements of "{name}", which is a {type(value).__name__}, not a list.',
        hint="Return a list from the upstream step, or pass one: step.expand(x=[...]).",
        step=step,
    )
