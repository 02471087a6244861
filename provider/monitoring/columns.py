"""What a profile holds of one column: its layout (fixed by the reference) and its counts (of any window).

Counts are integers, so merging windows is addition: in any order, with any grouping, the same result. Only the two
sums behind mean and variance are floats.
"""

from __future__ import annotations

import base64
import math
from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .kernels import DOMAINS, hash_text, strings

if TYPE_CHECKING:
    from collections.abc import Iterable

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class OpaqueColumn:
    """A column of which only rows and nulls are known, and why: nested, binary, absent, of another type, all null."""

    name: str
    kind: str
    """``null`` (typeless: every value is null), ``other`` (a type with nothing to compare), ``absent``, ``retyped``."""
    arrow_type: str
    rows: int = 0
    nulls: int = 0

    @property
    def missing(self) -> int:
        return self.nulls

    def layout(self) -> list[Any]:
        return [self.name, self.kind]

    def merge(self, *others: Column) -> OpaqueColumn:
        parts = [self, *others]
        return replace(
            self,
            kind=max(part.kind for part in parts if isinstance(part, OpaqueColumn)),
            arrow_type=merged_types(part.arrow_type for part in parts),
            rows=sum(part.rows for part in parts),
            nulls=sum(part.missing for part in parts),
        )

    def to_dict(self) -> dict[str, Any]:
        return {"is": "opaque", "kind": self.kind, "type": self.arrow_type, "rows": self.rows, "nulls": self.nulls}

    @classmethod
    def from_dict(cls, name: str, data: dict[str, Any]) -> OpaqueColumn:
        return cls(name, data["kind"], data["type"], data["rows"], data["nulls"])


@dataclass(frozen=True)
class NumericColumn:
    """Numbers or times: counts between edges, moments, and the block sums of the design effect.

    ``counts[i]`` are the values ``edges[i-1] < x <= edges[i]``; the first cell is below the reference's range, the
    last one above it, so a reference has 0 in both.
    """

    name: str
    kind: str
    arrow_type: str
    edges: NDArray[Any]
    group_edges: NDArray[Any]
    """The edges that bound the (at most ten) groups of PSI, χ² and the design effect."""
    centre: Any
    """Where the moments are taken about: the reference's median, so that a large offset costs no precision."""
    counts: Ints
    rows: int = 0
    nulls: int = 0
    nans: int = 0
    neg_inf: int = 0
    pos_inf: int = 0
    minimum: Any = None
    maximum: Any = None
    total: float = 0.0
    squares: float = 0.0
    blocks: Ints = field(default_factory=lambda: np.zeros((2, 3), np.int64))

    @property
    def missing(self) -> int:
        return self.nulls + self.nans

    @property
    def infinite(self) -> int:
        return self.neg_inf + self.pos_inf

    @cached_property
    def present(self) -> int:
        """Rows with a finite value."""
        return int(self.counts.sum())

    @property
    def groups(self) -> NDArray[np.intp]:
        return np.searchsorted(self.edges, self.group_edges)

    @property
    def mean_offset(self) -> float:
        """Mean minus ``centre``."""
        return self.total / n if (n := self.present) else math.nan

    @property
    def mean(self) -> float:
        return float(self.centre) + self.mean_offset

    @cached_property
    def sd(self) -> float:
        """Standard deviation (n - 1)."""
        n = self.present
        if n < 2:
            return math.nan
        return math.sqrt(max(self.squares - self.total * self.total / n, 0.0) / (n - 1))

    def layout(self) -> list[Any]:
        return [self.name, self.kind, self.edges.tolist(), self.group_edges.tolist(), self.centre]

    def empty(self, arrow_type: str) -> NumericColumn:
        """The same layout with nothing counted."""
        return NumericColumn(
            self.name,
            self.kind,
            arrow_type,
            self.edges,
            self.group_edges,
            self.centre,
            np.zeros(len(self.edges) + 1, np.int64),
            blocks=np.zeros((2 * len(self.group_edges) + 2, 3), np.int64),
        )

    def merge(self, *others: Column) -> Column:
        if strange := [other for other in others if isinstance(other, OpaqueColumn)]:
            return strange[0].merge(self, *(other for other in others if other is not strange[0]))
        parts: list[NumericColumn] = [self, *others]  # type: ignore[list-item]
        least = [part.minimum for part in parts if part.minimum is not None]
        most = [part.maximum for part in parts if part.maximum is not None]
        return NumericColumn(
            self.name,
            self.kind,
            merged_types(part.arrow_type for part in parts),
            self.edges,
            self.group_edges,
            self.centre,
            _sum([part.counts for part in parts]),
            sum([part.rows for part in parts]),
            sum([part.nulls for part in parts]),
            sum([part.nans for part in parts]),
            sum([part.neg_inf for part in parts]),
            sum([part.pos_inf for part in parts]),
            min(least, default=None),
            max(most, default=None),
            sum([part.total for part in parts]),
            sum([part.squares for part in parts]),
            _sum([part.blocks for part in parts]),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "is": "numeric",
            "kind": self.kind,
            "type": self.arrow_type,
            "edges": self.edges.tolist(),
            "groups": self.groups.tolist(),
            "centre": self.centre,
            "counts": self.counts.tolist(),
            "rows": self.rows,
            "nulls": self.nulls,
            "nans": self.nans,
            "neg_inf": self.neg_inf,
            "pos_inf": self.pos_inf,
            "min": self.minimum,
            "max": self.maximum,
            "total": finite(self.total),
            "squares": finite(self.squares),
            "blocks": self.blocks.tolist(),
        }

    @classmethod
    def from_dict(cls, name: str, data: dict[str, Any]) -> NumericColumn:
        edges = np.array(data["edges"], DOMAINS[data["kind"]])
        return cls(
            name,
            data["kind"],
            data["type"],
            edges,
            edges[np.array(data["groups"], np.intp)],
            data["centre"],
            np.array(data["counts"], np.int64),
            data["rows"],
            data["nulls"],
            data["nans"],
            data["neg_inf"],
            data["pos_inf"],
            data["min"],
            data["max"],
            math.nan if data["total"] is None else data["total"],
            math.nan if data["squares"] is None else data["squares"],
            np.array(data["blocks"], np.int64),
        )


