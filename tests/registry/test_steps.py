"""The built-in steps, run in pipelines against a real database and artifact store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
from windsock import deploy_model, pipeline, promote_model, register_model, step
from windsock.provider.artifacts.saving import load
from windsock.provider.deployers import deployments
from windsock.provider.errors import WindsockError
from windsock.provider.metadata import run_key
from windsock.provider.monitoring.decision import compare
from windsock.provider.monitoring.profile import DriftProfile, profile_against
from windsock.provider.runtime.invocation import OutputTarget, RunIdentity, StepInvocation
from windsock.provider.runtime.runner import run_step

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.base import ClassifierMixin


@step(outputs=("train", "test"))
def flowers() -> tuple[pd.DataFrame, pd.DataFrame]:
    from sklearn.datasets import load_iris

    rows = load_iris(as_frame=True).frame
    rows["picked"] = np.datetime64("2026-01-01")  # of a type that no request can carry
    return rows.iloc[::2], rows.iloc[1::2]


@step
def train(rows: pd.DataFrame, depth: int) -> ClassifierMixin:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(max_depth=depth, random_state=0).fit(
        rows.drop(columns=["target", "picked"]), rows["target"]
    )


@step
def measure(model: ClassifierMixin, rows: pd.DataFrame) -> dict[str, float]:
    return {"accuracy": float(model.score(rows.drop(columns=["target", "picked"]), rows["target"]))}


@step
def train_on_array(rows: pd.DataFrame) -> ClassifierMixin:
    from sklearn.tree import DecisionTreeClassifier

    return DecisionTreeClassifier(random_state=0).fit(
        rows.drop(columns=["target", "picked"]).to_numpy(), rows["target"]
    )


@step
def features(rows: pd.DataFrame) -> np.ndarray:
    return rows.drop(columns=["target", "picked"]).to_numpy()


@pipeline
def whole(depth: int = 3, alias: str = "candidate") -> None:
    train_rows, test_rows = flowers()
    model = train(train_rows, depth)
    register_model(
        model,
        "iris",
        metrics=measure(model, test_rows),
        baseline=train_rows,
        evaluation=test_rows,
        target="target",
        alias=alias,
        description="a tree",
    )


@pipeline
def bare() -> None:
    train_rows, _ = flowers()
    register_model(train(train_rows, 2), "bare", alias=None)


@pipeline
def evaluation_only() -> None:
    train_rows, test_rows = flowers()
    register_model(train(train_rows, 2), "iris", evaluation=test_rows, target="target")


@pipeline
def arrays() -> None:
    train_rows, _ = flowers()
    register_model(train_on_array(train_rows), "arrays", baseline=features(train_rows))


@pipeline
def unfitting() -> None:
    train_rows, _ = flowers()
    register_model(train(train_rows, 2), "iris", baseline=features(train_rows))


@pipeline
def release(depth: int) -> None:
    train_rows, test_rows = flowers()
    registered = register_model(
        train(train_rows, depth), "iris", baseline=train_rows, evaluation=test_rows, target="target"
    )
    gates = [{"gate": "better_than_current", "metric": "accuracy"}]
    promoted = promote_model(registered["model"], gates=gates, reason="released")
    deploy_model(promoted["model"])


class TestRegister:
    def test_everything_that_is_known_is_registered(self, stack):
        run = whole.run(stack=stack, depth=2)
        version = stack.metadata.models.get("iris", alias="candidate")
        assert run.load("register_model") == {"model": "iris", "version": 1, "alias": "candidate"}
        assert (version.version, version.description) == (1, "a tree")
        assert version.metrics == run.load("measure")
        assert (version.parameters["max_depth"], version.parameters["random_state"]) == (2, 0)
        assert set(version.requirements) == {"python", "scikit-learn"}
        assert version.artifact == run.outputs["train"]["output"]
        assert version.evaluation == run.outputs["flowers"]["test"]
        assert version.run == run_key(run.dag_id, run.run_id)
        assert version.created_by == "ada"

    def test_the_schema_holds_what_the_model_wants(self, stack):
        whole.run(stack=stack)
        version = stack.metadata.models.get("iris")
        model = load(version.artifact, stack.artifact_store)
        assert [f["name"] for f in version.input_schema["features"]] == list(model.feature_names_in_)
        assert version.input_schema["target"] == "target"
        assert version.input_schema["outputs"]["classes"] == [0, 1, 2]
        assert list(version.example[0]) == list(model.feature_names_in_)

    def test_the_baseline_is_a_profile_of_features_and_predictions(self, stack):
        run = whole.run(stack=stack)
        version = stack.metadata.models.get("iris")
        profile = DriftProfile.from_bytes(load(version.baseline, stack.artifact_store))
        model = load(version.artifact, stack.artifact_store)
        assert set(profile.columns) == {*model.feature_names_in_, "target", "prediction"}
        assert profile.roles == {"target": "target", "prediction": "prediction"}
        assert profile.rows == len(run.load("flowers", "train")) == 75

    def test_lineage_goes_from_the_model_to_the_data(self, stack):
        run = whole.run(stack=stack)
        why = stack.model_registry.explain("iris", "candidate")
        assert {(d.artifact, d.role) for d in why.data} == {
            ("whole.flowers.train", "source"),
            ("whole.flowers.test", "evaluation"),
            ("iris.baseline", "baseline"),
            ("whole.measure", "derived"),
        }
        assert (why.made_in.run_id, why.made_in.step) == (run.run_id, "register_model")

    def test_every_run_is_a_version_of_its_own(self, stack):
        assert [whole.run(stack=stack).load("register_model")["version"] for _ in range(3)] == [1, 2, 3]
        assert stack.metadata.models.get("iris", alias="candidate").version == 3

    def test_without_data_and_without_an_alias(self, stack):
        assert bare.run(stack=stack).load("register_model") == {"model": "bare", "version": 1, "alias": None}
        version = stack.metadata.models.get("bare")
        assert (version.input_schema, version.baseline, version.evaluation, version.example) == (None,) * 4
        assert version.parameters["max_depth"] == 2
        assert stack.metadata.models.aliases("bare") == {}

    def test_with_evaluation_data_only(self, stack):
        evaluation_only.run(stack=stack)
        version = stack.metadata.models.get("iris")
        assert version.baseline is None
        assert len(version.input_schema["features"]) == 4

    def test_a_model_and_data_without_names(self, stack):
        arrays.run(stack=stack)
        version = stack.metadata.models.get("arrays")
        assert [f["name"] for f in version.input_schema["features"]] == ["x0", "x1", "x2", "x3"]
        assert set(version.example[0]) == {"x0", "x1", "x2", "x3"}
        assert version.baseline is not None

    def test_data_that_do_not_fit_the_model_are_refused(self, stack):
        with pytest.raises(WindsockError, match="sepal length"):
            unfitting.run(stack=stack)
        assert stack.metadata.models.find("iris") is None

    def test_a_word_that_is_no_alias_registers_nothing(self, stack):
        with pytest.raises(WindsockError, match='"latest" cannot be an alias'):
            whole.run(stack=stack, alias="latest")
        assert stack.metadata.models.find("iris") is None


class TestRetry:
    def again(self, stack, run, try_number):
        """The task of ``run`` once more, as Airflow retries it."""
        invocation = StepInvocation(
            step="register_model",
            function="windsock.provider.steps:register_model",
            identity=RunIdentity(run.dag_id, run.run_id, "register_model", -1, try_number),
            arguments={"model": {"artifact": run.outputs["train"]["output"]}, "name": {"value": "iris"}},
            outputs=(OutputTarget("output", None, "whole.register_model"),),
            pipeline="whole",
            cache=False,
        )
        return load(run_step(invocation, stack=stack).outputs["output"], stack.artifact_store)

    def test_it_finds_what_the_first_try_registered(self, stack):
        run = whole.run(stack=stack)
        assert self.again(stack, run, try_number=2)["version"] == 1
        assert len(stack.metadata.models.versions("iris")) == 1
        assert len(stack.metadata.models.history("iris")) == 1

    def test_a_late_one_does_not_move_the_alias_back(self, stack):
        first = whole.run(stack=stack)
        whole.run(stack=stack)
        assert self.again(stack, first, try_number=2)["version"] == 1
        assert stack.metadata.models.get("iris", alias="candidate").version == 2


class TestPromoteAndDeploy:
    def test_a_better_model_is_promoted_and_served(self, stack):
        try:
            first = release.run(stack=stack, depth=1)
            assert first.load("promote_model")["previous"] is None
            second = release.run(stack=stack, depth=3)
            promoted, deployed = second.load("promote_model"), second.load("deploy_model")
            assert (promoted["version"], promoted["previous"], promoted["changed"]) == (2, 1, True)
            assert promoted["gates"][0]["values"]["gain"] > 0.2
            assert (deployed["deployment"], deployed["version"], deployed["phase"]) == ("iris", 2, "ready")
            assert self.predict(stack, deployed["url"]) == 2
        finally:
            deployments.delete(metadata=stack.metadata, deployer=stack.deployer, name="iris", actor="test")

    def test_a_worse_one_stops_the_run(self, stack):
        try:
            release.run(stack=stack, depth=3)
            with pytest.raises(WindsockError, match=r"accuracy .* against"):
                release.run(stack=stack, depth=1)
            assert stack.metadata.models.get("iris", alias="production").version == 1
            assert stack.metadata.deployments.get("iris").version == 1
        finally:
            deployments.delete(metadata=stack.metadata, deployer=stack.deployer, name="iris", actor="test")

    def predict(self, stack, url):
        """Ask the server what the first virginica is."""
        import json
        from urllib.request import Request, urlopen

        from sklearn.datasets import load_iris

        row = load_iris(as_frame=True).data.iloc[100].to_dict()
        body = json.dumps({"instances": [row]}).encode()
        request = Request(f"{url}/predict", body, {"Content-Type": "application/json"})
        return json.loads(urlopen(request, timeout=10).read())["predictions"][0]


class TestDrift:
    def test_rows_like_those_before_are_no_drift(self, stack):
        whole.run(stack=stack)
        version = stack.metadata.models.get("iris")
        model = load(version.artifact, stack.artifact_store)
        profile = DriftProfile.from_bytes(load(version.baseline, stack.artifact_store))
        train_rows, _ = flowers.function()
        live = train_rows[list(model.feature_names_in_)].sample(1000, replace=True, random_state=0)
        same = compare(profile, profile_against(profile, live.assign(prediction=model.predict(live))))
        assert not same.drifted
        moved = live * 1.5
        other = compare(profile, profile_against(profile, moved.assign(prediction=model.predict(moved))))
        assert other.drifted
