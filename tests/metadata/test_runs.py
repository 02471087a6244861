from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from metadata_lab import digest, new_artifact
from sqlalchemy import event
from windsock.provider.errors import ArtifactNotFound, RecordNotFound
from windsock.provider.metadata import (
    EdgeIn,
    Metadata,
    MetricPoint,
    StepFinish,
    run_key,
    step_run_key,
)
from windsock.provider.metadata.engine import engine_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from metadata_lab import Lab


class TestKeys:
    def test_are_stable(self) -> None:
        assert run_key("churn", "r1") == "8b2026f702001d35adb605eec9207425"
        assert step_run_key("d", "r", "t") == step_run_key("d", "r", "t", -1, 1)

    def test_tell_apart_what_differs(self) -> None:
        keys = {
            run_key("a", "bc"),
            run_key("ab", "c"),
            step_run_key("a", "b", "c"),
            step_run_key("a", "b", "c", 0),
            step_run_key("a", "b", "c", 0, 2),
            step_run_key("a", "bc", "", 0, 2),
        }
        assert len(keys) == 6


class TestStep:
    def test_is_running_and_then_done(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start(parameters={"rate": 0.1}, step_parameters={"depth": 3}, worker="w1", cache_key="k")
        (step,) = metadata.runs.steps(start.run_key)
        assert (step.state, step.ended_at, step.parameters, step.worker) == ("running", None, {"depth": 3}, "w1")
        metadata.runs.finish_step(StepFinish(start=start, state="success", parameters={"seed": 7}))
        step = metadata.runs.step(start.key)
        assert (step.state, step.parameters) == ("success", {"depth": 3, "seed": 7})
        assert step.ended_at is not None
        assert step.ended_at >= step.started_at
        assert step.started_at.tzinfo is timezone.utc
        assert metadata.runs.get("churn", "r1").parameters == {"rate": 0.1}

    def test_starting_twice_changes_nothing(self, metadata: Metadata, lab: Lab) -> None:
        first = lab.start()
        before = metadata.runs.step(first.key)
        lab.start()
        assert metadata.runs.steps(first.run_key) == [before]

    def test_finishing_twice_changes_nothing(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start()
        first = metadata.runs.finish_step(StepFinish(start=start, state="success", outputs=[new_artifact()]))
        before = metadata.runs.step(start.key)
        again = metadata.runs.finish_step(StepFinish(start=start, state="failed", outputs=[new_artifact()], error="no"))
        assert again == first
        assert metadata.runs.step(start.key) == before
        assert len(metadata.artifacts.list()) == 1

    def test_a_retry_with_the_same_content_gives_the_same_version(self, metadata: Metadata, lab: Lab) -> None:
        _, first = lab.step(makes={"output": "same"})
        key, second = lab.step(makes={"output": "same"}, try_number=2)
        assert first == second
        assert second["output"].producer != key
        assert metadata.runs.outputs(key) == second

    def test_other_content_gives_the_next_version(self, lab: Lab) -> None:
        versions = [lab.step(run=f"r{i}", makes={"output": i})[1]["output"].version for i in range(3)]
        assert versions == [1, 2, 3]

    def test_two_outputs_of_the_same_content_under_one_name(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start()
        outputs = [new_artifact("churn.x", "same", output="a"), new_artifact("churn.x", "same", output="b")]
        made = metadata.runs.finish_step(StepFinish(start=start, state="success", outputs=outputs))
        assert made["a"] == made["b"]
        assert set(metadata.runs.outputs(start.key)) == {"a", "b"}

    def test_a_retry_closes_the_attempt_that_was_killed(self, metadata: Metadata, lab: Lab) -> None:
        killed = lab.start()
        lab.start(try_number=2)
        assert metadata.runs.step(killed.key).state == "failed"
        assert "killed" in str(metadata.runs.step(killed.key).error)

    def test_the_end_of_a_run_closes_what_still_runs(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start()
        lab.step("load")
        metadata.runs.end("churn", "r1", "failed")
        assert metadata.runs.get("churn", "r1").state == "failed"
        assert {s.step: s.state for s in metadata.runs.steps(start.run_key)} == {"train": "failed", "load": "success"}

    def test_a_cleared_task_opens_its_run_again(self, metadata: Metadata, lab: Lab) -> None:
        lab.step()
        metadata.runs.end("churn", "r1", "success")
        lab.start("evaluate", try_number=2)
        run = metadata.runs.get("churn", "r1")
        assert (run.state, run.ended_at) == ("running", None)

    def test_without_a_start(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start("other")
        late = start.model_copy(update={"task_id": "late", "step": "late", "run_id": "r9"})
        metadata.runs.finish_step(StepFinish(start=late, state="failed", error="bad \0 \ud800 text"))
        step = metadata.runs.step(late.key)
        assert (step.state, step.error) == ("failed", "bad \ufffd ? text")
        assert metadata.runs.get("churn", "r9").state == "running"

    def test_inputs(self, metadata: Metadata, lab: Lab) -> None:
        _, made = lab.step("split", makes={"train": "a", "test": "b"})
        key, _ = lab.step("fit", reads={"rows": made["train"]})
        assert metadata.runs.inputs(key) == [("rows", made["train"])]

    def test_an_argument_that_takes_several(self, metadata: Metadata, lab: Lab) -> None:
        _, made = lab.step("split", makes={"train": "a", "test": "b"})
        start = lab.start("merge")
        inputs = [EdgeIn(name="parts", ref=version.ref()) for version in made.values()]
        metadata.runs.finish_step(StepFinish(start=start, state="success", inputs=inputs))
        assert sorted(v.artifact for _, v in metadata.runs.inputs(start.key)) == [
            "churn.split.test",
            "churn.split.train",
        ]

    def test_an_unknown_input_leaves_nothing(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start()
        ref = {"artifact": "ghost", "version": 1, "uri": "file:///x", "digest": digest("ghost"), "type": "int"}
        finish = StepFinish(
            start=start,
            state="success",
            inputs=[EdgeIn(name="x", ref=ref)],
            outputs=[new_artifact()],
            metrics={"a": 1.0},
        )
        with pytest.raises(ArtifactNotFound, match='"train" read "ghost"'):
            metadata.runs.finish_step(finish)
        assert metadata.runs.step(start.key).state == "running"
        assert metadata.artifacts.list().items == ()
        assert metadata.runs.metrics(start.key) == []


class TestMetrics:
    def test_values_that_json_does_not_know(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start()
        metrics = {"loss": math.nan, "worst": math.inf, "best": -math.inf, "accuracy": 0.9}
        metadata.runs.finish_step(StepFinish(start=start, state="success", metrics=metrics))
        for found in (
            metadata.runs.step(start.key).metrics,
            {p.key: p.value for p in metadata.runs.metrics(start.key)},
        ):
            assert math.isnan(found.pop("loss"))
            assert found == {"worst": math.inf, "best": -math.inf, "accuracy": 0.9}

    def test_a_series_keeps_its_order_and_its_last_value(self, metadata: Metadata, lab: Lab) -> None:
        start = lab.start()
        at = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=2)))
        points = [MetricPoint(key="loss", value=1 / (i + 1), step=i, at=at) for i in range(1000)]
        metadata.runs.finish_step(StepFinish(start=start, state="success", metrics=points))
        assert metadata.runs.metrics(start.key) == points
        assert metadata.runs.step(start.key).metrics == {"loss": 0.001}


class TestStoredAsGiven:
    @pytest.mark.parametrize(
        "value",
        [{"a": [1, {"b": None}]}, {"nul": "a\0b"}, {"text": "\\u0000 ü 🎏"}, {"big": 2**53}, {"float": 0.1}],
        ids=["nested", "nul", "unicode", "big", "float"],
    )
    def test_json(self, metadata: Metadata, lab: Lab, value: dict[str, Any]) -> None:
        start = lab.start(step_parameters=value)
        expected = {"nul": "a\ufffdb"} if "nul" in value else value
        assert metadata.runs.step(start.key).parameters == expected

    def test_what_is_no_json(self, metadata: Metadata, lab: Lab) -> None:
        np = pytest.importorskip("numpy")
        value = {"scalar": np.float32(0.5), "array": np.arange(3), "path": __import__("pathlib").Path("/x"), 3: "key"}
        start = lab.start(step_parameters={"v": value})
        assert metadata.runs.step(start.key).parameters["v"] == {
            "scalar": 0.5,
            "array": [0, 1, 2],
            "path": "/x",
            "3": "key",
        }


class TestCache:
    def cached(self, metadata: Metadata, key: str = "k1", pipeline: str | None = "churn") -> Any:
        return metadata.runs.find_cached(pipeline, "train", key)

    def test_finds_the_newest_success(self, metadata: Metadata, lab: Lab) -> None:
        lab.step(run="r1", cache_key="k1", makes={"output": "old"})
        newest, made = lab.step(run="r2", cache_key="k1", makes={"output": "new"})
        failed = lab.start(run="r3", cache_key="k1")
        metadata.runs.finish_step(StepFinish(start=failed, state="failed"))
        lab.start(run="r4", cache_key="k1")
        found = self.cached(metadata)
        assert (found.step_run, found.outputs) == (newest, made)

    def test_finds_nothing_else(self, metadata: Metadata, lab: Lab) -> None:
        lab.step(cache_key="k1", makes={"output": "x"})
        assert self.cached(metadata, "k2") is None
        assert self.cached(metadata, pipeline="other") is None
        assert self.cached(metadata, pipeline=None) is None

    def test_a_step_without_outputs_is_a_hit(self, metadata: Metadata, lab: Lab) -> None:
        key, _ = lab.step(cache_key="k1")
        assert (self.cached(metadata).step_run, self.cached(metadata).outputs) == (key, {})

    def test_outside_a_pipeline(self, metadata: Metadata, lab: Lab) -> None:
        lab.step(cache_key="k1", makes={"output": "x"}, pipeline=None)
        assert self.cached(metadata, pipeline=None).outputs["output"].version == 1

    def test_a_hit_binds_the_old_outputs(self, metadata: Metadata, lab: Lab) -> None:
        key, made = lab.step(run="r1", cache_key="k1", makes={"output": "x"})
        start = lab.start("other", run="r2").model_copy(update={"task_id": "train", "step": "train", "cache_key": "k1"})
        version = made["output"]
        output = new_artifact("churn.train", "x")
        got = metadata.runs.finish_step(
            StepFinish(start=start, state="cached", outputs=[output], cached_from=key, metrics={"a": 1.0})
        )
        assert got == {"output": version}
        step = metadata.runs.step(start.key)
        assert (step.state, step.cached_from, step.metrics) == ("cached", key, {"a": 1.0})
        assert metadata.runs.outputs(start.key) == {"output": version}
        assert self.cached(metadata).step_run == key


class TestLists:
    def test_pages_are_whole_and_disjoint(self, metadata: Metadata, lab: Lab) -> None:
        for i in range(7):
            lab.start(run=f"r{i}")
        seen, before = [], None
        while True:
            page = metadata.runs.list(limit=3, before=before)
            seen += [run.run_id for run in page]
            before = page.next
            if before is None:
                break
            lab.start(run=f"later-{len(seen)}")  # what arrives meanwhile neither repeats nor hides others
        assert seen == ["r6", "r5", "r4", "r3", "r2", "r1", "r0"]

    def test_filters(self, metadata: Metadata, lab: Lab) -> None:
        lab.start(run="a")
        lab.start(run="b", pipeline="other", dag_id="other")
        metadata.runs.end("churn", "a", "success")
        assert [r.run_id for r in metadata.runs.list(pipeline="churn")] == ["a"]
        assert [r.run_id for r in metadata.runs.list(state="running")] == ["b"]
        assert [r.run_id for r in metadata.runs.list(pipeline="churn", state="running")] == []
        assert [r.run_id for r in metadata.runs.list(dag_id="other")] == ["b"]
        latest = metadata.runs.find("other")
        assert latest is not None
        assert latest.run_id == "b"

    def test_what_is_not_there(self, metadata: Metadata) -> None:
        assert metadata.runs.find("no", "no") is None
        with pytest.raises(RecordNotFound, match='"no" has no recorded run "no"'):
            metadata.runs.get("no", "no")
        with pytest.raises(RecordNotFound):
            metadata.runs.get_by_key("0" * 32)
        with pytest.raises(RecordNotFound):
            metadata.runs.step("0" * 32)
        metadata.runs.end("no", "no", "success")


@pytest.fixture
def counted(metadata: Metadata) -> Iterator[dict[str, list[str]]]:
    """Statements and transactions of the engine while the test runs."""
    engine = engine_for(metadata.database.url)
    found: dict[str, list[str]] = {"statements": [], "commits": []}

    def statement(_c: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        if not sql.startswith("BEGIN"):
            found["statements"].append(sql)

    def commit(_c: Any) -> None:
        found["commits"].append("commit")

    event.listen(engine, "before_cursor_execute", statement)
    event.listen(engine, "commit", commit)
    yield found
    event.remove(engine, "before_cursor_execute", statement)
    event.remove(engine, "commit", commit)


class TestCost:
    def finish(self, lab: Lab, run: str, reads: Any) -> None:
        start = lab.start("train", run=run, cache_key=run)
        outputs = [new_artifact(f"churn.train.{name}", output=name) for name in ("model", "report", "plot")]
        inputs = [EdgeIn(name=f"x{i}", ref=version.ref()) for i, version in enumerate(reads)]
        metrics = {f"m{i}": float(i) for i in range(20)}
        lab.metadata.runs.finish_step(
            StepFinish(start=start, state="success", inputs=inputs, outputs=outputs, metrics=metrics)
        )

    def test_a_step_is_two_transactions_and_at_most_eight_statements(
        self, metadata: Metadata, lab: Lab, counted: dict[str, list[str]]
    ) -> None:
        _, made = lab.step("split", makes={"train": 1, "test": 2})
        self.finish(lab, "r1", made.values())
        counted["statements"].clear()
        counted["commits"].clear()
        assert metadata.runs.find_cached("churn", "train", "r2") is None
        self.finish(lab, "r2", made.values())
        assert len(counted["commits"]) == 2
        assert len(counted["statements"]) <= 8, "\n".join(counted["statements"])

    def test_a_cached_step_is_one_transaction(
        self, metadata: Metadata, lab: Lab, counted: dict[str, list[str]]
    ) -> None:
        key, made = lab.step(run="r1", cache_key="k1", makes={"output": "x"})
        counted["statements"].clear()
        counted["commits"].clear()
        hit = metadata.runs.find_cached("churn", "train", "k1")
        assert hit is not None
        start = lab_start("r2")
        metadata.runs.finish_step(
            StepFinish(start=start, state="cached", outputs=[new_artifact("churn.train", "x")], cached_from=key)
        )
        assert len(counted["commits"]) == 1
        assert len(counted["statements"]) <= 5, "\n".join(counted["statements"])
        assert made["output"].version == 1

    def test_a_page_is_one_statement(self, metadata: Metadata, lab: Lab, counted: dict[str, list[str]]) -> None:
        for i in range(5):
            lab.step(run=f"r{i}", makes={"output": i})
        for query in (
            lambda: metadata.runs.list(limit=3),
            lambda: metadata.artifacts.list(limit=3),
            lambda: metadata.artifacts.versions("churn.train", limit=3),
            lambda: metadata.models.versions("churn"),
            metadata.audit.list,
            metadata.drift.list,
        ):
            counted["statements"].clear()
            query()
            assert len(counted["statements"]) == 1


def lab_start(run: str) -> Any:
    from windsock.provider.metadata import StepStart

    return StepStart(
        dag_id="churn", run_id=run, task_id="train", step="train", pipeline="churn", pipeline_version=1, cache_key="k1"
    )
