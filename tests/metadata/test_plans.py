"""Every statement that the nouns can send has an index: no table is read from end to end, and none is sorted whole.

Each public method is called (a test asks that none is forgotten) in databases with some thousand rows and fresh
statistics; what is sent on the way is heard, and the database is asked for its plan of each statement. A plan is what
the database says that it will do, so the test fails on the day an index goes.

PostgreSQL is told that reading a whole table is dear, for its own sake or for a join: in small tables it does so
whatever indexes there are, and here it shall tell whether it could do without. Retention is not asked: to look through
everything is its work.
"""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import pytest
from metadata_lab import Lab, digest, new_artifact
from sqlalchemy import event, insert
from windsock.provider.metadata import (
    Deployment,
    EdgeIn,
    Metadata,
    NewDriftReport,
    NewModelVersion,
    StepFinish,
    StepStart,
    listing,
    run_key,
    schema,
)
from windsock.provider.metadata.bulk import (
    ImportedArtifact,
    ImportedEdge,
    ImportedModel,
    ImportedModelVersion,
    ImportedRun,
    ImportedStepRun,
)
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
from windsock.provider.metadata.performance import NewPerformanceReport
from windsock.provider.metadata.rest.methods import noun_class

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

NOUNS = ("pipelines", "runs", "artifacts", "models", "deployments", "drift", "audit", "lineage", "bulk")
NAMES = {"windsock_model", "windsock_pipeline", "windsock_deployment", "windsock_artifact"}
"""Tables of names: listed by their primary key."""

ROWS = 3000
NOW = datetime.now(timezone.utc)
WEEK = NOW - timedelta(days=7)


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def full(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Metadata]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('plans') / 'metadata.db'}"
    else:
        url = request.getfixturevalue("postgres_database")()
        from windsock.provider.metadata import migrate

        migrate.upgrade(url)
    metadata = Metadata.open(url)
    metadata.bulk.load(_records())
    for i in range(40):
        metadata.pipelines.register(f"p{i}", digest=f"{i}", spec={}, source_digest="s")
    with metadata.transaction() as connection:
        _fill(connection)
        for i in range(1500):
            about = {"model": f"m{i % 100}", "version": 1, "deployment": f"d{i % 100}"}
            metadata.performance.record(NewPerformanceReport(**about, rows=i, labelled=0, mature=False))
        connection.exec_driver_sql("ANALYZE")
    yield metadata
    metadata.close()


def _at(i: int) -> datetime:
    return NOW - timedelta(minutes=ROWS - i)


