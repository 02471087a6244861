"""A whole pipeline in process: the graph is run as it was written."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest
from windsock.provider.errors import ArtifactNotFound, PipelineInvalid, TypeMismatch, UnknownParameter
from windsock.provider.metadata.keys import run_key
from windsock.provider.pipelines.pipeline import on_exit, pipeline, when
from windsock.provider.pipelines.step import step
from windsock.provider.runtime.context import context
from windsock.provider.runtime.runner import run_pipeline

if TYPE_CHECKING:
    from windsock.provider.runtime.local import StepEvent
    from windsock.provider.stack import Stack

RAN: list[Any] = []


@step
def numbers(count: int = 3) -> list[int]:
    RAN.append("numbers")
    return list(range(count))


@step
def square(x: int) -> int:
    RAN.append(f"square {x}")
    return x * x


@step
def add(values: list[int]) -> int:
    RAN.append("add")
    return sum(values)


@step
def score(x: int) -> dict[str, float]:
    context().log_metric("accuracy", x / 10)
    return {"accuracy": x / 10}


@step
def report(x: int = -1) -> str:
    RAN.append(f"report {x}")
    return f"x is {x}"


@step(cache=False)
def boom(x: int = 0) -> int:
    RAN.append("boom")
    raise RuntimeError("boom")


@step(retries=2, cache=False)
def flaky() -> int:
    RAN.append("flaky")
    if context().run.try_number < 3:
        raise RuntimeError("not yet")
    return context().run.try_number


@step(cache=False)
def clean_up(x: int = -1) -> None:
    RAN.append(f"clean_up {x}")


@step(outputs=("low", "high"))
def bounds(values: list[int]) -> tuple[int, int]:
    return min(values), max(values)


@pipeline
def mapped(count: int = 3) -> None:
    add(square.expand(x=numbers(count)))


@pipeline
def gated(x: int = 9) -> None:
    result = score(x)
    with when(result["accuracy"] > 0.5):
        good = square(x)
        with when(result["accuracy"] > 0.95):
            square.named("excellent")(x)
    report(good)


@pipeline
def guarded(fail: bool = True) -> None:
    first = square(3)
    with when(fail):
        broken = boom(first)
    report.named("after_boom")(broken)
    on_exit(clean_up(first))


@pipeline
def retried() -> None:
    flaky()


@pipeline
def bounded() -> None:
    report(bounds(numbers())["high"])


@pipeline
def fails_on_exit() -> None:
    square(2)
    on_exit(boom())


@pytest.fixture(autouse=True)
def _nothing_ran() -> None:
    RAN.clear()


class TestRun:
    def test_values_states_and_records(self, stack: Stack) -> None:
        result = bounded.run(stack=stack)
        assert result.load("report") == "x is 2"
        assert result.load("bounds", "low") == 0
        assert result.states == {"numbers": "success", "bounds": "success", "report": "success"}
        assert re.fullmatch(r"local__\d{4}-\d\d-\d\dT[\d:.]+\+00:00_[0-9a-f]{6}", result.run_id)
        run = stack.metadata.runs.get("bounded", result.run_id)
        assert (run.state, run.pipeline, run.pipeline_version, run.triggered_by) == ("success", "bounded", 1, "ada")
        assert run.ended_at is not None
        assert len(stack.metadata.runs.steps(run.id)) == 3

    def test_asking_for_what_is_not_there(self, stack: Stack) -> None:
        result = bounded.run(stack=stack)
        with pytest.raises(ArtifactNotFound, match='Did you mean "report"'):
            result.load("reprot")
        with pytest.raises(ArtifactNotFound, match="has several outputs"):
            result.load("bounds")

    def test_parameters(self, stack: Stack) -> None:
        assert mapped.run(stack=stack, count=5).load("add") == 30
        assert mapped.bind(count=2).run(stack=stack).load("add") == 1
        with pytest.raises(UnknownParameter, match='no parameter "cuont"'):
            mapped.run(stack=stack, cuont=5)
        with pytest.raises(TypeMismatch):
            mapped.run(stack=stack, count="many")

    def test_a_required_parameter(self, stack: Stack) -> None:
        def needs(x: int) -> None:
            square(x)

        with pytest.raises(PipelineInvalid, match='needs the parameter "x"'):
            pipeline(needs).run(stack=stack)

    def test_a_spec_is_enough(self, stack: Stack) -> None:
        assert run_pipeline(bounded.spec, stack=stack).load("report") == "x is 2"

    def test_steps_that_only_exist_here(self, stack: Stack) -> None:
        @step
        def nested(x: int) -> int:
            return x + 100

        def wire() -> None:
            square(nested(1))

        assert pipeline(name="nested_one")(wire).run(stack=stack).load("square") == 101 * 101


class TestMapping:
    def test_instances_are_collected_in_order(self, stack: Stack) -> None:
        result = mapped.run(stack=stack)
        assert result.load("square") == [0, 1, 4]
        assert result.load("add") == 5
        steps = stack.metadata.runs.steps(run_key("mapped", result.run_id))
        assert sorted(s.map_index for s in steps if s.step == "square") == [0, 1, 2]

    def test_nothing_to_run_over_skips(self, stack: Stack) -> None:
        result = mapped.run(stack=stack, count=0)
        assert result.states == {"numbers": "success", "square": "skipped", "add": "skipped"}

    def test_only_new_elements_are_computed(self, stack: Stack) -> None:
        mapped.run(stack=stack, count=2)
        RAN.clear()
        mapped.run(stack=stack, count=3)
        assert RAN == ["numbers", "square 2", "add"]

    def test_combinations(self, stack: Stack) -> None:
        @step
        def pair(a: int, b: str) -> str:
            return f"{a}{b}"

        def wire() -> None:
            pair.expand(a=[1, 2], b=["x", "y"])

        assert pipeline(name="pairs")(wire).run(stack=stack).load("pair") == ["1x", "1y", "2x", "2y"]


class TestConditions:
    def test_a_branch_that_is_taken(self, stack: Stack) -> None:
        result = gated.run(stack=stack, x=9)
        assert result.states == {"score": "success", "square": "success", "excellent": "skipped", "report": "success"}
        assert result.load("report") == "x is 81"
        assert result.metrics["score"] == {"accuracy": 0.9}

    def test_one_that_is_not_and_a_default_downstream(self, stack: Stack) -> None:
        result = gated.run(stack=stack, x=1)
        assert result.states == {"score": "success", "square": "skipped", "excellent": "skipped", "report": "success"}
        assert result.load("report") == "x is -1"
        with pytest.raises(ArtifactNotFound, match='step "square" was skipped'):
            result.load("square")


class TestFailures:
    def test_the_steps_own_exception_and_the_exit_handler(self, stack: Stack) -> None:
        with pytest.raises(RuntimeError, match="boom"):
            guarded.run(stack=stack)
        assert RAN == ["square 3", "boom", "clean_up 9"]
        run = stack.metadata.runs.find("guarded")
        assert run is not None
        assert run.state == "failed"
        states = {s.step: s.state for s in stack.metadata.runs.steps(run.id)}
        assert states == {"square": "success", "boom": "failed", "clean_up": "success"}

    def test_the_exit_handler_runs_when_all_is_well(self, stack: Stack) -> None:
        result = guarded.run(stack=stack, fail=False)
        assert RAN == ["square 3", "report -1", "clean_up 9"]
        assert result.states["boom"] == "skipped"

    def test_an_exit_handler_does_not_change_how_the_run_ended(self, stack: Stack) -> None:
        result = fails_on_exit.run(stack=stack)
        assert result.states == {"square": "success", "boom": "failed"}

    def test_retries(self, stack: Stack) -> None:
        result = retried.run(stack=stack)
        assert result.load("flaky") == 3
        assert RAN == ["flaky"] * 3
        steps = stack.metadata.runs.steps(run_key("retried", result.run_id))
        assert [s.state for s in steps] == ["failed", "failed", "success"]


class TestCacheAndVersions:
    def test_the_second_run_is_cached(self, stack: Stack) -> None:
        first = mapped.run(stack=stack)
        RAN.clear()
        second = mapped.run(stack=stack)
        assert RAN == []
        assert set(second.states.values()) == {"cached"}
        assert second.outputs == first.outputs

    def test_a_changed_step_is_a_new_version(self, stack: Stack, project: Any) -> None:
        text = """
            from windsock.provider.pipelines.pipeline import pipeline
            from windsock.provider.pipelines.step import step
            from tool import value

            @step
            def one() -> int:
                return value()

            @pipeline
            def versioned() -> None:
                one()
        """
        project.write(flow=text, tool="import numpy\ndef value():\n    return 1\n")
        results = [project.load("flow:versioned").run(stack=stack) for _ in range(2)]
        project.write(tool="import numpy\ndef value():\n    return 2\n")
        results.append(project.load("flow:versioned").run(stack=stack))
        assert [r.load("one") for r in results] == [1, 1, 2]
        versions = [stack.metadata.runs.get("versioned", r.run_id).pipeline_version for r in results]
        assert versions == [1, 1, 2]
        version = stack.metadata.pipelines.get("versioned", 2)
        assert version.requirements["numpy"]
        assert version.requirements["python"].startswith("3.")


class TestProgress:
    def test_every_step_is_told(self, stack: Stack) -> None:
        events: list[StepEvent] = []
        run_pipeline(gated, {"x": 1}, stack=stack, progress=events.append)
        told = [(e.step, e.state) for e in events]
        assert told == [
            ("score", "running"),
            ("score", "success"),
            ("square", "skipped"),
            ("excellent", "skipped"),
            ("report", "running"),
            ("report", "success"),
        ]
