from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from sklearn.datasets import load_breast_cancer, load_iris
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from windsock.provider.predictions.schema import InputSchema, infer_schema
from windsock.provider.registry.baseline import input_table, output_table
from windsock.provider.registry.description import parameters_of, requirements_of

TUMOURS = load_breast_cancer(as_frame=True).frame


class Rule:
    """A model that is no scikit-learn estimator."""

    def predict(self, rows):
        return ["high" if value > 20 else "low" for value in rows["mean radius"]]


class TestParameters:
    def test_are_json(self):
        model = make_pipeline(
            FunctionTransformer(np.log1p), StandardScaler(), Ridge(alpha=np.float64(2.0), max_iter=np.int64(5))
        )
        found = json.loads(json.dumps(parameters_of(model), allow_nan=False))
        assert found["ridge__alpha"] == 2.0
        assert found["ridge__max_iter"] == 5
        assert found["ridge"] == "sklearn.linear_model._ridge.Ridge"
        assert found["functiontransformer__func"].endswith("log1p")

    def test_infinity_and_big_values_are_text(self):
        model = LogisticRegression(C=np.inf, class_weight={0: 1.0, 1: float("nan")}, random_state=np.arange(1000))
        found = parameters_of(model)
        assert found["C"] == "inf"
        assert found["class_weight"] == {"0": 1.0, "1": "nan"}
        assert len(found["random_state"]) <= 500

    def test_anything_else_has_none(self):
        assert parameters_of(Rule()) == {}


class TestRequirements:
    def test_name_what_to_install(self):
        import sklearn

        found = requirements_of(make_pipeline(StandardScaler(), RandomForestClassifier()))
        assert found == {"python": ".".join(map(str, sys.version_info[:3])), "scikit-learn": sklearn.__version__}

    def test_own_modules_are_left_out(self):
        assert list(requirements_of(Rule())) == ["python"]


def schema_of(model, data, target="target"):
    return InputSchema.from_dict(infer_schema(data, target=target, model=model))


class TestBaselineTables:
    def test_columns_are_those_of_the_prediction_log(self):
        features = TUMOURS[["worst area", "mean texture"]].assign(score=1.0)
        model = LogisticRegression(max_iter=5000).fit(features, TUMOURS["target"])
        data = features.assign(target=TUMOURS["target"], patient=range(len(TUMOURS)))
        schema = schema_of(model, data)
        assert input_table(data, schema).column_names == ["worst area", "mean texture", "feature.score", "target"]
        outputs = output_table(model, data, schema)
        assert outputs.column_names == ["prediction", "score"]
        assert outputs["prediction"].to_pylist() == model.predict(features).tolist()
        assert outputs["score"].to_pylist() == model.predict_proba(features)[:, 1].tolist()

    def test_more_classes_have_no_single_score(self):
        iris = load_iris(as_frame=True).frame
        model = LogisticRegression(max_iter=1000).fit(iris.drop(columns="target"), iris["target"])
        assert output_table(model, iris, schema_of(model, iris)).column_names == ["prediction"]

    def test_arrays_have_numbered_columns(self, recwarn):
        rows = TUMOURS.drop(columns="target").to_numpy()
        model = RandomForestClassifier(5).fit(rows, TUMOURS["target"])
        schema = schema_of(model, rows)
        assert input_table(rows, schema).column_names == [f"x{i}" for i in range(30)]
        assert len(output_table(model, rows, schema)) == len(rows)
        assert not [w for w in recwarn if "feature names" in str(w.message)]

    @pytest.mark.parametrize("kind", ["polars", "arrow"])
    def test_tables_of_other_libraries(self, kind):
        arrow = pa.Table.from_pandas(TUMOURS, preserve_index=False)
        data = arrow
        if kind == "polars":
            data = pytest.importorskip("polars").from_arrow(arrow)
        schema = InputSchema.from_dict(infer_schema(data, target="target"))
        assert input_table(data, schema).equals(input_table(TUMOURS, schema))

    def test_anything_with_predict(self):
        schema = schema_of(Rule(), TUMOURS)
        assert set(output_table(Rule(), TUMOURS, schema)["prediction"].to_pylist()) == {"high", "low"}


class TestImports:
    def test_the_registry_itself_needs_no_scikit_learn(self):
        code = (
            "import sys, windsock.provider.registry.models, windsock.provider.registry.gates, windsock.provider.steps\n"
            "print([m for m in ('sklearn', 'pandas', 'pyarrow', 'airflow') if m in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path("/"))
        assert done.stdout.strip() == "[]"
