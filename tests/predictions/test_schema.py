"""Input schemas: read from whatever table a shop has."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from windsock.provider.errors import ConfigurationError
from windsock.provider.predictions.schema import InputSchema, example_rows, infer_schema, log_schema


def types_of(schema: dict[str, Any]) -> dict[str, tuple[str, bool]]:
    return {item["name"]: (item["type"], item["nullable"]) for item in schema["features"]}


MIXED = {
    "tenure": [1, 2, 3],
    "charge": [1.5, None, 2.5],
    "plan": ["a", None, "b"],
    "active": [True, False, True],
    "churned": [0, 1, 0],
}
EXPECTED = {
    "tenure": ("int", False),
    "charge": ("float", True),
    "plan": ("string", True),
    "active": ("bool", False),
}


class TestTables:
    @pytest.mark.parametrize(
        "data",
        [
            pd.DataFrame(MIXED),
            pd.DataFrame(MIXED).astype({"plan": "category", "tenure": "Int64", "active": "boolean"}),
            pa.table(MIXED),
            [dict(zip(MIXED, row, strict=True)) for row in zip(*MIXED.values(), strict=True)],
        ],
        ids=["pandas", "pandas extension types", "arrow", "rows"],
    )
    def test_every_table_gives_the_same_schema(self, data: Any) -> None:
        schema = infer_schema(data, target="churned")
        assert types_of(schema) == EXPECTED
        assert (schema["target"], schema["frame"]) == ("churned", True)
        assert InputSchema.from_dict(schema).to_dict() == schema

    def test_polars(self) -> None:
        polars = pytest.importorskip("polars")
        assert types_of(infer_schema(polars.DataFrame(MIXED), target="churned")) == EXPECTED

    def test_an_array_has_numbered_features(self) -> None:
        schema = infer_schema(np.array([[1.0, np.nan], [2.0, 3.0]]))
        assert types_of(schema) == {"x0": ("float", True), "x1": ("float", True)}
        assert not schema["frame"]

    def test_a_date_is_refused_by_name(self) -> None:
        data = pd.DataFrame({"age": [1], "born": pd.to_datetime(["2020-01-01"])})
        with pytest.raises(ConfigurationError, match='"born" is datetime64'):
            infer_schema(data)

    def test_examples_are_plain_json(self) -> None:
        data = pd.DataFrame(MIXED)
        schema = infer_schema(data, target="churned")
        rows = example_rows(data, schema, n=2)
        assert rows[1] == {"tenure": 2, "charge": None, "plan": None, "active": False}
        assert [type(value) for value in rows[0].values()] == [int, float, str, bool]


class TestModel:
    def test_its_own_features_and_classes_count(self) -> None:
        from sklearn.linear_model import LogisticRegression

        data = pd.DataFrame({"b": [0.0, 1.0, 2.0, 3.0], "id": [1, 2, 3, 4], "a": [1.0, 0.0, 1.0, 0.0]})
        model = LogisticRegression().fit(data[["a", "b"]], ["no", "yes", "no", "yes"])
        schema = infer_schema(data, model=model)
        assert [item["name"] for item in schema["features"]] == ["a", "b"]
        assert schema["outputs"] == {"task": "classification", "prediction": "string", "classes": ["no", "yes"]}
        with pytest.raises(ConfigurationError, match="'b'"):
            infer_schema(data[["a"]], model=model)

    def test_a_regression(self) -> None:
        from sklearn.linear_model import LinearRegression

        data = np.arange(12.0).reshape(6, 2)
        schema = infer_schema(data, model=LinearRegression().fit(data, data[:, 0]))
        assert schema["outputs"] == {"task": "regression", "prediction": "float", "classes": None}


class TestJson:
    def test_what_is_wrong_is_said(self) -> None:
        with pytest.raises(ConfigurationError, match="'flaot'") as failure:
            InputSchema.from_dict({"features": [{"name": "a", "type": "flaot"}]})
        assert 'Did you mean "float"?' in str(failure.value)
        with pytest.raises(ConfigurationError, match="each name once"):
            InputSchema.from_dict({"features": [{"name": "a", "type": "int"}, {"name": "a", "type": "int"}]})
        with pytest.raises(ConfigurationError, match="not readable"):
            InputSchema.from_dict({"columns": []})


class TestLogColumns:
    def test_reserved_names_are_moved_aside(self) -> None:
        schema = InputSchema.from_dict({"features": [{"name": n, "type": "float"} for n in ("ts", "error", "x")]})
        assert log_schema(schema).names == [
            "request_id",
            "ts",
            "feature.ts",
            "feature.error",
            "x",
            "prediction",
            "score",
            "latency_s",
            "sample_rate",
            "error",
        ]

    def test_many_classes_have_a_list_of_scores(self) -> None:
        outputs = {"task": "classification", "prediction": "string", "classes": ["a", "b", "c"]}
        schema = InputSchema.from_dict({"features": [{"name": "x", "type": "int"}], "outputs": outputs})
        assert pa.types.is_list(log_schema(schema).field("score").type)
        assert log_schema(schema).field("prediction").type == pa.string()
