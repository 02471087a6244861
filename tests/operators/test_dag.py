"""What a rendered DAG looks like to Airflow: params, defaults, serialization; nothing is run here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any, Literal

import flows
import pytest
from airflow.sdk import DAG, Asset
from airflow_home import serialized
from pipelines import shop
from windsock import Pipeline, airflow_dag, airflow_task_group, pipeline, step
from windsock.provider.errors import PipelineInvalid, StackNotFound, TypeMismatch

ROOT = Path(__file__).parents[2]


def dag_of(body: Any, **kwargs: Any) -> DAG:
    return airflow_dag(Pipeline(body, name="test"), **kwargs)


class TestParams:
    def test_have_the_types_of_the_pipeline(self) -> None:
        def body(
            name: str,
            rate: float = 0.1,
            rows: int | None = None,
            day: "date" = "2026-11-20",  # type: ignore[name-defined]  # noqa: F821, UP037
            mode: Literal["full", "quick"] = "full",
            flags: list[str] = ["a"],  # noqa: B006
            anything: Any = None,
        ) -> None:
            flows.load(name)

        body.__globals__["date"] = __import__("datetime").date
        params = dag_of(body).params
        assert {name: params.get_param(name).schema for name in params} == {
            "name": {"type": "string"},
            "rate": {"type": "number"},
            "rows": {"type": ["integer", "null"]},
            "day": {"type": "string", "format": "date"},
            "mode": {"enum": ["full", "quick"]},
            "flags": {"type": "array"},
            "anything": {},
        }
        assert params["rate"] == 0.1

    def test_refuse_what_the_pipeline_would(self) -> None:
        from airflow.sdk.exceptions import ParamValidationError

        dag = airflow_dag(flows.nested)
        with pytest.raises(ParamValidationError):
            dag.params["mode"] = "slow"

    def test_that_are_bound_are_no_params(self) -> None:
        dag = airflow_dag(flows.plain.bind(snapshot="{{ ds }}"))
        assert set(dag.params) == {"rows"}
        assert dag.get_task("load").inputs["snapshot"] == "{{ ds }}"  # type: ignore[union-attr]

    def test_without_a_default_cannot_be_scheduled(self) -> None:
        @pipeline
        def needy(name: str) -> None:
            flows.load(name)

        with pytest.raises(PipelineInvalid, match=r'"name" has no default'):
            airflow_dag(needy, schedule="@daily")
        assert airflow_dag(needy.bind(name="x"), schedule="@daily").params == {}
        assert "name" in airflow_dag(needy).params
        with pytest.raises(PipelineInvalid, match="needs name"), DAG("d"):
            airflow_task_group(needy)

    def test_are_not_repeated_in_every_task(self) -> None:
        tasks = serialized(airflow_dag(flows.plain))["dag"]["tasks"]
        assert all("params" not in task["__var"] for task in tasks)


class TestDefaults:
    def test_of_the_dag(self) -> None:
        dag = airflow_dag(flows.plain, schedule="@weekly", tags=["mine"])
        assert (dag.dag_id, dag.catchup, dag.tags) == ("plain", False, {"mine", "windsock"})
        assert dag.fileloc == __file__
        assert "```mermaid" in (dag.doc_md or "")
        assert (dag.doc_md or "").startswith("Load and measure.")

    def test_retries_come_from_the_step_then_the_dag_then_windsock(self) -> None:
        @pipeline
        def two() -> None:
            flows.load("x")
            flows.load.with_options(retries=5, timeout=60, pool="gpu").named("own")("x")

        dag = airflow_dag(two)
        assert dag.get_task("load").retries == 1
        assert dag.get_task("load").retry_delay == timedelta(seconds=30)
        own = dag.get_task("own")
        assert (own.retries, own.execution_timeout, own.pool) == (5, timedelta(seconds=60), "gpu")
        dag = airflow_dag(two, default_args={"retries": 0})
        assert (dag.get_task("load").retries, dag.get_task("own").retries) == (0, 5)

    def test_a_task_group_respects_its_dag(self) -> None:
        with DAG("d", default_args={"retries": 3, "owner": "me"}) as dag:
            airflow_task_group(flows.plain)
        assert dag.get_task("plain.load").retries == 3

    def test_a_stack_must_exist(self) -> None:
        with pytest.raises(StackNotFound, match="nowhere"):
            airflow_dag(flows.plain, stack="nowhere")


class TestTasks:
    def test_edges_come_from_data(self) -> None:
        dag = airflow_dag(flows.plain)
        assert dag.get_task("halve").upstream_task_ids == {"load"}
        assert dag.get_task("measure_low").upstream_task_ids == {"halve"}

    def test_exit_handlers_are_teardowns(self) -> None:
        task = airflow_dag(flows.failing).get_task("say_goodbye")
        assert task.is_teardown
        assert not task.on_failure_fail_dagrun

    def test_artifacts_are_assets_when_asked(self) -> None:
        @pipeline
        def shared() -> None:
            flows.halve.with_options(asset=True)(flows.load("x"))

        outlets = airflow_dag(shared).get_task("halve").outlets
        assert [o.uri for o in outlets if isinstance(o, Asset)] == [
            "windsock://artifact/shared.halve.low",
            "windsock://artifact/shared.halve.high",
        ]

    def test_constants_are_no_jinja(self) -> None:
        @pipeline
        def literal() -> None:
            flows.report("{{ this is not }} a template {%")

        task = airflow_dag(literal).get_task("report")
        task.render_template_fields({})  # type: ignore[typeddict-item, union-attr]
        assert task.inputs["verdict"] == "{{ this is not }} a template {%"  # type: ignore[union-attr]

    def test_a_call_twice_in_a_plain_dag_is_two_tasks(self) -> None:
        with DAG("d") as dag:
            first = flows.load("x")
            second = flows.load("x")
            first >> second  # type: ignore[operator]
        assert set(dag.task_dict) == {"load", "load_2"}
        assert dag.get_task("load_2").upstream_task_ids == {"load"}

    def test_a_call_in_a_plain_dag_is_checked_too(self) -> None:
        with DAG("d"), pytest.raises(TypeMismatch, match="is given step") as caught:
            flows.total(flows.measure(flows.load("x")))  # type: ignore[arg-type]
        assert "numbers: list[int]" in str(caught.value)


class TestSerialization:
    def test_is_small(self) -> None:
        @pipeline
        def chain() -> None:
            numbers = flows.load("x")
            for _ in range(99):
                numbers, _ = flows.halve(numbers)

        data = serialized(airflow_dag(chain))
        assert len(json.dumps(data, separators=(",", ":"))) / 100 <= 600

    def test_shows_what_a_task_does(self) -> None:
        tasks = {t["__var"]["task_id"]: t["__var"] for t in serialized(airflow_dag(flows.either))["dag"]["tasks"]}
        assert tasks["measure"]["step"] == "flows:measure"
        assert tasks["measure"]["inputs"] == {"numbers": "load"}
        assert tasks["good"]["condition"] == 'measure["mean"] > limit'
        assert tasks["good"]["inputs"] == ["measure", "{{ params.limit }}"]

    def test_is_the_same_in_every_process(self, tmp_path: Path) -> None:
        code = f"""
