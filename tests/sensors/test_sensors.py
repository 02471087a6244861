"""Sensors: the question is asked once in the worker, then in the triggerer, and never of the data."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import loop_lab
import pytest
from airflow.exceptions import TaskDeferred
from airflow.sdk import DAG
from windsock.hooks.stacks import load_stack
from windsock.provider.metadata.deployments import Deployment
from windsock.sensors.artifacts import ArtifactSensor
from windsock.sensors.base import MetadataSensor
from windsock.sensors.deployments import DeploymentSensor
from windsock.sensors.models import ModelVersionSensor
from windsock.sensors.runs import PipelineRunSensor
from windsock.sensors.triggers import MetadataTrigger


def dag_of(sensor: type[MetadataSensor], **options: Any) -> DAG:
    with DAG(f"wait_{sensor.__name__}", schedule=None) as dag:
        sensor(task_id="wait", **{"poke_interval": 0.2, "retries": 0, **options})
    return dag


class TestAnAnswerThatIsThere:
    """No deferral: the worker has it at once."""

    def test_a_model_version(self, run_dag: Any) -> None:
        loop_lab.flowers.run()
        found = run_dag(dag_of(ModelVersionSensor, model="flowers", alias="candidate")).xcoms["wait"]
        assert (found["model"], found["version"], found["alias"]) == ("flowers", 1, "candidate")

    def test_an_artifact(self, run_dag: Any) -> None:
        loop_lab.flowers.run()
        found = run_dag(dag_of(ArtifactSensor, artifact="flowers.train_flowers")).xcoms["wait"]
        assert found == load_stack().metadata.artifacts.get("flowers.train_flowers").ref()

    def test_a_run(self, run_dag: Any) -> None:
        result = loop_lab.flowers.run()
        after = (datetime.now(timezone.utc) - timedelta(minutes=5)).isoformat()
        found = run_dag(dag_of(PipelineRunSensor, pipeline="flowers", after=after)).xcoms["wait"]
        assert found["run_id"] == result.run_id

    def test_a_deployment(self, run_dag: Any) -> None:
        loop_lab.flowers.run()
        record = Deployment(name="flowers", model="flowers", version=1, phase="ready", flavor="local", stack="local")
        load_stack().metadata.deployments.put(record, expected_revision=None, actor="tests")
        assert run_dag(dag_of(DeploymentSensor, deployment="flowers", version=1)).xcoms["wait"]["phase"] == "ready"


class TestAnAnswerThatComesLater:
    def test_defers_and_resumes_with_it(self, run_dag: Any) -> None:
        """``dag.test()`` runs the trigger inline; the version appears while it polls."""
        import threading

        loop_lab.flowers.run()
        timer = threading.Timer(3, lambda: loop_lab.flowers.run(seed=1, depth=2))
        timer.start()
        result = run_dag(dag_of(ModelVersionSensor, model="flowers", newer_than=1))
        timer.join()
        assert result.xcoms["wait"]["version"] == 2

    def test_older_answers_do_not_count(self, run_dag: Any) -> None:
        loop_lab.flowers.run()
        dag = dag_of(ModelVersionSensor, model="flowers", newer_than=1, deferrable=False, timeout=0.5, soft_fail=True)
        assert run_dag(dag).tasks["wait"] == "skipped"

    def test_the_trigger_gets_nothing_but_json_and_no_secret(self, windsock_home: Path) -> None:
        import json

        (sensor,) = dag_of(ModelVersionSensor, model="flowers", alias="production").tasks
        with pytest.raises(TaskDeferred) as deferred:
            sensor.execute({"ti": None})
        path, arguments = deferred.value.trigger.serialize()
        assert json.loads(json.dumps(arguments)) == arguments
        assert path == "windsock.sensors.triggers.MetadataTrigger"
        assert "sqlite" not in json.dumps(arguments)
        assert deferred.value.timeout == timedelta(days=7)


def first_event(trigger: MetadataTrigger, seconds: float) -> Any:
    async def wait() -> Any:
        async for event in trigger.run():
            return event.payload
        return None

    return asyncio.run(asyncio.wait_for(wait(), seconds))


class TestTheTrigger:
    QUESTION = "windsock.sensors.models:find_version"

    def test_a_second_triggerer_goes_on_from_the_serialized_arguments(self, windsock_home: Path) -> None:
        """The first one is gone before there is an answer; nothing but its arguments is needed to go on."""
        trigger = MetadataTrigger(self.QUESTION, {"model": "flowers"}, poll_interval=0.1)
        with pytest.raises(asyncio.TimeoutError):
            first_event(trigger, 0.5)
        loop_lab.flowers.run()
        _, arguments = trigger.serialize()
        assert first_event(MetadataTrigger(**arguments), 5)["version"] == 1

    def test_waits_while_the_database_is_away(self, windsock_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        from windsock.provider.errors import MetadataUnavailable

        loop_lab.flowers.run()
        trigger = MetadataTrigger(self.QUESTION, {"model": "flowers"}, poll_interval=0.01)
        outages = [MetadataUnavailable("The database does not answer.")] * 3
        ask = trigger._ask

        def sometimes() -> Any:
            if outages:
                raise outages.pop()
            return ask()

        monkeypatch.setattr(trigger, "_ask", sometimes)
        assert first_event(trigger, 5)["version"] == 1
        assert outages == []

    def test_a_sensor_must_name_its_question(self) -> None:
        with pytest.raises(TypeError, match="question"):
            type("Nameless", (MetadataSensor,), {})