@dataclass(frozen=True)
class CategoricalColumn:
    """Text or booleans: counts of named levels, of hash buckets for rare ones, and of levels the reference never had.

    ``counts`` has ``len(levels) + buckets + 1`` cells. With ``complete``, every level of the reference is in ``levels``
    or, as a 32-bit hash, in ``rare``; all others are ``unseen``. Unseen values are in the hash buckets with the other
    rare ones (a cell that is empty in the reference by definition would look like drift where levels are many), and
    in the last cell only where there are no buckets.
    """

    name: str
    kind: str
    arrow_type: str
    levels: tuple[str, ...]
    buckets: int
    complete: bool
    rare: NDArray[np.uint32]
    singletons: int
    """Levels that the reference has exactly once: their share estimates what is still unseen (Good 1953)."""
    group_levels: tuple[int, ...]
    """The levels that are a group of the design effect each; all others are one more."""
    counts: Ints
    rows: int = 0
    nulls: int = 0
    unseen: int = 0
    """Rows with a level that the reference never had; 0 where that cannot be known."""
    smallest: NDArray[np.uint64] = field(default_factory=lambda: np.empty(0, np.uint64))
    """The smallest hashes of all distinct values: gives their number (Bar-Yossef et al. 2002), and merges."""
    examples: dict[str, int] = field(default_factory=dict)
    """Unseen values with their counts: those with the smallest hashes, so that merging is exact."""
    blocks: Ints = field(default_factory=lambda: np.zeros((2, 3), np.int64))

    @property
    def missing(self) -> int:
        return self.nulls

    @property
    def infinite(self) -> int:
        return 0

    @cached_property
    def present(self) -> int:
        return int(self.counts.sum())

    @property
    def distinct(self) -> int:
        """Number of distinct values: exact below 128, then an estimate (± 9 %)."""
        kept = len(self.smallest)
        if kept < SMALLEST:
            return kept
        return round((kept - 1) / (float(self.smallest[-1]) / 2.0**64))

    def layout(self) -> list[Any]:
        rare = base64.b64encode(self.rare.astype("<u4").tobytes()).decode()
        return [self.name, self.kind, list(self.levels), self.buckets, self.complete, rare, list(self.group_levels)]

    def empty(self, arrow_type: str) -> CategoricalColumn:
        return replace(
            self,
            arrow_type=arrow_type,
            singletons=0,
            counts=np.zeros(len(self.counts), np.int64),
            rows=0,
            nulls=0,
            unseen=0,
            smallest=np.empty(0, np.uint64),
            examples={},
            blocks=np.zeros((len(self.group_levels) + 2, 3), np.int64),
        )

    def merge(self, *others: Column) -> Column:
        if strange := [other for other in others if isinstance(other, OpaqueColumn)]:
            return strange[0].merge(self, *(other for other in others if other is not strange[0]))
        parts: list[CategoricalColumn] = [self, *others]  # type: ignore[list-item]
        return replace(
            self,
            arrow_type=merged_types(part.arrow_type for part in parts),
            singletons=0,
            counts=_sum([part.counts for part in parts]),
            rows=sum([part.rows for part in parts]),
            nulls=sum([part.nulls for part in parts]),
            unseen=sum([part.unseen for part in parts]),
            smallest=np.unique(np.concatenate([part.smallest for part in parts]))[:SMALLEST],
            examples=smallest_examples([part.examples for part in parts if part.examples]),
            blocks=_sum([part.blocks for part in parts]),
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "is": "categorical",
            "kind": self.kind,
            "type": self.arrow_type,
            "levels": list(self.levels),
            "buckets": self.buckets,
            "complete": self.complete,
            "rare": base64.b64encode(self.rare.astype("<u4").tobytes()).decode(),
            "singletons": self.singletons,
            "groups": list(self.group_levels),
            "counts": self.counts.tolist(),
            "rows": self.rows,
            "nulls": self.nulls,
            "unseen": self.unseen,
            "smallest": base64.b64encode(self.smallest.astype("<u8").tobytes()).decode(),
            "examples": self.examples,
            "blocks": self.blocks.tolist(),
        }

    @classmethod
    def from_dict(cls, name: str, data: dict[str, Any]) -> CategoricalColumn:
        return cls(
            name,
            data["kind"],
            data["type"],
            tuple(data["levels"]),
            data["buckets"],
            data["complete"],
            np.frombuffer(base64.b64decode(data["rare"]), "<u4").astype(np.uint32),
            data["singletons"],
            tuple(data["groups"]),
            np.array(data["counts"], np.int64),
            data["rows"],
            data["nulls"],
            data["unseen"],
            np.frombuffer(base64.b64decode(data["smallest"]), "<u8").astype(np.uint64),
            data["examples"],
            np.array(data["blocks"], np.int64),
        )


