"""Validating data and predicting batches, on a real Airflow."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import loop_lab
import pandas as pd
import pytest
from airflow.sdk import DAG
from windsock.hooks.artifacts import ArtifactHook
from windsock.operators.predictions import BatchPredictOperator
from windsock.operators.validation import ValidateDataOperator, load_expectations
from windsock.provider.errors import DataUnreadable

POSITIVE = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "petal width (cm)", "min_value": 0}}
SMALL = {"type": "expect_column_values_to_be_between", "kwargs": {"column": "petal width (cm)", "max_value": 1}}


def validation(expectations: Any, **options: Any) -> DAG:
    with DAG("validation", schedule=None) as dag:
        ValidateDataOperator(
            task_id="validate", data=loop_lab.load_flowers(), expectations=expectations, retries=0, **options
        )
    return dag


class TestValidate:
    def test_good_data_pass_and_the_result_is_an_artifact(self, run_dag: Any) -> None:
        result = run_dag(validation([POSITIVE]))
        assert result.state == "success"
        found = ArtifactHook().load(result.xcoms["validate"])
        assert (found["passed"], found["rows"]) == (True, 150)

    def test_bad_data_stop_the_dag(self, run_dag: Any) -> None:
        result = run_dag(validation([POSITIVE, SMALL]))
        assert result.tasks["validate"] == "failed"
        found = ArtifactHook().load("validation.validate")
        assert [check["passed"] for check in sorted(found["checks"], key=lambda one: one["unexpected"])] == [
            True,
            False,
        ]
        assert "of 150 rows" in found["summary"]

    def test_or_skip_or_warn(self, run_dag: Any) -> None:
        assert run_dag(validation([SMALL], on_failure="skip")).tasks["validate"] == "skipped"
        assert run_dag(validation([SMALL], on_failure="warn")).tasks["validate"] == "success"

    def test_a_warning_does_not_stop_it(self, run_dag: Any) -> None:
        assert run_dag(validation([{**SMALL, "severity": "warning"}])).state == "success"

    def test_a_column_that_is_not_there_fails_with_the_reason(self, run_dag: Any) -> None:
        run_dag(validation([{"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "colour"}}]))
        assert "colour" in ArtifactHook().load("validation.validate")["checks"][0]["detail"]

    def test_expectations_from_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "suite.json"
        file.write_text(json.dumps({"name": "suite", "expectations": [POSITIVE]}))
        assert load_expectations(str(file)) == [POSITIVE]
        with pytest.raises(DataUnreadable, match=r"nowhere\.yaml"):
            load_expectations(str(tmp_path / "nowhere.yaml"))


class TestBatchPredict:
    def test_every_row_of_every_file(self, run_dag: Any, tmp_path: Path) -> None:
        loop_lab.flowers.run()
        (tmp_path / "in").mkdir()
        loop_lab.features(1000).to_parquet(tmp_path / "in" / "a.parquet")
        loop_lab.features(10).to_csv(tmp_path / "in" / "b.csv", index=False)
        with DAG("batch", schedule=None) as dag:
            BatchPredictOperator(
                task_id="predict",
                model="flowers",
                alias="candidate",
                data=str(tmp_path / "in"),
                output=f"{tmp_path}/out/{{{{ run_id[:6] }}}}",
                batch_rows=300,
            )
        result = run_dag(dag)
        assert result.state == "success"
        facts = ArtifactHook().load(result.xcoms["predict"])
        assert (facts["rows"], facts["files"], facts["version"]) == (1010, 2, 1)
        predicted = pd.read_parquet(Path(facts["output"]) / "a.parquet")
        assert len(predicted) == 1000
        assert set(predicted["prediction"]) == {0, 1, 2}
        assert set(predicted["model_version"]) == {1}
        assert Path(facts["output"]).name == result.run_id[:6]
        assert sorted(path.name for path in Path(facts["output"]).iterdir()) == ["a.parquet", "b.parquet"]

    def test_a_missing_column_is_named(self, run_dag: Any, tmp_path: Path) -> None:
        loop_lab.flowers.run()
        loop_lab.features(10).drop(columns="petal width (cm)").to_parquet(tmp_path / "a.parquet")
        with DAG("batch", schedule=None) as dag:
            BatchPredictOperator(
                task_id="predict",
                model="flowers",
                alias="candidate",
                data=str(tmp_path),
                output=str(tmp_path / "out"),
                retries=0,
            )
        assert run_dag(dag).tasks["predict"] == "failed"
        assert list((tmp_path / "out").iterdir()) == []
