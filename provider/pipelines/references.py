"""What stands for a value while a pipeline is being wired: the output of a step, or a parameter of the run.

There is no value yet, so a reference can be passed on, compared (which makes a :class:`Condition`) and taken apart by
key; everything else (``if``, ``for``, arithmetic, f-strings, attributes) raises ``ReferenceMisuse`` and says what to
do, instead of silently computing with the reference itself.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import ReferenceMisuse, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .spec import Argument, Expression
    from .trace import Node, Trace


class Wired:
    """Base of everything that stands for a value: comparisons make conditions, any other use is refused."""

    __slots__ = ()

    def _argument(self) -> Argument:
        raise NotImplementedError

    def _label(self) -> str:
        raise NotImplementedError

    def _trace(self) -> Trace:
        raise NotImplementedError

    def _misuse(self, use: str, instead: str) -> ReferenceMisuse:
        return ReferenceMisuse(f"{self._label()} has no value yet and cannot be {use}.", hint=instead)

    def __eq__(self, other: object) -> Condition:  # type: ignore[override]
        return Condition.compare("==", self, other)

    def __ne__(self, other: object) -> Condition:  # type: ignore[override]
        return Condition.compare("!=", self, other)

    def __lt__(self, other: object) -> Condition:
        return Condition.compare("<", self, other)

    def __le__(self, other: object) -> Condition:
        return Condition.compare("<=", self, other)

    def __gt__(self, other: object) -> Condition:
        return Condition.compare(">", self, other)

    def __ge__(self, other: object) -> Condition:
        return Condition.compare(">=", self, other)

    def __and__(self, other: object) -> Condition:
        return Condition.truth(self) & other

    def __or__(self, other: object) -> Condition:
        return Condition.truth(self) | other

    def __invert__(self) -> Condition:
        return ~Condition.truth(self)

    def __hash__(self) -> int:
        return id(self)

    def __bool__(self) -> bool:
        raise self._misuse(
            "tested", "The pipeline is wired before it runs: use `with when(...):` instead of `if`, `and`, `or`."
        )

    def __iter__(self) -> Iterator[Any]:
        raise self._misuse(
            "iterated over or unpacked",
            "Run a step for each element with `step.expand(x=...)`; to unpack, name the outputs: "
            '`@step(outputs=("a", "b"))`.',
        )

    def __len__(self) -> int:
        raise self._misuse("measured", "Count inside a step.")

    def __contains__(self, item: object) -> bool:
        raise self._misuse("searched", "Look inside a step.")

    def __str__(self) -> str:
        raise self._misuse("made into text", "Pass it to a step and format it there.")

    def __format__(self, spec: str) -> str:
        return str(self)

    def __int__(self) -> int:
        raise self._misuse("made into a number", "Convert it inside a step.")

    __float__ = __index__ = __int__

    def _compute(self, *_: object) -> NoReturn:
        raise self._misuse("computed with", "Compute inside a step.")

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = _compute
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = __matmul__ = __rmatmul__ = _compute
    __neg__ = __pos__ = __abs__ = __round__ = _compute

    def __call__(self, *_: object, **__: object) -> NoReturn:
        raise self._misuse("called", "Call it inside a step.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):  # copy, pickle and inspect ask for these; they must hear "no"
            raise AttributeError(name)
        raise self._misuse(f"asked for .{name}", f"Use .{name} inside a step; a key is `[{name!r}]`.")


class Reference(Wired):
    """An output of a step, or a part of it: ``metrics["accuracy"]``."""

    __slots__ = ("_node", "_output", "_path", "_type")

    def __init__(self, node: Node, output: str, type_: str | None, path: tuple[str | int, ...] = ()) -> None:
        self._node = node
        self._output = output
        self._type = type_
        self._path = path

    def __getitem__(self, key: str | int) -> Reference:
        if isinstance(key, bool) or not isinstance(key, (str, int)):
            raise self._misuse(f"indexed with {key!r}", "Use one key, text or a whole number; slice inside a step.")
        from .types import item_type, value_type

        deeper = value_type(self._type) if isinstance(key, str) else item_type(self._type)
        return Reference(self._node, self._output, deeper, (*self._path, key))

    def after(self, *others: Reference | Outputs) -> Reference:
        """Run this one's step after those of ``others``, whose outputs it does not take."""
        for other in others:
            self._node.wait_for(node_of(other))
        return self

    def __rshift__(self, other: Any) -> Any:
        for later in other if isinstance(other, (list, tuple)) else (other,):
            node_of(later).wait_for(self._node)
        return other

    def __rrshift__(self, other: Any) -> Reference:
        return self.after(*other)

    def __lshift__(self, other: Any) -> Any:
        self.after(*(other if isinstance(other, (list, tuple)) else (other,)))
        return other

    def __rlshift__(self, other: Any) -> Reference:
        for later in other:
            node_of(later).wait_for(self._node)
        return self

    def __repr__(self) -> str:
        return f"<{self._label()}>"

    def _argument(self) -> Argument:
        argument: Argument = {"step": self._node.name, "output": self._output}
        if self._path:
            argument["path"] = list(self._path)
        return argument

    def _trace(self) -> Trace:
        return self._node.trace

    def _label(self) -> str:
        path = "".join(f"[{key!r}]" for key in self._path)
        which = f'output "{self._output}"' if len(self._node.outputs) > 1 else "the output"
        return f'{which}{path} of step "{self._node.name}"'


