"""How good a model is, from the counts of what came of its predictions; each metric with its interval.

*Realised* metrics come from true values, *estimated* ones from calibrated scores alone (``estimation.py``). Both go
through the same formulas, so that the two are comparable. A decision should hang on an interval, never on a point:
five labels prove nothing.

Intervals are for 95 %: Wilson's (1927) for shares, DeLong's (1988) for the area under the curve, the delta method for
F1, and the normal one for means.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from .outcomes import ClassOutcomes, Outcomes, ValueOutcomes, bin_centres

if TYPE_CHECKING:
    from numpy.typing import NDArray

Z = 1.959963984540054
"""Quantile of the normal distribution for a two-sided interval of 95 %."""
_CALIBRATION_BINS = 10
LOWER_IS_BETTER = frozenset({"brier", "calibration_error", "log_loss", "mae", "mse", "rmse"})


@dataclass(frozen=True)
class PerformanceMetric:
    """One metric. ``low`` and ``high`` bound it at 95 %; None where no interval is known.

    ``rows``: how many rows it rests on; of estimated metrics, those that were estimated.
    """

    metric: str
    value: float
    low: float | None
    high: float | None
    rows: int
    kind: Literal["realised", "estimated"] = "realised"

    @property
    def error(self) -> float | None:
        """Standard error, from the interval."""
        return None if self.low is None or self.high is None else (self.high - self.low) / (2 * Z)

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def realised(outcomes: Outcomes) -> dict[str, PerformanceMetric]:
    """The metrics of the rows whose true values are known, by name; empty without any.

    Binary classifiers: accuracy, precision, recall, f1 (of ``classes[1]``), roc_auc, brier, log_loss,
    calibration_error. More classes: accuracy, and precision, recall and f1 as means over the classes.
    Regressors: mae, mse, rmse, bias, r2.
    """
    if isinstance(outcomes, ValueOutcomes):
        return _of_values(outcomes)
    if not outcomes.labelled:
        return {}
    if len(outcomes.classes) == 2:
        return binary(outcomes.counts[:, :, 1], outcomes.counts[:, :, 0], scored=outcomes.scored)
    return _of_classes(outcomes)


def binary(
    positive: NDArray[Any], negative: NDArray[Any], *, scored: bool, kind: Literal["realised", "estimated"] = "realised"
) -> dict[str, PerformanceMetric]:
    """Metrics of a binary classifier.

    ``positive``, ``negative``: (score bins, 2) counts, or expected counts, of rows whose true value is the positive
    and the negative class, by score bin and predicted class.
    """
    tp, fn = float(positive[:, 1].sum()), float(positive[:, 0].sum())
    fp, tn = float(negative[:, 1].sum()), float(negative[:, 0].sum())
    rows = tp + fn + fp + tn
    found = {
        "accuracy": share(tp + tn, rows),
        "precision": share(tp, tp + fp),
        "recall": share(tp, tp + fn),
        "f1": _f1(tp, fp + fn, rows),
    }
    if scored:
        found |= _of_scores(positive.sum(axis=1).astype(float), negative.sum(axis=1).astype(float))
    return _named(found, round(rows), kind)


def _of_scores(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> dict[str, _Interval]:
    """By score bin: (bins,) rows of each class."""
    score, total = bin_centres(), positive + negative
    rows = float(total.sum())
    clipped = np.clip(score, 1e-9, 1 - 1e-9)
    loss = -np.log(clipped), -np.log(1 - clipped)
    return {
        "roc_auc": _auc(positive, negative),
        "brier": _mean(((1 - score) ** 2, score**2), (positive, negative)),
        "log_loss": _mean(loss, (positive, negative)),
        "calibration_error": (_calibration_error(score, positive, total) / rows, None, None) if rows else _NOTHING,
    }


_Interval = tuple[float, float | None, float | None]
_NOTHING: _Interval = (math.nan, None, None)


def share(part: float, whole: float) -> _Interval:
    """A share with Wilson's interval."""
    if whole <= 0:
        return _NOTHING
    p, z2 = part / whole, Z * Z
    centre = (p + z2 / (2 * whole)) / (1 + z2 / whole)
    half = Z / (1 + z2 / whole) * math.sqrt(max(p * (1 - p), 0.0) / whole + z2 / (4 * whole * whole))
    return p, max(centre - half, 0.0), min(centre + half, 1.0)


def _f1(hits: float, misses: float, rows: float) -> _Interval:
    """``2 hits / (2 hits + misses)``. With shares p and q of hits and misses, the delta method gives its variance as
    ``4 p q (p + q) / (n (2p + q)⁴)``."""
    if hits + misses <= 0:
        return _NOTHING
    p, q = hits / rows, misses / rows
    value = 2 * p / (2 * p + q)
    half = Z * math.sqrt(4 * p * q * (p + q) / (rows * (2 * p + q) ** 4))
    return value, max(value - half, 0.0), min(value + half, 1.0)


def _auc(positive: NDArray[np.float64], negative: NDArray[np.float64]) -> _Interval:
    """The chance that a positive row has the higher score, ties counting half; its interval by DeLong's placements."""
    p, n = float(positive.sum()), float(negative.sum())
    if p <= 0 or n <= 0:
        return _NOTHING
    below = np.cumsum(negative) - negative / 2
    above = p - (np.cumsum(positive) - positive / 2)
    of_positive, of_negative = below / n, above / p
    value = float((positive * of_positive).sum() / p)
    if p <= 1 or n <= 1:
        return value, None, None
    variance = float((positive * (of_positive - value) ** 2).sum()) / ((p - 1) * p)
    variance += float((negative * (of_negative - value) ** 2).sum()) / ((n - 1) * n)
    half = Z * math.sqrt(variance)
    return value, max(value - half, 0.0), min(value + half, 1.0)


