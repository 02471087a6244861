"""BetterThanCurrent on real models, stored and loaded, and real data."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.dummy import DummyClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor
from windsock.provider.artifacts.saving import save
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.errors import GateFailed
from windsock.provider.metadata import NewArtifact, NewModelVersion
from windsock.provider.predictions.schema import infer_schema
from windsock.provider.registry.gates import BetterThanCurrent
from windsock.provider.registry.models import NativeModelRegistry

TUMOURS = load_breast_cancer(as_frame=True).frame
TRAIN, TEST = TUMOURS.iloc[::2], TUMOURS.iloc[1::2]


@pytest.fixture
def store(tmp_path):
    return LocalArtifactStore.from_mapping({"path": str(tmp_path / "artifacts")})


@pytest.fixture
def registry(metadata, store):
    return NativeModelRegistry.over(metadata, store)


def keep(registry, name, value):
    stored = save(value, registry.artifact_store)
    return registry.metadata.artifacts.record(
        NewArtifact(
            artifact=name,
            uri=stored.uri,
            digest=stored.digest,
            size=stored.size,
            type=stored.type,
            materializer=stored.materializer,
            metadata=stored.metadata,
        )
    ).ref()


def add(registry, model, evaluation=TEST, target="target", train=TRAIN, alias=None, schema=True, arrays=False):
    if not hasattr(model, "n_features_in_"):
        features = train.drop(columns=target)
        model.fit(features.to_numpy() if arrays else features, train[target])
    version = registry.register(
        NewModelVersion(
            model="churn",
            artifact=keep(registry, "churn.train", model),
            evaluation=keep(registry, "churn.test", evaluation) if evaluation is not None else None,
            input_schema=infer_schema(train, target=target, model=model) if schema else None,
        )
    ).version
    if alias:
        registry.move_alias("churn", alias, version, actor="test")
    return version


def promote(registry, *gates):
    return registry.promote("churn", gates=gates, actor="ada")


def strong():
    return make_pipeline(StandardScaler(), LogisticRegression())


def weak():
    return DecisionTreeClassifier(max_depth=1, random_state=0)


def accuracy(model, data=TEST):
    return float((model.predict(data.drop(columns="target")) == data["target"]).mean())


class TestDecision:
    def test_a_better_model_passes_with_both_numbers(self, registry):
        old, new = weak(), strong()
        add(registry, old, alias="production")
        add(registry, new, alias="candidate")
        outcome = promote(registry, BetterThanCurrent("accuracy", margin=0.03)).gates[0]
        assert outcome.values["candidate"] == pytest.approx(accuracy(new))
        assert outcome.values["current"] == pytest.approx(accuracy(old))
        assert outcome.values["rows"] == len(TEST)

    def test_a_worse_model_fails(self, registry):
        add(registry, strong(), alias="production")
        add(registry, weak(), alias="candidate")
        with pytest.raises(GateFailed) as caught:
            promote(registry, BetterThanCurrent("accuracy"))
        assert caught.value.outcomes[0].values["gain"] < -0.03
        assert registry.get("churn", alias="production").version == 1

    def test_an_equal_model_is_not_better(self, registry):
        add(registry, strong(), alias="production")
        add(registry, strong(), alias="candidate")
        with pytest.raises(GateFailed, match="needed more than 0"):
            promote(registry, BetterThanCurrent("accuracy"))

    def test_a_negative_margin_tolerates_an_equal_one(self, registry):
        add(registry, strong(), alias="production")
        add(registry, strong(), alias="candidate")
        assert promote(registry, BetterThanCurrent("accuracy", margin=-0.01)).changed

    def test_a_margin_that_is_missed(self, registry):
        old, new = weak(), strong()
        add(registry, old, alias="production")
        add(registry, new, alias="candidate")
        gain = accuracy(new) - accuracy(old)
        with pytest.raises(GateFailed):
            promote(registry, BetterThanCurrent("accuracy", margin=gain + 0.001))
        assert promote(registry, BetterThanCurrent("accuracy", margin=gain)).changed

    def test_the_first_version_passes_with_a_note(self, registry):
        add(registry, strong(), alias="candidate")
        outcome = promote(registry, BetterThanCurrent("accuracy", margin=0.5)).gates[0]
        assert outcome.passed
        assert "first version" in outcome.detail

    def test_both_are_measured_on_the_candidates_rows(self, registry):
        old, new = weak(), strong()
        add(registry, old, evaluation=TEST.iloc[:5], alias="production")
        add(registry, new, evaluation=TEST.iloc[100:200], alias="candidate")
        values = promote(registry, BetterThanCurrent("accuracy")).gates[0].values
        assert values["rows"] == 100
        assert values["current"] == pytest.approx(accuracy(old, TEST.iloc[100:200]))

    def test_or_on_a_fixed_table(self, registry):
        old, new = weak(), strong()
        add(registry, old, alias="production")
        add(registry, new, alias="candidate")
        keep(registry, "churn.holdout", TEST.iloc[:50])
        keep(registry, "churn.holdout", TEST.iloc[:80])
        gates = [BetterThanCurrent("accuracy", margin=-1, on=on) for on in ("churn.holdout", "churn.holdout@1")]
        rows = [outcome.values["rows"] for outcome in promote(registry, *gates).gates]
        assert rows == [80, 50]


class TestMetrics:
    def test_direction_is_known(self, registry):
        add(registry, weak(), alias="production")
        add(registry, strong(), alias="candidate")
        outcome = promote(registry, BetterThanCurrent("log_loss"), BetterThanCurrent("brier")).gates[0]
        assert outcome.values["candidate"] < outcome.values["current"]

    @pytest.mark.parametrize("metric", ["precision", "recall", "f1", "roc_auc", "average_precision", "mcc"])
    def test_labels_may_be_words(self, registry, metric):
        data = TUMOURS.assign(target=TUMOURS["target"].map({0: "malignant", 1: "benign"}))
        add(registry, weak(), train=data.iloc[::2], evaluation=data.iloc[1::2], alias="production")
        add(registry, strong(), train=data.iloc[::2], evaluation=data.iloc[1::2], alias="candidate")
        values = promote(registry, BetterThanCurrent(metric)).gates[0].values
        assert 0 < values["current"] < values["candidate"] <= 1

    @pytest.mark.parametrize("metric", ["accuracy", "balanced_accuracy", "f1", "roc_auc", "log_loss"])
    def test_more_than_two_classes(self, registry, metric):
        iris = load_iris(as_frame=True).frame
        for model, alias in ((DummyClassifier(strategy="prior"), "production"), (strong(), "candidate")):
            add(registry, model, train=iris.iloc[::2], evaluation=iris.iloc[1::2], alias=alias)
        assert promote(registry, BetterThanCurrent(metric, margin=0.1)).changed

    @pytest.mark.parametrize("metric", ["r2", "mae", "rmse", "mean_squared_error"])
    def test_regression(self, registry, metric):
        data = load_diabetes(as_frame=True).frame
        for model, alias in ((DecisionTreeRegressor(random_state=0), "production"), (LinearRegression(), "candidate")):
            add(registry, model, train=data.iloc[::2], evaluation=data.iloc[1::2], alias=alias)
        assert promote(registry, BetterThanCurrent(metric)).changed


class TestColumns:
    def test_each_version_gets_the_columns_it_knows(self, registry):
        few = ["worst area", "mean texture"]
        add(registry, strong(), train=TRAIN[[*few, "target"]], alias="production")
        add(registry, strong(), evaluation=TEST[TEST.columns[::-1]], alias="candidate")
        assert promote(registry, BetterThanCurrent("accuracy")).changed

    def test_a_model_that_was_fitted_on_an_array(self, registry, recwarn):
        add(registry, weak(), arrays=True, alias="production")
        add(registry, strong(), arrays=True, alias="candidate")
        recwarn.clear()
        assert promote(registry, BetterThanCurrent("accuracy")).changed
        assert not [w for w in recwarn if "feature names" in str(w.message)]

    def test_rows_without_a_true_value_do_not_count(self, registry):
        partly = TEST.assign(target=np.where(np.arange(len(TEST)) % 2, TEST["target"], np.nan))
        add(registry, weak(), alias="production")
        add(registry, strong(), evaluation=partly, alias="candidate")
        assert promote(registry, BetterThanCurrent("accuracy")).gates[0].values["rows"] == len(TEST) // 2


class TestWhatCannotBeCompared:
    """It does not pass, and the outcome says what to do."""

    def refused(self, registry, gate, **facts):
        add(registry, weak(), alias="production")
        add(registry, strong(), alias="candidate", **facts)
        with pytest.raises(GateFailed) as caught:
            promote(registry, gate)
        return caught.value.outcomes[0].detail

    def test_no_evaluation_data(self, registry):
        detail = self.refused(registry, BetterThanCurrent("accuracy"), evaluation=None)
        assert "registered without evaluation data" in detail

    def test_no_known_target(self, registry):
        detail = self.refused(registry, BetterThanCurrent("accuracy"), schema=False)
        assert "Which column of churn.test@1 holds the true values is not known" in detail

    def test_a_target_that_is_not_there(self, registry):
        detail = self.refused(registry, BetterThanCurrent("accuracy", target="traget"))
        assert 'Did you mean "target"?' in detail

    def test_columns_that_the_current_version_needs(self, registry):
        small = TRAIN[["worst area", "target"]]
        detail = self.refused(registry, BetterThanCurrent("accuracy"), train=small, evaluation=small)
        assert "churn version 1 needs mean radius" in detail

    def test_no_probabilities(self, registry):
        from sklearn.svm import LinearSVC

        add(registry, weak(), alias="production")
        add(registry, make_pipeline(StandardScaler(), LinearSVC()), alias="candidate")
        with pytest.raises(GateFailed, match="has no predict_proba"):
            promote(registry, BetterThanCurrent("log_loss"))

    def test_a_fixed_table_that_nobody_knows(self, registry):
        detail = self.refused(registry, BetterThanCurrent("accuracy", on="churn.tset"))
        assert 'Did you mean "churn.test"?' in detail

    def test_data_that_are_gone(self, registry, store):
        add(registry, weak(), alias="production")
        add(registry, strong(), alias="candidate")
        store.delete(registry.get("churn", alias="candidate").evaluation["uri"])
        with pytest.raises(GateFailed, match="could not be compared"):
            promote(registry, BetterThanCurrent("accuracy"))
