"""Lists narrowed by filters: the right records, in the list's order, in pages that neither repeat nor skip."""

from __future__ import annotations

import math
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from metadata_lab import Lab, new_artifact
from sqlalchemy import event
from windsock.provider.errors import FilterInvalid, RecordNotFound
from windsock.provider.metadata import Deployment, Metadata, NewDriftReport, NewModelVersion, StepFinish, listing
from windsock.provider.metadata.engine import engine_for
from windsock.provider.metadata.filters import (
    ArtifactFilter,
    AuditFilter,
    DeploymentFilter,
    DriftFilter,
    ModelVersionFilter,
    RunFilter,
    Where,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from windsock.provider.metadata import Page


def where(text: str) -> tuple[Where, ...]:
    return (Where.parse(text),)


def whole(search: Callable[..., Page[Any]], wanted: Any, *keys: str) -> list[Any]:
    """All that a search finds: in pages of two and in one page, gathered by the rarest condition and walked in order.

    All four ways must say the same.
    """

    def told(page: Page[Any]) -> list[Any]:
        return [tuple(getattr(item, key) for key in keys) if len(keys) > 1 else getattr(item, keys[0]) for item in page]

    answers = []
    for many in (10_000, 1):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(listing, "MANY", many)
            answers.append(told(search(wanted, 1000)))
            page = search(wanted, 2)
            found = told(page)
            while page.next is not None:
                page = search(wanted, 2, page.next)
                found += told(page)
            answers.append(found)
    assert answers[1:] == answers[:-1]
    return answers[0]


@pytest.fixture
def runs(metadata: Metadata, lab: Lab) -> Metadata:
    """Runs r0 to r7: accuracy 0.0 to 0.7, rate 0, 0.1, …, even ones on "monday" and failed."""
    for i in range(8):
        parameters = {"rate": i / 10, "day": "monday" if i % 2 == 0 else "tuesday", "deep": i > 5, "none": None}
        start = lab.start("train", run=f"r{i}", parameters=parameters, pipeline="churn" if i < 6 else "other")
        metrics = {"accuracy": i / 10, "loss": math.nan if i == 3 else 1.0}
        metadata.runs.finish_step(StepFinish(start=start, state="success", metrics=metrics))
        metadata.runs.end("churn", f"r{i}", "failed" if i % 2 == 0 else "success")
    return metadata


class TestRuns:
    def test_are_found(self, runs: Metadata) -> None:
        cases: list[tuple[RunFilter, list[int]]] = [
            (RunFilter(), [7, 6, 5, 4, 3, 2, 1, 0]),
            (RunFilter(metrics=where("accuracy>0.45")), [7, 6, 5]),
            (RunFilter(metrics=where("accuracy>=0.5")), [7, 6, 5]),
            (RunFilter(metrics=where("accuracy<0.2")), [1, 0]),
            (RunFilter(metrics=where("accuracy!=0.2")), [7, 6, 5, 4, 3, 1, 0]),
            (RunFilter(metrics=where("accuracy=0.2")), [2]),
            (RunFilter(metrics=where("nothing>0")), []),
            (RunFilter(metrics=where("loss>0")), [7, 6, 5, 4, 2, 1, 0]),
            (RunFilter(metrics=where("loss<=1")), [7, 6, 5, 4, 2, 1, 0]),
            (RunFilter(parameters=where("day=monday")), [6, 4, 2, 0]),
            (RunFilter(parameters=where("day!=monday")), [7, 5, 3, 1]),
            (RunFilter(parameters=where("rate<=0.3")), [3, 2, 1, 0]),
            (RunFilter(parameters=where("deep=true")), [7, 6]),
            (RunFilter(parameters=where("rate=monday")), []),
            (RunFilter(parameters=where("none=null")), []),
            (RunFilter(state="failed", parameters=where("rate>0.1")), [6, 4, 2]),
            (RunFilter(pipeline="churn", metrics=where("accuracy>0.2"), parameters=where("day=tuesday")), [5, 3]),
            (RunFilter(metrics=(*where("accuracy>0.2"), *where("accuracy<0.6"), *where("loss=1"))), [5, 4]),
            (RunFilter(dag_id="churn", state="success", pipeline="other", stack="local"), [7]),
            (RunFilter(stack="nowhere"), []),
        ]
        for wanted, numbers in cases:
            assert whole(runs.runs.search, wanted, "run_id") == [f"r{i}" for i in numbers], wanted

    def test_by_time(self, runs: Metadata) -> None:
        times = {run.run_id: run.started_at for run in runs.runs.list()}
        wanted = RunFilter(since=times["r2"], until=times["r5"])
        assert whole(runs.runs.search, wanted, "run_id") == ["r4", "r3", "r2"]
        assert whole(runs.runs.search, wanted & RunFilter(parameters=where("day=monday")), "run_id") == ["r4", "r2"]

    def test_only_the_last_value_of_a_metric_counts(self, metadata: Metadata, lab: Lab) -> None:
        from windsock.provider.metadata import MetricPoint

        points = [MetricPoint(key="loss", value=value, step=i) for i, value in enumerate([3.0, 2.0, 1.0])]
        metadata.runs.finish_step(StepFinish(start=lab.start(run="series"), state="success", metrics=points))
        assert len(metadata.runs.search(RunFilter(metrics=where("loss=1")))) == 1
        assert len(metadata.runs.search(RunFilter(metrics=where("loss>=2")))) == 0

    def test_a_cached_run_has_its_parameters(self, metadata: Metadata) -> None:
        from windsock.provider.metadata import StepStart

        start = StepStart(dag_id="d", run_id="r", task_id="t", step="t", parameters={"rate": 0.5})
        metadata.runs.finish_step(StepFinish(start=start, state="cached"))
        metadata.runs.finish_step(StepFinish(start=start.model_copy(update={"task_id": "u"}), state="cached"))
        assert [run.run_id for run in metadata.runs.search(RunFilter(parameters=where("rate=0.5")))] == ["r"]

    def test_long_and_odd_values(self, metadata: Metadata, lab: Lab) -> None:
        values = {"long": "ä" * 300, "nul": "a\0b", "list": [1, "x"], "big": 2**70, "": "empty", "n" * 300: 1}
        lab.start(run="odd", parameters=values)
        for name, value in (
            ("long", "ä" * 300),
            ("nul", "a\ufffdb"),
            ("list", '[1,"x"]'),
            ("", "empty"),
            ("big", 2**70),
        ):
            found = metadata.runs.search(RunFilter(parameters=(Where(name=name, value=value),)))
            assert [run.run_id for run in found] == ["odd"], name


class TestArtifacts:
    @pytest.fixture(autouse=True)
    def versions(self, metadata: Metadata, lab: Lab) -> None:
        for i in range(4):
            for name in ("churn.train", "churn.test", "churn_x", "other"):
                metadata.artifacts.record(new_artifact(name, f"{name}{i}", size=i * 100, type=f"t{i % 2}"))
        self.key, _ = lab.step("load", makes={"output": "made"})

    def names(self, metadata: Metadata, wanted: ArtifactFilter) -> list[str]:
        ids = whole(metadata.artifacts.search, wanted, "id")
        named = {v.id: f"{v.artifact}@{v.version}" for v in metadata.artifacts.list(limit=100)}
        return [named[number] for number in ids]

    def test_by_prefix(self, metadata: Metadata) -> None:
        # _ and % are no wildcards, and case counts.
        assert self.names(metadata, ArtifactFilter(prefix="churn_")) == [f"churn_x@{i}" for i in (4, 3, 2, 1)]
        assert self.names(metadata, ArtifactFilter(prefix="Churn")) == []
        found = self.names(metadata, ArtifactFilter(prefix="churn.t", type="t1"))
        assert found == ["churn.test@4", "churn.train@4", "churn.test@2", "churn.train@2"]
        assert [a.name for a in metadata.artifacts.names(prefix="churn.")] == [
            "churn.load",
            "churn.test",
            "churn.train",
        ]

    def test_by_size(self, metadata: Metadata) -> None:
        assert self.names(metadata, ArtifactFilter(name="other", min_size=100, max_size=200)) == ["other@3", "other@2"]
        assert len(self.names(metadata, ArtifactFilter(min_size=300))) == 4
        assert len(self.names(metadata, ArtifactFilter(max_size=0))) == 4

    def test_by_producer_and_time(self, metadata: Metadata) -> None:
        assert self.names(metadata, ArtifactFilter(producer=self.key)) == ["churn.load@1"]
        made = metadata.artifacts.get("churn.load").created_at
        assert self.names(metadata, ArtifactFilter(since=made)) == ["churn.load@1"]
        assert len(self.names(metadata, ArtifactFilter(until=made, name="other"))) == 4


class TestModelVersions:
    @pytest.fixture(autouse=True)
    def versions(self, lab: Lab) -> None:
        for i in range(4):
            for model in ("a", "b"):
                facts = {
                    "metrics": {"auc": i / 10},
                    "parameters": {"depth": i},
                    "tags": {"team": "growth" if i else "7"},
                }
                lab.model(model, f"{model}{i}", **facts)

    def test_are_found(self, metadata: Metadata) -> None:
        metadata.models.archive("b", 1, "me")
        cases: list[tuple[ModelVersionFilter, list[tuple[str, int]]]] = [
            (ModelVersionFilter(model="a", metrics=where("auc>0.1")), [("a", 4), ("a", 3)]),
            (ModelVersionFilter(metrics=where("auc>0.2")), [("b", 4), ("a", 4)]),
            (ModelVersionFilter(tags=where('team="7"')), [("b", 1), ("a", 1)]),
            (ModelVersionFilter(tags=where("team=7")), []),
            (ModelVersionFilter(model="b", parameters=where("depth=2"), tags=where("team=growth")), [("b", 3)]),
            (ModelVersionFilter(model="b", state="archived"), [("b", 1)]),
            (ModelVersionFilter(model="none"), []),
        ]
        for wanted, found in cases:
            assert whole(metadata.models.search, wanted, "model", "version") == found, wanted

    def test_a_retry_adds_nothing(self, metadata: Metadata) -> None:
        artifact = metadata.models.get("a", version=1).artifact
        new = NewModelVersion(model="a", artifact=artifact, metrics={"auc": 1.0}, source="s")
        assert metadata.models.register(new) == metadata.models.register(new)
        assert len(metadata.models.search(ModelVersionFilter(metrics=where("auc=1")))) == 1

    def test_models_by_prefix(self, metadata: Metadata) -> None:
        assert [model.name for model in metadata.models.list(prefix="a")] == ["a"]


class TestTheOthers:
    def test_deployments(self, metadata: Metadata, lab: Lab) -> None:
        for i in range(5):
            lab.model(f"m{i % 2}", i)
            new = Deployment(
                name=f"d{i}", model=f"m{i % 2}", version=1, phase="ready", flavor="local", stack=f"s{i % 3}"
            )
            metadata.deployments.put(new, expected_revision=None)
        metadata.deployments.delete("d2")
        search = metadata.deployments.search
        assert whole(search, DeploymentFilter(), "name") == ["d0", "d1", "d3", "d4"]
        assert whole(search, DeploymentFilter(model="m0"), "name") == ["d0", "d4"]
        assert whole(search, DeploymentFilter(stack="s0", phase="ready"), "name") == ["d0", "d3"]
        assert whole(search, DeploymentFilter(phase="deleted"), "name") == ["d2"]
        assert whole(search, DeploymentFilter(prefix="d3"), "name") == ["d3"]
        assert whole(search, DeploymentFilter(version=2), "name") == []

    def test_drift_and_audit_by_time(self, metadata: Metadata, lab: Lab) -> None:
        lab.model("m", 1, created_by="ann")
        facts: dict[str, Any] = {"model": "m", "version": 1, "drift_share": 0.5}
        made = [
            metadata.drift.record(NewDriftReport(**facts, rows=i, drifted=i % 2 == 0, edges_id=str(i)))
            for i in range(5)
        ]
        wanted = DriftFilter(since=made[1].created_at, until=made[4].created_at)
        assert whole(metadata.drift.search, wanted, "rows") == [3, 2, 1]
        assert whole(metadata.drift.search, wanted & DriftFilter(drifted=True, version=1), "rows") == [2]
        for i in range(4):
            metadata.audit.append(f"user{i % 2}", "try", "model", "m", None, {"n": i})
        now = datetime.now(timezone.utc)
        assert [e.after for e in metadata.audit.search(AuditFilter(actor="user1"))] == [{"n": 3}, {"n": 1}]
        assert len(metadata.audit.search(AuditFilter(subject_kind="model", subject="m", until=now))) == 5
        assert len(metadata.audit.search(AuditFilter(action="register", since=now - timedelta(minutes=5)))) == 1
        assert len(metadata.audit.search(AuditFilter(since=now))) == 0
        with pytest.raises(FilterInvalid, match="subject_kind"):
            metadata.audit.search(AuditFilter(subject="m"))


@pytest.fixture
def counted(metadata: Metadata) -> Iterator[list[str]]:
    engine, sent = engine_for(metadata.database.url), []

    def note(_c: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        if sql != "BEGIN":
            sent.append(sql)

    event.listen(engine, "before_cursor_execute", note)
    yield sent
    event.remove(engine, "before_cursor_execute", note)


class TestCost:
    def test_a_page_is_at_most_two_statements(self, runs: Metadata, counted: list[str]) -> None:
        searches: list[Callable[[], Any]] = [
            lambda: runs.runs.search(RunFilter(state="failed")),
            lambda: runs.runs.search(RunFilter(metrics=where("accuracy>0"), parameters=where("day=monday"))),
            lambda: runs.artifacts.search(ArtifactFilter(prefix="c", min_size=3)),
            lambda: runs.models.search(ModelVersionFilter(metrics=where("auc>0"), tags=where("a=b"))),
            lambda: runs.deployments.search(DeploymentFilter(prefix="d")),
            runs.models.list,
        ]
        for search in searches:
            counted.clear()
            search()
            assert 1 <= len(counted) <= 2, counted

    def test_a_run_that_begins_with_parameters_costs_one_statement_more(self, lab: Lab, counted: list[str]) -> None:
        lab.start("first", run="r", parameters={"a": 1, "b": "x"})
        assert len(counted) == 3
        counted.clear()
        lab.start("second", run="r", parameters={"a": 1, "b": "x"})
        assert len(counted) == 2


class TestFilters:
    def test_two_are_one(self) -> None:
        both = (
            RunFilter(state="failed")
            & RunFilter(pipeline="churn", metrics=where("a>1"))
            & RunFilter(metrics=where("b<2"))
        )
        assert both == RunFilter(state="failed", pipeline="churn", metrics=(*where("a>1"), *where("b<2")))
        assert both & both == both
        with pytest.raises(FilterInvalid, match="state cannot be 'failed' and 'success'"):
            RunFilter(state="failed") & RunFilter(state="success")

    @pytest.mark.parametrize(
        ("text", "name", "op", "value"),
        [
            ("accuracy>0.9", "accuracy", ">", 0.9),
            (" depth == 3 ", "depth", "=", 3),
            ("day=2026-01-01", "day", "=", "2026-01-01"),
            ("team='7'", "team", "=", "7"),
            ("deep!=true", "deep", "!=", True),
            ("a.b/c <= -1e-3", "a.b/c", "<=", -1e-3),
            ("note=a=b", "note", "=", "a=b"),
        ],
    )
    def test_a_comparison_is_read(self, text: str, name: str, op: Any, value: object) -> None:
        found = Where.parse(text)
        assert (found.name, found.op, found.value) == (name, op, value)
        assert type(found.value) is type(value)

    @pytest.mark.parametrize("text", ["accuracy", "", ">1", "a>", "=", "<>"])
    def test_nonsense_is_one_clear_error(self, text: str) -> None:
        with pytest.raises(FilterInvalid, match="is no comparison"):
            Where.parse(text)

    def test_a_metric_is_no_text(self, metadata: Metadata) -> None:
        with pytest.raises(FilterInvalid, match="a metric is a number"):
            metadata.runs.search(RunFilter(metrics=where("accuracy=high")))

    @pytest.mark.parametrize("place", ["x", "2026-01-01|a|b", "2026-01-01T00:00:00|a", "|"])
    def test_a_place_that_no_page_gave(self, metadata: Metadata, place: str) -> None:
        with pytest.raises(RecordNotFound, match="is no place"):
            metadata.runs.search(RunFilter(), 10, place)
