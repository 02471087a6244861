"""Pipelines as YAML: reading; ``yaml_writer.py`` writes.

::

    name: churn
    parameters:
      snapshot: latest                              # a default; the type follows from it
      learning_rate: {type: float, default: 0.1}
      region: {type: str, required: true}
    steps:
      - name: load_customers
        uses: acme.churn:load_customers             # module:function
        with:
          snapshot: ${{ parameters.snapshot }}
      - name: split
        uses: acme.churn:split
        with:
          customers: ${{ steps.load_customers }}
      - name: train
        uses: acme.churn:train
        with:
          customers: ${{ steps.split.train }}       # one of several outputs
          learning_rate: ${{ parameters.learning_rate }}
        retries: 2
        resources: {cpu: 4, memory: 16Gi}
      - name: register
        uses: acme.churn:register
        when: steps.evaluate["accuracy"] > 0.85     # or the name of one of the conditions
        with: …
    conditions:
      good_enough: steps.evaluate["accuracy"] > 0.85
    on_exit:
      - name: notify
        uses: acme.churn:notify

A reference is a whole value, ``${{ … }}``; ``$${{`` is a constant that begins with ``${{``. Order does not matter.
Outputs come from the function, options from its ``@step`` unless they stand here. Everything is checked as in Python,
and an error names the file and the line.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError, PipelineError, PipelineFileInvalid, did_you_mean
from ..yaml_lines import YamlDocument, parse_yaml, read_yaml
from .expressions import Names, UnreadableError, read
from .functions import resolve
from .pipeline import Pipeline
from .spec import ParameterSpec, PipelineSpec, StepOptions
from .step import Step, output_names
from .step import step as make_step
from .trace import Trace, check_type
from .types import choices, constant_type, item_type, value_type

if TYPE_CHECKING:
    from .trace import Node

ESCAPED = re.compile(r"\$\$+\{\{")
"""A constant that begins like a reference: one more ``$`` than it really has."""
_TOP = ("name", "description", "stack", "parameters", "steps", "conditions", "on_exit")
_STEP = ("name", "uses", "with", "expand", "when", "after", "config", "outputs", "artifacts", "group")
_PARAMETER = ("type", "default", "required", "choices", "description")
_OPTIONS = StepOptions._fields


def load_pipeline(path: str | Path) -> Pipeline:
    """The pipeline in a YAML file. Raises ``PipelineFileInvalid``, naming the file and the line.

    The file is read at once; the modules of its steps are imported when the pipeline's spec is first needed.
    """
    return _pipeline(read_yaml(Path(path), error=PipelineFileInvalid), str(path))


def parse_pipeline(text: str, *, file: str = "<text>") -> Pipeline:
    """Like :func:`load_pipeline`, of a text."""
    return _pipeline(parse_yaml(text, file=file, error=PipelineFileInvalid), file)


def _pipeline(document: YamlDocument, file: str) -> Pipeline:
    reader = _Reader(document)
    stack = document.data.get("stack")
    return reader.guarded(  # type: ignore[no-any-return]
        ("name",), lambda: Pipeline(None, name=reader.name, stack=stack, file=file, build=reader.spec)
    )


class _Reader:
    """One file on its way to a spec."""

    def __init__(self, document: YamlDocument) -> None:
        self.document = document
        if not isinstance(document.data, dict):
            raise self.error((), "a pipeline is a mapping with a name and steps.")
        self.data: dict[str, Any] = document.data
        self.known((), self.data, _TOP, "is no part of a pipeline")
        self.name = self.data.get("name") or Path(document.file).stem
        if not isinstance(self.name, str):
            raise self.error(("name",), f"the name is {self.name!r}, which is no text.")
        if not self.data.get("steps"):
            raise self.error(("steps",), "there are no steps.", 'Add "steps:" with a list of them.')

    def error(self, path: tuple[Any, ...], what: str, hint: str | None = None, **facts: Any) -> PipelineFileInvalid:
        line = self.document.line(*path)
        return PipelineFileInvalid(
            f"{self.document.where(*path)}: {what}", hint=hint, file=self.document.file, line=line, **facts
        )

    def known(self, path: tuple[Any, ...], data: dict[str, Any], names: tuple[str, ...], what: str) -> None:
        for key in data:
            if key not in names:
                raise self.error((*path, key), f'"{key}" {what}.', did_you_mean(str(key), names))

    def spec(self) -> PipelineSpec:
        trace = self.trace = Trace(self.name, self.parameters())
        entries = self.entries()
        nodes: list[tuple[tuple[Any, ...], dict[str, Any], Step[..., Any], Node]] = []
        for path, entry in entries:
            step = self.step(path, entry)
            node = self.guarded(path, lambda s=step, e=entry: trace.add(s, e["name"]))
            node.teardown = path[0] == "on_exit"
            node.group = entry.get("group")
            nodes.append((path, entry, step, node))
        self.names = Names(
            {p.name for p in trace.parameters}, {n.name: tuple(o.name for o in n.outputs) for _, _, _, n in nodes}
        )
        conditions = self.conditions()
        for path, entry, _, node in nodes:
            node.mapped = tuple(self.mapping(path, entry, "expand"))
            self.place(conditions, path, entry, node)
        for path, entry, step, node in nodes:
            self.wire(path, entry, step, node)
        return self.guarded(  # type: ignore[no-any-return]
            ("steps",), lambda: trace.finish(stack=self.data.get("stack"), doc=self.data.get("description"))
        )

    def guarded(self, path: tuple[Any, ...], make: Any) -> Any:
        """Whatever is wrong with a pipeline, said with the place in the file; the class of the error stays."""
        try:
            return make()
        except PipelineFileInvalid:
            raise
        except (PipelineError, ConfigurationError) as error:
            where = self.document.where(*path)
            facts = {**error.facts, "file": self.document.file, "line": self.document.line(*path)}
            raise type(error)(f"{where}: {error.message}", hint=error.hint, **facts) from None

    # ---------------------------------------------------------------------------------------------- the parts

    def parameters(self) -> tuple[ParameterSpec, ...]:
        data = self.mapping((), self.data, "parameters")
        return tuple(self.parameter(name, value) for name, value in data.items())

    def parameter(self, name: str, value: Any) -> ParameterSpec:
        path = ("parameters", name)
        if not isinstance(name, str) or not name.isidentifier():
            raise self.error(path, f"{name!r} cannot name a parameter.", "Use a name that Python would take.")
        if not isinstance(value, dict):
            plain = self.constant(path, value)
            return ParameterSpec(name, constant_type(plain) if plain is not None else None, plain)
        self.known(path, value, _PARAMETER, "is no property of a parameter")
        required = value.get("required", False)
        if required and "default" in value:
            raise self.error((*path, "default"), f"{name} is required and has a default.", "Remove one of the two.")
        default = self.constant((*path, "default"), value.get("default"))
        spec = ParameterSpec(
            name,
            value.get("type"),
            default,
            bool(required),
            tuple(value.get("choices") or choices(value.get("type"))),
            value.get("description"),
        )
        if default is not None:
            from .parameters import check_value

            self.guarded((*path, "default"), lambda: check_value(self.name, spec, default))
        return spec

    def entries(self) -> list[tuple[tuple[Any, ...], dict[str, Any]]]:
        found = []
        for section in ("steps", "on_exit"):
            items = self.data.get(section) or []
            if not isinstance(items, list):
                raise self.error((section,), f"{section} is a list of steps.", "Begin each with a dash: - name: …")
            for index, entry in enumerate(items):
                path = (section, index)
                if not isinstance(entry, dict):
                    raise self.error(path, f"a step is a mapping with name and uses, and this is {entry!r}.")
                self.known(path, entry, (*_STEP, *_OPTIONS), "is no part of a step")
                for key in ("name", "uses"):
                    if not isinstance(entry.get(key), str):
                        raise self.error(path, f'a step has no "{key}".', 'For example: uses: "acme.churn:train"')
                found.append((path, entry))
        return found

    def step(self, path: tuple[Any, ...], entry: dict[str, Any]) -> Step[..., Any]:
        """The step that an entry uses, with its options changed as the entry says."""
        target = self.guarded((*path, "uses"), lambda: resolve(entry["uses"]))
        if not callable(target):
            raise self.guarded_error((*path, "uses"), entry["uses"])
        found: Step[..., Any] = target if isinstance(target, Step) else make_step(target)
        if "config" in entry:
            config = self.constant((*path, "config"), entry["config"])
            found = self.guarded((*path, "config"), lambda: found._changed(config=config))
            self.guarded((*path, "config"), lambda: found.config)
        if "outputs" in entry:
            outputs = entry["outputs"]
            if not isinstance(outputs, list):
                raise self.error((*path, "outputs"), f"outputs are a list of names, and this is {outputs!r}.")
            found = self.guarded((*path, "outputs"), lambda: found._changed(outputs=output_names(found.name, outputs)))
        if "artifacts" in entry:
            found = found._changed(artifacts=self.mapping(path, entry, "artifacts"))
        options = {key: entry[key] for key in _OPTIONS if key in entry}
        if options.get("resources") is not None:
            options["resources"] = self.guarded(
                (*path, "resources"), lambda: self.resources((*path, "resources"), options["resources"])
            )
        return self.guarded(path, lambda: found.with_options(**options)) if options else found

    def guarded_error(self, path: tuple[Any, ...], uses: str) -> PipelineFileInvalid:
        return self.error(path, f'"{uses}" is no function.', "Name a function, a @step or a Component class.")

    def resources(self, path: tuple[Any, ...], value: Any) -> Any:
        from .resources import Resources

        if not isinstance(value, dict):
            raise self.error(path, "resources are a mapping.", "For example: {cpu: 4, memory: 16Gi}")
        self.known(path, value, tuple(Resources.__dataclass_fields__), "is no resource")
        return Resources(**value)

    def mapping(self, path: tuple[Any, ...], data: dict[str, Any], key: str) -> dict[str, Any]:
        value = data.get(key) or {}
        if not isinstance(value, dict):
            raise self.error((*path, key), f'"{key}" is a mapping of name to value, and this is {value!r}.')
        return value

    def constant(self, path: tuple[Any, ...], value: Any) -> Any:
        from .values import to_json

        return self.guarded(path, lambda: to_json(value, lambda: f"this is {value!r}"))

    # -------------------------------------------------------------------------------------------------- wiring

    def conditions(self) -> dict[str, str]:
        """Names and expressions of the conditions -> condition."""
        data = self.mapping((), self.data, "conditions")
        found: dict[str, str] = {}
        for name, value in data.items():
            path = ("conditions", name)
            parent, group, text = None, None, value
            if isinstance(value, dict):
                self.known(path, value, ("if", "when", "group"), "is no part of a condition")
                text, parent, group = value.get("if"), value.get("when"), value.get("group")
            if not isinstance(text, str):
                raise self.error(path, f"condition {name} has no expression.", 'For example: steps.a["x"] > 1')
            if parent is not None and parent not in found:
                raise self.error(
                    (*path, "when"), f'there is no condition "{parent}" above.', did_you_mean(str(parent), found)
                )
            expression = self.expression(path, text)
            found[name] = self.guarded(path, lambda n=name, e=expression, p=parent: self.trace.add_condition(e, n, p))
            if group is not None:
                self.trace.conditions[name] = self.trace.conditions[name]._replace(group=group)
        return found

    def expression(self, path: tuple[Any, ...], text: str) -> dict[str, Any]:
        try:
            found = read(text, self.names)
        except UnreadableError as problem:
            raise self.error(path, f"{problem}.".replace("..", ".")) from None
        return found if "op" in found else {"op": "true", "left": found}

    def place(self, conditions: dict[str, str], path: tuple[Any, ...], entry: dict[str, Any], node: Node) -> None:
        """``when`` and ``after`` of one step."""
        when = entry.get("when")
        if when is not None:
            if not isinstance(when, str):
                raise self.error((*path, "when"), f"when is a condition, and this is {when!r}.")
            if when not in conditions:
                expression = self.expression((*path, "when"), when)
                conditions[when] = self.trace.add_condition(expression, None, None)
            node.condition = conditions[when]
        after = entry.get("after") or []
        for index, name in enumerate([after] if isinstance(after, str) else after):
            if name not in self.trace.nodes:
                raise self.error(
                    (*path, "after", index), f'there is no step "{name}".', did_you_mean(str(name), self.trace.nodes)
                )
            node.wait_for(self.trace.nodes[name])

    def wire(self, path: tuple[Any, ...], entry: dict[str, Any], step: Step[..., Any], node: Node) -> None:
        wired = {}
        for section in ("with", "expand"):
            for name, value in self.mapping(path, entry, section).items():
                place = (*path, section, name)
                argument = self.argument(place, value)
                type_, constant = self.type_of(argument)
                over = section == "expand"
                if over and "value" in argument and not isinstance(argument["value"], list):
                    raise self.error(place, f"{name} is {value!r}, which is no list to run over.")
                self.guarded(
                    place,
                    lambda n=name, a=argument, t=type_, c=constant, o=over: check_type(
                        node, n, a, t, step.signature.types.get(n), constant=c, over=o
                    ),
                )
                wired[name] = argument
        self.guarded((*path, "with") if "with" in entry else path, lambda: self.trace.bind(node, step.signature, wired))

    def argument(self, path: tuple[Any, ...], value: Any) -> dict[str, Any]:
        if isinstance(value, str) and value.startswith("${{"):
            if not value.rstrip().endswith("}}"):
                raise self.error(path, f"{value!r} is not closed.", "A reference is the whole value: ${{ steps.a }}")
            try:
                found = read(value.strip()[3:-2], self.names)
            except UnreadableError as problem:
                raise self.error(path, f"{problem}.".replace("..", ".")) from None
            if "op" in found:
                raise self.error(path, "a condition is no value.", 'Put it under "when:".')
            return found
        if isinstance(value, list) and any(isinstance(v, str) and v.startswith("${{") for v in value):
            return {"list": [self.argument((*path, i), item) for i, item in enumerate(value)]}
        self.refuse_inside(path, value)
        return {"value": _unescaped(self.constant(path, value))}

    def refuse_inside(self, path: tuple[Any, ...], value: Any) -> None:
        items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
        for key, item in items:
            if isinstance(item, str) and "${{" in item and not item.startswith("$$"):
                raise self.error(
                    (*path, key), "a reference cannot stand inside a mapping.", "Give it an argument of its own."
                )
            self.refuse_inside((*path, key), item)
        if isinstance(value, str) and "${{" in value and not value.startswith("$$"):
            raise self.error(path, f"{value!r} mixes text and a reference.", "A reference is the whole value.")

    def type_of(self, argument: dict[str, Any]) -> tuple[str | None, bool]:
        """The declared type of an argument, and whether it is JSON that was written down."""
        if "value" in argument:
            return constant_type(argument["value"]), True
        if "parameter" in argument:
            return self.trace.types[argument["parameter"]], True
        if "list" in argument:
            types = {self.type_of(item)[0] for item in argument["list"]}
            only = types.pop() if len(types) == 1 else None
            return f"list[{only}]" if only else "list", True
        node = self.trace.nodes[argument["step"]]
        type_ = next(node.output_type(o) for o in node.outputs if o.name == argument["output"])
        for key in argument.get("path", ()):
            type_ = value_type(type_) if isinstance(key, str) else item_type(type_)
        return type_, False


def _unescaped(value: Any) -> Any:
    if isinstance(value, str):
        return value[1:] if ESCAPED.match(value) else value
    if isinstance(value, list):
        return [_unescaped(item) for item in value]
    return {key: _unescaped(item) for key, item in value.items()} if isinstance(value, dict) else value
