"""From Arrow buffers to counts, at memory speed and without pandas.

Counting is *sort a block that fits the cache, then search the edges in it*: 4-6 ns a value for any number of edges, any
shape and any ties, where searching each value in the edges takes 32. numpy 2 sorts with SIMD; numpy 1 takes ten times
longer. Sorting and searching release the interpreter's lock, so threads help.

``pa.Array.to_numpy(zero_copy_only=False)`` and ``pc.fill_null`` import pandas: buffers are read here instead.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa
    from numpy.typing import NDArray

BLOCK = 32_768
"""Values sorted at once: 256 kB, the second-level cache."""

DOMAINS: dict[str, type[np.generic]] = {"float": np.float64, "int": np.int64, "uint": np.uint64, "time": np.int64}
"""The type in which a kind is counted. Integers and times stay exact: floating point is wrong above 2**53."""


def kind_of(arrow: pa.DataType) -> str:
    """``float int uint time bool text null`` or ``other`` (nested, binary: nothing to compare)."""
    import pyarrow as pa
    import pyarrow.types as t

    if isinstance(arrow, pa.BaseExtensionType):
        return kind_of(arrow.storage_type)
    if t.is_dictionary(arrow):
        inner = kind_of(arrow.value_type)
        return "text" if inner in ("text", "int", "uint", "float", "bool", "time") else inner
    tests = (
        ("float", lambda a: t.is_floating(a) or t.is_decimal(a)),
        ("uint", t.is_uint64),
        ("int", t.is_integer),
        ("time", lambda a: t.is_temporal(a) and not t.is_interval(a)),
        ("bool", t.is_boolean),
        ("text", lambda a: t.is_string(a) or t.is_large_string(a) or str(a) == "string_view"),
        ("null", t.is_null),
    )
    return next((kind for kind, test in tests if test(arrow)), "other")


def strings(values: Sequence[str]) -> pa.Array:
    """``pa.array(values, pa.string())``, which would import pandas."""
    import pyarrow as pa

    encoded = [value.encode() for value in values]
    offsets = np.zeros(len(encoded) + 1, np.int32)
    np.cumsum([len(item) for item in encoded], out=offsets[1:])
    return pa.StringArray.from_buffers(len(encoded), pa.py_buffer(offsets), pa.py_buffer(b"".join(encoded)))


def integers(values: NDArray[np.int64]) -> pa.Array:
    """``pa.array(values)``, which would import pandas."""
    import pyarrow as pa

    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(np.ascontiguousarray(values))])


# Numbers --------------------------------------------------------------------------------------------------------------


def numbers(array: pa.Array, domain: type[np.generic]) -> NDArray[Any]:
    """The values that are not null, in ``domain``. Often a view of Arrow's memory: do not write to it."""
    array = _plain(array)
    count = len(array)
    if count == array.null_count:
        return np.empty(0, domain)
    values = np.frombuffer(array.buffers()[1], dtype_of(array.type))[array.offset : array.offset + count]
    if array.null_count:
        values = values[_valid(array)]
    return _in_domain(values, domain)


def dtype_of(arrow: pa.DataType) -> np.dtype[Any]:
    """``arrow.to_pandas_dtype()`` of a float or an integer, which would import pandas (pyarrow 25)."""
    name = str(arrow)
    return np.dtype({"halffloat": "float16", "float": "float32", "double": "float64"}.get(name, name))


def _valid(array: pa.Array) -> NDArray[np.bool_]:
    bits = np.frombuffer(array.buffers()[0], np.uint8)
    first = array.offset
    return np.unpackbits(bits, count=first + len(array), bitorder="little")[first:].view(np.bool_)


def _plain(array: pa.Array) -> pa.Array:
    """A float, integer or time array as one whose second buffer holds numbers; times as int64 microseconds."""
    import pyarrow as pa
    import pyarrow.types as t

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    arrow = array.type
    if t.is_decimal(arrow):
        return array.cast(pa.float64())
    if not t.is_temporal(arrow):
        return array
    if t.is_date(arrow):
        array = array.cast(pa.timestamp("s"))
    elif t.is_time32(arrow):
        array = array.cast(pa.time64("us"))
    arrow = array.type
    whole = array.view(pa.int64())
    factor = {"s": 1_000_000, "ms": 1_000, "us": 1, "ns": None}[arrow.unit]
    if factor == 1:
        return whole
    import pyarrow.compute as pc

    if factor is None:
        return pc.divide(whole, integers(np.array([1000]))[0])
    return pc.multiply(whole, integers(np.array([factor]))[0])


