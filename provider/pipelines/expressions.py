"""Conditions and references as text: ``steps.evaluate["accuracy"] > 0.85 and parameters.mode == "full"``.

This is what YAML holds and what the UI shows. It looks like Python and is read with Python's parser, but nothing is
evaluated: only the forms below are known, and everything else is an error.
"""

from __future__ import annotations

import ast
from json import dumps
from keyword import iskeyword
from typing import TYPE_CHECKING, Any

from .spec import SINGLE

if TYPE_CHECKING:
    from .spec import Argument, Expression

_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_CONSTANTS = {"true": True, "false": False, "null": None}


class UnreadableError(ValueError):
    """The text is no reference or condition; the message says what is wrong."""


def write(expression: Expression | Argument, *, short: bool = False) -> str:
    """An expression as text that :func:`read` turns back into an equal one.

    ``short`` leaves out ``steps.`` and ``parameters.``, for people only.
    """
    if "op" not in expression:
        return write_argument(expression, short=short)
    op, left = expression["op"], expression["left"]
    if op == "true":
        return write(left, short=short)
    if op == "not":
        return f"not {_operand(left, short)}"
    return f"{_operand(left, short)} {op} {_operand(expression['right'], short)}"


def _operand(part: Any, short: bool) -> str:
    text = write(part, short=short)
    return f"({text})" if part.get("op", "true") != "true" and part["op"] != "not" else text


def write_argument(argument: Argument, *, short: bool = False) -> str:
    if "parameter" in argument:
        return str(argument["parameter"]) if short else f"parameters.{argument['parameter']}"
    if "step" in argument:
        text = _step(argument["step"], short)
        if argument["output"] != SINGLE:
            text += f".{argument['output']}"
        return text + "".join(f"[{dumps(key, ensure_ascii=False)}]" for key in argument.get("path", ()))
    if "list" in argument:
        return f"[{', '.join(write_argument(item, short=short) for item in argument['list'])}]"
    return dumps(argument["value"], ensure_ascii=False)


def _step(name: str, short: bool) -> str:
    if short:
        return name
    if all(part.isidentifier() and not iskeyword(part) for part in name.split(".")):
        return f"steps.{name}"
    return f"steps[{dumps(name)}]"


def read(text: str, names: Names) -> Expression | Argument:
    """A condition, or a single reference. Raises :class:`UnreadableError`."""
    try:
        tree = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise UnreadableError(f"{text.strip()!r} cannot be read: {error.msg}") from None
    return _expression(tree, names)


class Names:
    """What a reference may point to: parameters, and steps with their outputs."""

    def __init__(self, parameters: set[str], steps: dict[str, tuple[str, ...]]) -> None:
        self.parameters = parameters
        self.steps = steps


def _expression(node: ast.expr, names: Names) -> Expression | Argument:
    if isinstance(node, ast.BoolOp):
        op = "and" if isinstance(node.op, ast.And) else "or"
        result = _truth(node.values[0], names)
        for value in node.values[1:]:
            result = {"op": op, "left": result, "right": _truth(value, names)}
        return result
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        return {"op": "not", "left": _truth(node.operand, names)}
    if isinstance(node, ast.Compare):
        if len(node.ops) > 1:
            raise UnreadableError(f"{ast.unparse(node)!r} compares more than two things: combine them with `and`")
        compare = _COMPARE.get(type(node.ops[0]))
        if compare is None:
            raise UnreadableError(f"{ast.unparse(node)!r}: known comparisons are {', '.join(_COMPARE.values())}")
        return {"op": compare, "left": _argument(node.left, names), "right": _argument(node.comparators[0], names)}
    return _argument(node, names)


def _truth(node: ast.expr, names: Names) -> Expression:
    found = _expression(node, names)
    return found if "op" in found else {"op": "true", "left": found}


def _argument(node: ast.expr, names: Names) -> Argument:
    if isinstance(node, ast.Constant):
        return {"value": node.value}
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub) and isinstance(node.operand, ast.Constant):
        value: Any = node.operand.value
        return {"value": -value}
    if isinstance(node, ast.Name) and node.id in _CONSTANTS:
        return {"value": _CONSTANTS[node.id]}
    names_: list[str] = []
    path: list[str | int] = []
    while isinstance(node, ast.Subscript):
        path.insert(0, _key(node.slice))
        node = node.value
    while isinstance(node, ast.Attribute):
        names_.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):  # steps["my-step"].output
        names_.insert(0, str(_key(node.slice)))
        node = node.value
    if not isinstance(node, ast.Name):
        raise UnreadableError(
            f"{ast.unparse(node)!r}: a reference names a step and an output first, and then keys in brackets"
        )
    if not names_ and path:
        names_.append(str(path.pop(0)))
    return _reference(node.id, names_, path, names)


def _key(node: ast.expr) -> str | int:
    value = node.value if isinstance(node, ast.Constant) else None
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        raise UnreadableError(f"[{ast.unparse(node)}] is no key: write text in quotes or a whole number")
    return value


def _reference(head: str, dotted: list[str], path: list[str | int], names: Names) -> Argument:
    from ..errors import did_you_mean

    if head == "parameters":
        if path or len(dotted) != 1:
            raise UnreadableError("a parameter is written parameters.name")
        if dotted[0] not in names.parameters:
            raise UnreadableError(f'there is no parameter "{dotted[0]}". {did_you_mean(dotted[0], names.parameters)}')
        return {"parameter": dotted[0]}
    if head != "steps" or not dotted:
        raise UnreadableError(f'a reference begins with "steps." or "parameters.", not with "{head}"')
    # Names of steps may hold dots (inlined pipelines), so the longest name that is known counts.
    for length in range(len(dotted), 0, -1):
        step = ".".join(dotted[:length])
        if step in names.steps:
            return _output(step, dotted[length:], path, names.steps[step])
    raise UnreadableError(f'there is no step "{".".join(dotted)}". {did_you_mean(".".join(dotted), names.steps)}')


def _output(step: str, rest: list[str], path: list[str | int], outputs: tuple[str, ...]) -> Argument:
    from ..errors import did_you_mean

    if not outputs:
        raise UnreadableError(f'step "{step}" returns nothing')
    if rest:
        name = ".".join(rest)
        if name not in outputs:
            key = f' A key of the value is written steps.{step}["{name}"].' if len(outputs) == 1 else ""
            raise UnreadableError(f'step "{step}" has no output "{name}". {did_you_mean(name, outputs)}{key}')
    elif len(outputs) > 1:
        raise UnreadableError(f'step "{step}" has several outputs, choose one: {", ".join(outputs)}')
    else:
        name = outputs[0]
    argument: Argument = {"step": step, "output": name}
    if path:
        argument["path"] = path
    return argument
