"""The layout of a column, chosen from a sample of the reference: where the edges lie, which levels have a name.

Edges need only be about right, counts are then exact in one full pass. They are quantiles of the *reference*: bins over
reference and current together let one outlier of 1e12 hide any drift, and equal widths do the same on a heavy tail.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from .columns import SMALLEST, CategoricalColumn, Column, NumericColumn, OpaqueColumn
from .kernels import DOMAINS, encode, hash_text, integers, kind_of, numbers, strings

if TYPE_CHECKING:
    import pyarrow as pa
    from numpy.typing import NDArray

QUANTILES = 128
GROUPS = 10
NAMED_LEVELS = 1024
KNOWN_LEVELS = 4096
"""Up to so many distinct values the profile knows each of them, so that an unseen one can be told."""
BUCKETS = 32
ROWS_FOR_A_NAME = 50
SMALL_SET = 256
"""A set of levels this small gets all its names, however rare they are."""
_ENOUGH_NAMES = 200_000


def type_name(arrow: pa.DataType) -> str:
    """The type as people say it: a dictionary is its values, ``large_string`` is ``string``."""
    import pyarrow.types as t

    if t.is_dictionary(arrow):
        return type_name(arrow.value_type)
    return {"large_string": "string", "string_view": "string", "halffloat": "float16"}.get(str(arrow), str(arrow))


def opaque(name: str, arrow: pa.DataType) -> OpaqueColumn:
    return OpaqueColumn(name, "null" if kind_of(arrow) == "null" else "other", type_name(arrow))


# Numbers --------------------------------------------------------------------------------------------------------------


def numeric_layout(name: str, arrow: pa.DataType, sample: NDArray[Any]) -> NumericColumn:
    """Quantiles, plus each atom (a value with more than 1/128 of the mass) and its predecessor: an atom is a cell."""
    kind = kind_of(arrow)
    if sample.dtype.kind == "f":
        sample = sample[np.isfinite(sample)]
    sample = np.sort(sample)
    count = len(sample)
    edges = sample[:0]
    centre: Any = np.zeros(1, DOMAINS[kind])[0]
    if count:
        places = np.unique(np.arange(1, QUANTILES) * count // QUANTILES)
        atoms = _atoms(sample)
        edges = np.unique(np.concatenate((sample[places], atoms, predecessors(atoms))))
        centre = sample[count // 2]
    column = NumericColumn(
        name, kind, type_name(arrow), edges, _groups(sample, edges), centre.item(), np.zeros(len(edges) + 1, np.int64)
    )
    return column.empty(column.arrow_type)


def _atoms(sample: NDArray[Any]) -> NDArray[Any]:
    candidates = np.unique(sample[:: max(1, len(sample) // (2 * QUANTILES))])
    runs = sample.searchsorted(candidates, "right") - sample.searchsorted(candidates, "left")
    atoms: NDArray[Any] = candidates[(runs > len(sample) / QUANTILES) & (runs > 1)]
    return atoms


def predecessors(values: NDArray[Any]) -> NDArray[Any]:
    """The next smaller value of the type; a value that has none is left out."""
    if values.dtype.kind == "f":
        with np.errstate(over="ignore"):
            below = np.nextafter(values, -np.inf)
        found: NDArray[Any] = below[np.isfinite(below)]
    else:
        found = values[values > np.iinfo(values.dtype).min] - values.dtype.type(1)
    return found


def _groups(sample: NDArray[Any], edges: NDArray[Any]) -> NDArray[Any]:
    """Edges that cut the sample into at most ten groups of about a tenth; an atom larger than that is one group."""
    if not len(edges):
        return edges
    below = sample.searchsorted(edges, "right") / len(sample)
    masses = np.diff(below, prepend=0.0, append=1.0)
    cuts: list[int] = []
    mass = 0.0
    tenth = 1.0 / GROUPS
    for i in range(len(edges)):
        mass += masses[i]
        atom_next = masses[i + 1] >= tenth and mass >= 0.2 * tenth
        if (mass >= 0.95 * tenth or atom_next) and len(cuts) < GROUPS - 1:
            cuts.append(i)
            mass = 0.0
    if cuts and 1.0 - below[cuts[-1]] < 0.2 * tenth:
        cuts.pop()
    return edges[cuts]


def with_range(column: NumericColumn) -> NumericColumn:
    """Add the reference's own minimum and maximum as edges, once they are known.

    No row is counted again: nothing lies below the minimum, so its new cell holds what the first cell held.
    """
    if column.minimum is None:
        return column
    ends = np.array([column.minimum, column.maximum], column.edges.dtype)
    edges, counts = column.edges, column.counts
    first = predecessors(ends[:1])
    if len(first) and (not len(edges) or first[0] < edges[0]):
        edges, counts = np.concatenate((first, edges)), np.concatenate(([0], counts))
    if not len(edges) or ends[1] > edges[-1]:
        edges, counts = np.concatenate((edges, ends[1:])), np.concatenate((counts, [0]))
    return replace(column, edges=edges, counts=counts)


# Categories -----------------------------------------------------------------------------------------------------------


def categorical_layout(name: str, arrow: pa.DataType, names: pa.Array, counts: NDArray[np.int64]) -> CategoricalColumn:
    """A first layout for the full pass: the sample's levels, most frequent first; ``settle`` makes the final one."""
    order = np.lexsort((hash_text(names), -counts))[:KNOWN_LEVELS]
    levels = tuple(names.take(integers(order)).to_pylist())
    column = CategoricalColumn(
        name=name,
        kind=kind_of(arrow),
        arrow_type=type_name(arrow),
        levels=levels,
        buckets=BUCKETS,
        complete=False,
        rare=np.empty(0, np.uint32),
        singletons=0,
        group_levels=tuple(range(min(GROUPS - 1, len(levels)))),
        counts=np.zeros(len(levels) + BUCKETS + 1, np.int64),
    )
    return column.empty(column.arrow_type)


