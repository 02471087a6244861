"""Decisions: thresholds, presets, rules for single features, words, and the sampled scan."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from windsock.provider.errors import ConfigurationError, ProfileMismatch
from windsock.provider.monitoring.checks import baseline_from, check_against
from windsock.provider.monitoring.decision import compare
from windsock.provider.monitoring.policy import DriftPolicy, FeatureRule
from windsock.provider.monitoring.profile import build_profile, profile_against

N = 20_000


def data(seed, **shifts):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "age": rng.normal(40 + 12 * shifts.get("age", 0), 12, N),
            "income": rng.lognormal(10 + shifts.get("income", 0), 0.5, N),
            "city": rng.choice(["Bern", "Basel", "Chur"], N, p=shifts.get("city", [0.5, 0.3, 0.2])),
            "prediction": (rng.random(N) < 0.3 + shifts.get("prediction", 0)).astype(np.int64),
        }
    )


@pytest.fixture(scope="module")
def baseline():
    return build_profile(data(0), model_name="churn", version=3, prediction="prediction")


def result_of(baseline, policy=None, **shifts):
    return compare(baseline, profile_against(baseline, data(1, **shifts)), policy=policy)


class TestFeatures:
    def test_nothing_moved(self, baseline):
        result = result_of(baseline)
        assert result.status == "ok"
        assert not result.drifted
        assert result.drift_share == 0
        assert result.reasons == ()

    def test_a_moved_mean_is_said_in_standard_deviations(self, baseline):
        feature = result_of(baseline, age=0.3).features["age"]
        assert feature.status == "drift"
        assert feature.reason.startswith("mean moved by +0.29 sd; KS 0.1")
        assert feature.metrics["mean_shift"] == pytest.approx(0.3, abs=0.03)
        assert feature.score > 2

    def test_a_small_shift_is_a_warning(self, baseline):
        result = result_of(baseline, age=0.1)
        assert result.features["age"].status == "warn"
        assert result.status == "warn"
        assert not result.drifted

    def test_a_moved_level_is_named(self, baseline):
        feature = result_of(baseline, city=[0.4, 0.4, 0.2]).features["city"]
        assert feature.status == "drift"
        assert '"Bern" 50.' in feature.reason or '"Basel"' in feature.reason

    def test_unseen_levels_are_named(self, baseline):
        changed = data(1).set_column(2, "city", pa.array(["Bern"] * (N - 1000) + ["Zug"] * 1000))
        feature = compare(baseline, profile_against(baseline, changed)).features["city"]
        assert '5 % unseen before ("Zug")' in feature.reason

    def test_every_metric_of_the_json_is_finite_and_every_status_known(self, baseline):
        document = result_of(baseline, age=1.0).to_dict()
        assert document["drifted"] is True
        assert document["rows"] == N
        for feature in document["features"].values():
            assert feature["status"] in {"ok", "warn", "drift", "degenerate"}
            assert all(np.isfinite(value) for value in feature["metrics"].values())
            assert feature["reason"]


class TestDataSet:
    def test_one_drifted_feature_is_drift_and_a_share_an_alert(self, baseline):
        result = result_of(baseline, age=0.5)
        assert result.drifted
        assert result.drift_share == pytest.approx(1 / 3)
        assert result.alert

    def test_share_leaves_a_little_drift_alone(self, baseline):
        assert not result_of(baseline, DriftPolicy(share=0.5, alert_share=0.6), age=0.5).drifted

    def test_prediction_drift_is_no_feature_but_an_alert(self, baseline):
        result = result_of(baseline, prediction=0.1)
        assert result.drifted
        assert result.alert
        assert result.drift_share == 0
        assert result.reasons[0].startswith("the prediction drifted")

    def test_critical_feature(self, baseline):
        policy = DriftPolicy(alert_share=0.9, features={"age": FeatureRule(critical=True)})
        result = result_of(baseline, policy, age=0.5)
        assert result.alert
        assert any(reason.startswith("critical feature age") for reason in result.reasons)

    def test_importance_weighs_the_share(self, baseline):
        policy = DriftPolicy(features={"age": FeatureRule(importance=8)})
        assert result_of(baseline, policy, age=0.5).drift_share == pytest.approx(0.8)

    def test_another_baseline_is_refused(self, baseline):
        other = build_profile(data(7))
        with pytest.raises(ProfileMismatch, match=baseline.edges_id):
            compare(baseline, profile_against(other, data(1)))


class TestPolicy:
    def test_threshold_of_one_feature(self, baseline):
        policy = DriftPolicy(features={"age": FeatureRule(thresholds={"ks": 0.5, "psi": 1, "tv": 1, "spread": 1})})
        assert result_of(baseline, policy, age=0.3).features["age"].status == "ok"

    def test_ignored_feature(self, baseline):
        policy = DriftPolicy(features={"age": FeatureRule(ignore=True)})
        assert "age" not in result_of(baseline, policy, age=0.3).features

    def test_tests_of_a_kind_only(self, baseline):
        policy = DriftPolicy(
            numerical=("wasserstein",), categorical=("psi",), thresholds={"wasserstein": 0.1, "psi": 0.1}
        )
        result = result_of(baseline, policy, age=0.15)
        assert {test.test for test in result.features["age"].tests} & {"ks", "psi", "wasserstein"} == {"wasserstein"}
        assert result.features["age"].status == "drift"

    def test_unknown_test_is_refused_with_a_suggestion(self):
        with pytest.raises(ConfigurationError, match='no drift test "wasserstien"') as caught:
            DriftPolicy(numerical=("wasserstien",))
        assert "wasserstein" in caught.value.hint

    def test_unknown_preset(self):
        with pytest.raises(ConfigurationError, match="no preset"):
            DriftPolicy.preset("ksi")

    @pytest.mark.parametrize("method", ["psi", "ks", "js", "wasserstein", "chi_square"])
    def test_presets_find_a_plain_drift(self, baseline, method):
        result = result_of(baseline, DriftPolicy.preset(method), age=0.7)
        assert result.features["age"].status == "drift"

    def test_psi_preset_has_the_textbook_thresholds(self, baseline):
        policy = DriftPolicy.preset("psi")
        assert result_of(baseline, policy, age=0.4).features["age"].status == "warn"
        assert result_of(baseline, policy, age=0.6).features["age"].status == "drift"

    def test_effects_alone_decide_without_alpha(self, baseline):
        tiny = data(1, age=0.5).slice(0, 60)
        current = profile_against(baseline, tiny)
        assert compare(baseline, current, policy=DriftPolicy(alpha=None)).features["age"].status == "drift"


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scan")
    rng = np.random.default_rng(0)

    def write(name, shift):
        columns = {"still": rng.normal(size=240_000), "moved": rng.normal(shift, 1, 240_000)}
        columns["near"] = rng.normal(shift * 0.126, 1, 240_000)  # KS a hair above its threshold of 0.05
        path = folder / name
        pq.write_table(pa.table(columns), path, row_group_size=6000)
        return path

    return write("reference.parquet", 0.0), write("current.parquet", 1.0)


class TestSampledScan:
    def test_decides_as_the_full_scan_and_reads_less(self, files, monkeypatch):
        monkeypatch.setattr("windsock.provider.monitoring.sampling.AUTO_ROWS", 50_000)
        baseline = baseline_from([files[0]])
        full = check_against([files[1]], baseline, scan="full")
        auto = check_against([files[1]], baseline.to_bytes(), scan="auto")
        assert {n: f.status for n, f in auto.features.items()} == {n: f.status for n, f in full.features.items()}
        rows = {name: column.rows for name, column in auto.current.columns.items()}
        assert rows["still"] <= 60_000
        assert rows["near"] == 240_000  # never three standard errors away
        assert auto.rows == 240_000

    def test_small_data_are_read_whole(self, files):
        baseline = baseline_from([files[0]])
        assert check_against([files[1]], baseline, scan="auto").scanned_rows == 240_000

    def test_a_stream_is_read_whole(self, files):
        baseline = baseline_from([files[0]])
        stream = pq.read_table(files[1]).to_reader(max_chunksize=5000)
        assert check_against(stream, baseline, scan="auto").scanned_rows == 240_000
