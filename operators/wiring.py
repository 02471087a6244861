"""What stands in an operator's arguments for things that only a run knows.

Airflow renders template fields with Jinja and asks every object that has ``resolve(context)``. The classes here use
that: the serialized DAG shows short readable text (``split.train``, ``{{ params.learning_rate }}``), a run gets plain
references and typed parameters, and constants of a pipeline are never mistaken for Jinja.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.definitions.xcom_arg import PlainXComArg

from ..provider.pipelines.spec import SINGLE


class StepOutput(PlainXComArg):
    """One output of a step task: an XComArg that gives the reference alone (of a mapped step, a list of them)."""

    def __init__(self, operator: Any, output: str, type_: str | None = None) -> None:
        super().__init__(operator)
        self.output = output
        self.type = type_

    def resolve(self, context: Mapping[str, Any]) -> Any:
        given = super().resolve(context)
        if given is None or isinstance(given, Mapping):
            return given and given.get(self.output)
        return [item[self.output] for item in given]

    def __str__(self) -> str:
        task = self.operator.task_id
        return task if self.output == SINGLE else f"{task}.{self.output}"

    def __repr__(self) -> str:
        return f"<output {self}>"

    def __hash__(self) -> int:  # type: ignore[override]
        return hash((id(self.operator), self.output))


class StepOutputs(tuple[StepOutput, ...]):
    """The outputs of a step task that has several: unpack them, or take one by name."""

    __slots__ = ()

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        for output in self:
            if output.output == key:
                return output
        raise KeyError(key)

    def __rshift__(self, other: Any) -> Any:
        return self[0] >> other

    def __lshift__(self, other: Any) -> Any:
        return self[0] << other

    def __rrshift__(self, other: Any) -> StepOutputs:
        self[0].set_upstream(other)
        return self

    def __rlshift__(self, other: Any) -> StepOutputs:
        self[0].set_downstream(other)
        return self


class Parameter:
    """A parameter of the run, with its type (Jinja would make text of it)."""

    __slots__ = ("name",)

    def __init__(self, name: str) -> None:
        self.name = name

    def resolve(self, context: Mapping[str, Any]) -> Any:
        return context["params"][self.name]

    def __str__(self) -> str:
        return f"{{{{ params.{self.name} }}}}"


class Verbatim:
    """A constant with text that Jinja would change."""

    __slots__ = ("value",)

    def __init__(self, value: Any) -> None:
        self.value = value

    def resolve(self, _context: Mapping[str, Any]) -> Any:
        return self.value

    def __str__(self) -> str:
        return str(self.value)


def shown(value: Any) -> Any:
    """A constant as it may stand in a template field."""
    return Verbatim(value) if _is_templated(value) else value


def _is_templated(value: Any) -> bool:
    if isinstance(value, str):
        return "{" in value or value.endswith("\n")
    if isinstance(value, dict):
        return any(_is_templated(item) for pair in value.items() for item in pair)
    return isinstance(value, list) and any(map(_is_templated, value))
