"""Turning answered requests into Arrow: what the log's writer does off the hot path."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import pyarrow as pa

Rows = Sequence[Sequence[Any]] | np.ndarray[Any, Any]


class Block(NamedTuple):
    """What one call of the model answered, as it came: nothing is converted where a client waits.

    ``rows`` is a 2-D float array or one sequence of values for each row, in the order of the schema; None for
    requests that were refused. The other sequences have one item for each id.
    """

    at: float
    ids: Sequence[bytes]
    rows: Rows | None
    predictions: Sequence[Any] | None
    scores: Sequence[Any] | None
    latencies: Sequence[float]
    sample_rate: float
    error: str | None = None


def encode(blocks: Sequence[Block], schema: pa.Schema, kept: Sequence[int]) -> pa.RecordBatch:
    """One record batch of all the blocks. ``kept`` are the positions of the features that the log has.

    Cost per row of 30 features: about 0.5 µs for arrays, 3 µs for sequences.
    """
    import pyarrow as pa

    counts = [len(block.ids) for block in blocks]
    rows = sum(counts)
    times = np.repeat(np.array([int(block.at * 1e6) for block in blocks], dtype=np.int64), counts)
    latencies = np.array([item for block in blocks for item in block.latencies], dtype=np.float32)
    rates = np.repeat(np.array([block.sample_rate for block in blocks], dtype=np.float32), counts)
    ids = pa.py_buffer(b"".join(item for block in blocks for item in block.ids))
    columns = [
        pa.Array.from_buffers(pa.binary(16), rows, [None, ids]),
        _numbers(times, schema.field("ts").type),
        *_features(blocks, schema, kept),
        _column(_spread([block.predictions for block in blocks], counts), schema.field("prediction").type),
        _column(_spread([block.scores for block in blocks], counts), schema.field("score").type),
        _numbers(latencies, pa.float32()),
        _numbers(rates, pa.float32()),
        _column([block.error for block, n in zip(blocks, counts, strict=True) for _ in range(n)], pa.string()),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _spread(values: Sequence[Sequence[Any] | None], counts: Sequence[int]) -> list[Any]:
    """The items of all blocks in a row; a block without any has nulls."""
    return [item for own, n in zip(values, counts, strict=True) for item in (own if own is not None else [None] * n)]


def _features(blocks: Sequence[Block], schema: pa.Schema, kept: Sequence[int]) -> list[pa.Array]:
    fields = [schema.field(2 + position) for position in range(len(kept))]
    if all(isinstance(block.rows, np.ndarray) for block in blocks):
        matrix = np.concatenate([np.asarray(block.rows, dtype=np.float64) for block in blocks])
        columns = [np.ascontiguousarray(matrix[:, index]) for index in kept]
        return [_numbers(column, field.type, ~np.isnan(column)) for column, field in zip(columns, fields, strict=True)]
    width = max(kept, default=-1) + 1
    rows: list[Sequence[Any]] = []
    for block in blocks:
        if block.rows is None:
            rows += [(None,) * width] * len(block.ids)
        elif isinstance(block.rows, np.ndarray):
            rows += block.rows.tolist()
        else:
            rows += block.rows
    return [_column([row[index] for row in rows], field.type) for index, field in zip(kept, fields, strict=True)]


# ``pa.array`` imports pandas whatever it is given (0.4 s and 60 MB in a server that may not need it), so the arrays
# are made of buffers here: https://arrow.apache.org/docs/format/Columnar.html


def _column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
    """Python values as an Arrow array; None and NaN are null."""
    import pyarrow as pa

    valid = np.array([value is not None and value == value for value in values], dtype=np.bool_)  # noqa: PLR0124
    present = values if valid.all() else [value if ok else None for value, ok in zip(values, valid, strict=True)]
    if pa.types.is_string(kind):
        texts = [value.encode("utf-8", "replace") if value is not None else b"" for value in present]
        offsets = _offsets(texts)
        return pa.Array.from_buffers(
            kind, len(values), [_bitmap(valid), pa.py_buffer(offsets), pa.py_buffer(b"".join(texts))]
        )
    if pa.types.is_list(kind):
        items = [value if value is not None else () for value in present]
        child = _column([item for value in items for item in value], kind.value_type)
        return pa.Array.from_buffers(
            kind, len(values), [_bitmap(valid), pa.py_buffer(_offsets(items))], children=[child]
        )
    filled = [value if value is not None else 0 for value in present]
    dtype = {"int64": np.int64, "double": np.float64, "bool": np.bool_}[str(kind)]
    return _numbers(np.array(filled, dtype=dtype), kind, valid)


def _numbers(values: np.ndarray[Any, Any], kind: pa.DataType, valid: np.ndarray[Any, Any] | None = None) -> pa.Array:
    import pyarrow as pa

    data = np.packbits(values, bitorder="little") if values.dtype == np.bool_ else values
    bitmap = None if valid is None else _bitmap(valid)
    return pa.Array.from_buffers(kind, len(values), [bitmap, pa.py_buffer(data)])


def _bitmap(valid: np.ndarray[Any, Any]) -> Any:
    """Arrow's validity bitmap; None when nothing is null."""
    import pyarrow as pa

    return None if valid.all() else pa.py_buffer(np.packbits(valid, bitorder="little"))


def _offsets(items: Sequence[Any]) -> np.ndarray[Any, Any]:
    offsets = np.zeros(len(items) + 1, dtype=np.int32)
    np.cumsum([len(item) for item in items], out=offsets[1:])
    return offsets
