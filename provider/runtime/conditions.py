"""Decide a condition: an expression tree of plain JSON, compared over arguments.

The same function serves ``pipeline.run()`` and the ``ConditionOperator``. The form of the tree is that of
``pipelines/spec.py``; what an Argument in it is worth is the caller's to say.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from typing import Any

from ..errors import PipelineInvalid, did_you_mean

Resolve = Callable[[Mapping[str, Any]], Any]

COMPARISONS: dict[str, Callable[[Any, Any], Any]] = {
    "<": operator.lt,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    ">=": operator.ge,
}


def evaluate(expression: Mapping[str, Any], resolve: Resolve) -> bool:
    """True or False. ``resolve`` turns an Argument (``{"value": …}``, ``{"step": …}``…) into a value.

    ``and`` and ``or`` stop as soon as they know. Raises ``PipelineInvalid`` for values that cannot be compared.
    """
    return bool(_value(expression, resolve))


def _value(node: Mapping[str, Any], resolve: Resolve) -> Any:
    op = node.get("op")
    if op is None:
        return resolve(node)
    left = _value(node["left"], resolve)
    if op in ("true", "not"):
        return bool(left) is (op == "true")
    if op in ("and", "or"):
        return bool(left) if bool(left) is (op == "or") else bool(_value(node["right"], resolve))
    compare = COMPARISONS.get(op)
    if compare is None:
        known = [*COMPARISONS, "and", "or", "not", "true"]
        raise PipelineInvalid(f'A condition uses the operator "{op}".', hint=did_you_mean(op, known))
    right = _value(node["right"], resolve)
    try:
        return compare(left, right)
    except TypeError:
        raise PipelineInvalid(
            f"A condition cannot compare {left!r} {op} {right!r}: {type(left).__name__} and {type(right).__name__}.",
            hint="Compare numbers with numbers: a metric of a dict is metrics['accuracy'].",
        ) from None
