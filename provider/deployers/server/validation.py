"""Checking rows against the input schema, fast when they are right and precise when they are wrong.

The usual row costs one C call to pick its values and one to look at their types. Only a row that fails those is
looked at value by value.

The policy: a number may be written as an integer where a float is expected, and as ``3.0`` where an integer is; 0 and
1 may stand for booleans; nothing is read out of strings. A nullable feature may be null or absent. NaN and infinity
do not exist in JSON; a request that holds them is not JSON and gets a 400.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import itemgetter
from typing import TYPE_CHECKING, Any

from .problems import Refused, suggestion, wrong_features

if TYPE_CHECKING:
    from ...predictions.schema import Feature, InputSchema

MISSING = object()
_INT64 = 2**63
NAN = float("nan")
_PYTHON = {"float": float, "int": int, "bool": bool, "string": str}
_WORDS = {"float": "a number", "int": "an integer", "bool": "true or false", "string": "a string"}


class Validator:
    """Turns the rows of a request into lists of values in the order of the schema. Stateless; any thread may use it.

    ``nulls_are_nan``: the model takes an array of numbers, where a null of any type is NaN.
    """

    def __init__(self, schema: InputSchema, *, max_rows: int, nulls_are_nan: bool) -> None:
        self.schema = schema
        self.names = schema.names
        self.max_rows = max_rows
        self._known = frozenset(self.names)
        self._types = [_PYTHON[feature.type] for feature in schema.features]
        self._nulls = [NAN if nulls_are_nan or f.type == "float" else None for f in schema.features]
        self._integers = [i for i, feature in enumerate(schema.features) if feature.type == "int"]
        self._floats = all(feature.type == "float" for feature in schema.features)
        self._pick = itemgetter(*self.names) if len(self.names) > 1 else None

    def mappings(self, items: Sequence[Any]) -> list[list[Any]]:
        """Rows given as ``{feature: value}``."""
        self.check_count(len(items))
        if self._pick is not None:
            rows = self._quick(items)
            if rows is not None:
                return rows
        return self._checked([self._values(item, index) for index, item in enumerate(items)], items)

    def sequences(self, items: Sequence[Any], columns: Sequence[str] | None = None) -> list[list[Any]]:
        """Rows given as lists, in the order of ``columns`` or of the schema."""
        self.check_count(len(items))
        order = self._order(columns)
        width = len(columns) if columns is not None else len(self.names)
        values = []
        for index, item in enumerate(items):
            if not isinstance(item, list) or len(item) != width:
                found = f"{len(item)} values" if isinstance(item, list) else _kind(item)
                raise Refused(422, f"Row {index} is {found}; it must be a list of {width} values.")
            values.append([item[i] if i is not None else MISSING for i in order])
        return self._checked(values)

    def check_count(self, count: int) -> None:
        if count == 0:
            raise Refused(422, "The request has no rows.")
        if count > self.max_rows:
            raise Refused(
                422, f"The request has {count} rows; this server takes at most {self.max_rows}. Send several requests."
            )

    def _quick(self, items: Sequence[Any]) -> list[list[Any]] | None:
        """All rows, if every value has the very type that is expected; None to look closer."""
        assert self._pick is not None
        width = len(self.names)
        rows = []
        for item in items:
            if type(item) is not dict or len(item) != width:
                return None
            try:
                values = self._pick(item)
            except KeyError:
                return None
            types = list(map(type, values))
            if types != self._types:
                if not self._floats or set(types) - {float, int}:
                    return None
                values = map(float, values)
            elif not all(-_INT64 <= values[position] < _INT64 for position in self._integers):
                return None
            rows.append(list(values))
        return rows

    def _values(self, item: Any, index: int) -> list[Any]:
        if not isinstance(item, dict):
            raise Refused(422, f"Row {index} is {_kind(item)}; it must be an object of feature names and values.")
        return [item.get(name, MISSING) for name in self.names]

    def _order(self, columns: Sequence[str] | None) -> list[int | None]:
        if columns is None:
            return list(range(len(self.names)))
        if not isinstance(columns, list) or not all(isinstance(name, str) for name in columns):
            raise Refused(422, '"columns" must be a list of feature names.')
        positions = {name: index for index, name in enumerate(columns)}
        if len(positions) != len(columns):
            raise Refused(422, '"columns" names a feature twice.')
        unknown = [self._unknown(0, name) for name in columns if name not in self._known]
        if unknown:
            raise wrong_features(unknown)
        return [positions.get(name) for name in self.names]

    def _checked(self, rows: list[list[Any]], items: Sequence[Any] = ()) -> list[list[Any]]:
        problems: list[dict[str, Any]] = []
        for index, item in enumerate(items):
            problems += [self._unknown(index, name) for name in item if name not in self._known]
            if len(problems) > 20:
                break
        for index, values in enumerate(rows):
            for position, feature in enumerate(self.schema.features):
                value = values[position]
                if value is MISSING or value is None:
                    values[position] = self._nulls[position]
                    if not feature.nullable:
                        found = "is missing" if value is MISSING else "is null, and the model takes no nulls there"
                        problems.append({"row": index, "feature": feature.name, "problem": found})
                else:
                    values[position] = fixed = _fixed(value, feature)
                    if fixed is MISSING:
                        wanted = _WORDS[feature.type]
                        problem = f"must be {wanted}, and is {_kind(value)}"
                        problems.append({"row": index, "feature": feature.name, "problem": problem})
            if len(problems) > 20:
                break
        if problems:
            raise wrong_features(problems)
        return rows

    def _unknown(self, row: int, name: str) -> dict[str, Any]:
        return {"row": row, "feature": name, "problem": f"is not known: {suggestion(name, self.names)}"}


def _fixed(value: Any, feature: Feature) -> Any:
    """The value as the type of its feature, or MISSING if it is none."""
    kind = type(value)
    if feature.type == "float" and kind in (float, int):
        number = float(value) if kind is float or abs(value) < 2**1000 else NAN
        return number if number - number == 0 else MISSING
    if feature.type == "int":
        if kind is float and value.is_integer():
            value, kind = int(value), int
        return value if kind is int and -_INT64 <= value < _INT64 else MISSING
    if feature.type == "bool" and (kind is bool or (kind is int and value in (0, 1))):
        return bool(value)
    if feature.type == "string" and kind is str:
        return value
    return MISSING


def _kind(value: Any) -> str:
    """A value in the words of JSON, shortened."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Mapping):
        return "an object"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    text = text if len(text) <= 40 else text[:40] + "…"
    return f"the string {text}" if isinstance(value, str) else f"the number {text}"
