from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from metadata_lab import new_artifact
from sqlalchemy import event
from windsock.provider.errors import RecordNotFound
from windsock.provider.metadata import Deployment, LineageGraph, Metadata, NewModelVersion, StepFinish, run_key
from windsock.provider.metadata.engine import engine_for

if TYPE_CHECKING:
    from metadata_lab import Lab


class Loop:
    """load -> split -> fit(train) -> evaluate(model, test) -> model version -> deployment, and two runs of it."""

    def __init__(self, lab: Lab, run: str = "r1", content: str = "") -> None:
        def step(name: str, reads: dict[str, Any], makes: dict[str, str]) -> tuple[str, Any]:
            return lab.step(name, run=run, reads=reads, makes={k: f"{v}{content}" for k, v in makes.items()})

        self.load, loaded = step("load", {}, {"output": "rows"})
        self.split, parts = step("split", {"rows": loaded["output"]}, {"train": "train", "test": "test"})
        self.fit, fitted = step("fit", {"rows": parts["train"]}, {"output": "model"})
        self.evaluate, scores = step("evaluate", {"m": fitted["output"], "rows": parts["test"]}, {"output": "scores"})
        self.register = lab.start("register", run=run)
        self.model = lab.metadata.models.register(
            NewModelVersion(
                model="churn",
                artifact=fitted["output"].ref(),
                baseline=parts["train"].ref(),
                evaluation=parts["test"].ref(),
                step_run=self.register.key,
                run=self.register.run_key,
                metrics={"accuracy": 0.9},
            )
        )
        lab.metadata.runs.finish_step(StepFinish(start=self.register, state="success"))
        self.scores = scores["output"]


@pytest.fixture
def loop(metadata: Metadata, lab: Lab) -> Loop:
    loop = Loop(lab)
    metadata.models.set_alias("churn", "production", 1, actor="me")
    served = Deployment(name="live", model="churn", version=1, phase="ready", flavor="local", url="http://x")
    metadata.deployments.put(served, expected_revision=None)
    return loop


def names(graph: LineageGraph) -> set[str]:
    """Nodes by label, steps and artifacts told apart by their kind."""
    return {f"{node.kind}:{node.label}" for node in graph.nodes}


def lines(graph: LineageGraph) -> set[tuple[str, str, str]]:
    labels = {node.id: node.label for node in graph.nodes}
    return {(labels[edge.source], labels[edge.target], edge.label) for edge in graph.edges}


class TestUp:
    def test_from_a_deployment_to_the_data(self, metadata: Metadata, loop: Loop) -> None:
        graph = metadata.lineage.graph("deployment:live", direction="up")
        assert names(graph) == {
            "run:r1",
            "step_run:load",
            "step_run:split",
            "step_run:fit",
            "step_run:register",
            "artifact:churn.load v1",
            "artifact:churn.split.train v1",
            "artifact:churn.split.test v1",
            "artifact:churn.fit v1",
            "model:churn v1",
            "deployment:live",
        }
        assert lines(graph) == {
            ("r1", "load", "runs"),
            ("r1", "split", "runs"),
            ("r1", "fit", "runs"),
            ("r1", "register", "runs"),
            ("load", "churn.load v1", "output"),
            ("churn.load v1", "split", "rows"),
            ("split", "churn.split.train v1", "train"),
            ("split", "churn.split.test v1", "test"),
            ("churn.split.train v1", "fit", "rows"),
            ("fit", "churn.fit v1", "output"),
            ("register", "churn v1", "registers"),
            ("churn.fit v1", "churn v1", "artifact"),
            ("churn.split.train v1", "churn v1", "baseline"),
            ("churn.split.test v1", "churn v1", "evaluation"),
            ("churn v1", "live", "serves"),
        }
        facts = {node.id: node.facts for node in graph.nodes}
        assert facts["model:churn@1"]["aliases"] == ["production"]
        assert facts["artifact:churn.load@1"]["digest"].startswith("blake3:")
        assert not graph.truncated

    def test_depth_counts_steps(self, metadata: Metadata, loop: Loop) -> None:
        def artifacts(depth: int) -> set[str]:
            graph = metadata.lineage.graph("artifact:churn.evaluate@1", direction="up", depth=depth)
            return {n.label for n in graph.nodes if n.kind == "artifact"}

        assert artifacts(0) == {"churn.evaluate v1"}
        assert artifacts(1) == {"churn.evaluate v1", "churn.fit v1", "churn.split.test v1"}
        assert artifacts(2) == artifacts(1) | {"churn.split.train v1", "churn.load v1"}
        assert artifacts(20) == artifacts(2)

    def test_asks_the_first_producer_only(self, metadata: Metadata, lab: Lab, loop: Loop) -> None:
        Loop(lab, run="r2")  # the same contents again
        graph = metadata.lineage.graph("artifact:churn.evaluate@1", direction="up")
        assert {n.label for n in graph.nodes if n.kind == "run"} == {"r1"}


