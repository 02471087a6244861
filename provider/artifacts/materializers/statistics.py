"""What is in the columns of a table, counted while it is written: for people, and for whoever compares versions.

Each column gets ``count`` and ``nulls``; numbers get ``min``, ``max``, ``mean``, ``std`` and a histogram of 20 bins;
times get ``min`` and ``max``; categories how many there are. Values that are no number or infinite are counted
(``not_finite``) and left out. The bins are those of some thousand rows spread over the table.

It must cost next to nothing beside writing: what is summed up stays in the processor's cache, small tables all columns
at once. Of tables with more than some million values, mean, std and histogram are those of evenly spread blocks, and
``sampled`` says how many rows that were. What it does not do: quantiles, distinct values, text.
"""

from __future__ import annotations

import math
from contextlib import suppress
from functools import lru_cache
from threading import Thread
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

COLUMNS = 100
"""Columns that are looked at: a wide table's statistics must not outgrow its other metadata."""
BATCH = 1 << 16
_VALUES = 1 << 22
"""More values than this are sampled."""
_IN_BACKGROUND = 1 << 20
_LONG = 1 << 13
_BINS = 20
_SHOWN = 1 << 10
"""Rows for a histogram."""
_PIECE = 256
_PIECES = 16
_EXACT = 1 << 53


