"""The drift engine against its budgets, on the data of the drift design: 26 columns, four planted drifts.

``run(quick)`` gives one dictionary for each measurement. Everything is measured in a process of its own, in CPU
seconds with the imports included, and compared with decoding the same row groups in the same minute.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

ROW_GROUP = 262_144
PLANTED = {"f3", "f7", "f11", "c2"}
ROWS = {"1M": 1_000_000, "10M": 10_000_000}


# The data -----------------------------------------------------------------------------------------------------------


def numeric_column(index: int, rows: int, rng: Any, drifted: bool) -> Any:
    """One float64 column: normal, lognormal, Student t3, N(100, 15), rounded exponential in turn."""
    import numpy as np

    family = index % 5
    if family == 0:
        values = rng.standard_normal(rows)
    elif family == 1:
        values = rng.lognormal(0.0, 1.0, rows)
    elif family == 2:
        values = rng.standard_t(3, rows)
    elif family == 3:
        values = rng.normal(100.0, 15.0, rows)
    else:
        values = np.round(rng.exponential(5.0, rows), 1)
    if drifted and index == 3:
        values += 0.2 * 15.0
    if drifted and index == 7:
        values *= 1.25
    return values


def zipf(levels: int, exponent: float) -> Any:
    import numpy as np

    weights = np.arange(1, levels + 1, dtype=float) ** -exponent
    return weights / weights.sum()


def tilted(weights: Any, total_variation: float) -> Any:
    """The same levels with their frequencies tilted, at this total variation from ``weights``."""
    import numpy as np

    low, high = 0.0, 20.0
    ramp = np.linspace(-0.5, 0.5, len(weights))
    for _ in range(80):
        middle = (low + high) / 2
        other = weights * np.exp(middle * ramp)
        other /= other.sum()
        low, high = (middle, high) if abs(other - weights).sum() / 2 < total_variation else (low, middle)
    return other


def table(rows: int, seed: int, *, drifted: bool) -> Any:
    """``rows`` rows of the 26 columns as an Arrow table."""
    import numpy as np
    import pyarrow as pa

    rng = np.random.default_rng(seed)
    columns: dict[str, Any] = {}
    for index in range(20):
        values = numeric_column(index, rows, rng, drifted)
        missing = 0.06 if drifted and index == 11 else 0.01
        mask = rng.random(rows) < missing if index % 2 else None
        columns[f"f{index}"] = pa.array(values, mask=mask)
    for index, exponent in enumerate((0.0, 0.3, 0.6, 0.9, 1.2)):
        weights = zipf(50, exponent)
        if drifted and index == 2:
            weights = tilted(weights, 0.073)
        codes = rng.choice(50, rows, p=weights).astype(np.int32)
        columns[f"c{index}"] = pa.DictionaryArray.from_arrays(codes, [f"level_{i:02d}" for i in range(50)])
    codes = np.searchsorted(np.cumsum(zipf(100_000, 0.7)), rng.random(rows)).clip(max=99_999).astype(np.int32)
    columns["c5"] = pa.DictionaryArray.from_arrays(codes, [f"item-{i}" for i in range(100_000)])
    return pa.table(columns)


def write_data(path: Path, rows: int, *, drifted: bool) -> Path:
    """Write the file unless it is there; a half-written one is never taken for a whole one."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    if path.exists():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    writer = None
    for number, start in enumerate(range(0, rows, ROW_GROUP)):
        part = table(min(ROW_GROUP, rows - start), 1_000 * drifted + 7_919 * number + rows % 997, drifted=drifted)
        part = part.cast(pa.schema([(f.name, pa.string() if f.name[0] == "c" else f.type) for f in part.schema]))
        writer = writer or pq.ParquetWriter(partial, part.schema, compression="zstd", compression_level=1)
        writer.write_table(part, row_group_size=ROW_GROUP)
    assert writer is not None
    writer.close()
    partial.rename(path)
    return path
