"""What is in the columns of a table, counted while it is written: for people, and for whoever compares versions.

Each column gets ``count`` and ``nulls``; numbers get ``min``, ``max``, ``mean``, ``std`` and a histogram of 20 bins;
times get ``min`` and ``max``; categories how many there are. Values that are no number or infinite are counted
(``not_finite``) and left out. The bins are those of some thousand rows spread over the table.

It must cost next to nothing beside writing: a block of rows at a time is copied into a matrix that stays in the
processor's cache, and all numeric columns are summed up at once. Tables with more than some million values are read
in evenly spread blocks, and ``sampled`` says how many rows that were. What it does not do: quantiles, distinct values,
text.
"""

from __future__ import annotations

import math
from contextlib import suppress
from threading import Thread
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

COLUMNS = 100
"""Columns that are looked at: a wide table's statistics must not outgrow its other metadata."""
_VALUES = 1 << 23
"""More values than this are sampled."""
_IN_BACKGROUND = 1 << 20
_BLOCK = 1 << 16
_LONG = 1 << 13
_BINS = 20
_PIECE = 512
_PIECES = 16
_EXACT = 1 << 53


class Statistics:
    """The statistics of batches of one schema, added one after the other. Not thread-safe.

    ``stride`` reads one block of that many; null counts and rows are exact all the same.
    """

    def __init__(self, schema: Any, stride: int = 1) -> None:
        import numpy as np

        self._fields = [schema.field(i) for i in range(min(len(schema), COLUMNS))]
        self._readers = [_reader(field.type) for field in self._fields]
        self._numeric = [i for i, reader in enumerate(self._readers) if reader is not None]
        self._stride = stride
        count = len(self._numeric)
        self.rows = 0
        self._read = 0
        self._nulls = [0] * len(self._fields)
        self._categories: dict[int, int] = {}
        self._shift: Any = None
        self._lows, self._highs = np.full(count, math.inf), np.full(count, -math.inf)
        self._counts, self._odd = np.zeros(count, np.int64), np.zeros(count, np.int64)
        self._sums, self._squares = np.zeros(count), np.zeros(count)
        self._pieces: list[Any] = []
        self._seen, self._every = 0, 1

    def add(self, batch: Any) -> None:
        """Take in a ``RecordBatch``."""
        rows = batch.num_rows
        self.rows += rows
        columns = batch.columns[: len(self._fields)]
        for i, column in enumerate(columns):
            self._nulls[i] += column.null_count
            if hasattr(column, "dictionary"):
                self._categories[i] = max(self._categories.get(i, 0), len(column.dictionary))
        if not rows or not self._numeric:
            self._read += rows
            return
        import numpy as np

        arrays = [self._readers[i](columns[i]) for i in self._numeric]  # type: ignore[misc]  # numeric: has a reader
        self._keep_piece(np, arrays, rows)
        with np.errstate(all="ignore"):
            if self._shift is None:
                self._shift = _shift(np, np.array([array[:_PIECE] for array in arrays], dtype=np.float64))
            if rows >= _LONG:
                self._add_long(np, arrays, rows)
            else:
                self._read += rows
                self._block(np, np.array(arrays, dtype=np.float64), slice(None))

    def _add_long(self, np: Any, arrays: list[Any], rows: int) -> None:
        """Column by column, in blocks that stay in the processor's cache, without a copy where that is possible."""
        for start in range(0, rows, _BLOCK * self._stride):
            stop = min(start + _BLOCK, rows)
            self._read += stop - start
            for i, array in enumerate(arrays):
                block = np.asarray(array[start:stop], dtype=np.float64)
                self._block(np, block.reshape(1, -1), slice(i, i + 1))

    def _block(self, np: Any, matrix: Any, lines: slice) -> None:
        """Sum up a matrix of some of the numeric columns, one a line."""
        low, high = matrix.min(axis=1), matrix.max(axis=1)
        count: Any = matrix.shape[1]
        shift = self._shift[lines]
        rest = matrix - shift if shift.any() else matrix
        total = rest.sum(axis=1)
        if not np.isfinite(total).all():
            good = np.isfinite(matrix)
            count = good.sum(axis=1)
            self._odd[lines] += (~good).sum(axis=1)
            low, high = np.where(good, matrix, math.inf).min(axis=1), np.where(good, matrix, -math.inf).max(axis=1)
            rest = np.where(good, rest, 0.0)
            total = rest.sum(axis=1)
        self._counts[lines] += count
        self._sums[lines] += total
        self._squares[lines] += np.einsum("ij,ij->i", rest, rest)  # no BLAS: its threads wait for each other
        self._lows[lines] = np.minimum(self._lows[lines], low)
        self._highs[lines] = np.maximum(self._highs[lines], high)

    def _keep_piece(self, np: Any, arrays: list[Any], rows: int) -> None:
        """A few rows of every so many batches, never more than sixteen pieces."""
        self._seen += 1
        if self._seen % self._every:
            return
        step = -(-rows // _PIECE)
        self._pieces.append(np.array([array[::step] for array in arrays], dtype=np.float64))
        if len(self._pieces) > _PIECES:
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
            field, found = self._fields[i], columns[str(self._fields[i].name)]
            if self._read == self.rows and odd > self._nulls[i]:
                found["not_finite"] = odd - self._nulls[i]  # a null was read as NaN
            if not count:
                continue
            if _is_time(field.type):
                found.update(min=_time(low, field.type), max=_time(high, field.type))
            else:
                whole = not _is_float(field.type)
                found.update(min=_number(low, whole), max=_number(high, whole), mean=_number(mean, False))
                if count > 1:
                    found["std"] = _number(std, False)
            found["histogram"] = histogram

    def _histograms(self, np: Any) -> Any:
        """Counts in twenty bins of equal width between min and max, for each numeric column."""
        sample = np.concatenate(self._pieces, axis=1) if len(self._pieces) > 1 else self._pieces[0]
        width = self._highs - self._lows
        scale = np.where((width > 0) & np.isfinite(width), _BINS / width, 0.0)
        place = (sample - self._lows[:, None]) * scale[:, None]
        good = ~np.isnan(place)
        place = np.where(good, np.clip(place, 0, _BINS - 1), 0.0).astype(np.intp)
        lines = np.arange(len(sample))[:, None]
        flat = (place + lines * _BINS)[good]
        return np.bincount(flat, minlength=len(sample) * _BINS).reshape(len(sample), _BINS)


def _shift(np: Any, matrix: Any) -> Any:
    """What to subtract before values are squared: the spread of 1,700,000,000 ± 1 would drown in its square."""
    good = np.isfinite(matrix)
    count = np.maximum(good.sum(axis=1, keepdims=True), 1)
    known = np.where(good, matrix, 0.0)
    means = known.sum(axis=1, keepdims=True) / count
    spread = np.sqrt((np.where(good, known - means, 0.0) ** 2).sum(axis=1, keepdims=True) / count)
    return np.where(np.abs(means) > 1000 * spread, means, 0.0)


def table_statistics(table: Any) -> dict[str, Any]:
    """The statistics of a ``pyarrow.Table`` that is in memory."""
    values = table.num_rows * min(table.num_columns, COLUMNS)
    statistics = Statistics(table.schema, stride=max(1, -(-values // _VALUES)))
    for batch in table.to_batches(max_chunksize=1 << 16):
        statistics.add(batch)
    return statistics.result()


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


def _reader(kind: Any) -> Callable[[Any], Any] | None:
    """How an Arrow array of this type becomes a NumPy array of numbers, NaN for null; None if it is none."""
    import pyarrow as pa

    types = pa.types
    if types.is_integer(kind) or types.is_floating(kind):
        return lambda array: array.to_numpy(zero_copy_only=False)
    if types.is_boolean(kind):
        return lambda array: array.cast(pa.uint8()).to_numpy(zero_copy_only=False)
    if _is_time(kind):
        whole = pa.int32() if kind.bit_width == 32 else pa.int64()
        return lambda array: array.cast(whole).to_numpy(zero_copy_only=False)
    return None


def _is_float(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_floating(kind))


def _is_time(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_timestamp(kind) or pa.types.is_date(kind))


def _time(value: float, kind: Any) -> str:
    """ISO 8601, in UTC if the column has a time zone; to the second, which is what a double still holds."""
    import numpy as np
    import pyarrow as pa

    unit = "D" if pa.types.is_date32(kind) else "ms" if pa.types.is_date64(kind) else str(kind.unit)
    moment = np.datetime64(int(value), unit)
    return str(moment.astype("datetime64[D]" if pa.types.is_date(kind) else "datetime64[s]"))


def _number(value: float, whole: bool) -> Any:
    """JSON has no infinity; and beyond 2^53 a double is no exact count."""
    if not math.isfinite(value):
        return str(value)
    return int(value) if whole and abs(value) <= _EXACT else value
