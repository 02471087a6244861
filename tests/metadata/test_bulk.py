"""Bulk import: the same rows as if a runner had written them, as often as one likes, and one clear error otherwise."""

from __future__ import annotations

import json
import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

import pytest
from metadata_lab import Lab, digest, new_artifact
from windsock.provider.errors import ImportRejected
from windsock.provider.metadata import Metadata, StepFinish
from windsock.provider.metadata.bulk import ImportedArtifact, ImportedEdge, ImportedRun, ImportedStepRun
from windsock.provider.metadata.filters import ModelVersionFilter, RunFilter, Where

if TYPE_CHECKING:
    from pathlib import Path

AT = "2026-01-01T00:00:00Z"
STEP = {"dag_id": "d", "run_id": "r", "task_id": "fit"}


@pytest.fixture(autouse=True)
def _only_with_a_database(url: str) -> None:
    if url.startswith("http"):
        pytest.skip("a bulk import needs the database itself")


def content(number: int) -> dict[str, Any]:
    return {"uri": f"file:///{number}", "digest": digest(number), "size": number, "type": "T", "created_at": AT}


LINES: list[dict[str, Any]] = [
    {"kind": "run", "dag_id": "d", "run_id": "r", "pipeline": "p", "parameters": {"rate": 0.1, "nul": "a\0"},
     "started_at": AT},
    {"kind": "step_run", **STEP, "step": "fit", "metrics": {"auc": 0.9, "worst": "inf"}, "started_at": AT},
    {"kind": "artifact", "artifact": "p.rows", **content(1)},
    {"kind": "artifact", "artifact": "p.rows", **content(2)},
    {"kind": "artifact", "artifact": "p.fit", "version": 7, **STEP, **content(3)},
    {"kind": "edge", **STEP, "direction": "in", "name": "rows", "artifact": "p.rows", "version": 2},
    {"kind": "edge", **STEP, "direction": "out", "name": "output", "artifact": "p.fit", "digest": digest(3)},
    {"kind": "model", "name": "churn", "created_at": AT},
    {
        "kind": "model_version", "model": "churn", "version": 1, "artifact": {"artifact": "p.fit", "version": 7},
        "metrics": {"auc": 0.9}, "tags": {"team": "growth"}, "created_at": AT,
    },
]  # fmt: skip


def lines(*changed: dict[str, Any]) -> list[str]:
    return [json.dumps(line) for line in (*LINES, *changed)]


class TestLoad:
    def test_is_what_a_runner_would_have_written(self, metadata: Metadata) -> None:
        done = metadata.bulk.load_lines(lines(), actor="user:ann")
        assert done.new == {"run": 1, "step_run": 1, "artifact": 3, "edge": 2, "model": 1, "model_version": 1}
        run = metadata.runs.get("d", "r")
        assert run.parameters["rate"] == 0.1
        assert run.started_at == datetime(2026, 1, 1, tzinfo=timezone.utc)
        (step,) = metadata.runs.steps(run.id)
        assert {point.key: point.value for point in metadata.runs.metrics(step.id)} == {
            "auc": 0.9,
            "worst": float("inf"),
        }
        assert [version.version for _, version in metadata.runs.inputs(step.id)] == [2]
        assert metadata.runs.outputs(step.id)["output"].producer == step.id
        assert [(v.artifact, v.version) for v in metadata.artifacts.list("p.rows")] == [("p.rows", 2), ("p.rows", 1)]
        assert metadata.models.get("churn").metrics == {"auc": 0.9}
        nodes = {node.id for node in metadata.lineage.graph("model:churn@1").nodes}
        assert {"artifact:p.rows@2", f"step_run:{step.id}", "artifact:p.fit@7"} <= nodes
        assert len(metadata.runs.search(RunFilter(metrics=(Where.parse("auc>0.8"),)))) == 1
        assert len(metadata.runs.search(RunFilter(parameters=(Where.parse("rate=0.1"),)))) == 1
        assert len(metadata.models.search(ModelVersionFilter(tags=(Where.parse("team=growth"),)))) == 1
        (event,) = metadata.audit.list()
        assert (event.actor, event.action, event.after) == ("user:ann", "import", done.new)

    @pytest.mark.parametrize("batch", [1, 5000])
    def test_a_second_time_adds_nothing(self, metadata: Metadata, batch: int) -> None:
        metadata.bulk.load_lines(lines(), batch=batch)
        again = metadata.bulk.load_lines(lines(), batch=batch)
        assert sum(again.new.values()) == 0
        assert again.rows == len(LINES)
        assert len(metadata.audit.list()) == 1

    def test_goes_on_where_live_records_are(self, metadata: Metadata, lab: Lab) -> None:
        metadata.artifacts.record(new_artifact("p.rows", 1))
        start = lab.start("fit", run="r", dag_id="d")
        metadata.runs.finish_step(StepFinish(start=start, state="success", metrics={"auc": 0.5}))
        done = metadata.bulk.load_lines(lines())
        assert (done.new["run"], done.new["step_run"], done.new["artifact"]) == (0, 0, 2)
        assert metadata.runs.get("d", "r").pipeline == "churn"
        assert [point.value for point in metadata.runs.metrics(start.key)] == [0.5]
        later = metadata.artifacts.record(new_artifact("p.fit", "later"))
        assert later.version == 8