class TestDown:
    def test_from_data_to_what_serves(self, metadata: Metadata, loop: Loop) -> None:
        graph = metadata.lineage.graph("artifact:churn.load@1", direction="down")
        assert names(graph) == {
            "step_run:split",
            "step_run:fit",
            "step_run:evaluate",
            "artifact:churn.load v1",
            "artifact:churn.split.train v1",
            "artifact:churn.split.test v1",
            "artifact:churn.fit v1",
            "artifact:churn.evaluate v1",
            "model:churn v1",
            "deployment:live",
        }

    def test_evaluation_data_lead_to_the_model(self, metadata: Metadata, loop: Loop) -> None:
        graph = metadata.lineage.graph("artifact:churn.split.test@1", direction="down")
        assert {"model:churn v1", "deployment:live"} <= names(graph)

    def test_a_deleted_deployment_is_gone(self, metadata: Metadata, loop: Loop) -> None:
        metadata.deployments.delete("live")
        assert "deployment:live" not in names(metadata.lineage.graph("model:churn@1"))


class TestBoth:
    @pytest.mark.parametrize("kind", ["step_run", "run", "model"])
    def test_starts_anywhere(self, metadata: Metadata, loop: Loop, kind: str) -> None:
        ids = {"step_run": f"step_run:{loop.split}", "run": f"run:{run_key('churn', 'r1')}", "model": "model:churn@1"}
        graph = metadata.lineage.graph(ids[kind])
        assert {"artifact:churn.load v1", "artifact:churn.fit v1", "model:churn v1", "deployment:live"} <= names(graph)
        assert ids[kind] in {node.id for node in graph.nodes}

    def test_every_line_has_two_ends(self, metadata: Metadata, lab: Lab, loop: Loop) -> None:
        Loop(lab, run="r2", content="new")
        for node in ("artifact:churn.split.train@2", "model:churn@2", "deployment:live", f"step_run:{loop.fit}"):
            for limit in (1, 3, 7, 1000):
                graph = metadata.lineage.graph(node, limit=limit)
                ids = [n.id for n in graph.nodes]
                assert len(ids) == len(set(ids)) <= limit
                assert all(e.source in ids and e.target in ids for e in graph.edges)


