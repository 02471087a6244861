"""Tracing: what happens between calling a pipeline function and having its :class:`PipelineSpec`.

While a pipeline function runs, every step call adds a :class:`Node` to the current :class:`Trace` instead of running
the step. A trace is private to its thread and task (one context variable), and it is thrown away when the spec is made.
The cost is linear: no step ever looks at all others.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from ..errors import DuplicateName, PipelineInvalid, ReferenceMisuse, TypeMismatch, UnknownParameter, did_you_mean
from ..names import check_name
from .references import Condition, Outputs, ParameterReference, Reference, Wired
from .spec import SINGLE, ConditionSpec, OutputSpec, ParameterSpec, PipelineSpec, StepOptions, StepSpec, leaves
from .types import constant_type, fits, item_type
from .values import to_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from .functions import Signature
    from .spec import Argument
    from .step import Step

_CURRENT: ContextVar[Trace | None] = ContextVar("windsock_trace", default=None)
current = _CURRENT.get


class Node:
    """A step call, while the pipeline around it is still being wired."""

    __slots__ = (
        "after",
        "arguments",
        "condition",
        "config",
        "defaulted",
        "function",
        "group",
        "mapped",
        "name",
        "options",
        "outputs",
        "teardown",
        "trace",
    )

    def __init__(self, trace: Trace, name: str, step: Step[..., Any], condition: str | None, group: str | None) -> None:
        self.trace = trace
        self.name = name
        self.condition = condition
        self.group = group
        self.function = step.reference
        self.options: StepOptions = step.options
        self.outputs: tuple[OutputSpec, ...] = step.outputs
        self.config: Mapping[str, Any] | None = step.config
        self.arguments: list[tuple[str, Argument]] = []
        self.defaulted: Signature = step.signature
        self.mapped: tuple[str, ...] = ()
        self.after: list[str] = []
        self.teardown = False

    def result(self) -> Reference | Outputs:
        """What the call returns to the pipeline function."""
        if len(self.outputs) > 1:
            return Outputs(self)
        if not self.outputs:
            return Reference(self, "", "None")
        return Reference(self, self.outputs[0].name, self.output_type(self.outputs[0]))

    def output_type(self, output: OutputSpec) -> str | None:
        if not self.mapped:
            return output.type
        return f"list[{output.type}]" if output.type else "list"

    def wait_for(self, other: Node) -> None:
        """Run after ``other``, without taking anything from it."""
        if other.trace is not self.trace:
            raise _foreign(f'Step "{other.name}"', other.trace, self.trace)
        if other.name not in self.after:
            self.after.append(other.name)

    def freeze(self, optional: tuple[str, ...]) -> StepSpec:
        return StepSpec(
            self.name,
            self.function,
            tuple(self.arguments),
            self.outputs,
            self.options,
            self.condition,
            tuple(self.after),
            self.mapped,
            optional,
            self.teardown,
            self.config,
            self.group,
        )


class Trace:
    """A pipeline in the making."""

    def __init__(self, pipeline: str, parameters: tuple[ParameterSpec, ...] = ()) -> None:
        self.pipeline = pipeline
        self.parameters = parameters
        self.types = {parameter.name: parameter.type for parameter in parameters}
        self.nodes: dict[str, Node] = {}
        self.conditions: dict[str, ConditionSpec] = {}
        self.groups: set[str] = set()
        self._numbers: dict[str, int] = {}
        self._condition: str | None = None
        self._group: str | None = None

    # ------------------------------------------------------------------------------------------------- building

    def call(
        self,
        step: Step[..., Any],
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        mapped: Mapping[str, Any] | None = None,
    ) -> Reference | Outputs:
        """Add one run of ``step``. ``mapped`` are the arguments to run over, one instance for each element."""
        node = self.add(step)
        signature = step.signature
        given = dict(zip(signature.names, args, strict=False)) if args else {}
        if len(args) > signature.positional:
            raise PipelineInvalid(
                f'Step "{node.name}" takes {signature.positional} positional arguments and was given {len(args)}.',
                hint=f"It takes: {', '.join(signature.names)}.",
            )
        for name, value in (*kwargs.items(), *(mapped or {}).items()):
            if name in given:
                raise PipelineInvalid(f'Step "{node.name}" was given "{name}" twice.')
            given[name] = value
        node.mapped = tuple(mapped or ())
        wired = {
            name: self.wire(node, name, value, signature.types.get(name), over=name in node.mapped)
            for name, value in given.items()
        }
        self.bind(node, signature, wired)
        return node.result()

    def add(self, step: Step[..., Any], name: str | None = None) -> Node:
        """Add a step without its arguments yet. ``name``, or a name chosen by the user, must be free."""
        name = check_name("step", name) if name else self.free_name(step.name, fixed=step.fixed_name)
        if name in self.nodes:
            raise DuplicateName(
                f'Pipeline "{self.pipeline}" has two steps named "{name}".',
                hint='Choose another name for one of them: step.named("...").',
            )
        node = self.nodes[name] = Node(self, name, step, self._condition, self._group)
        return node

    def bind(self, node: Node, signature: Signature, wired: Mapping[str, Argument]) -> None:
        """Give a node its arguments, in the order of the signature. Raises for unknown and missing ones."""
        if not signature.open:
            for name in wired:
                if name not in signature.names:
                    raise UnknownParameter(
                        f'Step "{node.name}" ({node.function}) has no parameter "{name}".',
                        hint=did_you_mean(name, signature.names),
                        step=node.name,
                        parameter=name,
                    )
        missing = [name for name in signature.required if name not in wired]
        if missing:
            raise PipelineInvalid(
                f'Step "{node.name}" ({node.function}) needs {" and ".join(missing)}.',
                hint=f"It takes: {', '.join(signature.names)}.",
                step=node.name,
                missing=missing,
            )
        names = wired if signature.open else [name for name in signature.names if name in wired]
        node.arguments = [(name, wired[name]) for name in names]

    def free_name(self, name: str, *, fixed: bool = False) -> str:
        """``name``, or ``name_2``, ``name_3``… when it is taken; with the prefix of the inlined pipeline."""
        full = f"{self._group}.{name}" if self._group else name
        number = self._numbers[full] = self._numbers.get(full, 0) + 1
        if number == 1 or fixed:
            return full
        while f"{full}_{number}" in self.nodes:
            number += 1
        self._numbers[full] = number
        return f"{full}_{number}"

    def wire(self, node: Node, name: str, value: Any, wanted: str | None, *, over: bool = False) -> Argument:
        """One argument of a step as JSON, checked against the declared type."""
        argument, given, constant = self.encode(node, name, value)
        if over:
            items = argument.get("value")
            if "value" in argument and not isinstance(items, list):
                raise PipelineInvalid(
                    f'Step "{node.name}" is to run over {name}={items!r}, which is no list.',
                    hint="expand() takes a list, or a reference to one.",
                )
        check_type(node, name, argument, given, wanted, constant=constant, over=over)
        return argument

    def encode(self, node: Node, name: str, value: Any) -> tuple[Argument, str | None, bool]:
        """``(argument, its type as text, whether it is constant JSON)``."""
        if isinstance(value, Wired):
            owner = value._trace()
            if owner is not self:
                raise _foreign(value._label(), owner, self)
            return self._reference(node, name, value)
        if isinstance(value, (list, tuple)) and any(isinstance(item, Wired) for item in value):
            items = [self.encode(node, name, item) for item in value]
            types = {given for _, given, _ in items}
            given = types.pop() if len(types) == 1 else None
            return {"list": [item[0] for item in items]}, f"list[{given}]" if given else "list", True
        if isinstance(value, Condition):
            raise ReferenceMisuse(
                f'Step "{node.name}" is given a condition as {name}.',
                hint="A condition belongs into `with when(condition):`; pass the outputs and compare inside the step.",
            )
        if isinstance(value, dict) and any(isinstance(item, (Wired, dict, list)) for item in value.values()):
            self._refuse_nested(node, name, value)
        plain = to_json(value, lambda: f'Step "{node.name}" is given {name}={type(value).__name__} {_short(value)}')
        return {"value": plain}, constant_type(plain), True

    def _reference(self, node: Node, name: str, value: Wired) -> tuple[Argument, str | None, bool]:
        argument = value._argument()
        if isinstance(value, Reference):
            if not value._node.outputs:
                raise ReferenceMisuse(
                    f'Step "{node.name}" is given {name} from step "{value._node.name}", which returns nothing.',
                    hint="To order the two only, write a >> b. To pass a value, return it and annotate it.",
                )
            return argument, value._type, False
        return argument, value._type if isinstance(value, ParameterReference) else None, True

    def _refuse_nested(self, node: Node, name: str, value: Any) -> None:
        for item in value.values() if isinstance(value, dict) else value:
            if isinstance(item, Wired):
                raise ReferenceMisuse(
                    f'Step "{node.name}" is given {item._label()} inside a mapping ({name}).',
                    hint="Pass each output as an argument of its own, or several as a list: [a, b].",
                )
            if isinstance(item, (dict, list, tuple)):
                self._refuse_nested(node, name, item)

    # -------------------------------------------------------------------------------------------------- nesting

    @contextmanager
    def when(self, condition: Condition, name: str | None) -> Iterator[None]:
        """Steps added inside run only if ``condition`` holds."""
        for owner in condition.traces:
            if owner is not self:
                raise _foreign("A condition", owner, self)
        outer = self._condition
        self._condition = self.add_condition(condition.expression, name, outer)
        try:
            yield
        finally:
            self._condition = outer

    def add_condition(self, expression: dict[str, Any], name: str | None, parent: str | None) -> str:
        full = self.free_name(name or "when", fixed=name is not None)
        while full in self.nodes or (name is None and full in self.conditions):
            full = self.free_name("when")
        if full in self.conditions:
            raise DuplicateName(f'Pipeline "{self.pipeline}" has two conditions named "{full}".')
        self.conditions[full] = ConditionSpec(full, expression, parent, self._group)
        return full

    @contextmanager
    def inlined(self, name: str) -> Iterator[None]:
        """Steps added inside belong to a pipeline that is called in this one; its name is their prefix."""
        outer, group = self._group, f"{self._group}.{name}" if self._group else name
        number = 2
        while group in self.groups or group in self.nodes:
            group = f"{outer}.{name}_{number}" if outer else f"{name}_{number}"
            number += 1
        self.groups.add(group)
        self._group = group
        try:
            yield
        finally:
            self._group = outer

    @contextmanager
    def active(self) -> Iterator[Trace]:
        token = _CURRENT.set(self)
        try:
            yield self
        finally:
            _CURRENT.reset(token)

    # ------------------------------------------------------------------------------------------------- finishing

    def finish(self, *, stack: str | None = None, module: str | None = None, doc: str | None = None) -> PipelineSpec:
        """The frozen pipeline. Raises for what can only be seen now that all is known."""
        if not self.nodes:
            raise PipelineInvalid(
                f'Pipeline "{self.pipeline}" has no step.',
                hint="Call at least one @step in it, and do not forget `()`.",
            )
        clash = self.conditions.keys() & self.nodes.keys()
        if clash:
            raise DuplicateName(f'Pipeline "{self.pipeline}" has a step and a condition named "{min(clash)}".')
        uncertain = bool(self.conditions) or any(node.teardown for node in self.nodes.values())
        steps = [node.freeze(self._optional(node) if uncertain else ()) for node in self.nodes.values()]
        if uncertain:
            steps.sort(key=lambda step: step.teardown)
        spec = PipelineSpec(
            self.pipeline, self.parameters, tuple(steps), tuple(self.conditions.values()), stack, module, doc
        )
        from .checks import check

        check(spec)
        return spec

    def _optional(self, node: Node) -> tuple[str, ...]:
        """Arguments that may be missing when the step runs, and that have a default."""
        within = self._branch(node.condition)
        names = []
        for name, argument in node.arguments:
            sources = [self.nodes[leaf["step"]] for leaf in leaves(argument) if "step" in leaf]
            if not any(node.teardown or (s.condition is not None and s.condition not in within) for s in sources):
                continue
            if "list" in argument or name not in node.defaulted.required:
                names.append(name)
            elif node.teardown:
                raise PipelineInvalid(
                    f'Exit handler "{node.name}" takes {name} from step "{sources[0].name}", which may have failed.',
                    hint=f"Give {name} a default, which is used when that step did not finish.",
                )
        return tuple(names)

    def _branch(self, condition: str | None) -> set[str]:
        path = set()
        while condition is not None:
            path.add(condition)
            condition = self.conditions[condition].parent
        return path


def check_type(
    node: Node,
    name: str,
    argument: Argument,
    given: str | None,
    wanted: str | None,
    *,
    constant: bool = False,
    over: bool = False,
) -> None:
    """Whether what is given to a step fits what it wants; ``over``: it is a list of that. Raises ``TypeMismatch``."""
    if over:
        given = item_type(given)
    if not fits(given, wanted, constant=constant):
        raise TypeMismatch(
            f'Step "{node.name}" wants {name}: {wanted}, and is given {describe(argument)}: {given}.',
            hint="Correct the annotation of the one or the other, or convert in a step between them.",
            step=node.name,
            argument=name,
            wanted=wanted,
            given=given,
        )


def describe(argument: Argument) -> str:
    """An argument in words, for messages."""
    if "step" in argument:
        path = "".join(f"[{key!r}]" for key in argument.get("path", ()))
        output = argument["output"]
        return f'step "{argument["step"]}"' + (f", output {output}" if output != SINGLE else "") + path
    if "parameter" in argument:
        return f'parameter "{argument["parameter"]}"'
    if "list" in argument:
        return "a list"
    return _short(argument["value"])


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _foreign(what: str, theirs: Trace, ours: Trace) -> ReferenceMisuse:
    return ReferenceMisuse(
        f'{what} belongs to pipeline "{theirs.pipeline}" and is used while "{ours.pipeline}" is being wired.',
        hint="Pass it as a parameter: call the one pipeline inside the other.",
    )