def _in_domain(values: NDArray[Any], domain: type[np.generic]) -> NDArray[Any]:
    """Convert; what does not fit an integer domain is clipped to its end, which is out of any reference's range."""
    if values.dtype == domain:
        return values
    if domain is np.int64 and values.dtype == np.uint64:
        values = np.minimum(values, np.uint64(2**63 - 1))
    elif domain is np.uint64 and values.dtype.kind == "i":
        values = np.maximum(values, 0)
    converted: NDArray[Any] = values.astype(domain)
    return converted


@dataclass
class NumericCounts:
    """What one pass over some values leaves. ``counts`` has one cell more than there are edges."""

    counts: NDArray[np.int64]
    nans: int
    neg_inf: int
    pos_inf: int
    minimum: Any
    maximum: Any
    total: float
    squares: float
    """Σ(x - centre) and Σ(x - centre)² over the finite values."""
    blocks: NDArray[np.int64]
    """``block_sums`` of the groups and then of their cumulative counts."""


def count_numbers(
    values: NDArray[Any], edges: NDArray[Any], groups: NDArray[np.intp], centre: Any, block_rows: int
) -> NumericCounts:
    """Count ``values`` into the cells ``x <= edges[0]``, ``edges[0] < x <= edges[1]``, …, ``x > edges[-1]``.

    ``edges`` are sorted. They have the type of the values, or are floats when floats are counted against integer
    edges. ``groups`` are the positions of the edges that bound the groups of the design effect; a statistical block
    is ``block_rows`` consecutive rows. ``centre`` has the type of the values.
    """
    floats = values.dtype.kind == "f"
    cuts = edges.astype(np.float64) if floats else edges
    if floats:
        limit = np.finfo(np.float64).max
        cuts = np.concatenate(([-np.inf], cuts, [limit, np.inf]))
    room = np.empty(min(BLOCK, len(values), block_rows), values.dtype)
    out = _Running(len(edges), len(groups), room)
    at = groups + 1 if floats else groups
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(values), block_rows):
            out.block(values[start : start + block_rows], cuts, at, centre, floats)
    return out.done()


class _Running:
    def __init__(self, edges: int, groups: int, room: NDArray[Any]) -> None:
        self.room = room
        self.cumulated = np.zeros(edges + 1, np.int64)
        self.nans = self.low = self.high = 0
        self.minimum: Any = None
        self.maximum: Any = None
        self.total = self.squares = 0.0
        self.sums = np.zeros((2 * groups + 2, 3), np.int64)

    def block(self, values: NDArray[Any], cuts: NDArray[Any], at: NDArray[np.intp], centre: Any, floats: bool) -> None:
        grouped = np.zeros(len(at) + 1, np.int64)
        finite = 0
        for start in range(0, len(values), BLOCK):
            part = values[start : start + BLOCK]
            piece = self.room[: len(part)]
            piece[:] = part
            piece.sort()
            below = piece.searchsorted(cuts, "right")
            low, high = (int(below[0]), int(below[-2])) if floats else (0, len(piece))
            if floats:
                self.low += low
                self.high += int(below[-1]) - high
                self.nans += len(piece) - int(below[-1])
            grouped[:-1] += below[at] - low
            finite += high - low
            self.cumulated[:-1] += (below[1:-2] if floats else below) - low
            if high > low:
                self._moments(piece[low:high], centre)
        self.cumulated[-1] += finite
        if finite:
            sizes = grouped.copy()
            sizes[-1] = finite
            sizes[1:] -= grouped[:-1]
            self.sums += block_sums(np.concatenate((sizes, grouped[:-1])), finite)

    def _moments(self, piece: NDArray[Any], centre: Any) -> None:
        first, last = piece[0].item(), piece[-1].item()
        self.minimum = first if self.minimum is None else min(self.minimum, first)
        self.maximum = last if self.maximum is None else max(self.maximum, last)
        offset = np.subtract(piece, centre, out=piece) if piece.dtype.kind == "f" else differences(piece, centre)
        self.total += float(np.add.reduce(offset))
        # Not `offset @ offset`: that starts OpenBLAS threads.
        self.squares += float(np.einsum("i,i", offset, offset))

    def done(self) -> NumericCounts:
        counts = np.diff(self.cumulated, prepend=0)
        extremes = self.minimum, self.maximum
        return NumericCounts(counts, self.nans, self.low, self.high, *extremes, self.total, self.squares, self.sums)


