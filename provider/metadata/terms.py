"""Parameters, metrics and tags as rows: what a search compares.

JSON keeps what was given, as it was given; no database can find one name in it without reading everything. So the
names and values are written once more, one a row, with an index from the value to its owner.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from .columns import clean_text, dumps

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .records import JSON

TEXT = 200
"""Characters of a text that are compared; longer ones are equal if their beginnings are."""

_NAME = 200


def values_of(given: Mapping[str, Any] | None) -> list[JSON]:
    """A row (without its owner) for each value: ``name``, ``number`` or None, ``text``. None is no value."""
    rows: dict[str, JSON] = {}
    for name, value in (given or {}).items():
        if value is not None:
            key = (clean_text(str(name)) or "")[:_NAME]
            rows.setdefault(key, {"name": key, "number": number_of(value), "text": text_of(value)})
    return [*rows.values()]


def number_of(value: Any) -> float | None:
    """Numbers, and true and false as 1 and 0; NaN is none: it is neither more nor less than anything."""
    if isinstance(value, (bool, int, float)):
        try:
            number = float(value)
        except OverflowError:
            return None
        return None if math.isnan(number) else number
    return None


def text_of(value: Any) -> str:
    """Texts as they are, everything else as JSON."""
    text = value if isinstance(value, str) else dumps(value)
    return (clean_text(text) or "")[:TEXT]
