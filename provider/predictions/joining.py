"""Finding the true value of each prediction: two lists of request ids, ten million rows in a few seconds.

A merge of sorted numbers instead of a hash table. Each number holds a hash of an id in its upper bits and the row in
its lower ones, so that plain sorting (which NumPy does with SIMD instructions) carries the rows along, and searching
for sorted numbers walks through memory in order. Every match is compared with the whole ids: the result is exact.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
_SHIFT = np.uint64(29)


_SLICE = 1 << 20
"""Rows that are compared at a time, so that what is in between stays small."""


def ids_of(array: Any) -> NDArray[np.uint64]:
    """Request ids of an Arrow array (``fixed_size_binary(16)``, no nulls) as a view of shape (rows, 2)."""
    data = array.buffers()[1]
    words = np.frombuffer(data, np.uint64) if data is not None else np.empty(0, np.uint64)
    return words.reshape(-1, 2)[array.offset : array.offset + len(array)]


def match_ids(wanted: NDArray[np.uint64], known: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Rows of ``wanted`` (n, 2) that have an equal row in ``known`` (m, 2), and which one: the last, where several are.

    Two arrays of the same length; the first has no value twice. In no promised order.
    """
    if not len(wanted) or not len(known):
        return np.empty(0, np.intp), np.empty(0, np.intp)
    bits = np.uint64(max(len(wanted), len(known)).bit_length())
    rows = (np.uint64(1) << bits) - np.uint64(1)
    asked, stored = _sorted(wanted, bits, rows), _sorted(known, bits, rows)
    lefts, rights, others = [], [], []
    for start in range(0, len(asked), _SLICE):
        part = asked[start : start + _SLICE]
        # Of rows with one hash the last is found, because the number with the greatest row is the greatest.
        place = np.searchsorted(stored, part | rows, "right") - 1
        found = stored[np.maximum(place, 0)]
        hit = (found ^ part) <= rows  # the same hash
        left, right = (part[hit] & rows).astype(np.intp), (found[hit] & rows).astype(np.intp)
        ours, theirs = _taken(wanted, left), _taken(known, right)
        same = (ours[:, 0] == theirs[:, 0]) & (ours[:, 1] == theirs[:, 1])
        if not same.all():
            others.append(left[~same])
            left, right = left[same], right[same]
        lefts.append(left)
        rights.append(right)
    del asked, stored
    if others:
        left, right = _look_up(wanted, np.concatenate(others), known, rows)
        lefts.append(left)
        rights.append(right)
    return np.concatenate(lefts), np.concatenate(rights)


def _sorted(ids: NDArray[np.uint64], bits: np.uint64, rows: np.uint64) -> NDArray[np.uint64]:
    """Hash above, row below, sorted."""
    numbers = _hash(ids)
    numbers &= ~rows
    numbers |= np.arange(len(ids), dtype=np.uint64)
    numbers.sort()
    return numbers


def _hash(ids: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """64 bits of all sixteen bytes; the upper ones are good."""
    with np.errstate(over="ignore"):
        key: NDArray[np.uint64] = ids[:, 0] * _MULTIPLIER
        key ^= key >> _SHIFT
        key += ids[:, 1]
        key *= _MULTIPLIER
    return key


def _taken(ids: NDArray[np.uint64], rows: NDArray[np.intp]) -> NDArray[np.uint64]:
    """``ids[rows]``, several times as fast: NumPy takes single items of sixteen bytes faster than pairs."""
    pairs = np.ascontiguousarray(ids).view(np.complex128)[:, 0]
    taken: NDArray[np.uint64] = pairs[rows].view(np.uint64).reshape(-1, 2)
    return taken


def _look_up(
    wanted: NDArray[np.uint64], some: NDArray[np.intp], known: NDArray[np.uint64], rows: np.uint64
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """The same for few rows, whose hashes are those of other ids, too."""
    hashes = np.unique(_hash(wanted[some]) & ~rows)
    candidates = np.flatnonzero(np.isin(_hash(known) & ~rows, hashes))
    table = {known[row].tobytes(): row for row in candidates.tolist()}
    hits = [(row, table[id_]) for row in some.tolist() if (id_ := wanted[row].tobytes()) in table]
    pairs = np.array(hits, np.intp).reshape(-1, 2)
    return pairs[:, 0], pairs[:, 1]
