"""One Airflow for all tests of the plugin, with something to show: runs, versions, a deployment, drift reports."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from airflow_server import StartAirflow
    from windsock.provider.cli.demo.airflow import PrivateAirflow
    from windsock.provider.metadata import Metadata

HERE = Path(__file__).parent
DAG = "tumours_pages"
TOKEN = "hunter2-the-token"
PASSWORD = "correct-horse-battery"

STACK = f"""\
name: secretive
metadata_store: {{flavor: sql, url: "postgresql://windsock:{PASSWORD}@127.0.0.1:1/windsock"}}
artifact_store: {{flavor: s3, bucket: acme-ml, connection: aws_ml}}
"""
"""A stack with a connection, and with a password where none belongs."""


@dataclass
class World:
    """A running Airflow and what has happened in it."""

    airflow: PrivateAirflow
    stack: Stack
    runs: dict[str, str]

    @property
    def metadata(self) -> Metadata:
        return self.stack.metadata

    def client(self, user: str | None = "admin") -> httpx.Client:
        """Who asks the API: a user, or nobody."""
        headers = {} if user is None else {"Authorization": f"Bearer {self.airflow.token(user)}"}
        return httpx.Client(base_url=f"{self.airflow.url}/windsock/", headers=headers, timeout=60)

    def get(self, path: str, user: str | None = "admin", **query: Any) -> httpx.Response:
        with self.client(user) as client:
            return client.get(path, params=query)


@pytest.fixture(scope="session")
def world(start_airflow: StartAirflow, tmp_path_factory: pytest.TempPathFactory) -> World:
    stacks = tmp_path_factory.mktemp("stacks")
    (stacks / "secretive.yaml").write_text(STACK, encoding="utf-8")
    environment = {
        "WINDSOCK_STACKS_FOLDER": str(stacks),
        "AIRFLOW_CONN_AWS_ML": f'{{"conn_type": "aws", "login": "somebody", "password": "{TOKEN}"}}',
    }
    airflow = start_airflow(
        HERE / "dags", components=("api-server", "scheduler", "dag-processor"), environment=environment
    )
    home = airflow.folder / "windsock"
    stack = Stack.load("local", settings=Settings.load({"home": str(home)}, environ={}))
    runs = _run_dags(airflow)
    _make_history(stack)
    return World(airflow, stack, runs)


def _run_dags(airflow: PrivateAirflow) -> dict[str, str]:
    dags = (DAG, "refusal_pages", "bare_pages")
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
    from windsock.provider.monitoring.deployments import baseline_of, keep

    tumours = _examples()
    tumours.tumours.run(n_estimators=20, stack=stack)
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
    version = stack.metadata.models.get("tumours", version=2)
    baseline = baseline_of(version, stack.artifact_store)
    for shift, deployment in ((None, "tumours"), (0.25, "tumours")):
        rows = tumours.measurements(tumours.bootstrap_patients(400, seed=3, shift=shift))
        result = stack.drift_detector.detect(baseline, rows, columns=list(rows.columns))
        keep(stack.metadata, stack.artifact_store, result, version, deployment)


def _examples() -> Any:
    folder = str(HERE.parents[1] / "dags")
    if folder not in sys.path:
        sys.path.insert(0, folder)
    from windsock_examples import tumours

    return tumours


@pytest.fixture(scope="session")
def admin(world: World) -> Iterator[httpx.Client]:
    with world.client() as client:
        yield client
