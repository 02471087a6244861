"""Metrics from counts are the metrics of the rows, their intervals hold, and estimates are CBPE as published."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics as sk
from sklearn.isotonic import IsotonicRegression
from windsock.provider.errors import ProfileMismatch
from windsock.provider.monitoring.estimation import estimated
from windsock.provider.monitoring.outcomes import count_classes, count_values, outcomes_from_dict
from windsock.provider.monitoring.performance import compare_performance, realised


def scores_and_labels(
    rows: int, seed: int, shift: float = 0.0, sharp: float = 1.0
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(predictions, scores, labels) of a classifier that is calibrated when ``sharp`` is 1."""
    random = np.random.default_rng(seed)
    logit = random.normal(shift, 1.5, rows)
    labels = (random.random(rows) < 1 / (1 + np.exp(-logit))).astype(np.int64)
    scores = 1 / (1 + np.exp(-logit * sharp))
    return (scores > 0.5).astype(np.int64), scores, labels


class TestBinary:
    def test_metrics_are_scikit_learns(self) -> None:
        predictions, scores, labels = scores_and_labels(200_000, 1)
        found = realised(count_classes(predictions, scores, labels, [0, 1]))
        expected = {
            "accuracy": sk.accuracy_score(labels, predictions),
            "precision": sk.precision_score(labels, predictions),
            "recall": sk.recall_score(labels, predictions),
            "f1": sk.f1_score(labels, predictions),
        }
        assert {name: found[name].value for name in expected} == pytest.approx(expected, abs=1e-12)
        assert found["roc_auc"].value == pytest.approx(sk.roc_auc_score(labels, scores), abs=1e-4)
        assert found["brier"].value == pytest.approx(sk.brier_score_loss(labels, scores), abs=1e-4)
        assert found["log_loss"].value == pytest.approx(sk.log_loss(labels, scores), abs=1e-3)
        assert found["calibration_error"].value < 0.01

    def test_rows_without_a_true_value_do_not_count(self) -> None:
        predictions, scores, labels = scores_and_labels(10_000, 2)
        half = np.where(np.arange(10_000) % 2, labels, -1)
        whole = count_classes(predictions, scores, half, [0, 1])
        assert (whole.rows, whole.labelled) == (10_000, 5_000)
        known = half >= 0
        assert realised(whole)["f1"].value == pytest.approx(sk.f1_score(labels[known], predictions[known]))

    def test_what_cannot_be_told_is_left_out(self) -> None:
        never = count_classes(np.zeros(10, np.int64), None, np.zeros(10, np.int64), [0, 1])
        assert realised(never).keys() == {"accuracy"}
        assert realised(count_classes(np.zeros(10, np.int64), None, None, [0, 1])) == {}

    @pytest.mark.parametrize("metric", ["accuracy", "precision", "recall", "f1", "roc_auc", "brier"])
    def test_intervals_hold_what_they_promise(self, metric: str) -> None:
        truth = realised(count_classes(*scores_and_labels(2_000_000, 99), [0, 1]))[metric].value
        held = 0
        for seed in range(300):
            found = realised(count_classes(*scores_and_labels(500, seed), [0, 1]))[metric]
            assert found.low is not None
            assert found.high is not None
            held += found.low <= truth <= found.high
        assert held >= 0.91 * 300  # 95 % asked; three standard errors of 300 trials are 3.8 points


class TestCounts:
    def test_windows_add_up(self) -> None:
        predictions, scores, labels = scores_and_labels(9_000, 3)
        parts = [count_classes(predictions[i::3], scores[i::3], labels[i::3], [0, 1]) for i in range(3)]
        whole = parts[0].merge(parts[1]).merge(parts[2])
        assert realised(whole) == realised(count_classes(predictions, scores, labels, [0, 1]))
        assert realised(outcomes_from_dict(whole.to_dict())) == realised(whole)

    def test_other_classes_do_not_add_up(self) -> None:
        one, other = (count_classes(np.zeros(1, np.int64), None, None, classes) for classes in ([0, 1], ["a", "b"]))
        with pytest.raises(ProfileMismatch):
            one.merge(other)
        with pytest.raises(ProfileMismatch):
            outcomes_from_dict({"kind": "classification"})

    def test_scores_that_are_no_probabilities_are_left_out(self) -> None:
        scores = np.array([0.5, np.nan, -0.1, 1.1, np.inf, 1.0, 0.0])
        assert count_classes(np.zeros(7, np.int64), scores, None, [0, 1]).rows == 3


class TestManyClasses:
    def test_metrics_are_scikit_learns(self) -> None:
        random = np.random.default_rng(4)
        labels = random.integers(0, 4, 5_000)
        predictions = np.where(random.random(5_000) < 0.7, labels, random.integers(0, 4, 5_000))
        found = realised(count_classes(predictions, None, labels, list("abcd")))
        expected = {
            "accuracy": sk.accuracy_score(labels, predictions),
            "precision": sk.precision_score(labels, predictions, average="macro"),
            "recall": sk.recall_score(labels, predictions, average="macro"),
            "f1": sk.f1_score(labels, predictions, average="macro"),
        }
        assert {name: one.value for name, one in found.items()} == pytest.approx(expected)


