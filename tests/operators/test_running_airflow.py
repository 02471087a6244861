"""What only a running Airflow shows: a person answers, and a triggerer dies while a sensor waits.

One Airflow with a scheduler, an API server, a DAG processor and a triggerer, for the whole module.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import loop_lab
import pytest
from windsock.provider.cli.demo.airflow import PrivateAirflow, wait_for
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("running_airflow")]

DAGS = """
from datetime import timedelta

from airflow.sdk import DAG
from windsock import drift_asset, model_asset
from windsock.operators.models import ApproveModelOperator, PromoteModelOperator
from windsock.sensors.models import ModelVersionSensor

with DAG("approval", schedule=None):
    approve = ApproveModelOperator(
        task_id="approve", model="flowers", target="production", retries=3, retry_delay=timedelta(seconds=1)
    )
    approve >> PromoteModelOperator(task_id="promote", model="flowers", target="production")

with DAG("waiting", schedule=None):
    ModelVersionSensor(task_id="wait", model="flowers", newer_than=1, poke_interval=1)

with DAG("consumer", schedule=[model_asset("flowers", alias="production")]) as consumer:
    from airflow.providers.standard.operators.empty import EmptyOperator

    EmptyOperator(task_id="told")
"""


@pytest.fixture(scope="module")
def airflow(start_airflow: Any, tmp_path_factory: pytest.TempPathFactory) -> PrivateAirflow:
    dags = tmp_path_factory.mktemp("dags")
    (dags / "loop.py").write_text(DAGS)
    running: PrivateAirflow = start_airflow(dags)
    loop_lab.flowers.run(stack=stack(running))
    running.wait_for_dags(("approval", "waiting", "consumer"))
    for dag in ("approval", "waiting", "consumer"):
        running.unpause(dag)
    return running


def settings(airflow: PrivateAirflow) -> Settings:
    home = Path(airflow.environment["WINDSOCK_HOME"])
    return Settings.load({"home": str(home)}, environ={"USER": "tests"})


def stack(airflow: PrivateAirflow) -> Stack:
    return Stack.load("local", settings=settings(airflow))


def state(airflow: PrivateAirflow, dag: str, run: str, task: str) -> str | None:
    return next((one["state"] for one in airflow.tasks(dag, run) if one["task_id"] == task), None)


def answer(airflow: PrivateAirflow, choice: str) -> str:
    """Trigger the approval and answer it as a person would; the run's id.

    Airflow may lose a wait that ends soon after it began (apache/airflow#72716); the task then retries and asks again,
    and this person answers again.
    """
    run = airflow.trigger("approval")
    path = f"/api/v2/dags/approval/dagRuns/{run}/taskInstances/approve/-1/hitlDetails"

    def answered() -> bool:
        now = state(airflow, "approval", run, "approve")
        if now == "awaiting_input":
            time.sleep(3)
            assert "accuracy" in airflow.request("GET", path)["body"]
            airflow.request("PATCH", path, {"chosen_options": [choice], "params_input": {}})
            wait_for(
                lambda: state(airflow, "approval", run, "approve") != "awaiting_input", 30, "the answer to be taken"
            )
        return now == "success"

    wait_for(answered, 120, "the question to be answered", pause=0.5)
    return run


class TestApproval:
    def test_rejected_nothing_moves(self, airflow: PrivateAirflow) -> None:
        run = answer(airflow, "Reject")
        airflow.wait_for_run("approval", run, 180)
        assert state(airflow, "approval", run, "promote") == "skipped"
        assert "production" not in stack(airflow).metadata.models.aliases("flowers")

    def test_approved_it_is_promoted_and_other_dags_are_told(self, airflow: PrivateAirflow) -> None:
        run = answer(airflow, "Approve")
        airflow.wait_for_run("approval", run, 180)
        metadata = stack(airflow).metadata
        assert metadata.models.aliases("flowers")["production"].version == 1
        decisions = [one for one in metadata.audit.list(limit=50) if one.action in ("approve", "reject")]
        assert {(one.action, one.actor) for one in decisions} == {("approve", "user:admin"), ("reject", "user:admin")}
        told = wait_for(lambda: airflow.runs("consumer"), 30, "the consumer to be scheduled", pause=0.5)
        assert told[0]["run_type"] == "asset_triggered"


class TestATriggererThatDies:
    def test_the_sensor_is_resumed_by_the_next_one(self, airflow: PrivateAirflow) -> None:
        run = airflow.trigger("waiting")
        wait_for(lambda: state(airflow, "waiting", run, "wait") == "deferred", 60, "the sensor to defer", pause=0.3)
        time.sleep(2)
        old = airflow._processes["triggerer"]
        os.killpg(old.pid, signal.SIGKILL)
        old.wait(10)
        loop_lab.flowers.run(stack=stack(airflow), seed=1, depth=2)
        with (airflow.logs / "triggerer-2.log").open("wb") as log:
            airflow._processes["triggerer"] = subprocess.Popen(
                [sys.executable, "-m", "airflow", "triggerer"],
                env=airflow.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        airflow.wait_for_run("waiting", run, 120)
        found = airflow.request(
            "GET", f"/api/v2/dags/waiting/dagRuns/{run}/taskInstances/wait/xcomEntries/return_value"
        )
        assert "'version': 2" in str(found["value"]).replace('"', "'")
