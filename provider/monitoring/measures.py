"""What is measured of one column: a pair of reference and current, the tests, and the numbers for the report.

A drift test is a plain function of a pair that returns an ``Effect``: how large, how sure, in words. ``TESTS`` names
them; a package adds its own under the entry point ``windsock.drift_test``.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from . import statistics as s
from .columns import CategoricalColumn, NumericColumn
from .kernels import differences

if TYPE_CHECKING:
    from numpy.typing import NDArray

FEW_BLOCKS = 8
ENOUGH_ROWS = 1000
"""The design effect takes no sample below so many effective rows. A sorted file looks like total dependence between its
rows, and would otherwise hide any drift: the order of a file is no sampling design."""


@dataclass(frozen=True)
class Effect:
    """The outcome of one test. ``value`` is compared with the threshold; the rest gives a p-value."""

    value: float
    evidence: tuple[str, float, float]
    """``("chi_square", statistic, degrees of freedom)``, ``("kolmogorov", D, rows)`` or ``("p", p, 0)``; in ``rows``
    stands nm/(n+m)."""
    words: str
    """What was seen, such as ``KS``; the decision adds the numbers."""


class Pair:
    """Reference and current counts of one column, with what several tests need computed once."""

    def __init__(self, reference: Any, current: Any) -> None:
        self.reference = reference
        self.current = current
        self.r: NDArray[np.int64] = reference.counts
        self.c: NDArray[np.int64] = current.counts
        self.n = reference.present
        self.m = current.present

    @cached_property
    def p(self) -> NDArray[np.float64]:
        return s.shares(self.r)

    @cached_property
    def q(self) -> NDArray[np.float64]:
        return s.shares(self.c)

    @cached_property
    def _designs(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """A window of a few blocks cannot show its own design effect: then the reference's correlation within blocks
        is taken, for blocks of the window's size: 1 + (size - 1) x correlation (Kish 1965)."""
        reference, current = _design(self.reference), _design(self.current)
        pairs = []
        for first, second in ((reference.groups, current.groups), (reference.cumulative, current.cumulative)):
            if current.blocks < FEW_BLOCKS <= reference.blocks and reference.block > 1:
                correlation = (first - 1) / (reference.block - 1)
                second = max(second, 1 + (current.block - 1) * correlation)  # noqa: PLW2901
            pairs.append((first, second))
        return pairs[0], pairs[1]

    @property
    def inflations(self) -> tuple[float, float]:
        """Design effects of the shares of groups, in the reference and in the current rows."""
        return self._designs[0]

    @property
    def distance_inflations(self) -> tuple[float, float]:
        """Design effects of the cumulative distribution, for Kolmogorov-Smirnov."""
        return self._designs[1]

    @cached_property
    def effective(self) -> tuple[float, float]:
        """Rows that independent sampling would have needed for the same precision."""
        return _effective(self.n, self.inflations[0]), _effective(self.m, self.inflations[1])

    @cached_property
    def inflation(self) -> float:
        """The design effect of the difference of the two samples."""
        n, m = self.effective
        return (1 / n + 1 / m) / (1 / self.n + 1 / self.m) if n and m else 1.0

    @cached_property
    def binned(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The few cells of PSI, Jensen-Shannon and χ²: ten groups of a number, pooled levels of a category."""
        if isinstance(self.reference, NumericColumn):
            starts = np.concatenate(([0], self.reference.groups + 1))
            return np.add.reduceat(self.r, starts), np.add.reduceat(self.c, starts)
        return s.pool(self.r, self.c)

    @cached_property
    def cumulated(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Cumulative shares, reference and current."""
        return np.cumsum(self.p), np.cumsum(self.q)

    @cached_property
    def ks(self) -> float:
        first, second = self.cumulated
        return float(np.abs(first - second).max(initial=0.0))

    @cached_property
    def psi(self) -> float:
        return s.psi(*self.binned)

    @cached_property
    def js(self) -> float:
        return s.jensen_shannon(*self.binned)

    @cached_property
    def tv(self) -> float:
        return s.total_variation(*self.fine)

    @property
    def fine(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The cells of total variation: all of a number's, the pooled levels of a category."""
        return (self.r, self.c) if isinstance(self.reference, NumericColumn) else self.binned

    @cached_property
    def earth(self) -> float:
        """Wasserstein distance of a number inside the reference's range, in its own unit."""
        first, second = self.cumulated
        return float(np.abs(first - second)[:-1] @ Scale.of(self.reference).gaps)

    @cached_property
    def spreads(self) -> tuple[float, float]:
        """The range between the 10th and the 90th percentile, of a number."""
        edges = Scale.of(self.reference).edges
        low, high = (np.interp((0.1, 0.9), shares[:-1], edges) for shares in self.cumulated)
        return float(low[1] - low[0]), float(high[1] - high[0])

    @cached_property
    def association(self) -> tuple[str, float, float]:
        """The evidence of χ² over the binned cells."""
        statistic, freedom = s.chi_square(*s.pool(*self.binned))
        return "chi_square", statistic / self.inflation, freedom


def _effective(rows: int, inflation: float) -> float:
    return max(rows / inflation, min(rows, ENOUGH_ROWS))


def _design(column: Any) -> s.DesignEffect:
    found: s.DesignEffect | None = column.__dict__.get("_design")
    if found is None:
        groups = len(column.group_edges) + 1 if isinstance(column, NumericColumn) else None
        found = s.design_effect(column.blocks, groups)
        column.__dict__["_design"] = found
    return found


# Positions of a number's cells ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Scale:
    """Where the reference's cells lie, relative to its centre; the tails are clipped at their innermost edge."""

    edges: NDArray[np.float64]
    positions: NDArray[np.float64]
    mean: float
    sd: float
    gaps: NDArray[np.float64]
    continuous: bool
    """No cell inside the range holds more than a twentieth: then quantiles are smooth."""

    @classmethod
    def of(cls, column: NumericColumn) -> Scale:
        found: Scale | None = column.__dict__.get("_scale")
        if found is None:
            found = cls._measure(column)
            column.__dict__["_scale"] = found  # the column is immutable, and its scale is asked for in every window
        return found

    @classmethod
    def _measure(cls, column: NumericColumn) -> Scale:
        edges = differences(column.edges, column.edges.dtype.type(column.centre)) if len(column.edges) else np.zeros(1)
        inner = edges[1:-1] if len(edges) > 8 else edges
        positions = np.concatenate((edges[:1], (edges[1:] + edges[:-1]) / 2, edges[-1:]))[: len(column.counts)]
        positions = positions.clip(inner[0], inner[-1])
        p = s.shares(column.counts)
        mean = float(p @ positions)
        sd = math.sqrt(max(float(p @ (positions - mean) ** 2), 0.0))
        return cls(edges, positions, mean, sd, np.diff(positions), bool(0 < p.max(initial=0.0) <= 0.05))


def spread_ratio(pair: Pair) -> float | None:
    """The range between the 10th and the 90th percentile, current over reference; None for columns with many ties.

    Of quantiles, because a standard deviation of a heavy tail is set by its few largest values.
    """
    scale = Scale.of(pair.reference)
    if not scale.continuous or not pair.m:
        return None
    before, after = pair.spreads
    return after / before if before > 0 else None


def mean_shift(pair: Pair) -> float | None:
    """Difference of the means in standard deviations of the reference.

    Where a few values carry the standard deviation (an outlier of 1e12) both are taken with clipped tails.
    """
    scale = Scale.of(pair.reference)
    reference, current = pair.reference, pair.current
    sds = reference.sd, current.sd
    if all(math.isfinite(sd) and sd <= 3 * scale.sd for sd in sds) and sds[0] > 0:
        return float((current.mean_offset - reference.mean_offset) / sds[0])
    if scale.sd <= 0 or not pair.m:
        return None
    return (float(pair.q @ scale.positions) - scale.mean) / scale.sd


# Tests ----------------------------------------------------------------------------------------------------------------

DriftTest = Callable[[Pair], "Effect | None"]


def ks(pair: Pair) -> Effect:
    """Kolmogorov-Smirnov distance."""
    n, m = (_effective(*one) for one in zip((pair.n, pair.m), pair.distance_inflations, strict=True))
    return Effect(pair.ks, ("kolmogorov", pair.ks, n * m / (n + m)), "KS")


def psi(pair: Pair) -> Effect:
    """Population stability index, minus what chance alone gives."""
    value = pair.psi - s.psi_expected(len(pair.binned[0]), *pair.effective)
    return Effect(max(value, 0.0), pair.association, "PSI")


def psi_textbook(pair: Pair) -> Effect:
    """Population stability index as it stands, for policies written in those terms."""
    return Effect(pair.psi, ("p", 0.0, 0.0), "PSI")


def tv(pair: Pair) -> Effect:
    """Total variation over all cells, minus what chance alone gives."""
    value = pair.tv - s.tv_expected(*pair.fine, pair.inflation)
    return Effect(max(value, 0.0), pair.association, "total variation")


def js(pair: Pair) -> Effect:
    """Jensen-Shannon distance."""
    return Effect(pair.js, pair.association, "Jensen-Shannon distance")


def wasserstein(pair: Pair) -> Effect | None:
    """Wasserstein distance inside the reference's range, in its standard deviations (tails clipped in both)."""
    scale = Scale.of(pair.reference)
    if scale.sd <= 0:
        return None
    return Effect(pair.earth / scale.sd, pair.association, "Wasserstein distance / sd")


def chi_square(pair: Pair) -> Effect:
    """χ² alone, without a floor for the effect: at a million rows it fires on nothing that matters."""
    return Effect(s.total_variation(*pair.binned), pair.association, "total variation")


def spread(pair: Pair) -> Effect | None:
    """|ln| of the ratio of the 10-90 % ranges: a change of scale moves KS and total variation little."""
    ratio = spread_ratio(pair)
    if ratio is None or ratio <= 0:
        return None
    return Effect(abs(math.log(ratio)), pair.association, "log ratio of the 10-90 % range")


def missing(pair: Pair) -> Effect | None:
    """Change of the share of missing values (null or NaN), in either direction."""
    r, c = pair.reference, pair.current
    if not r.rows or not c.rows:
        return None
    statistic = s.proportions(r.missing, r.rows, c.missing, c.rows) / pair.inflation
    return Effect(abs(c.missing / c.rows - r.missing / r.rows), ("chi_square", statistic, 1), "missing")


def infinite(pair: Pair) -> Effect | None:
    """Change of the share of infinite values."""
    r, c = pair.reference, pair.current
    if not r.infinite and not c.infinite:
        return None
    statistic = s.proportions(r.infinite, r.rows, c.infinite, c.rows) / pair.inflation
    return Effect(abs(c.infinite / c.rows - r.infinite / r.rows), ("chi_square", statistic, 1), "infinite")


def out_of_range(pair: Pair) -> Effect | None:
    """Share of rows beyond the reference's minimum and maximum, minus the 2/(n+1) that chance gives."""
    if not pair.n or not pair.m:
        return None
    outside = int(pair.c[0] + pair.c[-1])
    value = max(outside / pair.m - 2 / (pair.n + 1), 0.0)
    evidence = s.outside_p(outside * pair.effective[1] / pair.m, *pair.effective)
    return Effect(value, ("p", evidence, 0.0), "out of the reference's range")


def unseen(pair: Pair) -> Effect | None:
    """Share of rows with a level that the reference never had, minus its Good-Turing estimate (singletons / n)."""
    if not pair.reference.complete or not pair.n or not pair.m:
        return None
    expected = pair.reference.singletons
    value = max(pair.current.unseen / pair.m - expected / pair.n, 0.0)
    statistic = s.proportions(expected, pair.n, pair.current.unseen, pair.m) / pair.inflation
    return Effect(value, ("chi_square", statistic, 1), "unseen")


def vanished(pair: Pair) -> Effect | None:
    """Reference share of the named levels that no longer occur, and that chance would not leave out.

    A level of share p is absent from m rows with probability exp(-pm). Each is judged by itself, with p two standard
    errors lower than it was seen and Bonferroni's factor: of a thousand levels some are always absent.
    """
    named = len(pair.reference.levels)
    if not pair.n or not pair.m or not named:
        return None
    shares = pair.p[:named]
    low = np.maximum(shares - 2 * np.sqrt(shares / pair.effective[0]), 0.0)
    chance = named * np.exp(-low * pair.effective[1])
    gone = (pair.c[:named] == 0) & (chance < 0.01)
    if not gone.any():
        return Effect(0.0, ("p", 1.0, 0.0), "vanished")
    return Effect(float(shares[gone].sum()), ("p", float(chance[gone].min()), 0.0), "vanished")


TESTS: dict[str, DriftTest] = {
    "chi_square": chi_square,
    "infinite": infinite,
    "js": js,
    "ks": ks,
    "missing": missing,
    "out_of_range": out_of_range,
    "psi": psi,
    "psi_textbook": psi_textbook,
    "spread": spread,
    "tv": tv,
    "unseen": unseen,
    "vanished": vanished,
    "wasserstein": wasserstein,
}

NUMERIC_ONLY = frozenset({"ks", "wasserstein", "spread", "infinite", "out_of_range"})
CATEGORICAL_ONLY = frozenset({"unseen", "vanished"})


# Numbers for the report -----------------------------------------------------------------------------------------------


def describe(pair: Pair) -> dict[str, float]:
    """The numbers of one column, finite ones only; effects of the tests come on top."""
    r, c = pair.reference, pair.current
    found: dict[str, float | None] = {
        "rows": c.rows,
        "reference_rows": r.rows,
        "missing": c.missing / c.rows if c.rows else None,
        "reference_missing": r.missing / r.rows if r.rows else None,
    }
    if pair.n and pair.m:
        found["design_effect"] = pair.inflation
        kind = _describe_numeric if isinstance(r, NumericColumn) else _describe_categorical
        found |= kind(pair)
    return {name: _rounded(value) for name, value in found.items() if value is not None and math.isfinite(value)}


def _rounded(value: float) -> float:
    return value if isinstance(value, int) else float(f"{value:.6g}")


def _describe_numeric(pair: Pair) -> dict[str, float | None]:
    r, c = pair.reference, pair.current
    earth = wasserstein(pair)
    return {
        "ks": pair.ks,
        "psi": pair.psi,
        "js": pair.js,
        "tv": pair.tv,
        "wasserstein": earth.value if earth else None,
        "mean_shift": mean_shift(pair),
        "mean": c.mean,
        "reference_mean": r.mean,
        "sd": c.sd,
        "reference_sd": r.sd,
        "spread_ratio": spread_ratio(pair),
        "out_of_range": float(pair.c[0] + pair.c[-1]) / pair.m,
        "infinite": c.infinite / c.rows,
    }


def _describe_categorical(pair: Pair) -> dict[str, float | None]:
    r, c = pair.reference, pair.current
    assert isinstance(r, CategoricalColumn)
    return {
        "tv": pair.tv,
        "psi": pair.psi,
        "js": pair.js,
        "unseen": c.unseen / pair.m if r.complete else None,
        "distinct": c.distinct,
        "reference_distinct": r.distinct,
    }
