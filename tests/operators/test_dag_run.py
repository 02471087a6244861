"""Pipelines on a real Airflow: ``dag.test()`` with real artifacts and metadata."""

from __future__ import annotations

from typing import Any

import flows
import pytest
from airflow.sdk import DAG, task
from windsock import airflow_dag, airflow_task_group
from windsock.hooks.stacks import StackHook


def value(ref: dict[str, Any]) -> Any:
    from windsock.provider.artifacts.saving import load

    return load(ref, StackHook().stack().artifact_store)


NO_RETRY = {"default_args": {"retries": 0}}


class TestAPlainPipeline:
    def test_runs_and_leaves_references(self, run_dag: Any) -> None:
        result = run_dag(airflow_dag(flows.plain, **NO_RETRY), conf={"snapshot": "abc", "rows": 6})
        assert result.state == "success"
        assert value(result.xcoms["measure_low"]["output"]) == {"mean": 4.0, "count": 3}
        assert value(result.xcoms["measure_high"]["output"]) == {"mean": 7.0, "count": 3}
        assert set(result.xcoms["halve"]) == {"low", "high"}
        assert result.xcoms["halve"]["low"]["artifact"] == "plain.halve.low"

    def test_is_recorded_with_its_version_parameters_and_reason(self, run_dag: Any) -> None:
        conf = {"rows": 2, "windsock_reason": {"kind": "drift", "report": 7}}
        result = run_dag(airflow_dag(flows.plain, **NO_RETRY), conf=conf)
        metadata = StackHook().stack().metadata
        run = metadata.runs.get(result.dag_id, result.run_id)
        assert (run.pipeline, run.pipeline_version) == ("plain", 1)
        assert run.parameters == {"snapshot": "latest", "rows": 2}
        assert run.reason == {"kind": "drift", "report": 7}
        assert {s.step for s in metadata.runs.steps(run.id)} == {"load", "halve", "measure_low", "measure_high"}
        assert metadata.pipelines.get("plain", 1).spec == flows.plain.spec.to_dict()

    def test_a_second_run_takes_everything_from_the_cache(self, run_dag: Any) -> None:
        dag = airflow_dag(flows.plain, **NO_RETRY)
        first, second = run_dag(dag), run_dag(dag)
        assert first.xcoms == second.xcoms
        metadata = StackHook().stack().metadata
        run = metadata.runs.get(second.dag_id, second.run_id)
        assert {step.state for step in metadata.runs.steps(run.id)} == {"cached"}


class TestMapping:
    def test_over_the_output_of_a_step(self, run_dag: Any) -> None:
        result = run_dag(airflow_dag(flows.mapped, **NO_RETRY), conf={"rows": 3})
        assert result.state == "success"
        assert [value(result.xcoms[f"square[{i}]"]["output"]) for i in range(3)] == [9, 16, 25]
        assert value(result.xcoms["total"]["output"]) == 50
        assert result.xcoms["square_items"] == [{"x": 0}, {"x": 1}, {"x": 2}]

    def test_over_constants_needs_no_other_task(self, run_dag: Any) -> None:
        result = run_dag(airflow_dag(flows.mapped_constants, **NO_RETRY))
        assert value(result.xcoms["total"]["output"]) == 14
        assert set(result.tasks) == {"square[0]", "square[1]", "square[2]", "total"}
        assert result.labels["square[2]"] == "x=3"

    def test_over_the_instances_of_another_mapped_step(self, run_dag: Any) -> None:
        result = run_dag(airflow_dag(flows.mapped_twice, **NO_RETRY))
        assert value(result.xcoms["total"]["output"]) == 1 + 16
        assert set(result.tasks) == {"square[0]", "square[1]", "again[0]", "again[1]", "total"}


class TestConditions:
    """The mean of what ``either`` measures is 4.5."""

    def test_a_branch_that_holds_runs(self, run_dag: Any) -> None:
        result = run_dag(airflow_dag(flows.either, **NO_RETRY), conf={"limit": 1.0})
        assert result.tasks["accept"] == result.tasks["inside"] == "success"
        assert result.tasks["refuse"] == "skipped"
        assert value(result.xcoms["joined"]["output"]) == "accepted 4.5"
        assert value(result.xcoms["first"]["output"]) == "accepted 4.5"

    def test_a_branch_that_does_not_hold_skips_only_itself(self, run_dag: Any) -> None:
        result = run_dag(airflow_dag(flows.either, **NO_RETRY), conf={"limit": 9.0})
        assert result.state == "success"
        assert result.tasks["good"] == result.tasks["bad"] == "success"
        assert result.tasks["accept"] == result.tasks["inside"] == "skipped"
        assert result.tasks["refuse"] == result.tasks["outside"] == "success"

    def test_downstream_of_a_skipped_step(self, run_dag: Any) -> None:
        result = run_dag(airflow_dag(flows.either, **NO_RETRY), conf={"limit": 9.0})
        assert value(result.xcoms["joined"]["output"]) == "nobody said anything", "its argument has a default"
        assert result.tasks["strict_report"] == "skipped", "its argument has none"
        assert value(result.xcoms["first"]["output"]) == "refused 4.5", "a list holds what there is"

    @pytest.mark.parametrize(
        ("outer", "inner", "accept", "refuse"),
        [(1.0, 1.0, "success", "success"), (1.0, 9.0, "success", "skipped"), (9.0, 1.0, "skipped", "skipped")],
    )
    def test_nested(self, run_dag: Any, outer: float, inner: float, accept: str, refuse: str) -> None:
        result = run_dag(airflow_dag(flows.nested, **NO_RETRY), conf={"outer": outer, "inner": inner})
        assert result.state == "success"
        assert (result.tasks["accept"], result.tasks["refuse"]) == (accept, refuse)

    def test_agrees_with_a_run_in_process(self, run_dag: Any) -> None:
        for limit in (1.0, 9.0):
            result = run_dag(airflow_dag(flows.either, **NO_RETRY), conf={"limit": limit})
            local = flows.either.run(limit=limit, stack=StackHook().stack())
            ran = {name for name, state in result.tasks.items() if state == "success"} - {"good", "bad"}
            assert ran == {name for name, state in local.states.items() if state in {"success", "cached"}}


