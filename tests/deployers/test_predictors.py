"""What a loaded model is asked, and that every short cut gives the model's own answers."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
import serving_lab as lab
from windsock.provider.deployers.server.forests import fast_forest
from windsock.provider.deployers.server.predictor import make_predictor
from windsock.provider.errors import DeploymentFailed
from windsock.provider.predictions.schema import example_rows, infer_schema


@pytest.fixture(scope="module")
def data() -> tuple[pd.DataFrame, Any]:
    from sklearn.datasets import load_breast_cancer

    features, target = load_breast_cancer(return_X_y=True, as_frame=True)
    return features.iloc[:, :8], target


def predictor_for(model: Any, data: pd.DataFrame, **changes: Any) -> Any:
    schema = infer_schema(data, model=model) | changes
    return make_predictor(model, schema, example_rows(data, schema))


class TestEstimators:
    @pytest.mark.parametrize(
        "name",
        [
            "ensemble.RandomForestClassifier",
            "ensemble.ExtraTreesClassifier",
            "ensemble.HistGradientBoostingClassifier",
            "tree.DecisionTreeClassifier",
            "discriminant_analysis.LinearDiscriminantAnalysis",
            "linear_model.RidgeClassifier",
            "svm.LinearSVC",
            "neighbors.KNeighborsClassifier",
            "naive_bayes.GaussianNB",
            "ensemble.RandomForestRegressor",
            "linear_model.Ridge",
        ],
    )
    def test_answers_are_the_estimators_own(self, name: str, data: tuple[pd.DataFrame, Any]) -> None:
        from importlib import import_module

        module, _, cls = name.partition(".")
        features, target = data
        model = getattr(import_module(f"sklearn.{module}"), cls)().fit(features, target)
        own = model.predict(features).tolist()
        proba = model.predict_proba(features) if hasattr(model, "predict_proba") else None
        predictor = predictor_for(model, features)
        answered = predictor.predict(features.to_numpy().tolist())
        assert answered.predictions == (own if hasattr(model, "classes_") else pytest.approx(own, rel=1e-9))
        assert predictor.wants_array
        if proba is None:
            assert answered.probabilities is None
        else:
            # Not equal to the last bit: the frame's memory order makes BLAS sum in another order (pandas 2).
            np.testing.assert_allclose(answered.probabilities, proba, rtol=1e-9)

    def test_strings_and_a_column_transformer_get_a_frame(self) -> None:
        from sklearn.compose import make_column_transformer
        from sklearn.linear_model import LinearRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import OneHotEncoder

        data = pd.DataFrame({"n": [1.0, 2.0, 3.0, 4.0], "c": ["a", "b", "a", "b"]})
        model = make_pipeline(
            make_column_transformer((OneHotEncoder(), ["c"]), remainder="passthrough"), LinearRegression()
        ).fit(data, [1, 2, 3, 4])
        predictor = predictor_for(model, data)
        assert not predictor.wants_array
        assert predictor.predict([[2.0, "b"]]).predictions == pytest.approx([2.0])

    def test_numbers_chosen_by_name_get_a_frame_as_well(self) -> None:
        from sklearn.compose import make_column_transformer
        from sklearn.linear_model import LinearRegression
        from sklearn.pipeline import make_pipeline

        data = pd.DataFrame({"a": [1.0, 2.0, 4.0], "b": [5.0, 1.0, 0.0]})
        model = make_pipeline(make_column_transformer(("passthrough", ["b"])), LinearRegression()).fit(data, [5, 1, 0])
        predictor = predictor_for(model, data)
        assert not predictor.wants_array, "a bare array has no column b"
        assert predictor.predict([[1.0, 3.0]]).predictions == pytest.approx([3.0])

    def test_categories_come_back_as_categories(self) -> None:
        class Sees:
            def predict(self, frame: pd.DataFrame) -> Any:
                assert str(frame["c"].dtype) == "category"
                assert str(frame["f"].dtype) == "float32"
                return frame["f"].to_numpy(dtype=float)

        data = pd.DataFrame({"c": pd.Categorical(["x", "y"]), "f": np.array([1, 2], dtype=np.float32)})
        schema = infer_schema(data)
        assert make_predictor(Sees(), schema, None).predict([["x", 1.5]]).predictions == [1.5]

    def test_without_a_schema_the_model_is_asked(self, data: tuple[pd.DataFrame, Any]) -> None:
        from sklearn.linear_model import LogisticRegression

        named = LogisticRegression(max_iter=5000).fit(*data)
        assert make_predictor(named, None, None).schema.names == tuple(data[0].columns)
        bare = LogisticRegression(max_iter=5000).fit(data[0].to_numpy(), data[1])
        assert make_predictor(bare, None, None).schema.names[:2] == ("x0", "x1")

    @pytest.mark.parametrize(("value", "message"), [({"a": 1}, "builtins.dict"), (b"\x00rubbish", "no ONNX model")])
    def test_what_is_no_model_is_refused(self, value: Any, message: str) -> None:
        with pytest.raises(DeploymentFailed, match=message):
            make_predictor(value, lab.LINEAR_SCHEMA, None)


class TestForests:
    @pytest.mark.parametrize("options", [{}, {"max_depth": 3}, {"n_jobs": 2}, {"class_weight": "balanced"}])
    def test_equal_to_the_last_bit(self, options: dict[str, Any], data: tuple[pd.DataFrame, Any]) -> None:
        from sklearn.ensemble import RandomForestClassifier

        features, target = data[0].to_numpy(), np.asarray(data[1]) + (data[0].index % 3).to_numpy()
        model = RandomForestClassifier(30, random_state=1, **options).fit(features, target)
        fast = fast_forest(model, features[:3])
        assert fast is not None
        model.n_jobs = None
        np.testing.assert_array_equal(fast(features), model.predict_proba(features))

    def test_values_that_sklearn_refuses_are_refused(self, data: tuple[pd.DataFrame, Any]) -> None:
        from sklearn.ensemble import RandomForestRegressor

        features = data[0].to_numpy()
        model = RandomForestRegressor(5).fit(features, data[1])
        fast = fast_forest(model, None)
        assert fast is not None
        wrong = features[:1].copy()
        wrong[0, 0] = 1e300  # more than float32 holds
        with pytest.raises(ValueError, match="infinity or a value too large"):
            fast(wrong)

    def test_missing_values_go_the_ordinary_way(self, data: tuple[pd.DataFrame, Any]) -> None:
        from sklearn.ensemble import RandomForestClassifier

        features = data[0].to_numpy().copy()
        features[::7, 2] = np.nan
        model = RandomForestClassifier(10, random_state=0).fit(features, data[1])
        fast = fast_forest(model, features[:8])
        assert fast is not None
        np.testing.assert_array_equal(fast(features), model.predict_proba(features))

    def test_other_forests_are_left_alone(self, data: tuple[pd.DataFrame, Any]) -> None:
        from sklearn.ensemble import IsolationForest, RandomForestRegressor

        features = data[0].to_numpy()
        assert fast_forest(IsolationForest(n_estimators=5).fit(features), None) is None
        assert fast_forest(RandomForestRegressor(5).fit(features, features[:, :2]), None) is None


class TestOnnx:
    def test_a_single_tensor(self) -> None:
        predictor = make_predictor(lab.linear(10.0), lab.LINEAR_SCHEMA, None)
        assert predictor.predict([[1.0, 2.0], [3.0, 4.0]]).predictions == [13.0, 17.0]
        assert predictor.platform == "onnxruntime"

    def test_its_own_schema(self) -> None:
        assert make_predictor(lab.linear(10.0), None, None).schema.names == ("x0", "x1")