def _records() -> Iterator[Any]:
    for i in range(ROWS):
        where = {"dag_id": f"d{i % 50}", "run_id": f"r{i}", "task_id": "train"}
        facts = {"pipeline": f"p{i % 50}", "stack": f"s{i % 50}", "state": "failed" if i % 100 == 0 else "success"}
        yield ImportedRun(
            dag_id=where["dag_id"],
            run_id=where["run_id"],
            started_at=_at(i),
            parameters={"rate": i, "day": f"{i}"},
            **facts,
        )
        made = {"uri": f"file:///{i}", "digest": digest(i), "size": i, "type": f"t{i % 100}", "created_at": _at(i)}
        yield ImportedStepRun(
            **where, step="train", pipeline=f"p{i % 50}", cache_key=f"k{i}", metrics={"auc": i / ROWS, f"m{i % 9}": i},
            started_at=_at(i),
        )  # fmt: skip
        yield ImportedArtifact(**where, artifact=f"a{i % 300}", version=i // 300 + 1, **made)
        yield ImportedEdge(**where, direction="out", name="output", artifact=f"a{i % 300}", version=i // 300 + 1)
        if i:
            yield ImportedEdge(
                **where, direction="in", name="x", artifact=f"a{(i - 1) % 300}", version=(i - 1) // 300 + 1
            )
        if i % 30 == 0:
            yield ImportedModel(name=f"m{i // 30}", created_at=_at(i))
        yield ImportedModelVersion(
            model=f"m{i // 30}", version=i % 30 + 1, artifact={"artifact": f"a{i % 300}", "version": i // 300 + 1},
            metrics={"auc": i / ROWS}, tags={"team": f"{i % 7}"}, created_at=_at(i), run=run_key(f"d{i % 50}", f"r{i}"),
            source=str(i),
        )  # fmt: skip


def _fill(connection: Connection) -> None:
    """What is not imported: a row each, as the nouns would have written it."""
    models = [{"model": f"m{i % 100}", "version": i // 100 + 1} for i in range(ROWS)]
    moves = {"alias": "production", "from_version": None, "actor": "me", "gates": [], "at": NOW}
    connection.execute(
        insert(schema.alias_event), [{"model": m["model"], "to_version": m["version"], **moves} for m in models]
    )
    alias = {"alias": "production", "version": 1, "revision": 1, "updated_at": NOW}
    connection.execute(insert(schema.alias), [{"model": f"m{i}", **alias} for i in range(100)])
    serving = {"phase": "ready", "flavor": "local", "handle": {}, "revision": 1, "created_at": NOW, "updated_at": NOW}
    connection.execute(
        insert(schema.deployment),
        [{"name": f"d{i}", **m, **serving, "stack": f"s{i % 50}"} for i, m in enumerate(models)],
    )
    changes = {"action": "update", "actor": "me", "at": NOW}
    connection.execute(insert(schema.deployment_event), [{"deployment": f"d{i % 100}", **changes} for i in range(ROWS)])
    found = {"rows": 1, "drift_share": 0.1, "features": {}, "reasons": []}
    connection.execute(
        insert(schema.drift_report),
        [
            {
                **m,
                **found,
                "key": f"{i:032x}",
                "deployment": f"d{i % 100}",
                "drifted": i % 99 == 0,
                "created_at": _at(i),
            }
            for i, m in enumerate(models)
        ],
    )
    stone = {"place": "file:///", "state": "removed", "size": 1, "reason": "unused", "since": NOW}
    connection.execute(insert(schema.tombstone), [{"blob": f"{i:032x}", **stone} for i in range(ROWS)])
    told = {"action": "promote", "subject_kind": "model", "previous": "0" * 64, "hash": "0" * 64}
    connection.execute(
        insert(schema.audit_event),
        [{**told, "at": _at(i), "actor": f"u{i % 50}", "subject": f"m{i % 100}"} for i in range(ROWS)],
    )


def where(text: str) -> tuple[Where, ...]:
    return (Where.parse(text),)


def finish(m: Metadata) -> None:
    inputs = [EdgeIn(name="x", ref=m.artifacts.get(f"a{i}").ref()) for i in range(5)]
    start = Lab(m).start("end", run="end", parameters={"rate": 1})
    again = start.model_copy(update={"try_number": 2})
    m.runs.start_step(again)
    outputs = [new_artifact(f"a{i}", output=f"o{i}") for i in range(5)]
    done = StepFinish(start=again, state="success", inputs=inputs, outputs=outputs, metrics={"auc": 1.0})
    m.runs.finish_step(done)
    m.runs.finish_step(done)
    late = StepStart(dag_id="d", run_id="late", task_id="t", step="t", started_at=WEEK)
    m.runs.start_step(late)
    m.runs.finish_step(StepFinish(start=late, state="failed", ended_at=NOW))
    m.runs.finish_step(StepFinish(start=late.model_copy(update={"task_id": "u"}), state="cached"))
    m.runs.end("churn", "end", "success")


def serve(m: Metadata) -> None:
    new = Deployment(name="new", model="m1", version=1, phase="pending", flavor="local")
    put = m.deployments.put(new, expected_revision=None)
    m.deployments.put(put.model_copy(update={"phase": "ready"}), expected_revision=put.revision)
    m.deployments.delete("new")


def watch(m: Metadata) -> None:
    report = m.drift.record(NewDriftReport(model="m1", version=1, rows=1, drifted=True, drift_share=1.0))
    m.drift.claimable(report.id, "retrain", cooldown=timedelta(hours=1))
    m.drift.claim(report.id, "retrain", cooldown=timedelta(hours=1))


def promote(m: Metadata) -> None:
    ref = m.artifacts.get("a1").ref()
    start = Lab(m).start("register", run="end")
    new = NewModelVersion(model="m1", artifact=ref, baseline=ref, step_run=start.key, metrics={"auc": 1.0})
    made = m.models.register(new)
    m.models.register(new)
    m.models.set_alias("m1", "staging", made.version, actor="me", run="r")
    m.models.set_alias("m1", "staging", made.version, actor="me", run="r")
    m.models.remove_alias("m1", "staging", actor="me")
    m.models.archive("m1", made.version, "me")


def every_page(search: Callable[..., Any], *filters: Any) -> None:
    """Each filter: the first page and the next one, gathered and walked."""
    for wanted in filters:
        for many in (10_000, 1):
            with pytest.MonkeyPatch.context() as patched:
                patched.setattr(listing, "MANY", many)
                page = search(wanted, 3)
                if page.next is not None:
                    search(wanted, 3, page.next)


CALLS: dict[str, Callable[[Metadata], Any]] = {
    "pipelines": lambda m: (
        m.pipelines.register("p1", digest="new", spec={}, source_digest="s"),
        (m.pipelines.number("p1", "1"), m.pipelines.find("p1"), m.pipelines.get("p1", 1)),
        (m.pipelines.list(limit=10), m.pipelines.versions("p1")),
    ),
    "steps that begin and end": finish,
    "one run": lambda m: (
        (m.runs.find("d1"), m.runs.get("d1", "r1"), m.runs.get_by_key(run_key("d1", "r1"))),
        [(m.runs.step(s.id), m.runs.metrics(s.id)) for s in m.runs.steps(run_key("d1", "r1"))],
        (m.runs.inputs("0" * 32), m.runs.outputs("0" * 32), m.runs.find_cached("p1", "train", "k1")),
    ),
    "lists of runs": lambda m: (
        m.runs.list(limit=20),
        every_page(
            m.runs.search,
            RunFilter(),
            *(
                RunFilter(**{name: value})
                for name, value in {
                    "pipeline": "p1",
                    "dag_id": "d1",
                    "state": "failed",
                    "stack": "s1",
                    "since": WEEK,
                    "until": NOW,
                }.items()
            ),
            RunFilter(pipeline="p1", state="failed"),
            RunFilter(dag_id="d1", state="failed", since=WEEK),
            RunFilter(metrics=where("auc>0.9")),
            RunFilter(parameters=where("rate<10")),
            RunFilter(parameters=where("day=3")),
            RunFilter(pipeline="p1", state="success", since=WEEK, metrics=where("auc>0.5"), parameters=where("day!=3")),
        ),
    ),
    "one artifact": lambda m: (
        m.artifacts.record(new_artifact("a1", "again")),
        m.artifacts.record(new_artifact("a1", "again")),
        (
            m.artifacts.find("a1"),
            m.artifacts.get("a1", 1),
            m.artifacts.versions("a1"),
            m.artifacts.by_digest(digest(1)),
        ),
    ),
    "lists of artifacts": lambda m: (
        m.artifacts.list(limit=20),
        (m.artifacts.names(limit=20), m.artifacts.names(limit=20, after="a1"), m.artifacts.names(prefix="a1")),
        every_page(
            m.artifacts.search,
            ArtifactFilter(),
            ArtifactFilter(name="a1"),
            ArtifactFilter(name="a1", type="t1", since=WEEK),
            ArtifactFilter(prefix="a29"),
            ArtifactFilter(type="t1"),
            ArtifactFilter(producer="0" * 32),
            ArtifactFilter(since=WEEK, until=NOW),
            ArtifactFilter(min_size=10, max_size=20),
            ArtifactFilter(type="t1", prefix="a2", max_size=2000),
        ),
    ),
    "a model is registered and promoted": promote,
    "models": lambda m: (
        (m.models.list(limit=20), m.models.list(limit=20, after="m1"), m.models.list(prefix="m1")),
        (m.models.get("m1"), m.models.find("m1", version=1), m.models.get("m1", alias="production")),
        (m.models.versions("m1"), m.models.aliases("m1"), m.models.history("m1"), m.models.history("m1", "production")),
        (m.models.since("m1", after_id=100), m.models.since("m1", "production", 100)),
        every_page(
            m.models.search,
            ModelVersionFilter(),
            ModelVersionFilter(model="m1", state="active", since=WEEK),
            ModelVersionFilter(run=run_key("d1", "r1")),
            ModelVersionFilter(metrics=where("auc>0.9")),
            ModelVersionFilter(model="m1", metrics=where("auc>0.9"), tags=where("team=3")),
            ModelVersionFilter(tags=where("team=3"), parameters=where("depth=3")),
        ),
    ),
    "a deployment comes and goes": serve,
    "deployments": lambda m: (
        (m.deployments.find("d1"), m.deployments.get("d1"), m.deployments.history("d1"), m.deployments.since("d1", 9)),
        m.deployments.list(limit=20),
        every_page(
            m.deployments.search,
            DeploymentFilter(),
            DeploymentFilter(model="m1", version=1),
            DeploymentFilter(phase="deleted"),
            DeploymentFilter(stack="s1"),
            DeploymentFilter(prefix="d12"),
        ),
    ),
    "a report of drift": watch,
    "drift": lambda m: (
        (
            m.drift.find(1),
            m.drift.get(1),
            m.drift.latest("m1"),
            m.drift.latest(deployment="d1"),
            m.drift.list(limit=20),
        ),
        (
            m.drift.since(1000),
            m.drift.since(0, "m1"),
            m.drift.since(0, deployment="d1"),
            m.drift.since(0, drifted=True),
        ),
        every_page(
            m.drift.search,
            DriftFilter(),
            DriftFilter(model="m1", version=1),
            DriftFilter(deployment="d1", since=WEEK),
            DriftFilter(drifted=True),
            DriftFilter(since=WEEK, until=NOW),
        ),
    ),
    "performance": lambda m: (
        (m.performance.list(), m.performance.latest("m1"), m.performance.list(deployment="d1")),
        (m.performance.since(1000), m.performance.since(0, "m1"), m.performance.since(0, None, "d1")),
    ),
    "audit": lambda m: (
        m.audit.append("me", "try", "model", "m1"),
        (m.audit.list(limit=20), m.audit.head(), next(m.audit.events())),
        every_page(
            m.audit.search,
            AuditFilter(),
            AuditFilter(actor="u1"),
            AuditFilter(action="promote", since=WEEK),
            AuditFilter(subject_kind="model"),
            AuditFilter(subject_kind="model", subject="m1", until=NOW),
        ),
    ),
    "lineage": lambda m: (
        [
            m.lineage.graph(node)
            for node in ("artifact:a7@3", "model:m7@3", "deployment:d1", f"run:{run_key('d1', 'r1')}")
        ],
        (m.lineage.graph("artifact:a7@3", limit=7), m.lineage.run_graph("d1"), m.lineage.run_graph("d1", "r1")),
    ),
    "a bulk import": lambda m: m.bulk.load([*_records()][:500]),
}
LEFT_OUT = {"audit": {"verify"}, "bulk": {"load_lines"}}
"""Reads every event, in pages, by design; and what only reads a file."""


@pytest.mark.parametrize("calls", CALLS)
def test_no_statement_reads_or_sorts_a_table_whole(full: Metadata, calls: str) -> None:
    engine = engine_for(full.database.url)
    sent: dict[str, Any] = {}

    def note(_connection: Any, _cursor: Any, sql: str, values: Any, _context: Any, many: bool) -> None:
        if sql.startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")):
            sent.setdefault(sql, values[0] if many and isinstance(values, list) else values)

    event.listen(engine, "before_cursor_execute", note)
    CALLS[calls](full)
    event.remove(engine, "before_cursor_execute", note)
    assert sent
    plans = _sqlite if engine.dialect.name == "sqlite" else _postgresql
    with engine.connect() as connection:
        wrong = [(sql, bad) for sql, values in sent.items() if (bad := plans(connection, sql, values))]
    assert wrong == [], "\n\n".join(f"{sql}\n{bad}" for sql, bad in wrong)


def test_every_method_is_called() -> None:
    """What a method is called, so that a new one is asked for its plans, too."""
    source = json.dumps([call.__code__.co_names + _inner(call.__code__) for call in CALLS.values()])
    for noun in NOUNS:
        kind = noun_class(noun)
        methods = {name for name in vars(kind) if not name.startswith("_")} - LEFT_OUT.get(noun, set())
        assert {name for name in methods if f'"{name}"' not in source} == set(), noun


def _inner(code: Any) -> tuple[str, ...]:
    parts = [part for part in code.co_consts if hasattr(part, "co_names")]
    return tuple(name for part in parts for name in (*part.co_names, *_inner(part)))


def _sqlite(connection: Connection, sql: str, values: Any) -> list[str]:
    plan = [row[3] for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {sql}", values)]
    sorts = any("TEMP B-TREE FOR ORDER BY" in line for line in plan)

    def is_bad(line: str) -> bool:
        if line.startswith("BLOOM FILTER"):  # made by reading the whole table
            return True
        words = line.split()
        if words[0] != "SCAN" or not words[1].startswith("windsock_") or words[1] in NAMES:
            return False
        # A list is read in the order of an index or of the row numbers, up to its limit.
        return sorts or not ("ORDER BY" in sql and "LIMIT" in sql)

    return [*plan, "→", *bad] if (bad := [line for line in plan if is_bad(line)]) else []


def _postgresql(connection: Connection, sql: str, values: Any) -> list[str]:
    for way in ("seqscan", "hashjoin", "mergejoin"):
        connection.exec_driver_sql(f"SET enable_{way} = off")
    plan = connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {sql}", values).scalar_one()
    connection.rollback()
    return [*_whole(plan[0]["Plan"], limited=False)]


def _whole(node: dict[str, Any], *, limited: bool) -> Iterator[str]:
    kind, table = node["Node Type"], node.get("Relation Name", "")
    ours = table.startswith("windsock_") and table not in NAMES
    if ours and kind == "Seq Scan":
        yield f"{kind} on {table}"
    if ours and kind in {"Index Scan", "Index Only Scan"} and "Index Cond" not in node and not limited:
        yield f"{kind} of all of {table} by {node['Index Name']}"
    if kind in {"Sort", "Aggregate", "Hash", "Materialize"}:
        limited = False  # takes all before it gives the first
    for inner in node.get("Plans", ()):
        yield from _whole(inner, limited=limited or kind == "Limit")
