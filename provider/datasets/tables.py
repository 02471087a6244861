"""Tables in and out: what users hand in becomes Arrow, and is cut into one piece a partition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ..errors import DatasetMismatch, DataUnreadable
from .manifest import plain

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

MOST_ROWS = 4_000_000
"""A part has at most so many rows: it is what is read, verified and shared as a whole."""


def to_table(data: Any) -> pa.Table:
    """An Arrow table of a data frame, a table, a reader, a list of rows, columns, or a Parquet file.

    Raises ``DataUnreadable``.
    """
    import pyarrow as pa

    try:
        table = _table(data)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError, OSError) as error:
        raise DataUnreadable(f"This {type(data).__name__} cannot be read as a table: {error}") from None
    names = table.column_names
    if len(set(names)) != len(names) or not names:
        raise DataUnreadable(
            f"A data set has columns, each of another name; found {names}.", hint="Rename or drop columns."
        )
    return _canonical(table.replace_schema_metadata(None))  # pandas notes its index there


def _table(data: Any) -> pa.Table:
    import pyarrow as pa

    if isinstance(data, pa.Table):
        found = data
    elif type(data).__module__.partition(".")[0] == "pandas":
        found = pa.Table.from_pandas(data, preserve_index=False)
    elif isinstance(data, pa.RecordBatchReader):
        found = data.read_all()
    elif hasattr(data, "to_arrow"):  # polars, and a dataset version
        found = data.to_arrow()
    elif hasattr(data, "__arrow_c_stream__") or isinstance(data, (Mapping, pa.RecordBatch)):
        found = pa.table(data) if not isinstance(data, pa.RecordBatch) else pa.Table.from_batches([data])
    elif isinstance(data, list) and all(isinstance(row, Mapping) for row in data):
        found = pa.Table.from_pylist(data)
    elif isinstance(data, str) or hasattr(data, "__fspath__"):
        found = _read_file(str(data))
    else:
        raise DataUnreadable(
            f"A table was expected, and {type(data).__name__} was found.",
            hint="Give a data frame of pandas or polars, an Arrow table, a list of dicts, or the path of a file.",
        )
    return found


def _read_file(path: str) -> pa.Table:
    if path.endswith((".csv", ".csv.gz")):
        from pyarrow import csv

        return csv.read_csv(path)
    import pyarrow.parquet as pq

    return pq.read_table(path)


def _canonical(table: pa.Table) -> pa.Table:
    """One type for what libraries write in several: pandas, polars and Parquet have a kind of string each."""
    import pyarrow as pa
    import pyarrow.types as pt

    def type_of(found: pa.DataType) -> pa.DataType:
        if pt.is_dictionary(found):
            return type_of(found.value_type)
        if pt.is_string(found) or pt.is_string_view(found):
            return pa.large_string()
        return pa.large_binary() if pt.is_binary(found) or pt.is_binary_view(found) else found

    wanted = pa.schema([pa.field(item.name, type_of(item.type)) for item in table.schema])
    return table.cast(wanted)


def unified(old: pa.Schema | None, table: pa.Table, dataset: str) -> pa.Schema:
    """The schema that holds the rows too: new columns are added at its end, the others keep their type.

    Numbers and times may come in another width, if no value is lost. Raises ``DatasetMismatch``.
    """
    import pyarrow as pa

    if old is None:
        return table.schema
    fields, wrong = [], []
    for item in old:
        new = table.schema.field(item.name) if item.name in table.column_names else None
        unknown = pa.types.is_null(item.type)  # until now it had no values
        if new is not None and not unknown and not _fits(table[item.name], item.type):
            wrong.append((item.name, item.type, new.type))
        fields.append(pa.field(item.name, new.type if new is not None and unknown else item.type))
    if wrong:
        types = ", ".join(f'"{name}" is {was}, and the new rows have {has}' for name, was, has in wrong)
        raise DatasetMismatch(
            f'The rows do not fit data set "{dataset}": {types}.',
            hint="Convert the column before you append; or overwrite the data set.",
            dataset=dataset,
            columns=[name for name, _, _ in wrong],
        )
    return pa.schema([*fields, *(item for item in table.schema if item.name not in old.names)])


def _fits(column: pa.ChunkedArray, wanted: pa.DataType) -> bool:
    import pyarrow as pa
    import pyarrow.types as pt

    if column.type.equals(wanted) or pt.is_null(column.type):
        return True
    kinds: tuple[Any, ...] = (
        lambda t: pt.is_integer(t) or pt.is_floating(t) or pt.is_decimal(t),
        lambda t: pt.is_timestamp(t) or pt.is_date(t),
        pt.is_duration,
        pt.is_time,
    )
    if not any(kind(column.type) and kind(wanted) for kind in kinds):
        return False
    try:
        column.cast(wanted)
    except pa.ArrowInvalid:
        return False
    return True


def pieces(table: pa.Table, partition_by: Sequence[str], dataset: str) -> Iterator[tuple[dict[str, Any], pa.Table]]:
    """The partitions of the rows, each with its values, in no promised order; big ones in several pieces."""
    import numpy as np

    missing = [name for name in partition_by if name not in table.column_names]
    if missing:
        raise DatasetMismatch(
            f'Data set "{dataset}" is partitioned by "{missing[0]}", which the rows do not have.',
            hint=f"They have: {', '.join(table.column_names)}.",
            dataset=dataset,
            columns=missing,
        )
    if not partition_by:
        yield from (({}, piece) for piece in _cut(table))
        return
    codes = np.zeros(table.num_rows, dtype=np.int64)
    for name in partition_by:
        encoded = table[name].combine_chunks().dictionary_encode(null_encoding="encode")
        codes = codes * (len(encoded.dictionary) + 1) + encoded.indices.to_numpy(zero_copy_only=False)
        codes = np.unique(codes, return_inverse=True)[1]  # small again, however many columns there are
    order = np.argsort(codes, kind="stable")
    borders = np.flatnonzero(np.diff(codes[order])) + 1
    for rows in np.split(order, borders) if len(order) else ():
        chosen = table.take(rows)
        values = {name: plain(chosen[name][0].as_py()) for name in partition_by}
        yield from ((values, piece) for piece in _cut(chosen))


def _cut(table: pa.Table) -> Iterator[pa.Table]:
    for start in range(0, table.num_rows, MOST_ROWS):
        yield table.slice(start, MOST_ROWS)


def fitted(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """The table with exactly these columns; those that it does not have are null."""
    import pyarrow as pa

    columns = [
        table[item.name].cast(item.type) if item.name in table.column_names else pa.nulls(table.num_rows, item.type)
        for item in schema
    ]
    return pa.table(columns, schema=schema)
