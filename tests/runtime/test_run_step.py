"""One step: its arguments, its outputs, its records, its cache, and what happens when it goes wrong."""

from __future__ import annotations

import contextvars
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from windsock.provider.component import Component, ComponentConfig
from windsock.provider.errors import (
    ArtifactNotFound,
    MaterializerNotFound,
    NoActiveStep,
    OutputMismatch,
    StepFailed,
    StepNotImportable,
)
from windsock.provider.metadata.keys import run_key, step_run_key
from windsock.provider.runtime.context import context
from windsock.provider.runtime.invocation import RunIdentity, StepInvocation, StepResult
from windsock.provider.runtime.runner import run_step

if TYPE_CHECKING:
    import pandas as pd
    from windsock import Artifact
    from windsock.provider.stack import Stack

CALLS: list[Any] = []


def load_rows(n: int = 3) -> pd.DataFrame:
    import pandas as pd

    CALLS.append("load_rows")
    return pd.DataFrame({"a": np.arange(n), "b": np.arange(n) * 0.5})


def total(rows: pd.DataFrame, factor: float = 1.0) -> dict[str, float]:
    CALLS.append("total")
    return {"total": float(rows["b"].sum()) * factor}


def halves(rows: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    return rows.head(1), rows.tail(1)


def lazy(rows: Artifact[pd.DataFrame]) -> dict[str, Any]:
    return {"name": rows.name, "version": rows.version, "rows": len(rows.load())}


def add(numbers: list[dict[str, float]]) -> float:
    return sum(n["total"] for n in numbers)


def wrong_type() -> pd.DataFrame:
    return {"not": "a frame"}  # type: ignore[return-value]


def wrong_count() -> Any:
    return 1, 2, 3


def nothing() -> None:
    CALLS.append("nothing")


def fails() -> int:
    context().log_metric("tried", 1.0)
    raise ValueError("no luck at postgres://ada:hunter2@db/ml")


def exits() -> None:
    raise SystemExit(3)


class AirflowException(Exception):
    pass


class AirflowSkipException(AirflowException):
    pass


class TaskDeferred(BaseException):
    pass


def skips() -> None:
    raise AirflowSkipException("not today")


def defers() -> None:
    raise TaskDeferred


def unstorable() -> Any:
    return threading.Lock()


def metrics_logged() -> int:
    step = context()
    for i in range(1000):
        step.log_metric("loss", 1 / (i + 1), step=i)
    step.log_metric("nan", float("nan"))
    step.log_param("chosen", Path("/x"))
    step.log_param("depth", 4)
    return 1


def drawn() -> int:
    from matplotlib.figure import Figure

    figure = Figure()
    figure.add_subplot().plot([1, 2, 3])
    context().log_figure(figure, "curve")
    return 1


def in_a_thread() -> bool:
    seen = []
    carried = contextvars.copy_context()
    for target in (lambda: carried.run(context), context):

        def look(target: Any = target) -> None:
            try:
                seen.append(target().step)
            except NoActiveStep:
                seen.append(None)

        thread = threading.Thread(target=look)
        thread.start()
        thread.join()
    return seen == ["in_a_thread", None]


class Scale(Component):
    class Config(ComponentConfig):
        by: float = 2.0

    def run(self, value: float) -> float:
        return value * self.config.by


def invoke(function: Any, *, run: str = "r1", outputs: Any = ("output",), try_number: int = 1, **options: Any) -> Any:
    arguments = options.pop("arguments", {})
    name = options.pop("name", function.__name__)
    return StepInvocation(
        step=name,
        function=f"{function.__module__}:{function.__qualname__}",
        identity=RunIdentity("demo", run, name, options.pop("map_index", -1), try_number),
        arguments=arguments,
        outputs=tuple((o, None, f"demo.{name}" if len(outputs) == 1 else f"demo.{name}.{o}") for o in outputs),
        pipeline="demo",
        **options,
    )


def ref(result: StepResult, output: str = "output") -> dict[str, Any]:
    return {"artifact": result.outputs[output], "path": []}


def value(stack: Stack, result: StepResult, output: str = "output", **options: Any) -> Any:
    from windsock.provider.artifacts.saving import load

    return load(result.outputs[output], stack.artifact_store, **options)


def step_run(stack: Stack, step: str, run: str = "r1", try_number: int = 1) -> Any:
    return stack.metadata.runs.step(step_run_key("demo", run, step, -1, try_number))


@pytest.fixture(autouse=True)
def _no_calls() -> None:
    CALLS.clear()


class TestArgumentsAndOutputs:
    def test_values_and_artifacts(self, stack: Stack) -> None:
        rows = run_step(invoke(load_rows, arguments={"n": {"value": "4"}}), stack=stack)
        assert rows.state == "success"
        assert set(rows.outputs["output"]) == {"artifact", "version", "uri", "digest", "type"}
        assert rows.outputs["output"]["version"] == 1
        result = run_step(invoke(total, arguments={"rows": ref(rows), "factor": {"value": 2}}), stack=stack)
        assert value(stack, result) == {"total": 6.0}
        record = step_run(stack, "total")
        assert (record.state, record.parameters) == ("success", {"factor": 2.0})
        assert [(name, v.artifact) for name, v in stack.metadata.runs.inputs(record.id)] == [("rows", "demo.load_rows")]
        assert stack.metadata.runs.outputs(record.id)["output"].producer == record.id

    def test_several_outputs_are_named(self, stack: Stack) -> None:
        rows = run_step(invoke(load_rows), stack=stack)
        result = run_step(invoke(halves, outputs=("train", "test"), arguments={"rows": ref(rows)}), stack=stack)
        assert result.outputs["train"]["artifact"] == "demo.halves.train"
        assert list(value(stack, result, "test")["a"]) == [2]

    def test_a_handle_is_lazy(self, stack: Stack) -> None:
        rows = run_step(invoke(load_rows), stack=stack)
        result = run_step(invoke(lazy, arguments={"rows": ref(rows)}), stack=stack)
        assert value(stack, result) == {"name": "demo.load_rows", "version": 1, "rows": 3}

    def test_a_list_of_artifacts_and_a_path(self, stack: Stack) -> None:
        rows = run_step(invoke(load_rows), stack=stack)
        parts = [
            run_step(invoke(total, name=f"t{i}", arguments={"rows": ref(rows), "factor": {"value": i}}), stack=stack)
            for i in (1, 2)
        ]
        both = {"list": [ref(part) for part in parts]}
        result = run_step(invoke(add, arguments={"numbers": both}), stack=stack)
        assert value(stack, result) == 4.5
        assert len(stack.metadata.runs.inputs(step_run(stack, "add").id)) == 2
        path = {"artifact": parts[1].outputs["output"], "path": ["total"]}
        scaled = run_step(invoke(Scale, arguments={"value": path}, config={"by": 10}), stack=stack)
        assert value(stack, scaled) == 30.0

    def test_no_output(self, stack: Stack) -> None:
        result = run_step(invoke(nothing, outputs=()), stack=stack)
        assert (result.outputs, CALLS) == ({}, ["nothing"])

    def test_a_component_is_built_from_its_config(self, stack: Stack) -> None:
        result = run_step(invoke(Scale, arguments={"value": {"value": "3"}}, config={"by": 5}), stack=stack)
        assert value(stack, result) == 15.0


class TestWrongOutputs:
    def test_the_type(self, stack: Stack) -> None:
        with pytest.raises(OutputMismatch, match='"wrong_type" declares output "output" of type DataFrame') as caught:
            run_step(invoke(wrong_type), stack=stack)
        assert caught.value.found == "a dict"
        assert step_run(stack, "wrong_type").state == "failed"

    def test_the_count(self, stack: Stack) -> None:
        with pytest.raises(OutputMismatch, match=r"declares 2 outputs \['a', 'b'\] and returned 3 values"):
            run_step(invoke(wrong_count, outputs=("a", "b")), stack=stack)

    def test_a_type_that_nobody_can_store(self, stack: Stack) -> None:
        with pytest.raises(MaterializerNotFound):
            run_step(invoke(unstorable), stack=stack)
        assert "MaterializerNotFound" in step_run(stack, "unstorable").error


class TestFailures:
    def test_the_original_exception_is_raised_and_recorded(self, stack: Stack) -> None:
        with pytest.raises(ValueError, match="no luck"):
            run_step(invoke(fails), stack=stack)
        record = step_run(stack, "fails")
        assert record.state == "failed"
        assert record.error == "ValueError: no luck at postgres://ada:***@db/ml"
        assert record.metrics == {"tried": 1.0}

    def test_a_retry_is_a_step_run_of_its_own(self, stack: Stack) -> None:
        for attempt in (1, 2):
            with pytest.raises(ValueError, match="no luck"):
                run_step(invoke(fails, try_number=attempt), stack=stack)
        steps = stack.metadata.runs.steps(run_key("demo", "r1"))
        assert [(s.try_number, s.state) for s in steps] == [(1, "failed"), (2, "failed")]

    def test_exit_passes_through(self, stack: Stack) -> None:
        with pytest.raises(SystemExit):
            run_step(invoke(exits, outputs=()), stack=stack)
        assert step_run(stack, "exits").error == "SystemExit: 3"

    def test_a_skip_is_recorded_as_one(self, stack: Stack) -> None:
        with pytest.raises(AirflowSkipException):
            run_step(invoke(skips, outputs=()), stack=stack)
        assert step_run(stack, "skips").state == "skipped"

    def test_a_deferral_is_no_end(self, stack: Stack) -> None:
        with pytest.raises(TaskDeferred):
            run_step(invoke(defers, outputs=()), stack=stack)
        assert step_run(stack, "defers").state == "running"

    def test_an_unknown_function(self, stack: Stack) -> None:
        invocation = StepInvocation("gone", f"{__name__}:gone", RunIdentity("demo", "r1", "gone"), pipeline="demo")
        with pytest.raises(StepNotImportable, match="gone"):
            run_step(invocation, stack=stack)
        assert step_run(stack, "gone").state == "failed"

    def test_an_argument_that_is_not_there(self, stack: Stack) -> None:
        rows = run_step(invoke(load_rows), stack=stack)
        gone = {
            "artifact": {**rows.outputs["output"], "uri": rows.outputs["output"]["uri"].replace("/objects/", "/gone/")},
            "path": [],
        }
        with pytest.raises(ArtifactNotFound):
            run_step(invoke(total, arguments={"rows": gone}), stack=stack)

    def test_a_path_that_is_not_there(self, stack: Stack) -> None:
        rows = run_step(invoke(load_rows), stack=stack)
        totals = run_step(invoke(total, arguments={"rows": ref(rows)}), stack=stack)
        path = {"artifact": totals.outputs["output"], "path": ["mean"]}
        with pytest.raises(StepFailed, match=r"asks for \['mean'\], but there is \['total'\]"):
            run_step(invoke(Scale, arguments={"value": path}), stack=stack)


class TestCache:
    def test_the_same_again_is_cached(self, stack: Stack) -> None:
        first = run_step(invoke(load_rows), stack=stack)
        second = run_step(invoke(load_rows, run="r2"), stack=stack)
        assert (first.state, second.state) == ("success", "cached")
        assert second.outputs == first.outputs
        assert CALLS == ["load_rows"]
        record = step_run(stack, "load_rows", "r2")
        assert (record.state, record.cached_from) == ("cached", step_run(stack, "load_rows").id)
        assert stack.metadata.runs.outputs(record.id)["output"].version == 1

    def test_another_parameter_is_a_miss(self, stack: Stack) -> None:
        run_step(invoke(load_rows), stack=stack)
        assert run_step(invoke(load_rows, run="r2", arguments={"n": {"value": 5}}), stack=stack).state == "success"

    def test_another_config_is_a_miss(self, stack: Stack) -> None:
        for by, state in ((2, "success"), (3, "success"), (3, "cached")):
            given = invoke(Scale, run=f"r{CALLS}", arguments={"value": {"value": 1}}, config={"by": by})
            assert run_step(given, stack=stack).state == state
            CALLS.append(by)

    def test_identical_output_upstream_keeps_downstream_cached(self, stack: Stack) -> None:
        rows = run_step(invoke(load_rows), stack=stack)
        run_step(invoke(total, arguments={"rows": ref(rows)}), stack=stack)
        again = run_step(invoke(load_rows, run="r2", cache=False), stack=stack)
        assert again.state == "success"
        assert again.outputs["output"]["version"] == 1  # the same bytes are the same version
        below = run_step(invoke(total, run="r2", arguments={"rows": ref(again)}), stack=stack)
        assert below.state == "cached"
        assert CALLS == ["load_rows", "total", "load_rows"]

    def test_a_missing_blob_is_a_miss_and_is_made_again(self, stack: Stack) -> None:
        first = run_step(invoke(load_rows), stack=stack)
        stack.artifact_store.delete(first.outputs["output"]["uri"])
        second = run_step(invoke(load_rows, run="r2"), stack=stack)
        assert second.state == "success"
        assert len(value(stack, second)) == 3

    def test_a_failed_run_is_no_entry(self, stack: Stack) -> None:
        for run in ("r1", "r2"):
            with pytest.raises(ValueError, match="no luck"):
                run_step(invoke(fails, run=run), stack=stack)
        assert step_run(stack, "fails", "r2").state == "failed"

    def test_an_edited_helper_is_a_miss(self, stack: Stack, project: Any) -> None:
        project.write(
            helper="def value():\n    return 1\n", steps_of="import helper\ndef make():\n    return helper.value()\n"
        )
        states = []
        for run, edit in (("r1", None), ("r2", None), ("r3", "def value():\n    return 99\n")):
            if edit:
                project.write(helper=edit)
            result = run_step(invoke(project.load("steps_of:make"), run=run), stack=stack)
            states.append((result.state, value(stack, result)))
        assert states == [("success", 1), ("cached", 1), ("success", 99)]

    def test_it_can_be_switched_off(self, stack: Stack, tmp_path: Path) -> None:
        from windsock.provider.settings import Settings
        from windsock.provider.stack import Stack as Loaded

        run_step(invoke(load_rows), stack=stack)
        off = Loaded.load(
            "local",
            settings=Settings.load(environ={"WINDSOCK_HOME": str(stack.settings.home), "WINDSOCK_STEP_CACHE": "off"}),
        )
        assert run_step(invoke(load_rows, run="r2"), stack=off).state == "success"


class TestContext:
    def test_outside_a_step(self) -> None:
        with pytest.raises(NoActiveStep, match="outside a running step"):
            context()

    def test_metrics_and_parameters_are_recorded(self, stack: Stack) -> None:
        result = run_step(invoke(metrics_logged), stack=stack)
        assert result.metrics == {"loss": 1 / 1000}
        record = step_run(stack, "metrics_logged")
        points = stack.metadata.runs.metrics(record.id)
        assert [p.step for p in points[:1000]] == list(range(1000))
        assert record.metrics["loss"] == 1 / 1000
        assert record.parameters == {"chosen": "/x", "depth": 4}

    def test_a_thousand_metrics_cost_no_more_than_a_few_steps(self, stack: Stack) -> None:
        """Against a step that logs nothing, in the same minute: a transaction for each metric would be a thousand."""

        def fastest(step: Any, name: str, **options: Any) -> float:
            times = []
            for i in range(5):
                started = time.perf_counter()
                run_step(invoke(step, run=f"{name}{i}", cache=False, **options), stack=stack)
                times.append(time.perf_counter() - started)
            return min(times)

        plain = fastest(nothing, "p", outputs=())
        assert fastest(metrics_logged, "m") < 60 * plain

    def test_a_figure_is_an_artifact_of_the_step_run(self, stack: Stack) -> None:
        result = run_step(invoke(drawn), stack=stack)
        assert list(result.outputs) == ["output"]
        made = stack.metadata.runs.outputs(step_run(stack, "drawn").id)
        assert made["curve"].artifact == "demo.drawn.curve"
        assert stack.artifact_store.exists(made["curve"].uri)

    def test_a_thread_carries_it_only_when_asked(self, stack: Stack) -> None:
        assert value(stack, run_step(invoke(in_a_thread), stack=stack)) is True

    def test_progress_logs_when_there_is_no_terminal(self, stack: Stack, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.INFO)

        def work() -> int:
            return sum(context().progress([1, 2, 3], description="batches"))

        result = run_step(invoke(work, name="work"), stack=stack, function=work)
        assert value(stack, result) == 6
        assert "batches: 3 done" in caplog.text


class TestTransactions:
    def test_a_step_is_two_and_a_cached_step_one(self, stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
        from sqlalchemy import event
        from windsock.provider.metadata.engine import engine_for

        run_step(invoke(load_rows), stack=stack)
        engine = engine_for(stack.metadata.database.url)
        seen: list[str] = []
        event.listen(engine, "commit", lambda connection: seen.append("commit"))
        event.listen(engine, "before_cursor_execute", lambda *a: seen.append(str(a[2])[:20]))
        run_step(
            invoke(
                total,
                arguments={
                    "rows": {
                        "artifact": run_step(invoke(load_rows, run="x"), stack=stack).outputs["output"],
                        "path": [],
                    }
                },
            ),
            stack=stack,
        )
        cached = seen.index("commit") + 1
        assert seen[cached:].count("commit") == 2
        assert len([s for s in seen[cached:] if s not in ("commit", "BEGIN IMMEDIATE")]) <= 9


class TestUnavailableDatabase:
    def test_a_clear_error_after_a_while(self, stack: Stack, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        from windsock.provider.errors import MetadataUnavailable
        from windsock.provider.metadata.store import Metadata
        from windsock.provider.runtime.execution import Execution
        from windsock.provider.runtime.recorder import MetadataRecorder

        metadata = Metadata.open("postgresql+psycopg://ada:hunter2@127.0.0.1:1/ml", check=False)
        recorder = MetadataRecorder(lambda: metadata, patience=0.5)
        started = time.monotonic()
        with pytest.raises(MetadataUnavailable, match="the step") as caught:
            Execution(invoke(load_rows), stack.artifact_store, recorder, stack).run()
        assert time.monotonic() - started < 10
        assert "hunter2" not in str(caught.value)
        assert caught.value.hint is not None

    def test_a_short_outage_is_waited_for(self, stack: Stack) -> None:
        from windsock.provider.errors import MetadataUnavailable
        from windsock.provider.runtime.execution import Execution
        from windsock.provider.runtime.recorder import MetadataRecorder

        away = iter([True, True, False, True])

        def connect() -> Any:
            if next(away, False):
                raise MetadataUnavailable("The metadata database does not answer.")
            return stack.metadata

        recorder = MetadataRecorder(connect, patience=20)
        result = Execution(invoke(load_rows), stack.artifact_store, recorder, stack).run()
        assert result.outputs["output"]["version"] == 1
        assert CALLS == ["load_rows"]
