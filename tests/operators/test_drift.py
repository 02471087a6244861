"""Drift on a real Airflow: found, announced once, and noticed by a sensor."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import loop_lab
import pytest
from airflow.sdk import DAG
from loop_lab import events
from prometheus_lab import webhook
from windsock import drift_asset
from windsock.hooks.drift import DriftHook
from windsock.hooks.stacks import load_stack
from windsock.operators.drift import DetectDriftOperator
from windsock.provider.metadata.deployments import Deployment
from windsock.sensors.drift import DriftSensor


@pytest.fixture
def deployed(windsock_home: Path) -> Path:
    """Flowers version 1, recorded as deployed; the folder for spools."""
    loop_lab.flowers.run()
    record = Deployment(name="flowers", model="flowers", version=1, phase="ready", flavor="local", stack="local")
    load_stack().metadata.deployments.put(record, expected_revision=None, actor="tests")
    return windsock_home / "spool"


def detection(dag_id: str = "detection", **options: Any) -> DAG:
    options = {"window": timedelta(hours=1), "retries": 0, **options}
    with DAG(dag_id, schedule=None) as dag:
        DetectDriftOperator(task_id="detect", deployment="flowers", **options)
    return dag


def watch(**options: Any) -> DAG:
    with DAG("watch", schedule=None) as dag:
        DriftSensor(task_id="wait", deployment="flowers", poke_interval=1, timeout=2, **options)
    return dag


class TestDetect:
    def test_no_drift(self, deployed: Path, run_dag: Any) -> None:
        loop_lab.log_predictions(loop_lab.features(600), deployed)
        facts = run_dag(detection()).xcoms["detect"]
        assert (facts["rows"], facts["features"], facts["reasons"]) == (600, [], [])
        report = DriftHook().latest_report(deployment="flowers")
        assert report is not None
        assert report.drifted is False

    def test_drift_is_reported_with_reason_and_page_and_announced(self, deployed: Path, run_dag: Any) -> None:
        loop_lab.log_predictions(loop_lab.features(600, shift=1.5), deployed)
        before = len(events(drift_asset("flowers").uri))
        facts = run_dag(detection()).xcoms["detect"]
        assert "petal length (cm)" in facts["features"]
        assert any("petal length" in reason for reason in facts["reasons"])
        assert b"<svg" in load_stack().artifact_store.get_bytes(facts["uri"])
        (told,) = events(drift_asset("flowers").uri)[before:]
        assert (told["kind"], told["report"]) == ("drift", facts["report"])

    def test_one_drift_is_announced_once_within_the_cool_down(self, deployed: Path, run_dag: Any) -> None:
        loop_lab.log_predictions(loop_lab.features(600, shift=1.5), deployed)
        before = len(events(drift_asset("flowers").uri))
        for _ in range(3):
            run_dag(detection())
        assert len(events(drift_asset("flowers").uri)) == before + 1

    def test_rows_outside_the_window_do_not_count(self, deployed: Path, run_dag: Any) -> None:
        earlier = datetime.now(timezone.utc) - timedelta(hours=3)
        loop_lab.log_predictions(loop_lab.features(600, shift=1.5), deployed, at=earlier)
        loop_lab.log_predictions(loop_lab.features(600), deployed)
        facts = run_dag(detection()).xcoms["detect"]
        assert (facts["rows"], facts["features"]) == (600, [])

    def test_too_few_rows_say_nothing(self, deployed: Path, run_dag: Any) -> None:
        loop_lab.log_predictions(loop_lab.features(40, shift=1.5), deployed)
        assert run_dag(detection()).tasks["detect"] == "skipped"
        assert DriftHook().latest_report(deployment="flowers") is None

    def test_skips_the_retraining_behind_it_unless_drifted(self, deployed: Path, run_dag: Any) -> None:
        loop_lab.log_predictions(loop_lab.features(600), deployed)
        assert run_dag(detection(skip_unless_drifted=True)).tasks["detect"] == "skipped"


class TestSensor:
    def test_finds_a_report_at_once_and_tells_why(self, deployed: Path, run_dag: Any) -> None:
        loop_lab.log_predictions(loop_lab.features(600, shift=1.5), deployed)
        run_dag(detection(announce=False))
        before = len(events(drift_asset("flowers").uri))
        result = run_dag(watch())
        assert result.tasks["wait"] == "success"
        assert (
            result.xcoms["wait"]["features"] == ["petal length (cm)"]
            or "petal length (cm)" in result.xcoms["wait"]["features"]
        )
        assert len(events(drift_asset("flowers").uri)) == before + 1

    def test_no_second_sensor_acts_on_the_same_report(self, deployed: Path, run_dag: Any) -> None:
        loop_lab.log_predictions(loop_lab.features(600, shift=1.5), deployed)
        run_dag(detection(announce=False))
        run_dag(watch())
        before = len(events(drift_asset("flowers").uri))
        assert run_dag(watch(deferrable=False, soft_fail=True, retries=0)).tasks["wait"] == "skipped"
        assert len(events(drift_asset("flowers").uri)) == before

    def test_a_killed_sensor_keeps_its_claim(self, deployed: Path, run_dag: Any) -> None:
        from windsock.sensors.drift import announce_drift, drift_facts, find_drift

        loop_lab.log_predictions(loop_lab.features(600, shift=1.5), deployed)
        run_dag(detection(announce=False))
        metadata = load_stack().metadata
        report = metadata.drift.latest(deployment="flowers")
        assert report is not None
        ti = type("TI", (), {"dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1})()
        context: Any = {"ti": ti, "task": type("Task", (), {"outlets": []})()}
        assert announce_drift(metadata, drift_facts(report), "flowers", None, context)
        assert announce_drift(metadata, drift_facts(report), "flowers", None, context)  # its retry
        ti.run_id = "another"
        assert not announce_drift(metadata, drift_facts(report), "flowers", None, context)
        assert find_drift(metadata, deployment="flowers", consumer="drift_asset.flowers") is None

    def test_takes_a_deployment_or_a_model(self) -> None:
        with pytest.raises(ValueError, match="exactly one"):
            DriftSensor(task_id="wait", deployment="a", model="b")


class TestAlerts:
    def test_people_hear_when_it_begins_and_when_it_is_over(
        self, deployed: Path, windsock_home: Path, run_dag: Any
    ) -> None:
        (windsock_home / "stacks").mkdir(exist_ok=True)
        now = datetime.now(timezone.utc)
        with webhook() as (url, received):
            stack = f"name: telling\nalerter: {{flavor: webhook, url: '{url}'}}\n"
            (windsock_home / "stacks" / "telling.yaml").write_text(stack, encoding="utf-8")
            for minutes, shift in ((50, 0.0), (40, 1.5), (30, 1.5), (20, 0.0), (10, 0.0)):
                at = now - timedelta(minutes=minutes)
                loop_lab.log_predictions(loop_lab.features(600, shift=shift), deployed, at=at)
                telling = detection(stack="telling", alert=True, window=timedelta(minutes=5))
                run_dag(telling, logical_date=at + timedelta(minutes=2))
        told = [(alert["status"], alert["severity"], alert["key"]) for alert in received]
        assert told == [("firing", "warning", "drift/flowers"), ("resolved", "info", "drift/flowers")]
        assert "petal length" in received[0]["text"]
        assert received[0]["links"]["report"].endswith("report.html")
