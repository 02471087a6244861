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
    columns: list[pa.Array] = [
        pa.array([item for block in blocks for item in block.ids], pa.binary(16)),
        pa.array(np.repeat([int(block.at * 1e6) for block in blocks], counts)).cast(schema.field("ts").type),
        *_features(blocks, schema, kept),
    ]
    for name, values in (
        ("prediction", [block.predictions for block in blocks]),
        ("score", [block.scores for block in blocks]),
    ):
        flat = [
            item
            for value, n in zip(values, counts, strict=True)
            for item in (value if value is not None else [None] * n)
        ]
        columns.append(pa.array(flat, schema.field(name).type))
    latencies = np.array([item for block in blocks for item in block.latencies], dtype=np.float32)
    rates = np.repeat(np.array([block.sample_rate for block in blocks], dtype=np.float32), counts)
    errors = [block.error for block, n in zip(blocks, counts, strict=True) for _ in range(n)]
    columns += [pa.array(latencies), pa.array(rates), pa.array(errors, pa.string())]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _features(blocks: Sequence[Block], schema: pa.Schema, kept: Sequence[int]) -> list[pa.Array]:
    import pyarrow as pa

    fields = [schema.field(2 + position) for position in range(len(kept))]
    if all(isinstance(block.rows, np.ndarray) for block in blocks):
        matrix = np.concatenate([np.asarray(block.rows, dtype=np.float64) for block in blocks])
        arrays = []
        for index in kept:
            column = np.ascontiguousarray(matrix[:, index])
            arrays.append(pa.array(column, pa.float64(), mask=np.isnan(column)))
        return arrays
    width = max(kept, default=-1) + 1
    rows: list[Sequence[Any]] = []
    for block in blocks:
        if block.rows is None:
            rows += [(None,) * width] * len(block.ids)
        elif isinstance(block.rows, np.ndarray):
            rows += block.rows.tolist()
        else:
            rows += block.rows
    return [
        pa.array([_finite(row[index]) for row in rows], field.type) for index, field in zip(kept, fields, strict=True)
    ]


def _finite(value: Any) -> Any:
    return None if value != value else value  # noqa: PLR0124 - NaN is not itself; the log says null
