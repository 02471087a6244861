"""Performance on a real Airflow: labels stored, metrics told, a model that is too bad noticed."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import loop_lab
import pandas as pd
import pytest
from airflow.sdk import DAG
from windsock import step
from windsock.hooks.stacks import load_stack
from windsock.operators.performance import CheckPerformanceOperator, RecordLabelsOperator
from windsock.provider.metadata.deployments import Deployment
from windsock.provider.metadata.performance import NewPerformanceReport
from windsock.provider.predictions.labels import label_files, record_labels
from windsock.provider.predictions.request_ids import format_request_id
from windsock.sensors.performance import PerformanceSensor, find_bad_performance


@pytest.fixture
def answered(windsock_home: Path) -> list[tuple[bytes, Any]]:
    """Flowers version 1, recorded as deployed, and what it answered to 300 requests."""
    loop_lab.flowers.run()
    record = Deployment(name="flowers", model="flowers", version=1, phase="ready", flavor="local", stack="local")
    load_stack().metadata.deployments.put(record, expected_revision=None, actor="tests")
    return loop_lab.log_predictions(loop_lab.features(300), windsock_home / "spool")


def tell(answered: list[tuple[bytes, Any]], right: float) -> None:
    """True values by which that share of the answers was right."""
    rows = [
        {"request_id": one, "label": answer if i < right * len(answered) else (answer + 1) % 3}
        for i, (one, answer) in enumerate(answered)
    ]
    record_labels(load_stack().artifact_store, "flowers", rows)


def checking(**options: Any) -> DAG:
    options = {"window": timedelta(hours=1), "retries": 0, **options}
    with DAG("checking", schedule=None) as dag:
        CheckPerformanceOperator(task_id="check", deployment="flowers", **options)
    return dag


class TestCheck:
    def test_metrics_are_told_and_recorded(self, answered: Any, run_dag: Any) -> None:
        tell(answered, 0.9)
        facts = run_dag(checking(at_least={"accuracy": 0.85}, slices=["petal width (cm)"])).xcoms["check"]
        assert facts["metrics"]["realised"]["accuracy"] == pytest.approx(0.9)
        assert (facts["rows"], facts["labelled"], facts["mature"], facts["too_low"]) == (300, 300, True, [])
        assert load_stack().metadata.performance.get(facts["report"]).deployment == "flowers"

    def test_a_model_that_is_too_bad_fails_the_task(self, answered: Any, run_dag: Any) -> None:
        tell(answered, 0.5)
        assert run_dag(checking(at_least={"accuracy": 0.9})).tasks["check"] == "failed"

    def test_chance_alone_fails_nothing(self, answered: Any, run_dag: Any) -> None:
        tell(answered[:10], 0.8)  # eight of ten: the interval reaches 0.94
        assert run_dag(checking(at_least={"accuracy": 0.9})).tasks["check"] == "success"

    def test_retraining_behind_it_runs_only_for_a_bad_model(self, answered: Any, run_dag: Any) -> None:
        options = {"at_least": {"accuracy": 0.9}, "skip_unless_worse": True}
        assert run_dag(checking(**options)).tasks["check"] == "skipped"
        tell(answered, 0.5)
        done = run_dag(checking(**options))
        assert done.tasks["check"] == "success"
        assert done.xcoms["check"]["too_low"] == ["accuracy 0.5 (realised) < 0.9"]

    def test_nobody_asked(self, windsock_home: Path, run_dag: Any) -> None:
        loop_lab.flowers.run()
        record = Deployment(name="flowers", model="flowers", version=1, phase="ready", flavor="local", stack="local")
        load_stack().metadata.deployments.put(record, expected_revision=None, actor="tests")
        assert run_dag(checking()).xcoms["check"]["rows"] == 0


class TestLabels:
    def test_a_table_of_an_upstream_step(self, answered: Any, run_dag: Any) -> None:
        ids = [format_request_id(one) for one, _ in answered]
        labels = [answer for _, answer in answered]

        @step
        def look_up(ids: list[str], labels: list[int]) -> pd.DataFrame:
            return pd.DataFrame({"request_id": ids, "label": labels})

        with DAG("labelling", schedule=None) as dag:
            found = look_up(ids, labels)
            record = RecordLabelsOperator(task_id="record", model="flowers", labels=found)
            check = CheckPerformanceOperator(task_id="check", deployment="flowers", window=timedelta(hours=1))
            record >> check
        done = run_dag(dag)
        assert done.xcoms["record"] == 300
        assert done.xcoms["check"]["metrics"]["realised"]["accuracy"] == 1.0
        assert len(label_files(load_stack().artifact_store, "flowers")) == 1


class TestSensor:
    def test_it_notices_a_report_of_a_bad_model(self, answered: Any, run_dag: Any) -> None:
        def watch() -> DAG:
            with DAG("watch", schedule=None) as dag:
                PerformanceSensor(
                    task_id="wait",
                    deployment="flowers",
                    at_least={"accuracy": 0.9},
                    poke_interval=1,
                    timeout=2,
                    deferrable=False,
                    retries=0,
                )
            return dag

        tell(answered, 0.97)
        run_dag(checking())
        assert run_dag(watch()).tasks["wait"] == "failed"  # nothing to notice within its timeout
        tell(answered, 0.5)
        run_dag(checking(window=timedelta(hours=2)))
        facts = run_dag(watch()).xcoms["wait"]
        assert facts["too_low"] == ["accuracy 0.5 (realised) < 0.9"]

    def test_estimates_count_when_asked_for(self, answered: Any, run_dag: Any) -> None:
        metadata = load_stack().metadata
        run_dag(checking())
        report = metadata.performance.latest(deployment="flowers")
        assert report is not None
        low = {"accuracy": {"value": 0.5, "low": 0.4, "high": 0.6, "rows": 9}}
        facts = report.model_dump(exclude={"id", "created_at", "rows", "metrics"})
        metadata.performance.record(NewPerformanceReport(**facts, rows=9, metrics={"estimated": low}))
        limits = {"deployment": "flowers", "at_least": {"accuracy": 0.9}}
        assert find_bad_performance(metadata, **limits) is None
        assert find_bad_performance(metadata, **limits, estimated=True) is not None

    def test_what_it_needs(self) -> None:
        with pytest.raises(ValueError, match="exactly one"):
            PerformanceSensor(task_id="w", at_least={"accuracy": 1})
        with pytest.raises(ValueError, match="limit"):
            PerformanceSensor(task_id="w", deployment="d", at_least={})