import sys; sys.path.insert(0, {str(ROOT / "tests")!r})
import hashlib, importlib, json
from airflow.models.serialized_dag import SerializedDagModel
from airflow.serialization.serialized_objects import LazyDeserializedDAG
from windsock import airflow_dag
seen = set()
for _ in range(20):
    for name in [n for n in sys.modules if n == "flows"]: del sys.modules[name]
    flows = importlib.import_module("flows")
    names = "plain mapped mapped_constants either nested failing outer_pipeline".split()
    pipes = [getattr(flows, name) for name in names]
    seen.add(tuple(SerializedDagModel.hash(LazyDeserializedDAG.from_dag(airflow_dag(p)).data) for p in pipes))
assert len(seen) == 1, seen
print(hashlib.sha256(repr(seen).encode()).hexdigest())
"""
        hashes = set()
        for seed in range(5):
            done = subprocess.run(
                [sys.executable, "-c", code],
                cwd=tmp_path,  # the working directory is on the path, and the repository's folders are no packages
                env={**os.environ, "PYTHONHASHSEED": str(seed)},
                capture_output=True,
                text=True,
                check=False,
                timeout=200,
            )
            assert done.returncode == 0, done.stderr
            hashes.add(done.stdout.strip().splitlines()[-1])
        assert len(hashes) == 1


class TestParsingIsLight:
    def test_no_heavy_library_is_imported(self, tmp_path: Path) -> None:
        heavy = [
            "pandas",
            "sklearn",
            "scipy",
            "pyarrow",
            "polars",
            "matplotlib",
            "boto3",
            "kubernetes",
            "google.cloud",
            "azure",
            "great_expectations",
            "skops",
            "joblib",
            "mlflow",
            "s3fs",
            "prometheus_client",
        ]
        code = f"""
import sys; sys.path.insert(0, {str(ROOT / "tests")!r})
import airflow.sdk; airflow.sdk.DAG
before = set(sys.modules)
from pipelines import shop
from windsock import airflow_dag, register_model, promote_model
dag = airflow_dag(shop.features, schedule="@weekly")
assert len(dag.tasks) == 2
loaded = set(sys.modules) - before
heavy = [name for name in {heavy!r} if name in sys.modules]
ours = [n for n in loaded if n.split(".")[0] in ("fastapi", "uvicorn", "sqlalchemy", "alembic", "numpy", "fsspec")]
print(heavy, ours)
sys.exit(bool(heavy or ours))
"""
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, done.stdout + done.stderr


class TestALink:
    def test_leads_to_the_lineage_of_the_run(self) -> None:
        from types import SimpleNamespace

        from windsock.operators.links import LineageLink
        from windsock.plugins.ui import WindsockPlugin

        key: Any = SimpleNamespace(dag_id="churn", run_id="manual__2026-11-20T00:00:00+00:00")
        link = LineageLink().get_link(None, ti_key=key)
        assert "/dags/churn/runs/manual__2026-11-20T00:00:00+00:00/plugin/" in link  # as Airflow itself writes it
        routes = [app["url_route"] for app in WindsockPlugin.react_apps if app["destination"] == "dag_run"]
        assert link.rpartition("/")[2] in routes


class TestComponents:
    def test_run_as_steps_with_their_config(self) -> None:
        @pipeline
        def cleaned() -> None:
            shop.clean(shop.load("x"))

        task: Any = airflow_dag(cleaned).get_task("Cleaner")
        assert task.step.step.config == {"drop_missing": False, "columns": ["age", "plan"]}
        assert str(task.step) == "pipelines.shop:Cleaner"
        assert step(shop.Cleaner).config == {}