class TestRejected:
    @pytest.mark.parametrize(
        ("wrong", "says"),
        [
            ({"kind": "dataset"}, "Line 10 is no record.*kind"),
            ({"kind": "model", "name": "churn"}, "Line 10 is no record: model.created_at: Field required"),
            ({"kind": "edge", **STEP, "direction": "in", "name": "x", "artifact": "p.rows", "version": 3},
             'Line 10 names "p.rows@3"'),
            ({"kind": "edge", "direction": "in", "name": "x", "artifact": "p.rows", "version": 1}, "10.* no step run"),
            ({"kind": "artifact", "artifact": "p.fit", "version": 7, **content(9)}, "Line 10.*another content"),
            ({"kind": "artifact", "artifact": "p.fit", "version": 8, **content(3)}, "Line 10.*is version 7"),
            ({"kind": "step_run", **STEP, "run_id": "none", "step": "x", "started_at": AT}, "names a run"),
            ({"kind": "model_version", "model": "churn", "version": 2, "artifact": {"artifact": "x"}, "created_at": AT},
             "Line 10 names"),
        ],
    )  # fmt: skip
    def test_names_the_line_and_keeps_the_batches_before(self, metadata: Metadata, wrong: Any, says: str) -> None:
        with pytest.raises(ImportRejected, match=says):
            metadata.bulk.load_lines(lines(wrong), batch=len(LINES))
        assert len(metadata.artifacts.list("p.rows")) == 2
        metadata.bulk.load_lines(lines())
        assert len(metadata.artifacts.list("p.rows")) == 2


class TestSpeed:
    def test_thousands_of_rows_are_few_statements(self, metadata: Metadata) -> None:
        at = datetime(2026, 1, 1, tzinfo=timezone.utc)
        records: list[Any] = []
        for i in range(400):
            where = {"dag_id": "d", "run_id": f"r{i}", "task_id": "t"}
            records += [
                ImportedRun(dag_id="d", run_id=f"r{i}", started_at=at, parameters={"i": i}),
                ImportedStepRun(**where, step="t", started_at=at, metrics={"m": i}),
            ]
            for j in range(4):
                made = content(1000 + i * 4 + j)
                records.append(ImportedArtifact(**where, artifact=f"a{j}", version=i + 1, **made))
                records.append(ImportedEdge(**where, direction="out", name=f"o{j}", artifact=f"a{j}", version=i + 1))
        began = time.process_time()
        done = metadata.bulk.load(records)
        spent = time.process_time() - began
        assert sum(done.new.values()) == done.rows == 4000
        # 20,000 a second and more on a machine of its own; here, where others compute too, a row at a time would fail.
        assert spent < 2


def test_the_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], url: str
) -> None:
    from windsock.provider.cli.main import main

    file = tmp_path / "records.jsonl"
    file.write_text("\n".join(lines()) + "\n")
    monkeypatch.setenv("WINDSOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WINDSOCK_SQL_ALCHEMY_CONN", url)
    assert main(["db", "import", str(file), "--output", "json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["new"]["artifact"] == 3
    assert main(["db", "import", str(file)]) == 0
    assert "0 of them new" in capsys.readouterr().out
    assert main(["db", "import", str(tmp_path / "none.jsonl")]) == 2
