"""A running Airflow whose API server alone has the metadata database: tasks and scheduler ask it."""

from __future__ import annotations

import json
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jwt
import pytest
from windsock.provider.cli.demo.airflow import PrivateAirflow
from windsock.provider.errors import NotPermitted, TokenInvalid
from windsock.provider.metadata import Metadata
from windsock.provider.metadata.rest.client import RestMetadata
from windsock.provider.metadata.rest.http import HttpClient
from windsock.provider.security.tokens import EnvironmentToken

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("rest_airflow")]

HERE = Path(__file__).parent
PIPELINE, PROMOTION, PROBE = "numbers_over_rest", "promotion_over_rest", "probe_over_rest"


class SplitAirflow(PrivateAirflow):
    """Its API server is given ``secrets`` in its environment, and no other process is."""

    secrets: dict[str, str]
    clients: list[HttpClient]

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
    }
    running = SplitAirflow(
        folder / "airflow",
        HERE / "rest_dags",
        environment,
        components=("api-server", "scheduler", "dag-processor"),
        users={"admin": "admin", "viewer": "viewer"},
    )
    running.clients = []
    running.secrets = {"WINDSOCK_SQL_ALCHEMY_CONN": f"sqlite:///{folder / 'hidden' / 'metadata.db'}"}
    try:
        running.prepare()
        running.migrate()
        running.start()
        running.wait_until_healthy()
        yield running
    finally:
        for client in running.clients:
            client.close()
        running.stop()


@pytest.fixture(scope="module")
def runs(airflow: SplitAirflow) -> dict[str, str]:
    dags = (PIPELINE, PROMOTION, PROBE)
    airflow.wait_for_dags(dags)
    found = {}
    for dag in dags:
        airflow.unpause(dag)
        found[dag] = airflow.trigger(dag)
        if dag != PROMOTION:
            airflow.wait_for_run(dag, found[dag], 120)
    airflow.wait_for_run(PROMOTION, found[PROMOTION], 120)
    return found


@pytest.fixture(scope="module")
def probed(airflow: SplitAirflow, runs: dict[str, str]) -> dict[str, Any]:
    """What the task found that tried everything."""
    path = f"/api/v2/dags/{PROBE}/dagRuns/{runs[PROBE]}/taskInstances/probe/xcomEntries/return_value"
    return dict(airflow.request("GET", path)["value"])


@pytest.fixture(scope="module")
def database(airflow: SplitAirflow) -> Metadata:
    return Metadata.open(airflow.secrets["WINDSOCK_SQL_ALCHEMY_CONN"])


def over_rest(airflow: SplitAirflow, token: str) -> RestMetadata:
    client = HttpClient(f"{airflow.url}/windsock")
    airflow.clients.append(client)
    return RestMetadata(client, EnvironmentToken({"WINDSOCK_API_TOKEN": token}))


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


class TestWhatATaskMayDo:
    def test_it_writes_nothing_of_others(self, probed: dict[str, Any]) -> None:
        assert probed["transport"] == "RestMetadata"
        assert probed["another's step"].startswith("NotPermitted: task probe_over_rest.probe may not call")
        assert "for numbers_over_rest, run manual" in probed["another's step"]
        assert probed["another's run"].startswith("NotPermitted: task probe_over_rest.probe may not call runs.end")

    def test_whom_it_names_is_said_by_it(self, probed: dict[str, Any], database: Metadata) -> None:
        (event,) = [one for one in database.audit.list() if one.action == "probe"]
        assert event.actor == "user:mallory (said by probe_over_rest.probe)"

    def test_maintenance_stays_with_the_database(self, probed: dict[str, Any]) -> None:
        assert probed["the database"].startswith("MetadataError: audit.verify needs the metadata database itself")

    def test_a_claim_counts_once_and_only_if_the_task_wrote_it(self, probed: dict[str, Any]) -> None:
        assert probed["a claim that was not written"] == 401
        assert probed["a digest instead of its claim"] == 401
        assert probed["a claim"] == 200
        assert probed["the same claim again"] == 401

    def test_a_token_is_for_windsock_alone(self, probed: dict[str, Any]) -> None:
        assert probed["at Airflow's own API"] in (401, 403)
        assert probed["a renewed token"] == 200
        assert probed["a changed token"] == 401
        assert "eyJ" not in probed["shown"]

    def test_a_fork_goes_on(self, probed: dict[str, Any]) -> None:
        assert probed["a forked child"] == 0
        assert probed["and its parent"] == "done: True"


