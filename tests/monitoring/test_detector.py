"""The stack's drift detector: what its YAML may say, and what a subclass must have."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from windsock.provider.errors import ComponentInvalid, ConfigurationError
from windsock.provider.monitoring.detector import DriftDetector, StatisticalDriftDetector


def table(seed, shift=0.0):
    rng = np.random.default_rng(seed)
    return pa.table(
        {"x": rng.normal(shift, 1, 5000), "y": rng.choice(["a", "b"], 5000), "label": rng.integers(0, 2, 5000)}
    )


class TestConfiguration:
    def test_the_example_of_the_documentation(self):
        detector = StatisticalDriftDetector.from_mapping(
            {"tests": {"numerical": "wasserstein", "categorical": "psi"}, "threshold": 0.1}
        )
        policy = detector.policy
        assert policy.numerical == ("wasserstein",)
        assert policy.threshold("x", "wasserstein", True) == 0.1
        assert policy.threshold("y", "psi", False) == 0.1
        assert policy.threshold("y", "missing", False) == 0.02

    def test_feature_overrides(self):
        detector = StatisticalDriftDetector.from_mapping(
            {"features": {"x": {"threshold": 0.3, "critical": True}, "y": {"ignore": True}}}
        )
        assert detector.policy.threshold("x", "ks", True) == 0.3
        assert detector.policy.threshold("z", "ks", True) == 0.05
        assert detector.policy.rule("x").critical

    def test_method_is_a_preset(self):
        assert StatisticalDriftDetector.from_mapping({"method": "psi"}).policy.alpha is None

    def test_a_wrong_key_is_named(self):
        with pytest.raises(ComponentInvalid, match='"treshold" is not an option'):
            StatisticalDriftDetector.from_mapping({"treshold": 0.1})

    def test_an_unknown_test_is_refused(self):
        detector = StatisticalDriftDetector.from_mapping({"tests": {"numerical": "kolmogorov"}})
        with pytest.raises(ConfigurationError, match='no drift test "kolmogorov"'):
            detector.policy  # noqa: B018


class TestDetect:
    def test_finds_a_shift_and_nothing_else(self):
        detector = StatisticalDriftDetector()
        baseline = detector.baseline(table(0), target="label")
        assert not detector.detect(baseline, table(1)).drifted
        result = detector.detect(baseline, table(1, shift=0.5))
        assert [name for name, feature in result.features.items() if feature.status == "drift"] == ["x"]

    def test_columns_come_with_their_roles(self):
        detector = StatisticalDriftDetector()
        assert detector.columns(detector.baseline(table(0), target="label")) == {
            "x": None,
            "y": None,
            "label": "target",
        }

    def test_check_is_a_round_trip(self):
        assert StatisticalDriftDetector().check().ok
        assert (
            not StatisticalDriftDetector.from_mapping({"threshold": 99, "thresholds": {"out_of_range": 1}}).check().ok
        )
        assert not StatisticalDriftDetector.from_mapping({"tests": {"numerical": "kolmogorov"}}).check().ok

    def test_a_detector_of_ones_own_needs_all_its_methods(self):
        class Half(DriftDetector):
            def baseline(self, data, *, target=None, prediction=None):
                return b""

        with pytest.raises(TypeError, match="detect"):
            Half()
