"""Constants and parameters as JSON: what may be written into a pipeline, and how it is written."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

from ..errors import PipelineInvalid

if TYPE_CHECKING:
    from collections.abc import Callable

_PLAIN = frozenset({str, int, bool, type(None)})


def to_json(value: Any, what: Callable[[], str]) -> Any:
    """``value`` as plain JSON: tuples become lists, enums their values, dates and paths text.

    Raises ``PipelineInvalid`` (beginning with ``what()``) for anything that would change on the way or that has no
    JSON form: a DataFrame in a DAG file would be parsed, serialized and stored with every run.
    """
    kind = type(value)
    if kind in _PLAIN:
        return value
    if kind is float:
        if isfinite(value):
            return value
        raise PipelineInvalid(f"{what()}, and JSON has no {value}.", hint="Use None, or make the value inside a step.")
    if isinstance(value, (list, tuple)):
        return [to_json(item, what) for item in value]
    if isinstance(value, dict):
        if all(isinstance(key, str) for key in value):
            return {key: to_json(item, what) for key, item in value.items()}
        raise PipelineInvalid(f"{what()}, a mapping whose keys are not text.", hint="Use text as keys.")
    return _special(value, what)


def _special(value: Any, what: Callable[[], str]) -> Any:
    from datetime import date, time
    from enum import Enum
    from pathlib import PurePath

    if isinstance(value, Enum):
        return to_json(value.value, what)
    if isinstance(value, (date, time)):
        return value.isoformat()
    if isinstance(value, PurePath):
        return str(value)
    for base in (bool, int, float, str):  # a subclass, numpy.float64 for example
        if isinstance(value, base):
            return to_json(base(value), what)
    raise PipelineInvalid(
        f"{what()}, which is not JSON.",
        hint="A pipeline holds numbers, text, booleans, None, lists and mappings; make anything else in a step.",
        type=type(value).__name__,
    )
