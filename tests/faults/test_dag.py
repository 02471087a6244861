"""A whole DAG run on a real Airflow while the metadata database is away."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import flows
import pytest
from windsock import airflow_dag
from windsock.hooks.stacks import StackHook
from windsock.provider.artifacts.saving import load
from windsock.provider.runtime.spool import Spool

if TYPE_CHECKING:
    from postgres_lab import Postgres
    from proxy import Proxy


def test_it_succeeds_and_is_recorded_when_the_database_is_back(
    run_dag: Any, postgres: Postgres, door: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mapped steps and all: tasks find their inputs by the references in XCom, which have no version yet."""
    monkeypatch.setenv("WINDSOCK_SQL_ALCHEMY_CONN", postgres.url(postgres.database(), door.port))
    monkeypatch.setenv("WINDSOCK_METADATA_PATIENCE", "0.2")
    door.refuse()
    result = run_dag(airflow_dag(flows.mapped, default_args={"retries": 0}), conf={"rows": 3})
    assert result.state == "success"
    stack = StackHook().stack()
    total = result.xcoms["total"]["output"]
    assert total["version"] is None
    assert load(total, stack.artifact_store) == 50
    door.accept()
    spool = Spool.of(stack)
    assert spool is not None
    kinds = [entry.kind for entry in spool.pending()]
    # load, three instances of square, total
    assert (kinds.count("start"), kinds.count("finish")) == (5, 5)
    assert not spool.replay(stack.metadata).waiting
    metadata = stack.metadata
    run = metadata.runs.get(result.dag_id, result.run_id)
    assert (run.pipeline, run.pipeline_version, run.parameters) == ("mapped", 1, {"rows": 3})
    steps = metadata.runs.steps(run.id)
    assert sorted((s.step, s.map_index, s.state) for s in steps) == [
        ("load", -1, "success"),
        ("square", 0, "success"),
        ("square", 1, "success"),
        ("square", 2, "success"),
        ("total", -1, "success"),
    ]
    (last,) = [s for s in steps if s.step == "total"]
    assert [v.artifact for _, v in metadata.runs.inputs(last.id)] == ["mapped.square"] * 3
    assert metadata.artifacts.get("mapped.total").digest == total["digest"]
    again = run_dag(airflow_dag(flows.mapped, default_args={"retries": 0}), conf={"rows": 3})
    assert {s.state for s in metadata.runs.steps(metadata.runs.get(again.dag_id, again.run_id).id)} == {"cached"}
