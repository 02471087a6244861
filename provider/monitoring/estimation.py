"""Performance before the true values are known: confidence-based performance estimation (CBPE).

A well calibrated score says how likely a prediction is right, so the expected confusion table is a sum over the
scores. The calibrator is an isotonic regression of true values on scores, fitted to rows whose true values came
earlier. As published by NannyML (Kivimäki et al., *Confidence-based Estimators for Predictive Performance in Model
Monitoring*, 2024), but from counts by score bin instead of rows.

What it does not see: a change of what the inputs *mean* (concept drift). Then only true values tell.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..errors import ProfileMismatch
from .outcomes import ClassOutcomes, bin_centres
from .performance import PerformanceMetric, binary, share

if TYPE_CHECKING:
    from numpy.typing import NDArray

MINIMUM_LABELS = 200
"""Fewer labelled rows make no calibrator."""


def estimated(reference: ClassOutcomes, current: ClassOutcomes) -> dict[str, PerformanceMetric]:
    """The metrics to be expected of ``current``, whose true values need not be known; empty if it cannot be told.

    ``reference``: labelled rows of the same model. Binary classifiers: as ``realised``; more classes: accuracy.
    Raises ``ProfileMismatch`` for other classes.
    """
    if reference.classes != current.classes:
        raise ProfileMismatch("An estimate needs labelled rows of the same model: these have other classes.")
    if not (reference.scored and current.scored) or reference.labelled < MINIMUM_LABELS or not current.rows:
        return {}
    total = current.counts.sum(axis=2).astype(float)
    if len(current.classes) == 2:
        chance = calibrated(reference.counts[:, :, 1].sum(axis=1), reference.counts[:, :, :2].sum(axis=(1, 2)))[:, None]
        return binary(total * chance, total * (1 - chance), scored=True, kind="estimated")
    right = np.einsum("bii->b", reference.counts[:, :, :-1])
    chance = calibrated(right, reference.counts[:, :, :-1].sum(axis=(1, 2)))
    value, low, high = share(float((total.sum(axis=1) * chance).sum()), float(total.sum()))
    return {"accuracy": PerformanceMetric("accuracy", value, low, high, current.rows, "estimated")}


def calibrated(positive: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """For each score bin, how likely it is the positive class: (bins,) rows and positive rows of labelled data.

    Isotonic, weighted by rows; bins without labels lie on the line between their neighbours.
    """
    from scipy.optimize import isotonic_regression

    seen = np.flatnonzero(rows)
    fitted = isotonic_regression(positive[seen] / rows[seen], weights=rows[seen].astype(float)).x
    centres = bin_centres()
    chances: NDArray[np.float64] = np.interp(centres, centres[seen], fitted)
    return chances