Column = NumericColumn | CategoricalColumn | OpaqueColumn

SMALLEST = 128
EXAMPLES = 8

_READERS = {"numeric": NumericColumn, "categorical": CategoricalColumn, "opaque": OpaqueColumn}


def column_from_dict(name: str, data: dict[str, Any]) -> Column:
    reader: Any = _READERS[data["is"]]
    column: Column = reader.from_dict(name, data)
    return column


def smallest_examples(parts: list[dict[str, int]]) -> dict[str, int]:
    """Sum sets of examples and keep those with the smallest hashes.

    A value kept in the union is kept in each part that has it, so its count is complete: merging is associative.
    """
    total: Counter[str] = Counter()
    for part in parts:
        total.update(part)
    names = sorted(total)
    if len(names) > EXAMPLES:
        order = np.argsort(hash_text(strings(names)), kind="stable")[:EXAMPLES]
        names = sorted(names[i] for i in order)
    return {name: total[name] for name in names}


def merged_types(types: Iterable[str]) -> str:
    found = set(types)
    return found.pop() if len(found) == 1 else " | ".join(sorted({one for name in found for one in name.split(" | ")}))


def _sum(arrays: list[Ints]) -> Ints:
    total: Ints = np.add.reduce(arrays)
    return total


def finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
