"""One Airflow for all tests of the plugin, with something to show: runs, versions, a deployment, drift reports."""

from __future__ import annotations

import json
import os
import sys
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from airflow_server import REPOSITORY, USERS
from plugin_world import BARE_DAG, DAG, FAILING_DAG, PASSWORD, TOKEN, World
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from airflow_server import StartAirflow
    from windsock.provider.cli.demo.airflow import PrivateAirflow

HERE = Path(__file__).parent

STACK = f"""\
name: secretive
metadata_store: {{flavor: sql, url: "postgresql://windsock:{PASSWORD}@127.0.0.1:1/windsock"}}
artifact_store: {{flavor: s3, bucket: acme-ml, connection: aws_ml}}
"""
"""A stack with a connection, with a password where none belongs, and with a database that is down."""


@pytest.fixture(scope="session")
def world(start_airflow: StartAirflow, tmp_path_factory: pytest.TempPathFactory) -> World:
    stacks = tmp_path_factory.mktemp("stacks")
    (stacks / "secretive.yaml").write_text(STACK, encoding="utf-8")
    (stacks / "broken.yaml").write_text("name: broken\ndeployer: [", encoding="utf-8")
    environment = {
        "PYTHONPATH": os.pathsep.join([str(REPOSITORY / "dags"), str(HERE / "auth")]),
        "AIRFLOW__CORE__AUTH_MANAGER": "narrow_auth.NarrowAuthManager",
        "WINDSOCK_STACKS_FOLDER": str(stacks),
        "AIRFLOW_CONN_AWS_ML": json.dumps(
            {
                "conn_type": "aws",
                "login": "somebody",
                "password": TOKEN,
                "extra": {"endpoint_url": "http://127.0.0.1:1"},
            }
        ),
    }
    airflow = start_airflow(
        HERE / "dags",
        components=("api-server", "scheduler", "dag-processor"),
        environment=environment,
        users={**USERS, "narrow": "op"},
    )
    home = airflow.folder / "windsock"
    stack = Stack.load("local", settings=Settings.load({"home": str(home)}, environ={}))
    runs = _run_dags(airflow)
    _make_history(stack)
    return World(airflow, stack, runs)


def _run_dags(airflow: PrivateAirflow) -> dict[str, str]:
    dags = (DAG, FAILING_DAG, BARE_DAG)
    airflow.wait_for_dags(dags)
    runs = {}
    for dag in dags:
        airflow.unpause(dag)
        runs[dag] = airflow.trigger(dag)
    airflow.wait_for_run(DAG, runs[DAG], 120)
    return runs


def _make_history(stack: Stack) -> None:
    """Version 2 of the model, two moves of its alias, a deployment, a drift report with drift and one without."""
    from windsock.provider.metadata.deployments import Deployment

    _examples().tumours.run(n_estimators=20, stack=stack)
    for version in (1, 2):
        stack.model_registry.promote(
            "tumours",
            version=version,
            gates=[{"gate": "metric", "metric": "accuracy", "minimum": 0.85}],
            actor="carol",
            reason="looks good" if version == 1 else "fewer trees",
        )
    served = Deployment(
        name="tumours",
        model="tumours",
        version=2,
        previous_version=1,
        phase="ready",
        url="http://127.0.0.1:9/",
        flavor="local",
        stack="local",
        handle={"pid": 123, "secret": TOKEN},
    )
    stack.metadata.deployments.put(served, expected_revision=None, actor="carol", reason="first")
    for day, shift in ((1, None), (2, 0.25)):
        _check_day(stack, datetime(2026, 1, day, tzinfo=timezone.utc), shift)


def _check_day(stack: Stack, day: datetime, shift: float | None) -> None:
    """A day of predictions, as a server logs them, and the report about it."""
    from windsock.provider.monitoring.deployments import check_deployment_drift

    tumours = _examples()
    rows = tumours.measurements(tumours.bootstrap_patients(400, seed=3, shift=shift))
    log = Path(stack.settings.home, f"predictions-{day:%d}.parquet")
    rows.assign(ts=day + timedelta(hours=12), error=None).to_parquet(log)
    check_deployment_drift(
        stack.metadata,
        stack.artifact_store,
        deployment="tumours",
        start=day,
        end=day + timedelta(days=1),
        detector=stack.drift_detector,
        files=[str(log)],
    )


def _examples() -> Any:
    folder = str(REPOSITORY / "dags")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from windsock_examples import tumours

    return tumours
