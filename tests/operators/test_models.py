"""Operators on models, on a real Airflow."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import loop_lab
import pytest
from airflow.sdk import DAG
from loop_lab import events
from windsock import airflow_task_group, model_asset
from windsock.hooks.models import ModelHook
from windsock.hooks.stacks import load_stack
from windsock.operators.models import (
    ApproveModelOperator,
    PromoteModelOperator,
    RegisterModelOperator,
    describe_promotion,
)

BETTER = {"gate": "better_than_current", "metric": "accuracy"}


def promotion(dag_id: str = "promotion", **options: Any) -> DAG:
    with DAG(dag_id, schedule=None) as dag:
        PromoteModelOperator(task_id="promote", model="flowers", source="candidate", **options)
    return dag


class TestRegister:
    def test_a_model_of_earlier_tasks(self, run_dag: Any) -> None:
        with DAG("own_dag", schedule=None) as dag:
            rows = loop_lab.load_flowers()
            model = loop_lab.train_flowers(rows)
            RegisterModelOperator(
                task_id="register",
                name="flowers",
                model=model,
                metrics={"accuracy": 0.9},
                baseline=rows,
                target=loop_lab.TARGET,
                description="from a DAG of its own",
            )
        before = len(events(model_asset("flowers").uri))
        result = run_dag(dag)
        assert result.state == "success"
        version = ModelHook().get_version("flowers", alias="candidate")
        assert (version.version, version.metrics, version.description) == (
            1,
            {"accuracy": 0.9},
            "from a DAG of its own",
        )
        assert version.baseline is not None
        assert ModelHook().load("flowers", alias="candidate").get_params()["max_depth"] == 3
        graph = load_stack().metadata.lineage.graph("model:flowers@1", direction="up")
        assert {"artifact:own_dag.load_flowers@1", "artifact:own_dag.train_flowers@1"} <= {
            node.id for node in graph.nodes
        }
        told = events(model_asset("flowers").uri)[before:]
        assert told == [{"kind": "registration", "model": "flowers", "version": 1, "alias": "candidate"}]


class TestPromote:
    def test_the_first_version_passes_and_is_recorded(self, run_dag: Any) -> None:
        loop_lab.flowers.run()
        asset = model_asset("flowers", alias="production").uri
        before = len(events(asset))
        result = run_dag(promotion(gates=[{"gate": "metric", "metric": "accuracy", "minimum": 0.5}, BETTER]))
        assert result.state == "success"
        facts = result.xcoms["promote"]
        assert (facts["version"], facts["previous"], facts["changed"]) == (1, None, True)
        (event,) = ModelHook().history("flowers", "production")
        assert event.actor == "user:dag_test"  # who triggered the run
        assert [gate["passed"] for gate in event.gates] == [True, True]
        assert [extra["version"] for extra in events(asset)[before:]] == [1]

    def test_again_changes_nothing_and_tells_nobody(self, run_dag: Any) -> None:
        loop_lab.flowers.run()
        run_dag(promotion())
        asset = model_asset("flowers", alias="production").uri
        before = len(events(asset))
        result = run_dag(promotion())
        assert result.xcoms["promote"]["changed"] is False
        assert len(ModelHook().history("flowers", "production")) == 1
        assert len(events(asset)) == before

    def test_a_worse_version_is_refused_without_retries(self, run_dag: Any) -> None:
        loop_lab.flowers.run()
        run_dag(promotion())
        loop_lab.flowers.run(seed=1, depth=1)
        result = run_dag(promotion(gates=[BETTER], retries=3))
        assert result.tasks["promote"] == "failed"
        assert ModelHook().get_version("flowers", alias="production").version == 1

    def test_or_skips_what_follows(self, run_dag: Any) -> None:
        loop_lab.flowers.run()
        run_dag(promotion())
        loop_lab.flowers.run(seed=1, depth=1)
        assert run_dag(promotion(gates=[BETTER], skip_if_refused=True)).tasks["promote"] == "skipped"

    def test_the_reason_of_the_run_is_kept(self, run_dag: Any) -> None:
        loop_lab.flowers.run()
        run_dag(promotion(), conf={"windsock_reason": {"kind": "drift", "reason": "petals grew"}})
        assert ModelHook().history("flowers", "production")[0].reason == "drift: petals grew"

    def test_after_a_pipeline_in_the_same_dag(self, run_dag: Any) -> None:
        with DAG("train_and_promote", schedule=None) as dag:
            train = airflow_task_group(loop_lab.flowers.bind(depth=2), group_id="train")
            train >> PromoteModelOperator(task_id="promote", model="flowers")
        result = run_dag(dag)
        assert result.state == "success"
        assert result.tasks["train.register_model"] == "success"
        assert result.xcoms["promote"]["version"] == 1


class TestApprove:
    def test_the_page_shows_what_would_be_replaced(self, windsock_home: Any) -> None:
        loop_lab.flowers.run()
        registry = load_stack().model_registry
        registry.promote("flowers", source="candidate", target="production", actor="tests")
        loop_lab.flowers.run(seed=1, depth=1)
        body = describe_promotion(
            registry.get("flowers", alias="candidate"), registry.get("flowers", alias="production"), "production"
        )
        assert "version **2**" in body
        assert "replace version 1" in body
        assert "| accuracy | 0.6667 | 0.9733 |" in body

    def test_waits_for_a_person(self, run_dag: Any, monkeypatch: pytest.MonkeyPatch) -> None:
        """Up to the question; what a person answers is tested against a running Airflow."""
        from airflow.sdk.exceptions import TaskAwaitingInput

        loop_lab.flowers.run()
        asked: list[dict[str, Any]] = []
        monkeypatch.setattr(
            "airflow.providers.standard.operators.hitl.upsert_hitl_detail", lambda **detail: asked.append(detail)
        )
        operator = ApproveModelOperator(task_id="approve", model="flowers")
        with pytest.raises(TaskAwaitingInput):
            operator.execute({"task_instance": type("TI", (), {"id": "0"})(), "ti": None})  # type: ignore[arg-type,typeddict-item]
        assert asked[0]["subject"] == "Approve flowers for production?"
        assert "version **1**" in asked[0]["body"]

    def test_the_decision_is_in_the_audit_trail(self, windsock_home: Any) -> None:
        loop_lab.flowers.run()
        operator = ApproveModelOperator(task_id="approve", model="flowers")
        answer = {"chosen_options": ["Approve"], "params_input": {}, "responded_by_user": {"id": "7", "name": "alice"}}
        operator.execute_complete(
            {"task": operator, "ti": None}, {**answer, "timedout": False, "responded_at": datetime.now(timezone.utc)}
        )  # type: ignore[arg-type,typeddict-item]
        (event,) = [one for one in load_stack().metadata.audit.list(limit=10) if one.action == "approve"]
        assert (event.actor, event.subject) == ("user:alice", "flowers@1")
