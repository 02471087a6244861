"""Writes that go straight to SQLite's driver leave the same rows, and fail as the others do."""

from __future__ import annotations

import math
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import pytest
from metadata_lab import new_artifact
from sqlalchemy import event, insert
from sqlalchemy.exc import IntegrityError
from windsock.provider.errors import Conflict, MetadataError
from windsock.provider.metadata import EdgeIn, Metadata, MetricPoint, StepFinish, StepStart, runs, schema
from windsock.provider.metadata import artifacts as artifacts_module
from windsock.provider.metadata.direct import Direct
from windsock.provider.metadata.engine import engine_for

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Metadata]:
    metadata = Metadata.open(f"sqlite:///{tmp_path / 'direct.db'}")
    yield metadata
    metadata.close()


@contextmanager
def _listening(metadata: Metadata) -> Iterator[list[str]]:
    """Somebody traces the statements, so that SQLAlchemy runs them."""
    engine = engine_for(metadata.database.url)
    seen: list[str] = []

    def note(_c: Any, _cursor: Any, sql: str, *_rest: Any) -> None:
        seen.append(sql)

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield seen
    finally:
        event.remove(engine, "before_cursor_execute", note)


def _two_steps(metadata: Metadata) -> None:
    """A run with a killed attempt, a retry, a cached step, and every odd value that a row may hold."""
    first = StepStart(
        dag_id="d", run_id="r", task_id="load", pipeline="p", step="load", parameters={"day": "ä\0", "none": None}
    )
    metadata.runs.start_step(first)
    again = first.model_copy(update={"try_number": 2, "step_parameters": {"n": 2**70, "when": NOON}})
    metadata.runs.start_step(again)
    made = metadata.runs.finish_step(
        StepFinish(
            start=again,
            state="success",
            outputs=[new_artifact("p.load", content=1)],
            metrics=[
                MetricPoint(key="loss", value=1.5, step=1, at=NOON),
                MetricPoint(key="loss", value=math.nan, step=2),
            ],
        )
    )
    cached = StepStart(dag_id="d", run_id="r", task_id="train", pipeline="p", step="train", cache_key="k")
    metadata.runs.finish_step(
        StepFinish(
            start=cached,
            state="cached",
            inputs=[EdgeIn(name="rows", ref=made["output"].ref())],
            outputs=[new_artifact("p.train", content=2)],
            error="lone \ud800",
        )
    )
    metadata.runs.end("d", "r", "failed")


def _rows(metadata: Metadata) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of every table, with the types that SQLite keeps."""
    found = {}
    with sqlite3.connect(str(metadata.database.url.database)) as connection:
        for table in schema.metadata.sorted_tables:
            rows = connection.execute(f"SELECT * FROM {table.name}")
            found[table.name] = sorted((tuple((type(v).__name__, v) for v in row) for row in rows), key=repr)
    return found


class TestSameRows:
    def test_whoever_runs_the_statement(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for module in (runs, artifacts_module):
            monkeypatch.setattr(module, "now", lambda: NOON)
        found = []
        for name in ("direct", "traced"):
            metadata = Metadata.open(f"sqlite:///{tmp_path / name}.db")
            if name == "traced":
                with _listening(metadata) as seen:
                    _two_steps(metadata)
                assert any(sql.startswith("INSERT INTO windsock_step_run") for sql in seen)
                assert any(sql.startswith("INSERT INTO windsock_metric") for sql in seen)
            else:
                _two_steps(metadata)
            found.append(_rows(metadata))
            metadata.close()
        assert found[0] == found[1]
        assert len(found[0]["windsock_step_run"]) == 3
        assert len(found[0]["windsock_metric"]) == 2

    def test_it_counts_the_rows_that_it_met(self, database: Metadata) -> None:
        ensure = Direct(insert(schema.artifact).prefix_with("OR IGNORE"))
        with database.transaction() as connection:
            values = {"name": "a", "created_at": NOON}
            assert [ensure(connection, values), ensure(connection, values)] == [1, 0]


class TestFailures:
    def test_a_row_that_is_refused_is_sqlalchemys_error_without_its_values(self, database: Metadata) -> None:
        add = Direct(insert(schema.artifact))
        values = {"name": "secret", "created_at": NOON}

        def twice() -> None:
            with database.transaction() as connection:
                add(connection, values)
                add(connection, values)

        with pytest.raises(Conflict) as caught:
            twice()
        assert isinstance(caught.value.__cause__, IntegrityError)
        assert "secret" not in str(caught.value.__cause__)
        assert database.artifacts.names().items == ()

    def test_a_step_of_no_run_is_refused(self, database: Metadata) -> None:
        start = StepStart(dag_id="d", run_id="r", task_id="t", step="t")
        with pytest.raises(MetadataError, match="FOREIGN KEY"), database.transaction() as connection:
            runs._start(connection, runs._step_row(start, NOON))

    def test_a_failure_halfway_leaves_nothing(self, database: Metadata) -> None:
        start = StepStart(dag_id="d", run_id="r", task_id="t", step="t")

        def fail() -> None:
            with database.transaction() as connection:
                runs._open_run(connection, runs._run_row(start, NOON))
                raise RuntimeError

        with pytest.raises(RuntimeError):
            fail()
        assert database.runs.find("d", "r") is None
