"""Reading columns, examples and outputs out of whatever table a shop uses, without importing its library.

Each branch looks at what the value offers (duck typing), because the library of a value is imported already and no
other one should be.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from .schema import Feature, FeatureType, Outputs, plain, type_of

if TYPE_CHECKING:
    from collections.abc import Sequence

_KINDS: dict[str, FeatureType] = {"f": "float", "i": "int", "u": "int", "b": "bool", "U": "string", "T": "string"}


def columns_of(data: Any, target: str | None) -> tuple[tuple[Feature, ...], bool]:
    """The features of a table, without ``target``, and whether it names its columns."""
    if _is_pandas(data):
        found = tuple(_pandas_feature(str(name), data[name]) for name in data.columns)
    elif isinstance(data, list) and data and isinstance(data[0], dict):
        found = tuple(_plain_feature(name, [plain(row.get(name)) for row in data]) for name in data[0])
    elif hasattr(data, "ndim") and hasattr(data, "dtype"):
        return _array_features(data), False
    else:
        table = _arrow(data)
        found = tuple(_arrow_feature(field.name, table[field.name]) for field in table.schema)
    return tuple(feature for feature in found if feature.name != target), True


def head(data: Any, names: Sequence[str], n: int) -> list[dict[str, Any]]:
    """The first ``n`` rows as plain mappings of those features."""
    if _is_pandas(data):
        columns = [[plain(value) for value in data[name].iloc[:n].tolist()] for name in names]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]
    if isinstance(data, list):
        return [{name: plain(row.get(name)) for name in names} for row in data[:n]]
    if hasattr(data, "ndim") and hasattr(data, "dtype"):
        return [dict(zip(names, map(plain, row), strict=True)) for row in data[:n].tolist()]
    rows: list[dict[str, Any]] = _arrow(data).select(list(names)).slice(0, n).to_pylist()
    return [{name: plain(row[name]) for name in names} for row in rows]


def observe_outputs(model: Any, data: Any, names: Sequence[str]) -> Outputs:
    """What the model answers, by asking it for five rows of its own data."""
    few = data[list(names)].iloc[:5] if _is_pandas(data) else data[:5]
    answers = [plain(value) for value in model.predict(few)]
    classes = getattr(model, "classes_", None)
    if classes is None:
        return Outputs("regression", type_of(answers), None)
    known = tuple(plain(value) for value in classes)
    return Outputs("classification", type_of(known), known)


def _is_pandas(data: Any) -> bool:
    pandas = sys.modules.get("pandas")
    return pandas is not None and isinstance(data, pandas.DataFrame)


def _pandas_feature(name: str, column: Any) -> Feature:
    dtype = str(column.dtype)
    kind = getattr(column.dtype, "kind", "O")
    kind_type = _KINDS.get(kind)
    if kind_type is None or kind == "O":
        inferred = sys.modules["pandas"].api.types.infer_dtype(
            column.cat.categories if dtype == "category" else column, skipna=True
        )
        kind_type = _INFERRED.get(inferred)
        if kind_type is None:
            raise _unsupported(name, f"{dtype} ({inferred})")
    return Feature(name, kind_type, bool(column.isna().any()), dtype)


_INFERRED: dict[str, FeatureType] = {
    "string": "string",
    "empty": "string",
    "boolean": "bool",
    "integer": "int",
    "floating": "float",
    "mixed-integer-float": "float",
}


def _plain_feature(name: str, values: Sequence[Any]) -> Feature:
    return Feature(name, type_of(values), any(value is None for value in values))


def _array_features(array: Any) -> tuple[Feature, ...]:
    kind = _KINDS.get(array.dtype.kind)
    if array.ndim != 2 or kind is None:
        raise ConfigurationError(
            f"An array of {array.ndim} dimensions of {array.dtype} is no table of features.",
            hint="Give a 2-D array of numbers, or a data frame.",
        )
    nullable = kind == "float" and bool((array != array).any())  # noqa: PLR0124 - NaN is not itself
    return tuple(Feature(f"x{index}", kind, nullable, str(array.dtype)) for index in range(array.shape[1]))


def _arrow(data: Any) -> Any:
    import pyarrow as pa

    if isinstance(data, pa.Table):
        return data
    if hasattr(data, "to_arrow"):
        return data.to_arrow()
    if hasattr(data, "__arrow_c_stream__"):
        return pa.table(data)
    raise ConfigurationError(
        f"{type(data).__module__}.{type(data).__qualname__} is no table that the features can be read from.",
        hint="Give a pandas or polars data frame, an Arrow table, a 2-D array or a list of dictionaries.",
    )


def _arrow_feature(name: str, column: Any) -> Feature:
    from pyarrow import types

    kind = column.type.value_type if types.is_dictionary(column.type) else column.type
    found: FeatureType
    if types.is_floating(kind) or types.is_decimal(kind):
        found = "float"
    elif types.is_integer(kind):
        found = "int"
    elif types.is_boolean(kind):
        found = "bool"
    elif types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind):
        found = "string"
    else:
        raise _unsupported(name, str(kind))
    return Feature(name, found, column.null_count > 0)


def _unsupported(name: str, dtype: str) -> ConfigurationError:
    return ConfigurationError(
        f'Feature "{name}" is {dtype}, which a JSON request cannot carry.',
        hint="Turn it into numbers or strings in the step before training, or leave it out.",
        feature=name,
    )
