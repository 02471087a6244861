"""The statistics of drift as plain functions of counts: no policy, no thresholds, no columns.

Counts are integer arrays over the same cells, reference first. ``n`` and ``m`` are their sums. scipy is imported only
where a p-value is needed: its import costs as much as scanning half a million rows.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


def shares(counts: NDArray[Any]) -> Floats:
    """Counts as shares of their sum; zeros if there are none."""
    total = counts.sum()
    return counts / total if total else np.zeros(len(counts))


# Effects: how large is the difference ---------------------------------------------------------------------------------


def kolmogorov_smirnov(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """Largest difference of the two cumulative distributions over ordered cells, 0 to 1.

    On cells it is a lower bound of the exact D; the bound is off by at most ``ks_bound``, in practice by 1e-4.
    """
    return float(np.abs(np.cumsum(shares(reference)) - np.cumsum(shares(current))).max(initial=0.0))


def ks_bound(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """How far the D of the cells can be below the exact one: the mass of the largest cell."""
    return float(max(shares(reference).max(initial=0.0), shares(current).max(initial=0.0)))


def wasserstein(reference: NDArray[Any], current: NDArray[Any], positions: ArrayLike) -> float:
    """First Wasserstein distance (earth mover's) of masses at ascending ``positions``, in their unit.

    ∫|F - G| (Vallender 1974). Divide by the reference's standard deviation to compare features.
    """
    apart = np.abs(np.cumsum(shares(reference)) - np.cumsum(shares(current)))[:-1]
    return float(apart @ np.diff(np.asarray(positions, float))) if len(apart) else 0.0


def psi(reference: NDArray[Any], current: NDArray[Any], *, smoothing: float = 0.5) -> float:
    """Population stability index, Σ(q - p) ln(q / p), natural logarithm.

    ``smoothing`` rows are added to every cell (Jeffreys), so that an empty cell gives neither infinity nor, as tiny
    fill-in constants do, a value that is the constant's. Subtract ``psi_expected`` before comparing with a threshold.
    """
    p, q = shares(reference + smoothing), shares(current + smoothing)
    return float(((q - p) * np.log(q / p)).sum())


def psi_expected(cells: int, n: float, m: float) -> float:
    """What PSI is on average when nothing changed: (B - 1)(1/n + 1/m) (Yurdakul 2018)."""
    return (cells - 1) * (1 / n + 1 / m) if n and m else 0.0


def jensen_shannon(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """Jensen-Shannon distance with base 2, 0 to 1: the square root of the divergence (Lin 1991)."""
    p, q = shares(reference), shares(current)
    middle = (p + q) / 2
    divergence = 0.0
    for side in (p, q):
        there = side > 0
        divergence += float((side[there] * np.log2(side[there] / middle[there])).sum())
    return float(np.sqrt(max(divergence / 2, 0.0)))


def total_variation(reference: NDArray[Any], current: NDArray[Any]) -> float:
    """Total variation distance, ½Σ|p - q|, 0 to 1: the share of rows that would have to change."""
    return float(np.abs(shares(reference) - shares(current)).sum() / 2)


def tv_expected(reference: NDArray[Any], current: NDArray[Any], inflation: float = 1.0) -> float:
    """What the total variation is on average when nothing changed: ½Σ√(2/π · p(1-p)(1/n + 1/m)).

    ``inflation`` is the design effect: rows that come in clusters differ more by chance.
    """
    n, m = float(reference.sum()), float(current.sum())
    if not n or not m:
        return 0.0
    p = (reference + current) / (n + m)
    return float(np.sqrt(2 / np.pi * p * (1 - p) * (1 / n + 1 / m) * inflation).sum() / 2)


# Evidence: could it be chance -----------------------------------------------------------------------------------------


def pool(reference: NDArray[Any], current: NDArray[Any], minimum: float = 5.0) -> tuple[NDArray[Any], NDArray[Any]]:
    """Put the cells whose expected count is below ``minimum`` in either sample into one (Cochran 1954)."""
    both = reference + current
    total = both.sum()
    if not total:
        return reference[:0], current[:0]
    expected = both * (min(reference.sum(), current.sum()) / total)
    small = expected < minimum
    if not small.any():
        return reference, current
    large = ~small
    r = np.append(reference[large], reference[small].sum())
    c = np.append(current[large], current[small].sum())
    if len(r) > 1 and expected[small].sum() < minimum:
        at = int((r[:-1] + c[:-1]).argmin())
        r[at] += r[-1]
        c[at] += c[-1]
        r, c = r[:-1], c[:-1]
    return r, c


def chi_square(reference: NDArray[Any], current: NDArray[Any]) -> tuple[float, int]:
    """Two-sample χ² and its degrees of freedom. Pool first.

    Both samples vary: taking the reference as exact expectation doubles the variance when sizes are equal and alarms
    nearly always.
    """
    both = reference + current
    there = both > 0
    n, m = float(reference.sum()), float(current.sum())
    cells = int(there.sum())
    if cells < 2 or not n or not m:
        return 0.0, 0
    r, c = reference[there] / n, current[there] / m
    return float(((r - c) ** 2 / both[there]).sum() * n * m), cells - 1


def proportions(k: float, n: float, l: float, m: float) -> float:  # noqa: E741
    """χ² with one degree of freedom for ``k`` of ``n`` against ``l`` of ``m``; 0 where it is not defined."""
    if not n or not m:
        return 0.0
    p = (k + l) / (n + m)
    variance = p * (1 - p) * (1 / n + 1 / m)
    return (k / n - l / m) ** 2 / variance if variance > 0 else 0.0


def outside_p(outside: float, n: float, m: float) -> float:
    """Chance of ``outside`` or more of ``m`` rows lying beyond the range of ``n`` rows of the same distribution.

    The rows beyond each end are nearly geometric with ratio m/(n+m) (ranks of exchangeable rows); this is the tail of
    their sum.
    """
    if outside <= 0:
        return 1.0
    ratio = m / (n + m)
    return float(min(1.0, ratio**outside * (1 + outside * (1 - ratio))))


def kolmogorov_p(d: Any, n: Any, m: Any) -> Any:
    """Asymptotic p-value of a two-sample D, with Stephens' (1970) correction for small samples. Takes arrays."""
    from scipy.special import kolmogorov

    root = np.sqrt(np.asarray(n, float) * m / (np.asarray(n, float) + m))
    return kolmogorov((root + 0.12 + 0.11 / root) * d)


def chi_square_p(statistic: Any, freedom: Any) -> Any:
    """Survival function of χ²; 1 where there is no degree of freedom. Takes arrays."""
    from scipy.special import chdtrc

    freedom = np.asarray(freedom, float)
    return np.where(freedom > 0, chdtrc(np.maximum(freedom, 1), statistic), 1.0)


def benjamini_hochberg(p: ArrayLike) -> Floats:
    """q-values: the false discovery rate at which each p-value would just be a discovery (Benjamini, Hochberg 1995)."""
    values = np.asarray(p, float)
    count = len(values)
    if not count:
        return values
    order = np.argsort(values)
    scaled = values[order] * count / np.arange(1, count + 1)
    q = np.empty(count)
    q[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1.0)
    return q


# Rows that are not independent ----------------------------------------------------------------------------------------


class DesignEffect(NamedTuple):
    """How much more shares vary between blocks of rows than independent rows would; ≥ 1."""

    groups: float
    """Of the shares of groups: first order of Rao and Scott (1981)."""
    cumulative: float
    """Of the cumulative distribution, which a Kolmogorov-Smirnov distance is about. Where blocks differ in their mean
    it is five times that of the groups."""
    block: float
    """Size-weighted mean number of rows in a block."""
    blocks: int


def design_effect(blocks: NDArray[np.int64], groups: int | None = None) -> DesignEffect:
    """The design effects from the sums of ``kernels.block_sums``.

    The variance of the ratio Σh/Σm over blocks, against p(1-p)/M of independent rows. Row 0 holds the blocks' sizes,
    then come ``groups`` rows of groups (default: all) and the rows of their cumulative counts. Averaged over groups
    with weights 1 - p, over cumulative shares with weights p(1-p). Fewer than four blocks tell nothing: 1.
    """
    count, rows, square = blocks[0].tolist()
    size = square / rows if rows else 0.0
    if count < 4 or not rows:
        return DesignEffect(1.0, 1.0, size, count)
    sums = blocks[1:].astype(float)
    p = sums[:, 0] / rows
    variance = p * (1 - p)
    spread = (sums[:, 1] - p * (2 * sums[:, 2] - p * square)).clip(0.0) * (count / (count - 1) / rows)
    cut = len(p) if groups is None else groups
    inside = variance[:cut] > 0
    kept = int(inside.sum())
    of_groups = 1.0
    if kept > 1:
        # (1 - p) / (p (1 - p)) is 1 / p
        of_groups = float((spread[:cut][inside] / p[:cut][inside]).sum()) / (kept - 1)
    total = float(variance[cut:].sum())
    cumulative = float(spread[cut:].sum()) / total if total > 0 else of_groups
    return DesignEffect(max(of_groups, 1.0), max(cumulative, 1.0), size, count)
