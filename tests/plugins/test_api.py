"""The plugin's API in a running Airflow: what it answers, to whom, and what it never says."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from plugin_world import BARE_DAG, DAG, FAILING_DAG, PASSWORD, TOKEN

if TYPE_CHECKING:
    from plugin_world import World

pytestmark = pytest.mark.xdist_group("plugins")

ROUTES = {
    "api/artifacts": "api/artifacts",
    "api/artifacts/{artifact}/versions/{version}": "api/artifacts/tumours.train/versions/1",
    "api/audit": "api/audit",
    "api/deployments": "api/deployments",
    "api/deployments/{name}": "api/deployments/tumours",
    "api/deployments/{name}/history": "api/deployments/tumours/history",
    "api/drift": "api/drift",
    "api/drift/{report}": "api/drift/1",
    "api/drift/{report}/html": "api/drift/1/html",
    "api/lineage": "api/lineage?node=model:tumours@2",
    "api/lineage/dags/{dag_id}": f"api/lineage/dags/{DAG}",
    "api/metrics": "api/metrics",
    "api/models": "api/models",
    "api/models/{model}/history": "api/models/tumours/history",
    "api/models/{model}/versions": "api/models/tumours/versions",
    "api/models/{model}/versions/{version}": "api/models/tumours/versions/2",
    "api/models/{model}/why/{alias}": "api/models/tumours/why/production",
    "api/runs": "api/runs",
    "api/runs/{dag_id}/{run_id}/steps": f"api/runs/{DAG}/RUN/steps",
    "api/stacks": "api/stacks",
}
"""Every route that reads, with an address that there is."""
WRITES = {"api/stacks/check": "api/stacks/check"}
CALLS = {"api/metadata/v1/{noun}/{method}", "api/token", "api/token/renew"}
"""For workers, not for pages: tests/plugins/test_rest.py."""


def address(world: World, path: str) -> str:
    return path.replace("RUN", world.runs[DAG])


class TestWhoMayAsk:
    def test_the_table_of_this_test_names_every_route(self, airflow_home: object) -> None:
        from windsock.plugins.api.app import build_app

        routes = {route.path.lstrip("/") for route in build_app().routes if route.path.startswith("/api")}
        assert routes == ROUTES.keys() | WRITES.keys() | CALLS

    @pytest.mark.parametrize("path", ROUTES.values(), ids=ROUTES)
    def test_reading(self, world: World, path: str) -> None:
        asked = address(world, path)
        statuses = {user: world.ask(asked, user).status_code for user in ("admin", "viewer", "stranger", None)}
        assert statuses == {"admin": 200, "viewer": 200, "stranger": 403, None: 401}

    def test_checking_a_stack_writes_to_it_and_a_viewer_may_not(self, world: World) -> None:
        path = WRITES["api/stacks/check"]
        statuses = {
            user: world.ask(path, user, method="POST").status_code for user in ("narrow", "viewer", "stranger", None)
        }
        assert statuses == {"narrow": 200, "viewer": 403, "stranger": 403, None: 401}
        assert world.ask(path).status_code == 405

    def test_a_route_without_a_guard_makes_the_app_fail(
        self, airflow_home: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        from fastapi import APIRouter
        from windsock.plugins.api import app, lineage

        careless = APIRouter(prefix="/lineage")
        careless.add_api_route("/open", lambda: "anybody")
        monkeypatch.setattr(lineage, "router", careless)
        with pytest.raises(RuntimeError, match=r"/api/lineage/open has no guard"):
            app.build_app()

    def test_a_dag_that_one_may_not_read_stays_hidden(self, world: World) -> None:
        hidden = world.metadata.runs.get(FAILING_DAG, world.runs[FAILING_DAG])
        assert FAILING_DAG in {run["dag_id"] for run in world.json("api/runs")["items"]}
        assert FAILING_DAG not in {run["dag_id"] for run in world.json("api/runs", "narrow")["items"]}
        assert world.ask(f"api/lineage/dags/{FAILING_DAG}", "narrow").status_code == 403
        assert world.ask(f"api/runs/{FAILING_DAG}/{hidden.run_id}/steps", "narrow").status_code == 403
        for direction in ("both", "down"):
            query = {"node": f"run:{hidden.id}", "direction": direction}
            for user, expected in (("admin", False), ("narrow", True)):
                nodes = world.json("api/lineage", user, **query)["nodes"]
                kinds = {node["kind"]: node["facts"] == {"hidden": True} for node in nodes}
                assert kinds == {"run": expected, "step_run": expected}


class TestWhatItAnswers:
    def test_stacks(self, world: World) -> None:
        answer = world.json("api/stacks")
        stacks = {stack["name"]: stack for stack in answer["stacks"]}
        assert answer["active"] == "local"
        assert stacks["local"]["active"]
        assert {"kind": "deployer", "flavor": "local", "options": {}} in stacks["local"]["components"]
        (store,) = [one for one in stacks["secretive"]["components"] if one["kind"] == "artifact_store"]
        assert store == {
            "kind": "artifact_store",
            "flavor": "s3",
            "options": {"bucket": "acme-ml", "connection": "aws_ml"},
        }

    def test_a_stack_file_that_cannot_be_read_is_a_row_with_its_problem(self, world: World) -> None:
        (broken,) = [one for one in world.json("api/stacks")["stacks"] if one["name"] == "broken"]
        assert broken["components"] == []
        assert broken["problem"]["error"] == "StackInvalid"
        assert "broken.yaml" in broken["problem"]["detail"]

    def test_a_live_check(self, world: World) -> None:
        rows = {row["kind"]: row for row in world.json("api/stacks/check", method="POST")}
        assert {kind: row["ok"] for kind, row in rows.items()} == dict.fromkeys(
            (
                "artifact_store",
                "compute.local",
                "deployer",
                "drift_detector",
                "metadata_store",
                "model_registry",
            ),
            True,
        )
        assert rows["artifact_store"]["seconds"] > 0

    def test_models(self, world: World) -> None:
        (model,) = world.json("api/models")
        assert (model["name"], model["latest_version"]) == ("tumours", 2)
        assert model["aliases"] == {"candidate": 2, "production": 2}
        newest, oldest = world.json("api/models/tumours/versions")["items"]
        assert (newest["version"], oldest["version"]) == (2, 1)
        assert 0.85 < newest["metrics"]["accuracy"] <= 1
        assert newest["parameters"]["n_estimators"] == 20
        moves = world.json("api/models/tumours/history", alias="production")
        assert [(move["from_version"], move["to_version"]) for move in moves] == [(1, 2), (None, 1)]
        why = world.json("api/models/tumours/why/production")
        assert (why["actor"], why["reason"], why["previous"]) == ("carol", "fewer trees", 1)
        assert [gate["passed"] for gate in why["gates"]] == [True]

    def test_the_audit_trail(self, world: World) -> None:
        answer = world.json("api/audit", subject_kind="deployment", subject="tumours")
        (event,) = answer["items"]
        assert (event["actor"], event["action"], event["after"]["flavor"]) == ("carol", "create", "local")
        assert len(event["hash"]) == 64
        page = world.json("api/audit", limit=1)
        assert page["next"]
        assert world.json("api/audit", limit=1, before=page["next"])["items"][0]["id"] < page["items"][0]["id"]

    def test_pages_of_versions(self, world: World) -> None:
        first = world.json("api/models/tumours/versions", limit=1)
        second = world.json("api/models/tumours/versions", limit=1, before=first["next"])
        assert [one["version"] for one in first["items"] + second["items"]] == [2, 1]
        assert second["next"] is None

    def test_deployments(self, world: World) -> None:
        (deployment,) = world.json("api/deployments")
        assert (deployment["model"], deployment["version"], deployment["phase"]) == ("tumours", 2, "ready")
        assert "handle" not in deployment
        (event,) = world.json("api/deployments/tumours/history")
        assert (event["actor"], event["to_version"]) == ("carol", 2)

    def test_drift_reports_tell_how_each_feature_fared(self, world: World) -> None:
        drifted, quiet = world.json("api/drift")["items"]
        assert (drifted["drifted"], quiet["drifted"]) == (True, False)
        assert drifted["features"]["mean radius"]["status"] == "drift"
        assert "metrics" not in drifted["features"]["mean radius"]
        whole = world.json(f"api/drift/{drifted['id']}")
        assert whole["features"]["mean radius"]["metrics"]["rows"] == 400

    def test_prometheus_reads_the_newest_report_of_each_version(self, world: World) -> None:
        page = world.ask("api/metrics")
        assert page.headers["content-type"].startswith("text/plain")
        assert 'model_drift_detected{model_name="tumours",version="2"} 1.0' in page.text

    def test_the_page_of_a_report_has_no_right_in_airflows_origin(self, world: World) -> None:
        page = world.ask("api/drift/2/html")
        assert page.headers["content-type"].startswith("text/html")
        assert "mean radius" in page.text
        policy = page.headers["content-security-policy"]
        assert "sandbox" in policy
        assert "allow-scripts" not in policy
        assert "default-src 'none'" in policy

    def test_runs_with_their_steps(self, world: World) -> None:
        runs = {run["dag_id"]: run for run in world.json("api/runs")["items"]}
        assert runs[DAG]["run_id"] == world.runs[DAG]
        assert runs["tumours"]["run_id"].startswith("local__"), "the run without Airflow"
        steps = world.json(f"api/runs/{DAG}/{world.runs[DAG]}/steps")
        assert [step["step"] for step in steps] == ["load_patients", "split", "train", "evaluate", "register_model"]
        assert {step["state"] for step in steps} == {"success"}
        (failed,) = world.json(f"api/runs/{FAILING_DAG}/{world.runs[FAILING_DAG]}/steps")
        assert failed["state"] == "failed"
        assert "this step always fails" in failed["error"]

    def test_runs_page_by_page_are_the_same_as_at_once(self, world: World) -> None:
        at_once = [run["id"] for run in world.json("api/runs", "narrow")["items"]]
        found: list[str] = []
        query: dict[str, Any] = {"limit": 1}
        while True:
            page = world.json("api/runs", "narrow", **query)
            found += [run["id"] for run in page["items"]]
            if page["next"] is None:
                break
            query["before"] = page["next"]
        assert found == at_once
        assert len(found) == 2

    def test_lists_are_narrowed(self, world: World) -> None:
        assert {run["dag_id"] for run in world.json("api/runs", state="failed")["items"]} == {FAILING_DAG}
        assert world.json("api/runs", metric="no_such_metric>0")["items"] == []
        assert world.json("api/runs", until="2020-01-01")["items"] == []
        good = world.json("api/models/tumours/versions", metric=["accuracy>0", "accuracy<=1"])["items"]
        assert good
        assert world.json("api/models/tumours/versions", metric="accuracy>1")["items"] == []
        found = world.json("api/artifacts", prefix="tumours.s", since="2020-01-01")["items"]
        assert {one["artifact"] for one in found} == {"tumours.split.train", "tumours.split.test"}

    def test_lineage_of_a_dag_and_of_a_node(self, world: World) -> None:
        latest = world.json(f"api/lineage/dags/{DAG}")
        assert latest == world.json(f"api/lineage/dags/{DAG}", run_id=world.runs[DAG])
        kinds = [node["kind"] for node in latest["nodes"]]
        assert (kinds.count("run"), kinds.count("step_run")) == (1, 5)
        up = world.json("api/lineage", node="deployment:tumours", direction="up")
        assert "artifact:tumours.load_patients@1" in {node["id"] for node in up["nodes"]}


class TestWhatItRefuses:
    @pytest.mark.parametrize(
        ("path", "status", "error"),
        [
            ("api/drift/99", 404, "RecordNotFound"),
            ("api/deployments/none", 404, "DeploymentNotFound"),
            ("api/models/tumours/versions/99", 404, "ModelNotFound"),
            ("api/models/tumours/why/none", 404, "AliasNotFound"),
            ("api/artifacts/none/versions/1", 404, "ArtifactNotFound"),
            (f"api/lineage/dags/{BARE_DAG}", 404, "RecordNotFound"),
            ("api/lineage?node=nonsense", 404, "RecordNotFound"),
            ("api/models?stack=none", 404, "StackNotFound"),
            ("api/models?stack=broken", 400, "StackInvalid"),
            ("api/models?stack=secretive", 503, "MetadataUnavailable"),
            ("api/drift?before=nonsense", 404, "RecordNotFound"),
            ("api/runs?metric=accuracy", 400, "FilterInvalid"),
            ("api/artifacts?since=yesterday", 422, "BadRequest"),
            ("api/lineage", 422, "BadRequest"),
            ("api/runs?limit=0", 422, "BadRequest"),
            ("api/nothing", 404, "NotFound"),
        ],
    )
    def test_in_one_form(self, world: World, path: str, status: int, error: str) -> None:
        answer = world.ask(path)
        body = answer.json()
        assert (answer.status_code, body["error"]) == (status, error)
        assert body.keys() == {"error", "detail", "hint"}
        assert body["detail"]

    def test_no_permission_has_the_same_form(self, world: World) -> None:
        for user, error in ((None, "NotLoggedIn"), ("stranger", "NotPermitted")):
            body = world.ask("api/models", user).json()
            assert (body["error"], body.keys()) == (error, {"error", "detail", "hint"})

    def test_the_database_being_down_is_told_without_its_address(self, world: World) -> None:
        body = world.ask("api/models", stack="secretive").json()
        assert body["detail"] == "The metadata database does not answer."
        assert "windsock doctor" in body["hint"]


class TestWhatItNeverSays:
    def test_no_answer_holds_a_secret_or_an_address_of_a_database(self, world: World) -> None:
        asked = [*ROUTES.values(), *(f"{path.partition('?')[0]}?stack=secretive" for path in ROUTES.values())]
        answers = [world.ask(address(world, path)).text for path in asked]
        answers += [world.ask("api/stacks/check", method="POST", stack=stack).text for stack in ("local", "secretive")]
        assert any("aws_ml" in answer for answer in answers), "the name of a connection is no secret"
        for text in answers:
            assert PASSWORD not in text
            assert TOKEN not in text
            assert "postgresql://" not in text
            assert "sqlite:///" not in text

    def test_no_rows_of_the_data(self, world: World) -> None:
        assert world.metadata.models.get("tumours", version=2).example, "there are rows that could be shown"
        for path in ("api/models/tumours/versions", "api/models/tumours/versions/2"):
            assert '"example"' not in world.ask(path).text
        assert world.metadata.artifacts.get("tumours.evaluate", 1).metadata["preview"]
        assert "preview" not in world.json("api/artifacts/tumours.evaluate/versions/1")["metadata"]

    def test_static_files_are_public_and_nothing_else_of_the_folder(self, world: World) -> None:
        bundle = world.ask("static/windsock.js", None)
        assert bundle.status_code == 200
        assert bundle.headers["content-type"].startswith("text/javascript")
        assert world.ask("static/../ui.py", None).status_code == 404
        assert world.ask("static/%2e%2e/ui.py", None).status_code == 404