class Statistics:
    """The statistics of batches of one schema, added one after the other. Not thread-safe.

    ``stride`` sums up one batch of that many; counts, nulls, min and max are exact all the same. ``rows`` says how many
    there will be, if that is known; else all batches but the last must be of ``BATCH`` rows.
    """

    def __init__(self, schema: Any, *, stride: int = 1, rows: int | None = None) -> None:
        import numpy as np

        self._fields = list(schema)[:COLUMNS]
        self._kinds = [_kind(field.type) for field in self._fields]
        self._numeric = [i for i, kind in enumerate(self._kinds) if kind.reader is not None]
        self._stride = stride
        self._batches = 0
        self.rows = self._read = 0
        self._nulls = [0] * len(self._fields)
        self._categories: dict[int, int] = {}
        count = len(self._numeric)
        self._shift: Any = None
        self._lows, self._highs = np.full(count, math.inf), np.full(count, -math.inf)
        self._counts, self._odd = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._sums, self._squares = np.zeros(count), np.zeros(count)
        self._pieces: list[Any] = []
        self._every = 1
        self._step = None if rows is None else max(1, rows // _SHOWN)

    def add(self, batch: Any) -> None:
        """Take in a ``RecordBatch`` of at most ``BATCH`` rows."""
        rows = batch.num_rows
        self.rows += rows
        columns = batch.columns[: len(self._fields)]
        for i, (column, kind) in enumerate(zip(columns, self._kinds, strict=True)):
            self._nulls[i] += column.null_count
            if kind.categories:
                self._categories[i] = max(self._categories.get(i, 0), len(column.dictionary))
        self._batches += 1
        whole = (self._batches - 1) % self._stride == 0
        self._read += rows if whole else 0
        if not rows or not self._numeric:
            return
        import numpy as np

        arrays = [self._kinds[i].reader(columns[i]) for i in self._numeric]  # type: ignore[misc]  # numeric: it has one
        with np.errstate(all="ignore"):
            if whole:
                self._add_whole(np, arrays, rows)
            else:
                self._add_limits(np, arrays)

    def _add_whole(self, np: Any, arrays: list[Any], rows: int) -> None:
        if rows < _LONG:
            matrix = np.array(arrays, dtype=np.float64)
            self._keep_piece(np, matrix, rows)
            self._block(np, matrix, slice(None))
            return
        self._keep_piece(np, arrays, rows)
        if self._shift is None:
            first = self._pieces[0][:, :64]
            self._shift = _shift(np, np.fmin.reduce(first, axis=1), np.fmax.reduce(first, axis=1))
        for i, array in enumerate(arrays):  # one by one: a copy of them all would cost more than the sums
            self._block(np, np.asarray(array, dtype=np.float64).reshape(1, -1), slice(i, i + 1))

    def _add_limits(self, np: Any, arrays: list[Any]) -> None:
        for i, array in enumerate(arrays):
            low, high = array.min(), array.max()
            if not (np.isfinite(low) and np.isfinite(high)):
                good = array[np.isfinite(array)]
                if not len(good):
                    continue
                low, high = good.min(), good.max()
            self._lows[i], self._highs[i] = min(self._lows[i], low), max(self._highs[i], high)

    def _block(self, np: Any, matrix: Any, lines: slice) -> None:
        """Sum up a matrix of some of the numeric columns, one a line."""
        low, high = matrix.min(axis=1), matrix.max(axis=1)
        count: Any = matrix.shape[1]
        good = None
        if not np.isfinite(low + high).all():
            good = np.isfinite(matrix)
            count = good.sum(axis=1)
            self._odd[lines] += (~good).sum(axis=1)
            low, high = np.where(good, matrix, math.inf).min(axis=1), np.where(good, matrix, -math.inf).max(axis=1)
        if self._shift is None:
            self._shift = _shift(np, low, high)
        shift = self._shift[lines]
        rest = matrix - shift if shift.any() else matrix
        if good is not None:
            rest = np.where(good, rest, 0.0)
        total = rest.sum(axis=1)
        self._counts[lines] += count
        self._sums[lines] += total
        self._squares[lines] += np.einsum("ij,ij->i", rest, rest)  # no BLAS: its threads wait for each other
        self._lows[lines] = np.minimum(self._lows[lines], low)
        self._highs[lines] = np.maximum(self._highs[lines], high)

    def _keep_piece(self, np: Any, arrays: list[Any], rows: int) -> None:
        """Rows for the histograms: every so many; of a stream, of every so many batches."""
        stream = self._step is None
        if stream and (self._batches - 1) % self._every:
            return
        step = self._step or (max(1, rows // _SHOWN) if self._batches == 1 and rows < BATCH else BATCH // _PIECE)
        self._pieces.append(np.array([array[::step] for array in arrays], dtype=np.float64) if step > 1 else arrays)
        if stream and len(self._pieces) > _PIECES:
            self._pieces = self._pieces[1::2]
            self._every *= 2

    def result(self) -> dict[str, Any]:
        """As JSON: ``{"rows": …, "columns": {name: {…}}}``, and ``sampled`` if not every row was read."""
        found: dict[str, Any] = {"rows": self.rows, "columns": {}}
        if self._read < self.rows:
            found["sampled"] = self._read
        for field, nulls in zip(self._fields, self._nulls, strict=True):
            found["columns"][str(field.name)] = {"count": self.rows - nulls, "nulls": nulls}
        for i, count in self._categories.items():
            found["columns"][str(self._fields[i].name)]["categories"] = count
        if self._numeric and self._counts.any():
            self._add_numbers(found["columns"])
        return found

    def _add_numbers(self, columns: dict[str, Any]) -> None:
        import numpy as np

        with np.errstate(all="ignore"):
            means = self._sums / self._counts
            spread = np.sqrt(np.maximum(self._squares - self._sums * means, 0.0) / (self._counts - 1))
            means = means + self._shift[:, 0]
            bins = self._histograms(np)
        facts = (self._counts, self._odd, self._lows, self._highs, means, spread, bins)
        lines = zip(*(each.tolist() for each in facts), strict=True)
        for i, (count, odd, low, high, mean, std, histogram) in zip(self._numeric, lines, strict=True):
            field, kind = self._fields[i], self._kinds[i]
            found = columns[str(field.name)]
            if self._read == self.rows and odd > self._nulls[i]:
                found["not_finite"] = odd - self._nulls[i]  # a null was read as NaN
            if low > high:
                continue
            if kind.time:
                found["min"], found["max"] = _time(low, field.type), _time(high, field.type)
            else:
                found["min"], found["max"] = _number(low, kind.whole), _number(high, kind.whole)
                if count:
                    found["mean"] = _number(mean, False)
                if count > 1:
                    found["std"] = _number(std, False)
            found["histogram"] = histogram

    def _histograms(self, np: Any) -> Any:
        """Counts in twenty bins of equal width between min and max, for each numeric column."""
        sample = np.concatenate(self._pieces, axis=1) if len(self._pieces) > 1 else self._pieces[0]
        width = self._highs - self._lows
        scale = np.where((width > 0) & np.isfinite(width), _BINS / width, 0.0)
        place = sample - self._lows[:, None]
        place *= scale[:, None]
        np.clip(place, 0, _BINS - 1, out=place)
        flat = place.astype(np.int32) + np.arange(0, len(sample) * _BINS, _BINS, dtype=np.int32)[:, None]
        flat = flat[np.isfinite(sample)] if self._odd.any() else flat.ravel()
        return np.bincount(flat, minlength=len(sample) * _BINS).reshape(len(sample), _BINS)


def _shift(np: Any, low: Any, high: Any) -> Any:
    """What to subtract before values are squared: the spread of 1,700,000,000 ± 1 would drown in its square."""
    middle = (low + high) / 2
    return np.where(np.abs(middle) > 50 * (high - low), middle, 0.0)[:, None]


def table_statistics(table: Any) -> dict[str, Any]:
    """The statistics of a ``pyarrow.Table`` that is in memory."""
    values = table.num_rows * min(table.num_columns, COLUMNS)
    statistics = Statistics(table.schema, stride=max(1, -(-values // _VALUES)), rows=table.num_rows)
    for batch in table.to_batches(max_chunksize=BATCH):
        statistics.add(batch)
    return statistics.result()


def merge_results(parts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The statistics of all rows from those of parts; histograms, whose bins differ, are left out.

    Means and deviations: Chan, Golub, LeVeque, Updating Formulae and a Pairwise Algorithm, 1979.
    """
    found: dict[str, Any] = {"rows": sum(part["rows"] for part in parts), "columns": {}}
    if any("sampled" in part for part in parts):
        found["sampled"] = sum(part.get("sampled", part["rows"]) for part in parts)
    for name in parts[0]["columns"] if parts else ():
        columns = [part["columns"][name] for part in parts]
        merged = {key: sum(column[key] for column in columns) for key in ("count", "nulls")}
        for key, choose in (("min", min), ("max", max), ("categories", max)):
            known = [column[key] for column in columns if key in column and type(column[key]) is not str]
            texts = [column[key] for column in columns if type(column.get(key)) is str]
            if known or texts:
                merged[key] = choose(known or texts)
        weighted = [(c["count"] - c.get("not_finite", 0), c) for c in columns if type(c.get("mean")) in (int, float)]
        total = sum(count for count, _ in weighted)
        if total:
            mean = merged["mean"] = sum(count * c["mean"] for count, c in weighted) / total
            squares = (_squares(c, count) + count * (c["mean"] - mean) ** 2 for count, c in weighted)
            if total > 1:
                merged["std"] = math.sqrt(sum(squares) / (total - 1))
        found["columns"][name] = merged
    return found


def _squares(column: dict[str, Any], count: int) -> float:
    std = column.get("std", 0.0)
    return (count - 1) * std**2 if isinstance(std, float) else 0.0


class Counting:
    """:func:`table_statistics` of a table that is being written: of a big one, on a thread of its own meanwhile."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._found: dict[str, Any] = {}
        self._thread: Thread | None = None
        if table.num_rows * min(table.num_columns, COLUMNS) > _IN_BACKGROUND:
            self._thread = Thread(target=self._run, name="windsock-statistics", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        # What goes wrong here must not keep anybody from storing the table.
        with suppress(Exception):
            self._found = table_statistics(self._table)

    def result(self) -> dict[str, Any]:
        """``{"statistics": …}``, or nothing if they could not be computed."""
        if self._thread is None:
            self._run()
        else:
            self._thread.join()
        return {"statistics": self._found} if self._found else {}


class _Kind(NamedTuple):
    """How an Arrow array of a type becomes a NumPy array of numbers with NaN for null, None if it is none."""

    reader: Callable[[Any], Any] | None = None
    whole: bool = False
    time: bool = False
    categories: bool = False


@lru_cache(maxsize=256)
def _kind(kind: Any) -> _Kind:
    import pyarrow as pa

    types = pa.types
    if types.is_integer(kind) or types.is_floating(kind):
        return _Kind(lambda array: array.to_numpy(zero_copy_only=False), whole=types.is_integer(kind))
    if types.is_boolean(kind):
        return _Kind(lambda array: array.cast(pa.uint8()).to_numpy(zero_copy_only=False), whole=True)
    if types.is_timestamp(kind) or types.is_date(kind):
        number = pa.int32() if kind.bit_width == 32 else pa.int64()
        return _Kind(lambda array: array.cast(number).to_numpy(zero_copy_only=False), time=True)
    return _Kind(categories=types.is_dictionary(kind))


def _time(value: float, kind: Any) -> str:
    """ISO 8601, in UTC if the column has a time zone; to the second, which is what a double still holds."""
    import numpy as np
    import pyarrow as pa

    unit: Any = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else str(kind.unit)
    moment = np.datetime64(int(value), unit)
    return str(moment.astype("datetime64[D]" if pa.types.is_date(kind) else "datetime64[s]"))


def _number(value: float, whole: bool) -> Any:
    """JSON has no infinity; and beyond 2^53 a double is no exact count."""
    if not math.isfinite(value):
        return str(value)
    return int(value) if whole and abs(value) <= _EXACT else value
