"""Count one piece of a column against its layout, and add the pieces up."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import EXAMPLES, SMALLEST, CategoricalColumn, Column, NumericColumn, OpaqueColumn
from .kernels import Codes, block_sums, count_numbers, encode, hash_text, integers, kind_of, numbers, smallest, strings
from .layouts import KNOWN_LEVELS, group_map, type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pyarrow as pa
    from numpy.typing import NDArray

Seen = tuple["NDArray[np.uint64]", "NDArray[np.int64]"]

_NUMBERS = {"float", "int", "uint"}


def comparable(reference: str, current: str) -> bool:
    """Whether values of these kinds can be compared: numbers with numbers, a kind with itself, nulls with anything."""
    return current in {reference, "null"} or {reference, current} <= _NUMBERS


@dataclass
class Part:
    """One column of one chunk: the counts as a column, and what only a reference needs."""

    column: Column
    seen: Seen | None = None


def count(layout: Column, pieces: Iterator[pa.Array], *, block_rows: int, learn: bool = False) -> Part:
    """Count the pieces of one chunk. A piece of another type makes the part opaque: it is never guessed at.

    ``learn`` also returns all distinct values of a category (hashes and counts), for a reference.
    """
    total: Part | None = None
    for piece in pieces:
        part = _count(layout, piece, block_rows, learn)
        total = part if total is None else add(total, part)
    return total or Part(_nothing(layout))


def _nothing(layout: Column) -> Column:
    return layout if isinstance(layout, OpaqueColumn) else layout.empty(layout.arrow_type)


def _count(layout: Column, array: pa.Array, block_rows: int, learn: bool) -> Part:
    kind = kind_of(array.type)
    if isinstance(layout, OpaqueColumn):
        return Part(replace(layout, arrow_type=type_name(array.type), rows=len(array), nulls=array.null_count))
    # A category of numbers (a pandas `category` of int) is text here, and plain numbers elsewhere.
    coded = layout.kind == "text" and kind in _NUMBERS and layout.arrow_type.split(" | ")[0] != "string"
    if not comparable(layout.kind, kind) and not coded:
        return Part(OpaqueColumn(layout.name, "retyped", type_name(array.type), len(array), array.null_count))
    if kind == "null":
        empty = replace(layout.empty(layout.arrow_type), rows=len(array), nulls=len(array))
        return Part(empty, _NOTHING_SEEN if learn else None)
    if isinstance(layout, NumericColumn):
        return Part(_count_numeric(layout, array, kind, block_rows))
    return _count_categorical(layout, array, block_rows, learn)


_NOTHING_SEEN: Seen = (np.empty(0, np.uint64), np.empty(0, np.int64))


def _count_numeric(layout: NumericColumn, array: pa.Array, kind: str, block_rows: int) -> NumericColumn:
    # Floats against integer edges are compared as floats; integers against float edges too.
    domain = np.float64 if kind == "float" or layout.edges.dtype.kind == "f" else layout.edges.dtype.type
    values = numbers(array, domain)
    found = count_numbers(values, layout.edges, layout.groups, domain(layout.centre), block_rows)
    return replace(
        layout,
        arrow_type=type_name(array.type),
        counts=found.counts,
        rows=len(array),
        nulls=len(array) - len(values),
        nans=found.nans,
        neg_inf=found.neg_inf,
        pos_inf=found.pos_inf,
        minimum=found.minimum,
        maximum=found.maximum,
        total=found.total,
        squares=found.squares,
        blocks=found.blocks,
    )


def _count_categorical(layout: CategoricalColumn, array: pa.Array, block_rows: int, learn: bool) -> Part:
    coded = encode(array)
    hashes = hash_text(coded.values)
    cells, strange = _cells(layout, coded.values, hashes)
    used, blocks = _count_codes(coded, group_map(layout)[cells], len(layout.group_levels) + 1, block_rows)
    counts = np.bincount(cells, used, minlength=len(layout.counts)).astype(np.int64)
    there = np.flatnonzero(used)
    column = replace(
        layout,
        arrow_type=type_name(array.type),
        singletons=0,
        counts=counts,
        rows=len(array),
        nulls=coded.nulls,
        unseen=int(used[strange].sum()),
        smallest=smallest(hashes[there], SMALLEST),
        examples=_examples(coded, strange[used[strange] > 0], hashes, used),
        blocks=blocks,
    )
    return Part(column, (hashes[there], used[there]) if learn else None)


def _cells(
    layout: CategoricalColumn, values: pa.Array, hashes: NDArray[np.uint64]
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The cell of each distinct value: its name's, else its hash bucket's, else the last; and the unseen values."""
    import pyarrow.compute as pc

    place = pc.index_in(values, value_set=strings(layout.levels))
    cells = np.frombuffer(place.buffers()[1], np.int32)[: len(values)].astype(np.intp)
    if not place.null_count:
        return cells, np.empty(0, np.intp)
    bits = np.frombuffer(place.buffers()[0], np.uint8)
    other = np.flatnonzero(np.unpackbits(bits, count=len(values), bitorder="little") == 0)
    if layout.buckets:
        cells[other] = len(layout.levels) + (hashes[other] % np.uint64(layout.buckets)).astype(np.intp)
    else:
        cells[other] = len(layout.counts) - 1
    if not layout.complete:
        return cells, np.empty(0, np.intp)
    return cells, other[~np.isin(hashes[other].astype(np.uint32), layout.rare)]


