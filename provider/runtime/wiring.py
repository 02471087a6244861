"""From a spec's arguments to bound arguments: put in the run's parameters and the references that upstream steps gave.

``pipeline.run()`` uses it over its own results, an operator over XComs.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import PipelineInvalid
from .invocation import Bound, OutputTarget, Ref

if TYPE_CHECKING:
    from ..pipelines.spec import PipelineSpec, StepSpec

Outputs = Mapping[str, Any]
"""What each step that ran has given: ``{output: Ref}``, of a mapped step a list of those."""

MISSING: Any = object()


def output_targets(spec: PipelineSpec, step: StepSpec) -> tuple[OutputTarget, ...]:
    return tuple(OutputTarget(o.name, o.type, step.artifact(spec.name, o)) for o in step.outputs)


def bind_arguments(step: StepSpec, parameters: Mapping[str, Any], outputs: Outputs) -> dict[str, Bound] | None:
    """The arguments of a step, ready to be loaded; None if one is missing that the step cannot do without."""
    bound: dict[str, Bound] = {}
    for name, argument in step.arguments:
        value = bind(argument, parameters, outputs)
        if name in step.optional and value is not MISSING and "list" in value:
            value = {"list": [item for item in value["list"] if item is not MISSING]}
        if value is MISSING or MISSING in value.get("list", ()):
            if name in step.optional:
                continue
            return None
        bound[name] = value
    return bound


def bind(argument: Mapping[str, Any], parameters: Mapping[str, Any], outputs: Outputs) -> Bound:
    """One argument; :data:`MISSING` if its step gave nothing."""
    if "value" in argument:
        return {"value": argument["value"]}
    if "parameter" in argument:
        return select_bound({"value": parameters[argument["parameter"]]}, argument.get("path") or ())
    if "list" in argument:
        return {"list": [bind(item, parameters, outputs) for item in argument["list"]]}
    given = outputs.get(argument["step"])
    if given is None:
        return MISSING  # type: ignore[no-any-return]
    output, path = argument["output"], argument.get("path") or ()
    if isinstance(given, Mapping):
        return {"artifact": dict(given[output]), "path": list(path)}
    return select_bound({"list": [{"artifact": dict(item[output]), "path": []} for item in given]}, path)


def select_bound(bound: Bound, path: Sequence[Any]) -> Bound:
    """A part of a bound argument, without loading anything."""
    for i, key in enumerate(path):
        if "artifact" in bound:
            return {**bound, "path": [*bound.get("path", ()), *path[i:]]}
        bound = bound["list"][key] if "list" in bound else {"value": bound["value"][key]}
    return bound


def instances(
    step: StepSpec, arguments: Mapping[str, Bound], load: Callable[[Ref, Sequence[Any]], Any]
) -> Iterator[dict[str, Bound]]:
    """The arguments of each instance of a mapped step: every combination of ``step.mapped``, the last fastest.

    ``load`` gets the value of an artifact that holds the list to run over. Raises ``PipelineInvalid`` if it is no list.
    """
    for combination in itertools.product(*(_elements(step, n, arguments[n], load) for n in step.mapped)):
        yield {**arguments, **dict(zip(step.mapped, combination, strict=True))}


def _elements(step: StepSpec, name: str, bound: Bound, load: Callable[[Ref, Sequence[Any]], Any]) -> list[Bound]:
    if "list" in bound:
        return list(bound["list"])
    value = bound["value"] if "value" in bound else load(bound["artifact"], bound["path"])
    if not isinstance(value, list | tuple):
        raise PipelineInvalid(
            f'Step "{step.name}" runs over the elements of "{name}", which is a {type(value).__name__}, not a list.',
            hint="Return a list from the upstream step, or pass one: step.expand(x=[…]).",
            step=step.name,
        )
    if "value" in bound:
        return [{"value": element} for element in value]
    return [{"artifact": bound["artifact"], "path": [*bound["path"], i]} for i in range(len(value))]