def settle(column: CategoricalColumn, seen: tuple[NDArray[np.uint64], NDArray[np.int64]] | None) -> CategoricalColumn:
    """The reference's final layout and counts, from its exact counts of the full pass.

    A level keeps its name with 50 rows or more (naming the *top* levels of a long tail and then comparing them is a
    selection bias that alarms on nothing); a small set keeps all. The rest is counted in hash buckets. ``seen`` are the
    hashes and counts of all distinct values, or None if there are too many to know each.
    """
    hashes = hash_text(strings(column.levels))
    counts = column.counts[: len(column.levels)]
    complete = seen is not None and len(seen[0]) <= KNOWN_LEVELS
    small = complete and seen is not None and len(seen[0]) <= SMALL_SET and len(seen[0]) <= len(column.levels)
    order = np.lexsort((hashes, -counts))
    groups = set(column.group_levels)  # the sample's top nine; their block sums cannot be taken apart again
    keep = [i for i in order if small or counts[i] >= ROWS_FOR_A_NAME or i in groups]
    named = np.array(sorted(keep, key=lambda i: i not in groups)[:NAMED_LEVELS], np.intp)
    folded = np.setdiff1d(np.arange(len(counts)), named)
    rest = column.counts[len(counts) : -1].copy()
    np.add.at(rest, (hashes[folded] % np.uint64(BUCKETS)).astype(np.intp), counts[folded])
    rare = np.empty(0, np.uint32)
    if seen is not None and complete:
        rare = np.unique(np.setdiff1d(seen[0], hashes[named]).astype(np.uint32))
    buckets = 0 if complete and not len(rare) else BUCKETS
    place = {int(old): new for new, old in enumerate(named)}
    return replace(
        column,
        levels=tuple(column.levels[i] for i in named),
        buckets=buckets,
        complete=complete,
        rare=rare,
        singletons=int((seen[1] == 1).sum()) if seen is not None and complete else 0,
        group_levels=tuple(place[old] for old in column.group_levels),
        counts=np.concatenate((counts[named], rest[:buckets], [0])).astype(np.int64),
        smallest=column.smallest[:SMALLEST],
        unseen=0,
        examples={},
    )


def group_map(column: CategoricalColumn) -> NDArray[np.intp]:
    """For each cell the group it belongs to; cells that are no group of their own are the last one."""
    groups = np.full(len(column.counts), len(column.group_levels), np.intp)
    groups[list(column.group_levels)] = np.arange(len(column.group_levels))
    return groups


def layout_for(name: str, arrow: pa.DataType, pieces: list[pa.Array]) -> Column:
    """The layout of one column from sampled pieces of it."""
    kind = kind_of(arrow)
    if kind in DOMAINS:
        values = [numbers(piece, DOMAINS[kind]) for piece in pieces if kind_of(piece.type) in DOMAINS]
        return numeric_layout(name, arrow, np.concatenate(values) if values else np.empty(0, DOMAINS[kind]))
    if kind in {"text", "bool"}:
        return categorical_layout(name, arrow, *_frequencies([p for p in pieces if kind_of(p.type) == kind]))
    return opaque(name, arrow)


def _frequencies(pieces: list[pa.Array]) -> tuple[pa.Array, NDArray[np.int64]]:
    """Distinct values and their counts over the pieces."""
    import pyarrow as pa

    names, counts = strings([]), np.empty(0, np.int64)
    for piece in pieces:
        if len(names) > _ENOUGH_NAMES:
            break
        coded = encode(piece)
        found = np.bincount(coded.codes, minlength=len(coded.values)).astype(np.int64)
        used = np.flatnonzero(found)
        both = pa.concat_arrays([names, coded.values.take(integers(used))]).dictionary_encode()
        weights = np.concatenate((counts, found[used]))
        codes = np.frombuffer(both.indices.buffers()[1], np.int32)[: len(both)]
        names = both.dictionary
        counts = np.bincount(codes, weights, minlength=len(names)).astype(np.int64)
    return names, counts
