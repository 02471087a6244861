"""What came of predictions, as counts: enough for every metric, and counts of two windows add up.

A classifier's outcomes are a table of (score bin, prediction, true value); a regressor's are eight sums. Both are a few
kilobytes for any number of rows, so that a month is the sum of its hours and nothing is joined twice. Without true
values, the same table counts scores and predictions alone: that is what estimates are made from.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ProfileMismatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

SCORE_BINS = 1000
"""Bins of a score between 0 and 1, equally wide after the arcsine transformation, so that scores near 0 and 1, where a
sure model has nearly all of them, are told apart down to a millionth."""
_SLICE = 1 << 20


@dataclass(frozen=True)
class ClassOutcomes:
    """Outcomes of a classifier.

    ``counts``: int64 of shape (score bins, classes, classes + 1): bin of the score, index of the predicted class, index
    of the true class or, last, rows whose true value is not known. Binary scores are the probability of ``classes[1]``;
    with more classes a score is the probability of the predicted class.
    """

    classes: tuple[Any, ...]
    counts: NDArray[np.int64]
    scored: bool = True
    """Whether the model gave scores; without, everything is in the first bin."""

    @property
    def rows(self) -> int:
        return int(self.counts.sum())

    @property
    def labelled(self) -> int:
        return int(self.counts[:, :, :-1].sum())

    @property
    def confusion(self) -> NDArray[np.int64]:
        """(predicted class, true class), of the rows whose true value is known."""
        table: NDArray[np.int64] = self.counts[:, :, :-1].sum(axis=0)
        return table

    def merge(self, other: ClassOutcomes) -> ClassOutcomes:
        """The outcomes of both. Raises ``ProfileMismatch`` for other classes."""
        if self.classes != other.classes or self.scored != other.scored:
            raise ProfileMismatch("Outcomes of models with different classes cannot be added.")
        return replace(self, counts=self.counts + other.counts)

    def to_dict(self) -> dict[str, Any]:
        """JSON; only the cells that are not empty."""
        cells = np.argwhere(self.counts)
        values = self.counts[tuple(cells.T)]
        return {
            "kind": "classification",
            "classes": list(self.classes),
            "scored": self.scored,
            "cells": [[*cell, value] for cell, value in zip(cells.tolist(), values.tolist(), strict=True)],
        }


@dataclass(frozen=True)
class ValueOutcomes:
    """Outcomes of a regressor: sums over the rows whose true value is known, and how many there are in all.

    ``error`` is prediction minus true value.
    """

    rows: int = 0
    labelled: int = 0
    error: float = 0.0
    absolute: float = 0.0
    squared: float = 0.0
    fourth: float = 0.0
    """Sum of the fourth powers of the errors: for the interval of the mean squared error."""
    true: float = 0.0
    true_squared: float = 0.0

    def merge(self, other: ValueOutcomes) -> ValueOutcomes:
        sums = {name: getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__}
        return ValueOutcomes(**sums)

    def to_dict(self) -> dict[str, Any]:
        return {"kind": "regression", **{name: getattr(self, name) for name in self.__dataclass_fields__}}


Outcomes = ClassOutcomes | ValueOutcomes


def outcomes_from_dict(data: Mapping[str, Any]) -> Outcomes:
    """What :meth:`to_dict` wrote. Raises ``ProfileMismatch``."""
    try:
        if data["kind"] == "regression":
            return ValueOutcomes(**{name: data[name] for name in ValueOutcomes.__dataclass_fields__})
        classes = tuple(data["classes"])
        counts = np.zeros((SCORE_BINS, len(classes), len(classes) + 1), np.int64)
        for *cell, value in data["cells"]:
            counts[tuple(cell)] = value
        return ClassOutcomes(classes, counts, bool(data["scored"]))
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ProfileMismatch(f"These are no outcomes that this version can read: {error}") from error


def count_classes(
    predictions: NDArray[Any],
    scores: NDArray[np.float64] | None,
    labels: NDArray[Any] | None,
    classes: Sequence[Any],
) -> ClassOutcomes:
    """Count rows of a classifier.

    ``predictions`` (n,) and ``labels`` (n,) are indices of ``classes``, and -1 where the value is missing or no class:
    such predictions are left out, such labels count as not known. ``scores`` (n,) are probabilities.
    """
    return count_binned(predictions, None if scores is None else score_bins(scores), labels, classes)


def count_binned(
    predictions: NDArray[Any], bins: NDArray[Any] | None, labels: NDArray[Any] | None, classes: Sequence[Any]
) -> ClassOutcomes:
    """Like :func:`count_classes`, of scores that are bins already: :func:`score_bins`, -1 for none."""
    size = len(classes)
    shape = (SCORE_BINS, size, size + 1)
    counts = np.zeros(SCORE_BINS * size * (size + 1), np.int64)
    for start in range(0, len(predictions), _SLICE):
        part = slice(start, start + _SLICE)
        predicted = predictions[part].astype(np.int64)
        place = np.zeros(len(predicted), np.int64) if bins is None else bins[part].astype(np.int64)
        known = np.full(len(predicted), -1) if labels is None else labels[part].astype(np.int64)
        good = (predicted >= 0) & (place >= 0)
        cell = (place * size + predicted) * (size + 1) + np.where(known < 0, size, known)
        counts += np.bincount(cell if good.all() else cell[good], minlength=len(counts))
    return ClassOutcomes(tuple(classes), counts.reshape(shape), bins is not None)


def score_bins(scores: NDArray[np.float64]) -> NDArray[np.int16]:
    """The bin of each score; -1 for what is no probability."""
    with np.errstate(invalid="ignore"):
        valid = (scores >= 0) & (scores <= 1)
        bins = np.arcsin(np.sqrt(np.where(valid, scores, 0.0))) * (2 / np.pi * SCORE_BINS)
    found: NDArray[np.int16] = np.where(valid, np.minimum(bins, SCORE_BINS - 1), -1).astype(np.int16)
    return found


def bin_centres() -> NDArray[np.float64]:
    """The score that stands for each bin."""
    centres: NDArray[np.float64] = np.sin((np.arange(SCORE_BINS) + 0.5) * (np.pi / 2 / SCORE_BINS)) ** 2
    return centres


def count_values(predictions: NDArray[np.float64], labels: NDArray[np.float64] | None) -> ValueOutcomes:
    """Count rows of a regressor; ``labels`` (n,) are NaN where the true value is not known."""
    answered = np.isfinite(predictions)
    rows = int(answered.sum())
    if labels is None:
        return ValueOutcomes(rows=rows)
    both = answered & np.isfinite(labels)
    true = labels[both]
    error = predictions[both] - true
    squared = error * error
    return ValueOutcomes(
        rows=rows,
        labelled=int(both.sum()),
        error=float(error.sum()),
        absolute=float(np.abs(error).sum()),
        squared=float(squared.sum()),
        fourth=float((squared * squared).sum()),
        true=float(true.sum()),
        true_squared=float((true * true).sum()),
    )