class Outputs(Wired):
    """The outputs of a step that has several: unpack them, or take one by name or number."""

    __slots__ = ("_items", "_node")

    def __init__(self, node: Node) -> None:
        self._node = node
        self._items = {output.name: Reference(node, output.name, output.type) for output in node.outputs}

    def __iter__(self) -> Iterator[Reference]:
        return iter(self._items.values())

    def __len__(self) -> int:
        return len(self._items)

    def __getitem__(self, key: str | int) -> Reference:
        try:
            return self._items[key] if isinstance(key, str) else list(self._items.values())[key]
        except (KeyError, IndexError):
            raise ReferenceMisuse(
                f'Step "{self._node.name}" has no output {key!r}.', hint=did_you_mean(str(key), self._items)
            ) from None

    def __getattr__(self, name: str) -> Reference:
        if name.startswith("_"):
            raise AttributeError(name)
        return self[name]

    def after(self, *others: Reference | Outputs) -> Outputs:
        next(iter(self)).after(*others)
        return self

    def __rshift__(self, other: Any) -> Any:
        return next(iter(self)) >> other

    def __lshift__(self, other: Any) -> Any:
        return next(iter(self)) << other

    def __repr__(self) -> str:
        return f'<outputs {", ".join(self._items)} of step "{self._node.name}">'

    def _trace(self) -> Trace:
        return self._node.trace

    def _label(self) -> str:
        return f'The group of outputs of step "{self._node.name}"'

    def _argument(self) -> Argument:
        raise self._misuse("passed on as one", f"Choose one of its outputs: {', '.join(self._items)}.")


class ParameterReference(Wired):
    """A parameter of the pipeline."""

    __slots__ = ("_name", "_of", "_type")

    def __init__(self, trace: Trace, name: str, type_: str | None) -> None:
        self._of = trace
        self._name = name
        self._type = type_

    def __getitem__(self, key: object) -> NoReturn:
        raise self._misuse(f"indexed with {key!r}", "Make it a parameter of its own, or take it apart inside a step.")

    def __repr__(self) -> str:
        return f"<{self._label()}>"

    def _argument(self) -> Argument:
        return {"parameter": self._name}

    def _trace(self) -> Trace:
        return self._of

    def _label(self) -> str:
        return f'parameter "{self._name}"'


class Condition:
    """A comparison with something that has no value yet: what ``when`` takes. Combine with ``&``, ``|``, ``~``."""

    __slots__ = ("expression", "traces")

    def __init__(self, expression: Expression, traces: tuple[Trace, ...]) -> None:
        self.expression = expression
        self.traces = traces

    @classmethod
    def compare(cls, op: str, left: Wired, right: object) -> Condition:
        if isinstance(right, Condition):
            raise ReferenceMisuse(
                f"{left._label()} is compared with a condition.",
                hint="`&` binds tighter than `>`: write (a > 1) & (b > 2), with parentheses.",
            )
        if isinstance(right, Wired):
            return cls(
                {"op": op, "left": left._argument(), "right": right._argument()}, (left._trace(), right._trace())
            )
        from .values import to_json

        value = to_json(right, lambda: f"{left._label()} is compared with {type(right).__name__} {right!r}")
        return cls({"op": op, "left": left._argument(), "right": {"value": value}}, (left._trace(),))

    @classmethod
    def truth(cls, value: object) -> Condition:
        """``value`` as a condition: itself, or "the value of this reference is true"."""
        if isinstance(value, Condition):
            return value
        if isinstance(value, Wired):
            return cls({"op": "true", "left": value._argument()}, (value._trace(),))
        raise ReferenceMisuse(
            f"A condition is made from outputs of steps and parameters; {value!r} is neither.",
            hint="A value that is known while wiring needs no condition: use a plain `if`.",
        )

    def _with(self, op: str, other: object) -> Condition:
        right = Condition.truth(other)
        return Condition({"op": op, "left": self.expression, "right": right.expression}, (*self.traces, *right.traces))

    def __and__(self, other: object) -> Condition:
        return self._with("and", other)

    def __or__(self, other: object) -> Condition:
        return self._with("or", other)

    def __invert__(self) -> Condition:
        return Condition({"op": "not", "left": self.expression}, self.traces)

    def __bool__(self) -> bool:
        raise ReferenceMisuse(
            "A condition has no value yet: `if`, `and`, `or`, `not` and a < b < c cannot use it.",
            hint="Use `with when(condition):`, and combine conditions with &, | and ~.",
        )


def node_of(value: object) -> Node:
    """The node behind what a step call returned."""
    if isinstance(value, (Reference, Outputs)):
        return value._node
    raise ReferenceMisuse(
        f"{value!r} is not what a step call returned.",
        hint="Order steps by what their calls return: load() >> train().",
    )