class TestExitHandlers:
    def test_runs_after_a_failure_and_the_run_stays_failed(self, run_dag: Any) -> None:
        result = run_dag(airflow_dag(flows.failing, **NO_RETRY))
        assert result.state == "failed"
        assert result.tasks == {
            "load": "success",
            "fail": "failed",
            "measure": "upstream_failed",
            "say_goodbye": "success",
        }
        assert value(result.xcoms["say_goodbye"]["output"]) == "without metrics"

    def test_gets_what_there_is_after_a_success(self, run_dag: Any) -> None:
        result = run_dag(airflow_dag(flows.ending, **NO_RETRY))
        assert result.state == "success"
        assert value(result.xcoms["say_goodbye"]["output"]) == "with metrics"


class TestInlinedPipelines:
    def test_are_task_groups(self, run_dag: Any) -> None:
        dag = airflow_dag(flows.outer_pipeline, **NO_RETRY)
        assert set(dag.task_group_dict) == {"features", "features_2"}
        result = run_dag(dag, conf={"snapshot": "ab"})
        assert value(result.xcoms["features.measure"]["output"])["mean"] == 3.5
        assert value(result.xcoms["features_2.measure"]["output"])["mean"] == 2.5
        assert value(result.xcoms["accept"]["output"]) == "accepted 3.5"


class TestTaskGroups:
    def test_between_tasks_of_a_dag_with_jinja_in_a_bound_parameter(self, run_dag: Any) -> None:
        with DAG("shop", schedule=None, **NO_RETRY) as dag:

            @task
            def before() -> None: ...

            @task
            def after() -> None: ...

            group = airflow_task_group(flows.plain.bind(snapshot="{{ dag.dag_id }}!", rows=2), group_id="numbers")
            before() >> group >> after()
        assert dag.get_task("numbers.load").upstream_task_ids == {"before"}
        assert dag.get_task("after").upstream_task_ids == {"numbers.measure_low", "numbers.measure_high"}
        result = run_dag(dag)
        assert result.state == "success"
        assert value(result.xcoms["numbers.load"]["output"]) == [5, 6]
        run = StackHook().stack().metadata.runs.get("shop", result.run_id)
        assert run.parameters == {"snapshot": "shop!", "rows": 2}

    def test_a_condition_inside_skips_its_branch_of_the_group(self, run_dag: Any) -> None:
        with DAG("shop_conditions", schedule=None, **NO_RETRY) as dag:
            airflow_task_group(flows.either.bind(limit=9.0), group_id="checks")
        result = run_dag(dag)
        assert result.tasks["checks.accept"] == "skipped"
        assert result.tasks["checks.refuse"] == result.tasks["checks.joined"] == "success"


class TestStepsInAPlainDag:
    def test_are_tasks_that_mix_with_others(self, run_dag: Any) -> None:
        with DAG("mixed", schedule=None, **NO_RETRY) as dag:

            @task
            def rows() -> int:
                return 4

            @task
            def look(reference: dict[str, Any]) -> str:
                return str(reference["artifact"])

            low, high = flows.halve(flows.load("abc", rows()))
            flows.total(low)
            look(high)
            flows.total(flows.square.expand(x=high))
        assert {"total", "total_2", "square_items"} <= set(dag.task_dict)
        result = run_dag(dag)
        assert result.state == "success"
        assert value(result.xcoms["total"]["output"]) == 3 + 4
        assert value(result.xcoms["total_2"]["output"]) == 25 + 36
        assert result.xcoms["look"] == "mixed.halve.high"

    def test_jinja_is_rendered(self, run_dag: Any) -> None:
        with DAG("templated", schedule=None, **NO_RETRY) as dag:
            flows.load("{{ dag.dag_id }}", 1)
        assert value(run_dag(dag).xcoms["load"]["output"]) == [len("templated")]

    def test_outside_a_dag_a_step_is_the_function(self) -> None:
        assert flows.load("abc", 2) == [3, 4]
        assert flows.square.expand(x=[2, 3]) == [4, 9]


class TestWhatTheUiShows:
    def test_rendered_fields_are_references_and_typed_parameters(self, run_dag: Any) -> None:
        from airflow.models.renderedtifields import RenderedTaskInstanceFields
        from airflow.utils.session import create_session

        result = run_dag(airflow_dag(flows.plain, **NO_RETRY), conf={"rows": 2})
        with create_session() as session:
            rows = session.query(RenderedTaskInstanceFields).filter_by(run_id=result.run_id).all()
            fields = {row.task_id: row.rendered_fields for row in rows}
        assert fields["load"] == {
            "step": "flows:load",
            "inputs": {"snapshot": "latest", "rows": 2},
            "item": None,
        }
        assert fields["measure_low"]["inputs"]["numbers"]["artifact"] == "plain.halve.low"
