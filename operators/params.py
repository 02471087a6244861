"""Typed DAG params from the parameters of a pipeline, so that Airflow's trigger form knows what to ask."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk import Param

from ..provider.pipelines.types import parts

if TYPE_CHECKING:
    from ..provider.pipelines.spec import ParameterSpec

_JSON_TYPES = {
    "None": "null",
    "bool": "boolean",
    "dict": "object",
    "float": "number",
    "int": "integer",
    "list": "array",
    "set": "array",
    "str": "string",
    "tuple": "array",
}
_TEXT = {
    "datetime.date": "date",
    "datetime.datetime": "date-time",
    "datetime.time": "time",
    "decimal.Decimal": None,
    "pathlib.Path": None,
    "uuid.UUID": "uuid",
}


def dag_param(parameter: ParameterSpec) -> Param:
    """A parameter as JSON schema; one without a default must be given when the DAG is triggered."""
    schema = json_schema(parameter)
    if parameter.description:
        schema["description"] = parameter.description
    return Param(**schema) if parameter.required else Param(parameter.default, **schema)


def json_schema(parameter: ParameterSpec) -> dict[str, Any]:
    """What JSON can say of the parameter's type; nothing for a type that it does not know."""
    if parameter.choices:
        nullable = parameter.default is None and not parameter.required
        return {"enum": [*parameter.choices, *([None] if nullable and None not in parameter.choices else [])]}
    if parameter.type is None:
        return {}
    kinds: dict[str, None] = {}
    formats: list[str | None] = []
    for name, _ in parts(parameter.type):
        if name in _TEXT:
            kinds["string"] = None
            formats.append(_TEXT[name])
        elif name in _JSON_TYPES:
            kinds[_JSON_TYPES[name]] = None
        else:
            return {}
    if parameter.default is None and not parameter.required:
        kinds["null"] = None
    types = list(kinds)
    schema: dict[str, Any] = {"type": types[0] if len(types) == 1 else types}
    if len(formats) == 1 and formats[0] is not None:
        schema["format"] = formats[0]
    return schema