def _mean(values: tuple[NDArray[Any], NDArray[Any]], weights: tuple[NDArray[Any], NDArray[Any]]) -> _Interval:
    rows = float(sum(weight.sum() for weight in weights))
    if rows <= 0:
        return _NOTHING
    mean = float(sum((v * w).sum() for v, w in zip(values, weights, strict=True))) / rows
    square = float(sum((v * v * w).sum() for v, w in zip(values, weights, strict=True))) / rows
    half = Z * math.sqrt(max(square - mean * mean, 0.0) / rows)
    return mean, max(mean - half, 0.0), mean + half


def _calibration_error(score: NDArray[Any], positive: NDArray[Any], total: NDArray[Any]) -> float:
    """Rows times expected calibration error: over ten bins, how far mean score and share of positives are apart."""
    group = np.minimum((score * _CALIBRATION_BINS).astype(int), _CALIBRATION_BINS - 1)
    expected = np.bincount(group, score * total, _CALIBRATION_BINS)
    actual = np.bincount(group, positive, _CALIBRATION_BINS)
    return float(np.abs(expected - actual).sum())


def _of_classes(outcomes: ClassOutcomes) -> dict[str, PerformanceMetric]:
    table = outcomes.confusion.astype(float)
    hits, predicted, true = np.diag(table), table.sum(axis=1), table.sum(axis=0)
    present = (predicted + true) > 0
    with np.errstate(invalid="ignore", divide="ignore"):
        precision = np.where(predicted > 0, hits / predicted, 0.0)[present]
        recall = np.where(true > 0, hits / true, 0.0)[present]
        f1 = (2 * hits / (predicted + true))[present]
    rows = float(table.sum())
    found: dict[str, _Interval] = {"accuracy": share(float(hits.sum()), rows)}
    found |= {
        name: (float(values.mean()), None, None)
        for name, values in (("precision", precision), ("recall", recall), ("f1", f1))
    }
    if outcomes.scored:
        right = np.einsum("bii->b", outcomes.counts[:, :, :-1]).astype(float)
        total = outcomes.counts[:, :, :-1].sum(axis=(1, 2)).astype(float)
        found["calibration_error"] = (_calibration_error(bin_centres(), right, total) / rows, None, None)
    return _named(found, round(rows), "realised")


def _of_values(outcomes: ValueOutcomes) -> dict[str, PerformanceMetric]:
    n = outcomes.labelled
    if not n:
        return {}
    bias, mae, mse = outcomes.error / n, outcomes.absolute / n, outcomes.squared / n
    spread = max(outcomes.true_squared - outcomes.true**2 / n, 0.0)
    of_squares = Z * math.sqrt(max(outcomes.fourth / n - mse * mse, 0.0) / n)
    low, high = max(mse - of_squares, 0.0), mse + of_squares
    found = {
        "mae": _around(mae, max(mse - mae * mae, 0.0), n, floor=0.0),
        "mse": (mse, low, high),
        "rmse": (math.sqrt(mse), math.sqrt(low), math.sqrt(high)),
        "bias": _around(bias, max(mse - bias * bias, 0.0), n),
        "r2": (1 - outcomes.squared / spread, None, None) if spread else _NOTHING,
    }
    return _named(found, n, "realised")


def _around(value: float, variance: float, rows: int, floor: float = -math.inf) -> _Interval:
    half = Z * math.sqrt(variance / rows)
    return value, max(value - half, floor), value + half


def _named(
    found: dict[str, _Interval], rows: int, kind: Literal["realised", "estimated"]
) -> dict[str, PerformanceMetric]:
    """Without the metrics that these rows cannot tell, such as precision where nothing was predicted positive."""
    return {
        name: PerformanceMetric(name, value, low, high, rows, kind)
        for name, (value, low, high) in found.items()
        if math.isfinite(value)
    }


@dataclass(frozen=True)
class Comparison:
    """Challenger minus champion, in one metric; ``better`` is None while the interval holds zero."""

    metric: str
    champion: float
    challenger: float
    difference: float
    low: float | None
    high: float | None

    @property
    def better(self) -> bool | None:
        if self.low is None or self.high is None or self.low <= 0 <= self.high:
            return None
        return (self.difference > 0) != (self.metric in LOWER_IS_BETTER)


def compare_performance(champion: Outcomes, challenger: Outcomes) -> dict[str, Comparison]:
    """Two models on rows of their own (canary and stable, or two versions after one another), metric by metric.

    The rows are taken as independent samples, which is right for split traffic. For two models that answered the
    same rows (shadow traffic) the intervals are wider than they need to be.
    """
    ours, theirs = realised(champion), realised(challenger)
    found = {}
    for name in ours.keys() & theirs.keys():
        a, b = ours[name], theirs[name]
        difference = b.value - a.value
        half = None if a.error is None or b.error is None else Z * math.hypot(a.error, b.error)
        bounds = (None, None) if half is None else (difference - half, difference + half)
        found[name] = Comparison(name, a.value, b.value, difference, *bounds)
    return dict(sorted(found.items()))
