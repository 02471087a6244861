"""Every query that a list, a cursor or the lineage sends has an index: no table is read from end to end, none sorted.

The plans are read on SQLite with a few thousand rows and fresh statistics; that PostgreSQL has the same indexes is what
the migration tests compare. A plan is what the database says it will do, so the test fails on the day an index goes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from metadata_lab import Lab, digest, new_artifact
from sqlalchemy import event
from windsock.provider.metadata import EdgeIn, Metadata, NewDriftReport, NewModelVersion, StepFinish, run_key
from windsock.provider.metadata.engine import engine_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

SMALL = {"windsock_model", "windsock_pipeline", "windsock_deployment", "windsock_artifact"}
"""Tables of names: listed by their primary key."""


@pytest.fixture(scope="module")
def full(tmp_path_factory: pytest.TempPathFactory) -> Metadata:
    folder: Path = tmp_path_factory.mktemp("plans")
    metadata = Metadata.open(f"sqlite:///{folder / 'metadata.db'}")
    lab = Lab(metadata)
    with metadata.transaction():
        made = None
        for i in range(1500):
            start = lab.start("train", run=f"r{i}", pipeline=f"p{i % 50}", cache_key=f"k{i}", dag_id=f"d{i % 50}")
            inputs = [] if made is None else [EdgeIn(name="x", ref=made.ref())]
            outputs = [new_artifact(f"a{i % 300}", i, type=f"t{i % 100}")]
            finish = StepFinish(start=start, state="success", inputs=inputs, outputs=outputs, metrics={"a": 1.0})
            made = metadata.runs.finish_step(finish)["output"]
            metadata.models.register(NewModelVersion(model=f"m{i % 100}", artifact=made.ref(), source=str(i)))
            metadata.models.set_alias(f"m{i % 100}", "production", i // 100 + 1, actor="me")
            report = {"model": f"m{i % 100}", "version": 1, "deployment": f"d{i % 100}", "drifted": i % 100 == 0}
            metadata.drift.record(NewDriftReport(**report, rows=i, drift_share=0.1, edges_id=str(i)))
    with metadata.transaction() as connection:
        connection.exec_driver_sql("ANALYZE")
    return metadata


def finish(metadata: Metadata) -> None:
    inputs = [EdgeIn(name="x", ref=metadata.artifacts.get(f"a{i}").ref()) for i in range(5)]
    outputs = [new_artifact(f"a{i}", output=f"o{i}") for i in range(5)]
    start = Lab(metadata).start("end", run="end")
    metadata.runs.finish_step(StepFinish(start=start, state="success", inputs=inputs, outputs=outputs))


QUERIES: dict[str, Callable[[Metadata], Any]] = {
    "runs": lambda m: m.runs.list(limit=20),
    "runs, next page": lambda m: m.runs.list(limit=20, before=m.runs.list(limit=20).next),
    "runs of a pipeline": lambda m: m.runs.list(pipeline="p1"),
    "runs in a state": lambda m: m.runs.list(state="failed"),
    "runs of a pipeline in a state": lambda m: m.runs.list(pipeline="p1", state="failed"),
    "the latest run": lambda m: m.runs.find("d1"),
    "a run": lambda m: m.runs.get("d1", "r1"),
    "steps": lambda m: m.runs.steps(run_key("d1", "r1")),
    "metrics": lambda m: m.runs.metrics("0" * 32),
    "inputs": lambda m: m.runs.inputs("0" * 32),
    "the step cache": lambda m: m.runs.find_cached("p1", "train", "k1"),
    "artifacts": lambda m: m.artifacts.list(limit=20),
    "artifacts of a name": lambda m: m.artifacts.list("a1"),
    "artifacts of a type": lambda m: m.artifacts.list(type="t1"),
    "an artifact": lambda m: (m.artifacts.get("a1"), m.artifacts.get("a1", 1)),
    "artifacts of a digest": lambda m: m.artifacts.by_digest(digest(1)),
    "names of artifacts": lambda m: m.artifacts.names(limit=20),
    "a step's end": finish,
    "registering": lambda m: m.models.register(
        NewModelVersion(model="m1", artifact=m.artifacts.get("a1").ref(), baseline=m.artifacts.get("a2").ref())
    ),
    "recording": lambda m: m.artifacts.record(new_artifact("a1", 1)),
    "models": lambda m: m.models.list(limit=20),
    "a model": lambda m: (m.models.get("m1"), m.models.get("m1", version=1), m.models.get("m1", alias="production")),
    "versions of a model": lambda m: m.models.versions("m1"),
    "history": lambda m: (m.models.history("m1"), m.models.history("m1", "production")),
    "alias events since": lambda m: (m.models.since("m1", after_id=100), m.models.since("m1", "production", 100)),
    "drift": lambda m: (m.drift.list(limit=20), m.drift.list("m1"), m.drift.list(deployment="d1")),
    "drift since": lambda m: (m.drift.since(1000), m.drift.since(0, "m1"), m.drift.since(0, deployment="d1")),
    "drifted since": lambda m: m.drift.since(0, drifted=True),
    "audit": lambda m: m.audit.list(limit=20),
    "lineage of data": lambda m: m.lineage.graph("artifact:a7@3"),
    "lineage of a model": lambda m: m.lineage.graph("model:m7@3"),
    "lineage of a run": lambda m: m.lineage.run_graph("d1", "r1"),
}


@pytest.mark.parametrize("query", QUERIES)
def test_no_query_reads_a_table_from_end_to_end(full: Metadata, query: str) -> None:
    engine = engine_for(full.database.url)
    sent: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, many: bool) -> None:
        if not many and sql.startswith(("SELECT", "WITH")):
            sent.append((sql, values))

    event.listen(engine, "before_cursor_execute", note)
    QUERIES[query](full)
    event.remove(engine, "before_cursor_execute", note)
    assert sent
    with engine.connect() as connection:
        for sql, values in sent:
            plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
            assert [line for line in plan if _is_bad(line, plan, sql)] == [], "\n".join([sql, *plan])


def _is_bad(line: str, plan: list[str], sql: str) -> bool:
    words = line.split()
    if words[0] != "SCAN" or not words[1].startswith("windsock_") or words[1] in SMALL:
        return False
    # A list without a filter is read in the order of an index or of the row numbers, up to its limit.
    sorts = any("TEMP B-TREE FOR ORDER BY" in other for other in plan)
    return sorts or not ("ORDER BY" in sql and "LIMIT" in sql)
