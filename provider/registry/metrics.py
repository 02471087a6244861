"""Named metrics: how a gate measures a model on data, and which direction is better.

The numbers are scikit-learn's own functions; this table only says what each is fed (predicted labels, or a score of
the positive class) and in which direction it is better. It does not call ``sklearn.metrics.get_scorer``: scorers need
scikit-learn estimators, while anything with ``predict`` can be registered.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal

from ..errors import RegistryError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable

Feed = Literal["prediction", "score", "probabilities"]


@dataclass(frozen=True)
class Metric:
    """``function`` of ``sklearn.metrics`` on ``(true values, what feed says)``.

    ``positive`` marks metrics of one class: with two classes it is the positive one (1, True, or the model's second
    class), with more the macro average.
    """

    name: str
    function: str
    feed: Feed = "prediction"
    higher_is_better: bool = True
    positive: bool = False


_METRICS = {
    metric.name: metric
    for metric in (
        Metric("accuracy", "accuracy_score"),
        Metric("average_precision", "average_precision_score", feed="score"),
        Metric("balanced_accuracy", "balanced_accuracy_score"),
        Metric("brier", "brier_score_loss", feed="score", higher_is_better=False),
        Metric("explained_variance", "explained_variance_score"),
        Metric("f1", "f1_score", positive=True),
        Metric("log_loss", "log_loss", feed="probabilities", higher_is_better=False),
        Metric("mae", "mean_absolute_error", higher_is_better=False),
        Metric("mape", "mean_absolute_percentage_error", higher_is_better=False),
        Metric("max_error", "max_error", higher_is_better=False),
        Metric("mcc", "matthews_corrcoef"),
        Metric("median_absolute_error", "median_absolute_error", higher_is_better=False),
        Metric("mse", "mean_squared_error", higher_is_better=False),
        Metric("precision", "precision_score", positive=True),
        Metric("r2", "r2_score"),
        Metric("recall", "recall_score", positive=True),
        Metric("rmse", "root_mean_squared_error", higher_is_better=False),
        Metric("roc_auc", "roc_auc_score", feed="score"),
    )
}
_BY_FUNCTION = {metric.function: metric for metric in _METRICS.values()}


def metric_named(name: str) -> Metric:
    """The metric of that name (``accuracy``) or of scikit-learn's function (``accuracy_score``).

    Raises ``RegistryError``, with the names that are known.
    """
    try:
        return _METRICS.get(name) or _BY_FUNCTION[name]
    except KeyError:
        raise RegistryError(
            f'Metric "{name}" cannot be computed here.', hint=did_you_mean(name, _METRICS), metric=name
        ) from None


def measure(metric: Metric, model: Any, features: Any, truth: Any) -> float:
    """``metric`` of ``model`` on rows of ``features`` whose true values are ``truth``.

    Raises whatever the model raises, and ``RegistryError`` when the model cannot give what the metric is fed.
    """
    function: Callable[..., Any] = getattr(import_module("sklearn.metrics"), metric.function)
    fed = _FEEDS[metric.feed](model, features)
    options: dict[str, Any] = {}
    if metric.positive:
        options = _one_class(model, truth)
    elif metric.feed == "probabilities":
        options = {"labels": list(model.classes_)}
    elif metric.feed == "score" and getattr(fed, "ndim", 1) == 2:
        options = {"multi_class": "ovr", "labels": list(model.classes_)} if metric.name == "roc_auc" else {}
    elif metric.feed == "score" and hasattr(model, "classes_"):
        truth = truth == model.classes_[1]  # a score is of the second class; labels may be words
    value = float(function(truth, fed, **options))
    if math.isnan(value):
        raise RegistryError(f"{metric.name} of these {len(truth)} rows is not a number.", metric=metric.name)
    return value


def predictions(model: Any, features: Any) -> Any:
    """What ``model.predict`` says of every row."""
    return model.predict(features)


def probabilities(model: Any, features: Any) -> Any:
    """``predict_proba``: one row each, one column per class of ``model.classes_``."""
    if not hasattr(model, "predict_proba"):
        raise RegistryError(f"{type(model).__name__} has no predict_proba, which this metric needs.")
    return model.predict_proba(features)


def scores(model: Any, features: Any) -> Any:
    """The score of the positive class with two classes; a column per class with more.

    ``predict_proba`` when there is one, else ``decision_function``.
    """
    if hasattr(model, "predict_proba"):
        values = model.predict_proba(features)
        return values[:, 1] if values.shape[1] == 2 else values
    if hasattr(model, "decision_function"):
        return model.decision_function(features)
    raise RegistryError(f"{type(model).__name__} has neither predict_proba nor decision_function: it gives no score.")


_FEEDS: dict[Feed, Callable[[Any, Any], Any]] = {
    "prediction": predictions,
    "score": scores,
    "probabilities": probabilities,
}


def _one_class(model: Any, truth: Any) -> dict[str, Any]:
    import numpy as np

    classes = list(getattr(model, "classes_", np.unique(truth)))
    if len(classes) > 2:
        return {"average": "macro", "zero_division": 0}
    positive = next((c for c in classes if c in (1, True, "1")), classes[-1])
    return {"pos_label": positive, "zero_division": 0}
