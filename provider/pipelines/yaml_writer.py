"""A pipeline's spec as YAML; ``yaml.py`` says what the form is and reads it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from ..errors import StepNotImportable
from .encoding import options_to_dict
from .expressions import write
from .functions import resolve
from .spec import StepOptions
from .step import Step
from .step import step as make_step
from .types import choices, constant_type

if TYPE_CHECKING:
    from .spec import ParameterSpec, PipelineSpec, StepSpec


_LIKE_REFERENCE = re.compile(r"\$+\{\{")


def to_yaml(spec: PipelineSpec) -> str:
    """The YAML form of ``spec``; :func:`parse_pipeline` reads it back to an equal one."""
    import yaml

    data: dict[str, Any] = {"name": spec.name}
    if spec.doc:
        data["description"] = spec.doc
    if spec.stack:
        data["stack"] = spec.stack
    if spec.parameters:
        data["parameters"] = {parameter.name: _parameter(parameter) for parameter in spec.parameters}
    data["steps"] = [_step(step) for step in spec.steps if not step.teardown]
    if spec.conditions:
        data["conditions"] = {}
        for condition in spec.conditions:
            text = write(condition.expression)
            more = {"when": condition.parent, "group": condition.group}
            extra = {key: value for key, value in more.items() if value is not None}
            data["conditions"][condition.name] = {"if": text, **extra} if extra else text
    handlers = [_step(step) for step in spec.steps if step.teardown]
    if handlers:
        data["on_exit"] = handlers
    return yaml.safe_dump(data, sort_keys=False, allow_unicode=True, width=110, default_flow_style=False)


def _parameter(parameter: ParameterSpec) -> Any:
    short = parameter.default is not None and parameter.type == constant_type(parameter.default)
    if short and not isinstance(parameter.default, dict) and not parameter.choices and not parameter.description:
        return parameter.default
    data: dict[str, Any] = {}
    if parameter.type is not None:
        data["type"] = parameter.type
    data.update({"required": True} if parameter.required else {"default": parameter.default})
    if parameter.choices != choices(parameter.type):
        data["choices"] = list(parameter.choices)
    if parameter.description:
        data["description"] = parameter.description
    return data


def _step(step: StepSpec) -> dict[str, Any]:
    data: dict[str, Any] = {"name": step.name, "uses": step.function}
    if step.group:
        data["group"] = step.group
    if step.condition:
        data["when"] = step.condition
    if step.config:
        data["config"] = step.config
    arguments = dict(step.arguments)
    given = {name: _argument(argument) for name, argument in arguments.items() if name not in step.mapped}
    if given:
        data["with"] = given
    if step.mapped:
        data["expand"] = {name: _argument(arguments[name]) for name in step.mapped}
    if step.after:
        data["after"] = list(step.after)
    names = [output.name for output in step.outputs]
    target = _target(step)
    if target is not None and names != [output.name for output in target.outputs]:
        data["outputs"] = names
    artifacts = {output.name: output.artifact for output in step.outputs if output.artifact}
    if artifacts:
        data["artifacts"] = artifacts
    # The options that differ from those of the function's own @step, since those are what reading starts from.
    data.update(options_to_dict(step.options, target.options if target is not None else StepOptions()))
    return data


def _target(step: StepSpec) -> Step[..., Any] | None:
    """The step that reading the file would find; None where its module is not."""
    try:
        found = resolve(step.function)
    except StepNotImportable:
        return None
    return found if isinstance(found, Step) else make_step(found)


def _argument(argument: dict[str, Any]) -> Any:
    if "list" in argument:
        return [_argument(item) for item in argument["list"]]
    if "value" in argument:
        return _escaped(argument["value"])
    return f"${{{{ {write(argument)} }}}}"


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return f"${value}" if _LIKE_REFERENCE.match(value) else value
    if isinstance(value, list):
        return [_escaped(item) for item in value]
    return {key: _escaped(item) for key, item in value.items()} if isinstance(value, dict) else value
