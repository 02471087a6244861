"""Decide a condition: an expression tree of plain JSON, compared over arguments.

The same function serves ``pipeline.run()`` and the ``ConditionOperator``: ``{"op": ">", "left": Argument, "right":
Argument}``, with ``and``, ``or`` and ``not`` above. What an Argument is worth is the caller's to say.
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
    "in": lambda left, right: left in right,
    "not in": lambda left, right: left not in right,
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
    if op == "not":
        return not _value(_operands(node)[0], resolve)
    if op == "and":
        return all(_value(operand, resolve) for operand in _operands(node))
    if op == "or":
        return any(_value(operand, resolve) for operand in _operands(node))
    if op in ("truthy", "bool"):
        return bool(_value(_operands(node)[0], resolve))
    compare = COMPARISONS.get(op)
    if compare is None:
        raise PipelineInvalid(f'A condition uses "{op}".', hint=did_you_mean(op, [*COMPARISONS, "and", "or", "not"]))
    left, right = (_value(operand, resolve) for operand in _operands(node))
    try:
        return compare(left, right)
    except TypeError:
        raise PipelineInvalid(
            f"A condition cannot compare {left!r} {op} {right!r}: {type(left).__name__} and {type(right).__name__}.",
            hint="Compare numbers with numbers: a metric of a dict is metrics['accuracy'].",
        ) from None


def _operands(node: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    for key in ("operands", "of", "args"):
        if key in node:
            return list(node[key])
    return [node[key] for key in ("operand", "value", "left", "right") if key in node]