def signed(airflow: SplitAirflow, *, key: str | None = None, audience: str = "windsock", seconds: int = 60) -> str:
    """A token as the API server signs them, or not quite."""
    now = int(time.time())
    claims = {"sub": "task", "dag_id": "d", "run_id": "r", "task_id": "t", "map_index": -1, "try_number": 1}
    claims |= {"ti": str(uuid.uuid4()), "actor": "dag:d", "scopes": ["read", "models:register"]}
    claims |= {"aud": audience, "iat": now - 100, "nbf": now - 100, "exp": now + seconds}
    return jwt.encode(claims, key or airflow.environment["AIRFLOW__API_AUTH__JWT_SECRET"], algorithm="HS512")


class TestTokens:
    def test_a_valid_one_reads(self, airflow: SplitAirflow, runs: dict[str, str]) -> None:
        assert over_rest(airflow, signed(airflow)).models.get("averages").version == 1

    def test_expired(self, airflow: SplitAirflow) -> None:
        with pytest.raises(TokenInvalid, match=r"was refused: it has expired"):
            over_rest(airflow, signed(airflow, seconds=-50)).models.list()

    @pytest.mark.parametrize("wrong", [{"key": "k" * 64}, {"audience": "apache-airflow"}], ids=["key", "audience"])
    def test_forged_or_for_something_else(self, airflow: SplitAirflow, wrong: dict[str, str]) -> None:
        with pytest.raises(TokenInvalid):
            over_rest(airflow, signed(airflow, **wrong)).models.list()

    def test_without_the_right(self, airflow: SplitAirflow, runs: dict[str, str]) -> None:
        with pytest.raises(NotPermitted, match=r'may not call models.set_alias: .* "models:promote"') as caught:
            over_rest(airflow, signed(airflow)).models.set_alias("averages", "production", 1, actor="me")
        assert "task_scopes" in (caught.value.hint or "")

    def test_a_task_that_is_gone_renews_nothing(self, airflow: SplitAirflow) -> None:
        answer = HttpClient(f"{airflow.url}/windsock").post(
            "/api/token/renew", b"{}", lambda: {"Authorization": f"Bearer {signed(airflow)}"}
        )
        assert (answer.status, b"does not run any more" in answer.body) == (401, True)

    def test_nobody(self, airflow: SplitAirflow) -> None:
        answer = HttpClient(f"{airflow.url}/windsock").post("/api/metadata/v1/models/list", b"{}", dict)
        assert (answer.status, json.loads(answer.body)["error"]) == (401, "TokenInvalid")


class TestPeople:
    """They use the tokens that Airflow gives them, and may what their role lets them."""

    def test_an_admin_acts_under_their_own_name(
        self, airflow: SplitAirflow, runs: dict[str, str], database: Metadata
    ) -> None:
        metadata = over_rest(airflow, airflow.token("admin"))
        metadata.models.set_alias("averages", "shadow", 1, actor="user:somebody_else", reason="trying")
        assert [event.actor for event in database.models.history("averages", "shadow")] == ["user:admin"]

    def test_a_viewer_reads_and_does_not_write(self, airflow: SplitAirflow, runs: dict[str, str]) -> None:
        metadata = over_rest(airflow, airflow.token("viewer"))
        assert metadata.runs.get(PIPELINE, runs[PIPELINE]).pipeline == PIPELINE
        with pytest.raises(NotPermitted, match=r'user "viewer" may not call models.remove_alias'):
            metadata.models.remove_alias("averages", "production", actor="user:viewer")

    def test_nobody_writes_a_run_that_airflow_made(self, airflow: SplitAirflow, runs: dict[str, str]) -> None:
        with pytest.raises(NotPermitted, match=r"it is not its own"):
            over_rest(airflow, airflow.token("admin")).runs.end(PIPELINE, runs[PIPELINE], "failed")

    def test_a_cookie_is_no_token(self, airflow: SplitAirflow) -> None:
        cookie = {"Cookie": f"_token={airflow.token('admin')}"}
        answer = HttpClient(f"{airflow.url}/windsock").post("/api/metadata/v1/models/list", b"{}", lambda: cookie)
        assert answer.status == 401
