"""A :class:`PipelineSpec` as plain JSON, and back: what is recorded with a pipeline version, and what is digested."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .resources import Resources
from .spec import ConditionSpec, OutputSpec, ParameterSpec, PipelineSpec, StepOptions, StepSpec

if TYPE_CHECKING:
    from collections.abc import Mapping

_STEP = StepSpec("", "")
_OPTIONS = StepOptions()
_PARAMETER = ParameterSpec("")


def spec_to_dict(spec: PipelineSpec) -> dict[str, Any]:
    data: dict[str, Any] = {"name": spec.name}
    if spec.parameters:
        data["parameters"] = [_parameter(p) for p in spec.parameters]
    data["steps"] = [step_to_dict(step) for step in spec.steps]
    if spec.conditions:
        data["conditions"] = [_changed(c, ConditionSpec(c.name, {})) for c in spec.conditions]
    data.update({key: value for key in ("stack", "module", "doc") if (value := getattr(spec, key)) is not None})
    return data


def spec_from_dict(data: Mapping[str, Any]) -> PipelineSpec:
    return PipelineSpec(
        name=data["name"],
        parameters=tuple(
            ParameterSpec(**{**p, "choices": tuple(p.get("choices", ()))}) for p in data.get("parameters", ())
        ),
        steps=tuple(step_from_dict(step) for step in data["steps"]),
        conditions=tuple(ConditionSpec(**condition) for condition in data.get("conditions", ())),
        stack=data.get("stack"),
        module=data.get("module"),
        doc=data.get("doc"),
    )


def step_to_dict(step: StepSpec) -> dict[str, Any]:
    data: dict[str, Any] = {"name": step.name, "function": step.function}
    if step.arguments:
        data["arguments"] = [[name, argument] for name, argument in step.arguments]
    if step.outputs:
        data["outputs"] = [_changed(output, OutputSpec(output.name), "name") for output in step.outputs]
    if step.options is not _OPTIONS and step.options != _OPTIONS:
        data["options"] = options_to_dict(step.options)
    for key in ("after", "mapped", "optional"):
        if value := getattr(step, key):
            data[key] = list(value)
    for key in ("condition", "config", "group"):
        if (value := getattr(step, key)) is not None:
            data[key] = value
    if step.teardown:
        data["teardown"] = True
    return data


def step_from_dict(data: Mapping[str, Any]) -> StepSpec:
    known = dict(data)
    known["arguments"] = tuple((name, argument) for name, argument in data.get("arguments", ()))
    known["outputs"] = tuple(OutputSpec(**output) for output in data.get("outputs", ()))
    known["options"] = options_from_dict(data.get("options", {}))
    for key in ("after", "mapped", "optional"):
        known[key] = tuple(data.get(key, ()))
    return StepSpec(**known)


def options_to_dict(options: StepOptions, base: StepOptions = _OPTIONS) -> dict[str, Any]:
    """Only what differs from ``base``."""
    data = {key: value for key, value in options._asdict().items() if value != getattr(base, key)}
    if isinstance(data.get("resources"), Resources):
        data["resources"] = data["resources"].to_dict()
    return data


def options_from_dict(data: Mapping[str, Any]) -> StepOptions:
    if not data:
        return _OPTIONS
    resources = data.get("resources")
    return StepOptions(**{**data, "resources": None if resources is None else Resources(**resources)})


def _parameter(parameter: ParameterSpec) -> dict[str, Any]:
    data = _changed(parameter, _PARAMETER)
    if "choices" in data:
        data["choices"] = list(data["choices"])
    if not parameter.required:
        data["default"] = parameter.default
    return data


def _changed(value: Any, base: Any, *always: str) -> dict[str, Any]:
    """The fields of a frozen record that differ from those of ``base``."""
    data = {key: item for key in always if (item := getattr(value, key)) is not None}
    data.update({"name": value.name})
    data.update({key: item for key, item in value._asdict().items() if item != getattr(base, key)})
    return data