def differences(values: NDArray[Any], centre: Any) -> NDArray[np.float64]:
    """``values - centre`` as floats. Integers are subtracted as integers, unless the difference could overflow."""
    if values.dtype.kind == "f":
        result: NDArray[np.float64] = values - centre
        return result
    low, high = int(values[0]) - int(centre), int(values[-1]) - int(centre)
    if low >= -(2**63) and high < 2**63:
        # The difference fits, so it is right even where uint64 wraps.
        wide: NDArray[Any] = values - values.dtype.type(centre)
        return wide.view(np.int64).astype(np.float64)
    return values.astype(np.float64) - float(centre)


def block_sums(sizes: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
    """One block's share of the sums that give the design effect: integers, so that merging is exact.

    Row 0 is ``(1, m, m²)``, then for each group ``(h, h², m·h)``: ``m`` rows in the block, ``h`` in the group.
    """
    sums = np.zeros((len(sizes) + 1, 3), np.int64)
    sums[0] = 1, rows, rows * rows
    sums[1:, 0] = sizes
    sums[1:, 1] = sizes * sizes
    sums[1:, 2] = sizes * rows
    return sums


# Categories -----------------------------------------------------------------------------------------------------------


@dataclass
class Codes:
    """Text as positions in its distinct values. ``codes`` holds only the rows that are not null, in their order."""

    codes: NDArray[Any]
    values: pa.Array
    nulls: int


def encode(array: pa.Array) -> Codes:
    """Dictionary-encode text, booleans and dictionaries; the distinct values come as ``pa.string()``."""
    import pyarrow as pa
    import pyarrow.types as t

    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    if t.is_null(array.type):
        return Codes(np.empty(0, np.int64), strings([]), len(array))
    if t.is_boolean(array.type):
        array = pa.DictionaryArray.from_arrays(array.cast(pa.int8()), strings(["false", "true"]))
    elif not t.is_dictionary(array.type):
        array = array.cast(pa.string()) if str(array.type) == "string_view" else array
        array = array.dictionary_encode()
    values = array.dictionary
    if values.type != pa.string():
        values = values.cast(pa.string())
    codes = numbers(array.indices, dtype_of(array.indices.type).type)
    nulls = array.indices.null_count
    if values.null_count:
        missing = ~_valid(values)
        present = ~missing[codes]
        nulls += int(len(codes) - present.sum())
        codes = codes[present]
    return Codes(codes, values, nulls)


_M1, _M2, _SEED = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB), np.uint64(0x9E3779B97F4A7C15)
_MASKS = np.array([2 ** (8 * n) - 1 for n in range(9)], np.uint64)
_LONGEST = 256


def hash_text(values: pa.Array) -> NDArray[np.uint64]:
    """A stable 64-bit hash of each string: the same on every machine and in every version.

    Eight bytes a step, little-endian, mixed by the finalizer of splitmix64 (Steele, Lea, Flood 2014), vectorised over
    the strings. Only the first 256 bytes and the length count. Not for security.
    """
    count = len(values)
    if not count:
        return np.empty(0, np.uint64)
    _, offsets_buffer, data = values.buffers()
    offsets = np.frombuffer(offsets_buffer, np.int32)[values.offset : values.offset + count + 1].astype(np.int64)
    raw = np.frombuffer(data, np.uint8)[offsets[0] : offsets[-1]] if data is not None else np.empty(0, np.uint8)
    padded = np.concatenate((raw, np.zeros(8, np.uint8)))
    words: NDArray[np.uint64] = np.ndarray((len(raw) + 1,), "<u8", padded, 0, (1,))
    starts, lengths = offsets[:-1] - offsets[0], np.diff(offsets)
    hashed = _mix(lengths.astype(np.uint64) + _SEED)
    for at in range(0, min(int(lengths.max()), _LONGEST), 8):
        longer = lengths > at
        live = slice(None) if longer.all() else np.flatnonzero(longer)
        word = words[starts[live] + at] & _MASKS[np.minimum(lengths[live] - at, 8)]
        hashed[live] = _mix((hashed[live] ^ word) + _SEED)
    return hashed


def smallest(hashes: NDArray[np.uint64], wanted: int) -> NDArray[np.uint64]:
    """The ``wanted`` smallest of distinct hashes, sorted."""
    if len(hashes) > wanted:
        hashes = np.partition(hashes, wanted)[:wanted]
    return np.sort(hashes)


def _mix(x: NDArray[np.uint64]) -> NDArray[np.uint64]:
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * _M1
        x = (x ^ (x >> np.uint64(27))) * _M2
        x ^= x >> np.uint64(31)
    return x
