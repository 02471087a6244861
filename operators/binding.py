"""From an operator's rendered template fields to bound arguments. Only a running task imports this."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..provider.runtime.wiring import MISSING, select_bound

if TYPE_CHECKING:
    from ..provider.pipelines.spec import Argument, StepSpec
    from ..provider.runtime.invocation import Bound

_REF = {"artifact", "version", "uri", "digest", "type"}


def bind(step: StepSpec, rendered: Mapping[str, Any]) -> dict[str, Bound] | None:
    """The arguments of a step from its rendered inputs; None if one is missing that it cannot do without."""
    bound: dict[str, Bound] = {}
    for name, argument in step.arguments:
        value = bind_argument(argument, rendered.get(name))
        optional = name in step.optional
        if optional and value is not MISSING and "list" in value:
            value = {"list": [item for item in value["list"] if item is not MISSING]}
        if value is not MISSING and MISSING not in value.get("list", ()):
            bound[name] = value
        elif not optional:
            return None
    return bound


def bind_argument(argument: Argument, rendered: Any) -> Bound:
    """One argument, from what its place in the template field was rendered to; ``MISSING`` if its step gave nothing."""
    if "value" in argument:
        return argument
    if "parameter" in argument:
        return foreign(rendered)
    if "list" in argument:
        return {"list": [bind_argument(a, r) for a, r in zip(argument["list"], rendered, strict=True)]}
    if rendered is None:
        return MISSING  # type: ignore[no-any-return]
    path = argument.get("path") or ()
    if isinstance(rendered, list):
        return select_bound({"list": [{"artifact": ref, "path": []} for ref in rendered]}, path)
    return {"artifact": rendered, "path": list(path)}


def foreign(value: Any) -> Bound:
    """A value from outside the pipeline: a parameter, or another operator's XCom, which may well be a reference."""
    if isinstance(value, Mapping):
        if value.keys() >= _REF:
            return {"artifact": dict(value), "path": []}
        if len(value) == 1 and isinstance(only := next(iter(value.values())), Mapping) and only.keys() >= _REF:
            return {"artifact": dict(only), "path": []}
    return {"value": list(value) if isinstance(value, Sequence) and not isinstance(value, (str, list)) else value}


def element(bound: Bound, index: int) -> Bound:
    """One element of a list that a mapped step runs over."""
    if "list" in bound:
        return dict(bound["list"][index])
    if "value" in bound:
        return {"value": bound["value"][index]}
    return {"artifact": bound["artifact"], "path": [*bound["path"], index]}
