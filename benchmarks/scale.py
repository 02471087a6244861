"""Metadata at scale: a million artifact versions, two million edges, ten thousand runs; on SQLite and on PostgreSQL.

The world is built by the bulk import: step runs that each read four artifact versions of earlier ones and make four, so
that a closure of depth 20 reaches thousands, and the limits of a graph are what ends it. PostgreSQL is one that the
benchmark starts (as the tests do) with the settings of a fresh installation, durable commits included.
"""

from __future__ import annotations

import random
import statistics
import tempfile
import time
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windsock.provider.metadata import Metadata, migrate, schema
from windsock.provider.metadata.bulk import ImportedArtifact, ImportedEdge, ImportedRun, ImportedStepRun

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]
START = datetime(2025, 1, 1, tzinfo=timezone.utc)
FAN = 4
STEPS_A_RUN = 10
NAMES = 200


def world(versions: int, seed: int = 7) -> Iterator[Any]:
    """Records of a lineage of that many artifact versions, and twice as many edges."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for step in range(versions // FAN):
        number = step // STEPS_A_RUN
        at = START + timedelta(seconds=30 * step)
        where = {"dag_id": f"dag{number % 50}", "run_id": f"run{number}", "task_id": f"step{step % STEPS_A_RUN}"}
        if step % STEPS_A_RUN == 0:
            parameters = {"rate": chance.random(), "day": f"d{number % 365}"}
            yield ImportedRun(
                dag_id=where["dag_id"],
                run_id=where["run_id"],
                pipeline=f"pipeline{number % 50}",
                parameters=parameters,
                started_at=at,
                ended_at=at + timedelta(minutes=5),
            )
        yield ImportedStepRun(
            **where,
            pipeline=f"pipeline{number % 50}",
            step=where["task_id"],
            metrics={"accuracy": chance.random()},
            started_at=at,
            ended_at=at + timedelta(seconds=20),
        )
        for output in range(FAN):
            made = step * FAN + output
            yield ImportedArtifact(
                **where,
                artifact=name_of(made),
                version=made // NAMES + 1,
                uri=f"file:///objects/{made:064x}",
                digest=f"blake3:{made:064x}",
                size=1000 + made % 100_000,
                type=f"type{made % 20}",
                created_at=at,
            )
            yield ImportedEdge(
                **where, direction="out", name=f"out{output}", artifact=name_of(made), version=made // NAMES + 1
            )
            if step:
                read = chance.randrange(max(0, step - 2000), step) * FAN + chance.randrange(FAN)
                yield ImportedEdge(
                    **where, direction="in", name=f"in{output}", artifact=name_of(read), version=read // NAMES + 1
                )


def name_of(number: int) -> str:
    return f"data{number % NAMES}"


def build(metadata: Metadata, versions: int) -> tuple[int, float]:
    """Rows given, and seconds of importing them (making the records is not counted)."""
    rows, seconds = 0, 0.0
    records = world(versions)
    while batch := [record for _, record in zip(range(20_000), records, strict=False)]:
        began = time.perf_counter()
        rows += metadata.bulk.load(batch, actor="benchmark").rows
        seconds += time.perf_counter() - began
    with metadata.transaction() as connection:
        connection.exec_driver_sql("ANALYZE")
    return rows, seconds


def closures(metadata: Metadata, versions: int, times: int) -> list[float]:
    """Seconds of closures of depth 20, up and down in turn, from versions all over."""
    chance = random.Random(11)  # noqa: S311 - no secret
    seconds = []
    for i in range(times + 3):
        number = chance.randrange(versions)
        node = f"artifact:{name_of(number)}@{number // NAMES + 1}"
        began = time.perf_counter()
        metadata.lineage.graph(node, direction="up" if i % 2 else "down", depth=20)
        if i >= 3:
            seconds.append(time.perf_counter() - began)
    return seconds


if __name__ == "__main__":
    import sys

    url, count = sys.argv[1], int(sys.argv[2])
    if not url.startswith("sqlite"):
        migrate.upgrade(url)
    metadata = Metadata.open(url)
    if not metadata.artifacts.list(limit=1):
        rows, took = build(metadata, count)
        print(rows, took, rows / took)
    found = sorted(closures(metadata, count, 60))
    print("p50", statistics.median(found), "p95", found[int(len(found) * 0.95)], "max", found[-1])
