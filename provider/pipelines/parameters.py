"""The parameters of a pipeline: what its function declares, and whether given values fit."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import PipelineInvalid, TypeMismatch, UnknownParameter, did_you_mean
from . import functions
from .spec import ParameterSpec
from .types import choices, constant_type, fits
from .values import to_json

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .pipeline import Pipeline
    from .spec import PipelineSpec


def parameter_specs(function: Callable[..., Any]) -> tuple[ParameterSpec, ...]:
    """Names, types, defaults and choices. Raises ``PipelineInvalid``, ``TypeMismatch``."""
    signature = functions.signature(function)
    if signature.open:
        raise PipelineInvalid(f"{function.__qualname__} takes **kwargs; every parameter of a pipeline has a name.")
    defaults = _defaults(function, signature)
    return tuple(_parameter(function, signature, name, defaults) for name in signature.names)


def _parameter(
    function: Callable[..., Any], signature: functions.Signature, name: str, defaults: Mapping[str, Any]
) -> ParameterSpec:
    type_ = signature.types.get(name)
    members = choices(type_) or _enum_values(function, name)
    if name in signature.required:
        return ParameterSpec(name, type_, required=True, choices=members)
    default = to_json(
        defaults[name], lambda: f"Parameter {name} of {function.__qualname__} has the default {defaults[name]!r}"
    )
    spec = ParameterSpec(name, type_, default, choices=members)
    if default is not None:  # `x: int = None` is a habit that everybody understands
        check_value(function.__qualname__, spec, default)
    return spec


def check_values(spec: PipelineSpec, values: Mapping[str, Any]) -> dict[str, Any]:
    """``values`` as JSON. Raises ``UnknownParameter``, ``TypeMismatch``, ``PipelineInvalid``."""
    known = {parameter.name: parameter for parameter in spec.parameters}
    result = {}
    for name, value in values.items():
        if name not in known:
            raise UnknownParameter(
                f'Pipeline "{spec.name}" has no parameter "{name}".',
                hint=did_you_mean(name, known),
                pipeline=spec.name,
                parameter=name,
            )
        result[name] = to_json(value, lambda n=name, v=value: f'Pipeline "{spec.name}" is given {n}={v!r}')  # type: ignore[misc]
        check_value(spec.name, known[name], result[name])
    return result


def check_value(where: str, parameter: ParameterSpec, value: Any) -> None:
    if is_template(value):
        return
    if value is None and (not parameter.required and parameter.default is None):
        return
    if parameter.choices and value not in parameter.choices and not (value is None and fits("None", parameter.type)):
        raise TypeMismatch(
            f"{where}: {parameter.name} is {value!r}, which is not one of its choices.",
            hint=did_you_mean(str(value), map(str, parameter.choices)),
        )
    if not parameter.choices and not fits(constant_type(value), parameter.type, constant=True):
        raise TypeMismatch(
            f"{where}: {parameter.name} is {value!r}, and {parameter.type} is wanted.",
            hint="Give a value of that type, or change the annotation of the parameter.",
            wanted=parameter.type,
            given=constant_type(value),
        )


def is_template(value: Any) -> bool:
    """Whether Airflow is to render ``value`` (Jinja) when the task runs."""
    return isinstance(value, str) and ("{{" in value or "{%" in value)


def bind_call(pipeline: Pipeline, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a pipeline that is called in another one; they may be references."""
    assert pipeline.function is not None
    signature = functions.signature(pipeline.function)
    values = dict(zip(signature.names, args, strict=False))
    for name, value in kwargs.items():
        if name not in signature.names:
            raise UnknownParameter(
                f'Pipeline "{pipeline.name}" has no parameter "{name}".', hint=did_you_mean(name, signature.names)
            )
        values[name] = value
    missing = [name for name in signature.required if name not in values]
    if missing or len(args) > signature.positional:
        problem = f"needs {' and '.join(missing)}" if missing else f"takes {signature.positional} positional arguments"
        raise PipelineInvalid(f'Pipeline "{pipeline.name}" {problem}.', hint=f"It takes: {', '.join(signature.names)}.")
    return values


def _defaults(function: Callable[..., Any], signature: functions.Signature) -> dict[str, Any]:
    import inspect

    target: Any = inspect.unwrap(function)
    positional = target.__defaults__ or ()
    names = signature.names[signature.positional - len(positional) : signature.positional]
    return {**dict(zip(names, positional, strict=True)), **(target.__kwdefaults__ or {})}


def _enum_values(function: Callable[..., Any], name: str) -> tuple[Any, ...]:
    """The values of the ``Enum`` that a parameter is annotated with, if that is known here."""
    annotation = getattr(function, "__annotations__", {}).get(name)
    if isinstance(annotation, str):
        annotation = getattr(function, "__globals__", {}).get(annotation.partition("|")[0].strip())
    members = getattr(annotation, "__members__", None)
    return tuple(member.value for member in members.values()) if members else ()
