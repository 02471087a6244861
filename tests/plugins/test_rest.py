"""A running Airflow whose API server alone has the metadata database: tasks and scheduler ask it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from windsock.provider.cli.demo.airflow import PrivateAirflow
from windsock.provider.metadata import Metadata
from windsock.provider.metadata.rest.client import RestMetadata
from windsock.provider.metadata.rest.http import HttpClient
from windsock.provider.security.tokens import EnvironmentToken

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("rest_airflow")]

HERE = Path(__file__).parent
PIPELINE, PROMOTION = "numbers_over_rest", "promotion_over_rest"


class SplitAirflow(PrivateAirflow):
    """Its API server is given ``secrets`` in its environment, and no other process is."""

    secrets: dict[str, str]

    def start(self) -> None:
        components, environment = self.components, self.environment
        for name in components:
            self.components = (name,)
            self.environment = {**environment, **(self.secrets if name == "api-server" else {})}
            super().start()
        self.components, self.environment = components, environment


@pytest.fixture(scope="module")
def airflow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SplitAirflow]:
    folder = tmp_path_factory.mktemp("rest")
    environment = {
        "WINDSOCK_HOME": str(folder / "windsock"),
        "AIRFLOW__WINDSOCK__METADATA_TRANSPORT": "rest",
        "AIRFLOW__API__WORKERS": "2",
    }
    running = SplitAirflow(
        folder / "airflow",
        HERE / "rest_dags",
        environment,
        components=("api-server", "scheduler", "dag-processor"),
        users={"admin": "admin", "viewer": "viewer"},
    )
    running.secrets = {"WINDSOCK_SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'hidden' / 'metadata.db'}"}
    try:
        running.prepare()
        running.migrate()
        running.start()
        running.wait_until_healthy()
        yield running
    finally:
        running.stop()


@pytest.fixture(scope="module")
def runs(airflow: SplitAirflow) -> dict[str, str]:
    airflow.wait_for_dags((PIPELINE, PROMOTION))
    found = {}
    for dag in (PIPELINE, PROMOTION):
        airflow.unpause(dag)
        found[dag] = airflow.trigger(dag)
        airflow.wait_for_run(dag, found[dag], 120)
    return found


@pytest.fixture(scope="module")
def database(airflow: SplitAirflow) -> Metadata:
    return Metadata.open(airflow.secrets["WINDSOCK_SQL_ALCHEMY_CONN"])


def over_rest(airflow: SplitAirflow, token: str) -> RestMetadata:
    return RestMetadata(HttpClient(f"{airflow.url}/windsock"), EnvironmentToken({"WINDSOCK_API_TOKEN": token}))


class TestTasksWithoutADatabase:
    def test_the_lineage_is_complete(self, runs: dict[str, str], database: Metadata) -> None:
        graph = database.lineage.run_graph(PIPELINE, runs[PIPELINE])
        assert {node.label.split(" ")[0] for node in graph.nodes if node.kind == "step_run"} == {
            "measure",
            "average",
            "register_model",
        }
        assert "model:averages@1" in {node.id for node in graph.nodes}
        up = database.lineage.graph("model:averages@1", direction="up")
        assert {node.id for node in up.nodes if node.kind == "artifact"} >= {
            f"artifact:{PIPELINE}.measure@1",
            f"artifact:{PIPELINE}.average@1",
        }

    def test_every_step_and_the_run_have_ended(self, runs: dict[str, str], database: Metadata) -> None:
        run = database.runs.get(PIPELINE, runs[PIPELINE])
        steps = database.runs.steps(run.id)
        assert {step.step: step.state for step in steps} == {
            "measure": "success",
            "average": "success",
            "register_model": "success",
        }
        assert next(step.metrics for step in steps if step.step == "average") == {"mean": 3.0}
        deadline = time.monotonic() + 15  # the scheduler tells its listener after the run has ended
        while database.runs.get(PIPELINE, runs[PIPELINE]).state == "running":
            assert time.monotonic() < deadline, "nobody ended the run"
            time.sleep(0.2)
        assert database.runs.get(PIPELINE, runs[PIPELINE]).state == "success"

    def test_a_plain_operator_promotes(self, runs: dict[str, str], database: Metadata) -> None:
        assert database.models.aliases("averages")["production"].version == 1
        (event,) = database.models.history("averages", "production")
        assert event.actor == "user:admin"

    def test_nothing_was_opened_beside_the_api_server(self, airflow: SplitAirflow, runs: dict[str, str]) -> None:
        assert not (Path(airflow.environment["WINDSOCK_HOME"]) / "windsock.db").exists()

    def test_no_claim_and_no_token_stays_anywhere(self, airflow: SplitAirflow, runs: dict[str, str]) -> None:
        for dag, run in runs.items():
            for task in airflow.tasks(dag, run):
                path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task['task_id']}/state-store"
                assert "windsock" not in str(airflow.request("GET", path))
        logs = [path.read_text(errors="replace") for path in airflow.folder.rglob("*.log")]
        assert any("measure" in log for log in logs)
        assert not [log for log in logs if "eyJ" in log]