def _count_codes(
    coded: Codes, groups: NDArray[np.intp], group_count: int, block_rows: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """How often each distinct value occurs, and the block sums. ``groups`` is each distinct value's group."""
    distinct = len(coded.values)
    used = np.zeros(distinct, np.int64)
    blocks = np.zeros((group_count + 1, 3), np.int64)
    few = distinct <= _FEW
    small_groups = groups.astype(np.uint8)
    if not few:
        used += np.bincount(coded.codes, minlength=distinct)
    for start in range(0, len(coded.codes), block_rows):
        piece = coded.codes[start : start + block_rows]
        if few:
            found = np.bincount(piece, minlength=distinct)
            used += found
            sizes = np.bincount(groups, found, minlength=group_count).astype(np.int64)
        else:
            sizes = np.bincount(small_groups[piece], minlength=group_count).astype(np.int64)
        blocks += block_sums(sizes, len(piece))
    return used, blocks


_FEW = 2048


def _examples(
    coded: Codes, unseen: NDArray[np.intp], hashes: NDArray[np.uint64], used: NDArray[np.int64]
) -> dict[str, int]:
    few = unseen[np.argsort(hashes[unseen], kind="stable")[:EXAMPLES]]
    names = coded.values.take(integers(few)).to_pylist() if len(few) else []
    return {name: int(used[i]) for name, i in sorted(zip(names, few, strict=True))}


# Adding up ------------------------------------------------------------------------------------------------------------


def add(first: Part, second: Part) -> Part:
    return Part(first.column.merge(second.column), _add_seen(first.seen, second.seen))


def _add_seen(first: Seen | None, second: Seen | None) -> Seen | None:
    if first is None or second is None:
        return None
    hashes, places = np.unique(np.concatenate((first[0], second[0])), return_inverse=True)
    counts = np.bincount(places, np.concatenate((first[1], second[1])), minlength=len(hashes)).astype(np.int64)
    return hashes, counts


@dataclass
class Tally:
    """The parts of one column, added up as they come; the float sums are added in the order of the chunks.

    ``keep`` keeps each part, for ``scan="auto"``, which looks at how the parts differ.
    """

    layout: Column
    keep: bool = False
    parts: dict[int, Column] = field(default_factory=dict)
    _total: Part | None = None
    _moments: dict[int, tuple[float, float]] = field(default_factory=dict)
    _overflow: bool = False

    def put(self, index: int, part: Part) -> None:
        if isinstance(part.column, NumericColumn):
            self._moments[index] = part.column.total, part.column.squares
        if self.keep:
            self.parts[index] = part.column
        if part.seen is not None and (self._overflow or len(part.seen[0]) > KNOWN_LEVELS):
            self._overflow, part = True, Part(part.column)
        self._total = part if self._total is None else add(self._total, part)
        seen = self._total.seen
        if seen is not None and len(seen[0]) > KNOWN_LEVELS:
            self._overflow, self._total = True, Part(self._total.column)

    def done(self) -> Part:
        """The whole column. The order in which threads finished does not show: ``fsum`` rounds once."""
        total = self._total or Part(_nothing(self.layout))
        if isinstance(total.column, NumericColumn) and self._moments:
            sums, squares = zip(*self._moments.values(), strict=True)
            total = Part(replace(total.column, total=_fsum(sums), squares=_fsum(squares)), total.seen)
        return total


def _fsum(values: tuple[Any, ...]) -> float:
    try:
        return math.fsum(values)
    except (OverflowError, ValueError):
        return math.nan