class TestLimits:
    def test_a_long_chain(self, metadata: Metadata, lab: Lab) -> None:
        made = None
        for i in range(40):
            _, outputs = lab.step(f"s{i}", reads={} if made is None else {"x": made}, makes={"output": i})
            made = outputs["output"]
        graph = metadata.lineage.graph("artifact:churn.s39@1", direction="up", depth=20)
        assert sum(n.kind == "artifact" for n in graph.nodes) == 21
        graph = metadata.lineage.graph("artifact:churn.s39@1", direction="up", depth=100, limit=10)
        assert graph.truncated
        assert len(graph.nodes) <= 10
        assert "artifact:churn.s39@1" in {n.id for n in graph.nodes}

    def test_a_wide_fan(self, metadata: Metadata, lab: Lab) -> None:
        _, made = lab.step("load", makes={"output": "x"})
        for i in range(30):
            lab.step("score", map_index=i, reads={"x": made["output"]}, makes={"output": i})
        graph = metadata.lineage.graph("artifact:churn.load@1", direction="down", limit=20)
        assert graph.truncated
        whole = metadata.lineage.graph("artifact:churn.load@1", direction="down")
        assert len(whole.nodes) == 61
        assert not whole.truncated

    def test_diamonds_do_not_multiply(self, metadata: Metadata, lab: Lab) -> None:
        """Twenty layers, each reading both artifacts of the one before: a million paths, forty artifacts."""
        made: dict[str, Any] = {}
        for i in range(20):
            _, made = lab.step(f"s{i}", reads=made, makes={"a": f"a{i}", "b": f"b{i}"})
        graph = metadata.lineage.graph("artifact:churn.s19.a@1", direction="up", depth=50)
        assert sum(n.kind == "artifact" for n in graph.nodes) == 39
        assert not graph.truncated

    def test_a_step_that_reads_what_it_made_ends(self, metadata: Metadata, lab: Lab) -> None:
        _, made = lab.step("load", makes={"output": "x"})
        lab.step("load", run="r2", reads={"x": made["output"]}, makes={"output": "x"})
        graph = metadata.lineage.graph("artifact:churn.load@1", depth=50)
        assert [n.label for n in graph.nodes if n.kind == "artifact"] == ["churn.load v1"]
        assert not graph.truncated

    def test_the_number_of_statements_does_not_grow(self, metadata: Metadata, lab: Lab, loop: Loop) -> None:
        def count() -> int:
            statements: list[str] = []
            engine = engine_for(metadata.database.url)

            def note(_c: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
                statements.append(sql)

            event.listen(engine, "before_cursor_execute", note)
            metadata.lineage.graph("artifact:churn.load@1")
            event.remove(engine, "before_cursor_execute", note)
            if engine.dialect.name != "mysql":  # a query a level there
                assert sum("WITH RECURSIVE" in sql for sql in statements) == 2  # one up, one down
            return len(statements)

        before = count()
        for i in range(10):
            Loop(lab, run=f"more{i}", content="")
        assert count() == before <= 18


class TestMissing:
    @pytest.mark.parametrize(
        "node",
        [
            "artifact:ghost@1",
            "artifact:x",
            "model:ghost@1",
            "step_run:0",
            "run:0",
            "deployment:ghost",
            "cat:tom",
            "x",
            "",
        ],
    )
    def test_is_said(self, metadata: Metadata, node: str) -> None:
        with pytest.raises(RecordNotFound):
            metadata.lineage.graph(node)


class TestRunGraph:
    def test_is_one_run(self, metadata: Metadata, lab: Lab, loop: Loop) -> None:
        Loop(lab, run="r2", content="new")
        graph = metadata.lineage.run_graph("churn", "r1")
        assert {n.label for n in graph.nodes if n.kind == "run"} == {"r1"}
        assert {n.label for n in graph.nodes if n.kind == "step_run"} == {
            "load",
            "split",
            "fit",
            "evaluate",
            "register",
        }
        assert {"model:churn v1", "deployment:live"} <= names(graph)
        assert "model:churn v2" not in names(graph)

    def test_is_the_latest_without_a_run_id(self, metadata: Metadata, lab: Lab, loop: Loop) -> None:
        Loop(lab, run="r2", content="new")
        assert "run:r2" in names(metadata.lineage.run_graph("churn"))

    def test_shows_the_last_attempt(self, metadata: Metadata, lab: Lab) -> None:
        failed = lab.start("fit")
        metadata.runs.finish_step(StepFinish(start=failed, state="failed", outputs=[new_artifact("churn.half")]))
        key, _ = lab.step("fit", makes={"output": "m"}, try_number=2)
        graph = metadata.lineage.run_graph("churn", "r1")
        assert [n.id for n in graph.nodes if n.kind == "step_run"] == [f"step_run:{key}"]

    def test_missing(self, metadata: Metadata) -> None:
        with pytest.raises(RecordNotFound, match='"ghost" has no recorded run'):
            metadata.lineage.run_graph("ghost")