class TestValues:
    def test_metrics_are_scikit_learns(self) -> None:
        random = np.random.default_rng(5)
        true = random.normal(10, 3, 4_000)
        predictions = true + random.normal(0.2, 1, 4_000)
        labels = np.where(random.random(4_000) < 0.5, true, np.nan)
        known = np.isfinite(labels)
        parts = [count_values(predictions[i::2], labels[i::2]) for i in range(2)]
        whole = parts[0].merge(parts[1])
        found = {name: one.value for name, one in realised(outcomes_from_dict(whole.to_dict())).items()}
        assert whole.rows == 4_000
        assert found == pytest.approx(
            {
                "mae": sk.mean_absolute_error(true[known], predictions[known]),
                "mse": sk.mean_squared_error(true[known], predictions[known]),
                "rmse": sk.root_mean_squared_error(true[known], predictions[known]),
                "bias": float((predictions - true)[known].mean()),
                "r2": sk.r2_score(true[known], predictions[known]),
            }
        )

    def test_intervals_hold_what_they_promise(self) -> None:
        held = {"mae": 0, "rmse": 0, "bias": 0}
        truth = {"mae": np.sqrt(2 / np.pi), "rmse": 1.0, "bias": 0.0}
        for seed in range(300):
            error = np.random.default_rng(seed).normal(0, 1, 300)
            found = realised(count_values(error, np.zeros(300)))
            for name in held:
                held[name] += found[name].low <= truth[name] <= found[name].high
        assert min(held.values()) >= 0.91 * 300


def published(reference: tuple[np.ndarray, ...], current: tuple[np.ndarray, ...]) -> dict[str, float]:
    """CBPE as NannyML publishes it, row by row: isotonic calibration, then the expected confusion table; for the area
    under the curve, expected rates at every calibrated score."""
    calibrator = IsotonicRegression(out_of_bounds="clip").fit(reference[1], reference[2])
    chance, predicted = calibrator.predict(current[1]), current[0]
    tp, fp = (chance * predicted).sum(), ((1 - chance) * predicted).sum()
    fn, tn = (chance * (1 - predicted)).sum(), ((1 - chance) * (1 - predicted)).sum()
    thresholds = np.sort(chance)
    tps, fps = np.cumsum(thresholds[::-1])[::-1], np.cumsum((1 - thresholds)[::-1])[::-1]
    first = np.diff(np.insert(thresholds, 0, -1)).astype(bool)
    tpr = np.append(tps[first] / thresholds.sum(), 0.0)
    fpr = np.append(fps[first] / (1 - thresholds).sum(), 0.0)
    area = -np.trapezoid(tpr, fpr) if hasattr(np, "trapezoid") else -np.trapz(tpr, fpr)
    return {"accuracy": (tp + tn) / len(chance), "f1": 2 * tp / (2 * tp + fp + fn), "roc_auc": area}


class TestEstimates:
    @pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 2.0])
    @pytest.mark.parametrize("sharp", [1.0, 2.0])
    def test_it_is_what_nannyml_publishes(self, shift: float, sharp: float) -> None:
        reference = scores_and_labels(60_000, 6, sharp=sharp)
        current = scores_and_labels(60_000, 7, shift, sharp=sharp)
        found = estimated(count_classes(*reference, [0, 1]), count_classes(current[0], current[1], None, [0, 1]))
        assert {found[name].kind for name in found} == {"estimated"}
        expected = published(reference, current)
        assert {name: found[name].value for name in expected} == pytest.approx(expected, abs=0.002)

    def test_it_sees_a_shift_before_the_labels_come(self) -> None:
        reference, current = scores_and_labels(100_000, 8, sharp=2.0), scores_and_labels(100_000, 9, 2.0, sharp=2.0)
        labelled = count_classes(*current, [0, 1])
        found = estimated(count_classes(*reference, [0, 1]), count_classes(current[0], current[1], None, [0, 1]))
        truth = realised(labelled)
        for name in ("accuracy", "f1", "roc_auc"):
            assert found[name].value == pytest.approx(truth[name].value, abs=0.01), name

    def test_several_classes(self) -> None:
        def answers(seed: int, sure: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
            random = np.random.default_rng(seed)
            score = 1 / 3 + (2 / 3) * random.beta(sure, 2, 50_000)
            labels = random.integers(0, 3, 50_000)
            right = random.random(50_000) < score
            return np.where(right, labels, (labels + 1) % 3), score, labels

        reference, current = answers(1, 4), answers(2, 2)
        found = estimated(count_classes(*reference, list("abc")), count_classes(*current[:2], None, list("abc")))
        assert found["accuracy"].value == pytest.approx((current[0] == current[2]).mean(), abs=0.01)

    def test_too_few_labels_make_no_estimate(self) -> None:
        reference = count_classes(*scores_and_labels(100, 11), [0, 1])
        assert estimated(reference, reference) == {}
        with pytest.raises(ProfileMismatch):
            estimated(reference, count_classes(np.zeros(1, np.int64), None, None, ["a", "b"]))


class TestComparing:
    def test_a_better_challenger_is_better_and_an_equal_one_undecided(self) -> None:
        good, same = scores_and_labels(20_000, 12), scores_and_labels(20_000, 13)
        random = np.random.default_rng(14)
        worse = (np.where(random.random(20_000) < 0.2, 1 - good[0], good[0]), good[1], good[2])
        ours, theirs, poor = (count_classes(*one, [0, 1]) for one in (good, same, worse))
        assert compare_performance(poor, ours)["accuracy"].better is True
        assert compare_performance(ours, poor)["accuracy"].better is False
        assert compare_performance(ours, theirs)["accuracy"].better is None
        error = compare_performance(
            count_values(np.full(900, 2.0), np.arange(900) % 2.0), count_values(np.ones(900), np.arange(900) % 2.0)
        )
        assert error["rmse"].better is True  # lower is better
