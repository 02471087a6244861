"""Metadata at scale: a million artifact versions, two million edges, ten thousand runs; on SQLite and on PostgreSQL.

The world is built by the bulk import: step runs that each read four artifact versions of earlier ones and make four, so
that a closure of depth 20 reaches thousands, and the limits of a graph are what ends it. PostgreSQL is one that the
benchmark starts (as the tests do) with the settings of a fresh installation, durable commits included.
"""

from __future__ import annotations

import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psycopg
from windsock.provider.metadata import (
    EdgeIn,
    Metadata,
    NewArtifact,
    NewModelVersion,
    StepFinish,
    StepStart,
    migrate,
)
from windsock.provider.metadata.bulk import ImportedArtifact, ImportedEdge, ImportedRun, ImportedStepRun
from windsock.provider.metadata.filters import RunFilter, Where

if TYPE_CHECKING:
    from collections.abc import Iterator

Row = dict[str, Any]
ROOT = Path(__file__).parents[1]
PLOT = ROOT / "docs" / "images" / "growth.svg"
START = datetime(2025, 1, 1, tzinfo=timezone.utc)
FAN = 4
STEPS_A_RUN = 10
NAMES = 200


def world(versions: int, seed: int = 7) -> Iterator[Any]:
    """Records of a lineage of that many artifact versions, and twice as many edges."""
    chance = random.Random(seed)
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
    chance = random.Random(11)
    seconds = []
    for i in range(times + 3):
        number = chance.randrange(versions)
        node = f"artifact:{name_of(number)}@{number // NAMES + 1}"
        began = time.perf_counter()
        metadata.lineage.graph(node, direction="up" if i % 2 else "down", depth=20)
        if i >= 3:
            seconds.append(time.perf_counter() - began)
    return seconds


def run(quick: bool) -> list[Row]:
    versions, runs = (20_000, 500) if quick else (1_000_000, 10_000)
    rows = []
    with tempfile.TemporaryDirectory(prefix="windsock-bench-", dir="/tmp") as name:
        folder = Path(name)
        os.chmod(folder, 0o755)  # the server may run as nobody
        rows += _growth(f"sqlite:///{folder / 'growth.db'}", runs, plot=not quick)
        rows += _at_scale("SQLite", f"sqlite:///{folder / 'scale.db'}", versions)
        with _postgresql(folder / "server") as url:
            rows += _at_scale("PostgreSQL", url, versions)
            rows += _registry(url)
    return rows


def _at_scale(database: str, url: str, versions: int) -> list[Row]:
    if database == "PostgreSQL":
        migrate.upgrade(url)
    metadata = Metadata.open(url)
    rows, seconds = build(metadata, versions)
    found = sorted(closures(metadata, versions, 100))
    p95 = found[int(len(found) * 0.95)]
    search = statistics.median(_searches(metadata))
    metadata.close()
    world = f"{versions:,} versions, {2 * versions:,} edges"
    speed = rows / seconds
    return [
        {"name": f"{database}: bulk import of {rows:,} records", "value": speed, "baseline": None, "ratio": None,
         "target": "≥ 20,000/s", "ok": speed >= 20_000, "unit": "records/s"},
        _figure(f"{database}: lineage, depth 20, in {world}, p95", p95, "≤ 50 ms", 50e-3),
        _figure(f"{database}: search in them that yields 1,000 runs", search, "≤ 15 ms", 15e-3),
    ]  # fmt: skip


def _searches(metadata: Metadata) -> Iterator[float]:
    wanted = RunFilter(metrics=(Where.parse("accuracy>0.5"),), parameters=(Where.parse("rate>0.2"),))
    for i in range(25):
        began = time.perf_counter()
        metadata.runs.search(wanted, 1000)
        if i >= 5:
            yield time.perf_counter() - began


def _registry(url: str) -> list[Row]:
    metadata = Metadata.open(url)
    ref = metadata.artifacts.get("data0", 1).ref()
    times: dict[str, list[float]] = {"register a model version": [], "move an alias": []}
    for i in range(200):
        began = time.perf_counter()
        metadata.models.register(NewModelVersion(model="churn", artifact=ref, metrics={"auc": 0.9}, source=str(i)))
        registered = time.perf_counter()
        metadata.models.set_alias("churn", "production", i + 1, actor="me")
        times["register a model version"].append(registered - began)
        times["move an alias"].append(time.perf_counter() - registered)
    metadata.close()
    return [
        _figure(f"PostgreSQL: {name}", statistics.median(seconds[20:]), "≤ 5 ms", 5e-3)
        for name, seconds in times.items()
    ]


def _growth(url: str, runs: int, *, plot: bool) -> list[Row]:
    """Median seconds of a step, bookkeeping and cache look-up, in each of twenty parts of so many runs of two steps."""
    metadata = Metadata.open(url)
    parts: list[tuple[int, float]] = []
    seconds: list[float] = []
    made = metadata.artifacts.record(_output("data", 0))
    for number in range(runs):
        for name in ("load", "train"):
            start = StepStart(
                dag_id="churn", run_id=f"r{number}", task_id=name, step=name, pipeline="churn", pipeline_version=1,
                parameters={"rate": number / runs, "day": "monday"}, cache_key=f"{name}{number}",
            )  # fmt: skip
            output = _output(f"churn.{name}", number)
            began = time.perf_counter()
            metadata.runs.find_cached("churn", name, f"{name}{number}")
            metadata.runs.start_step(start)
            inputs = [EdgeIn(name="rows", ref=made.ref())]
            done = StepFinish(start=start, state="success", inputs=inputs, outputs=[output], metrics={"auc": 0.9})
            made = metadata.runs.finish_step(done)["output"]
            seconds.append(time.perf_counter() - began)
        metadata.runs.end("churn", f"r{number}", "success")
        if (number + 1) % (runs // 20) == 0:
            parts.append((number + 1, statistics.median(seconds)))
            seconds.clear()
    metadata.close()
    if plot:
        PLOT.write_text(draw(parts))
    first, last = (statistics.median(value for _, value in some) for some in (parts[1:5], parts[-4:]))
    return [
        {"name": f"a step's bookkeeping at run {runs:,} vs at run {runs // 10:,}", "value": last * 1e3,
         "baseline": first * 1e3, "ratio": last / first, "target": "≤ 1.3 times", "ok": last <= 1.3 * first,
         "unit": "ms"}
    ]  # fmt: skip


def draw(parts: list[tuple[int, float]]) -> str:
    """The growth as a picture: a line, two axes, and nothing that needs a plotting library."""
    width, height, left, bottom = 640, 280, 56, 40
    most = max(value for _, value in parts) * 1e3 * 1.5
    across = lambda run: left + (width - left - 20) * run / parts[-1][0]  # noqa: E731
    up = lambda value: height - bottom - (height - bottom - 20) * value / most  # noqa: E731
    line = " ".join(f"{across(run):.1f},{up(value * 1e3):.1f}" for run, value in parts)
    ticks = [
        f'<text x="{across(run):.0f}" y="{height - 22}" text-anchor="middle">{run:,}</text>'
        for run in (part[0] for part in parts[4::5])
    ]
    ticks += [
        f'<text x="{left - 8}" y="{up(most * part) + 4:.0f}" text-anchor="end">{most * part:.2f}</text>'
        f'<line x1="{left}" x2="{width - 20}" y1="{up(most * part):.0f}" y2="{up(most * part):.0f}" class="grid"/>'
        for part in (0, 0.5, 1)
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
        'font-family="sans-serif" font-size="12">'
        "<title>Milliseconds of bookkeeping a step, from the first run to the last</title>"
        "<style>.grid{stroke:#8884;stroke-width:1}text{fill:#777}polyline{fill:none;stroke:#0b7285;stroke-width:2}</style>"
        f'{"".join(ticks)}<polyline points="{line}"/>'
        f'<text x="{left}" y="14">ms a step (look-up, begin, end), SQLite, median</text>'
        f'<text x="{width - 20}" y="{height - 6}" text-anchor="end">runs recorded</text></svg>\n'
    )


def _output(name: str, number: int) -> NewArtifact:
    digest = f"blake3:{number:064x}"
    return NewArtifact(artifact=name, uri=f"file:///{name}/{digest}", digest=digest, size=3, type="T", materializer="m")


@contextmanager
def _postgresql(folder: Path) -> Iterator[str]:
    sys.path.insert(0, str(ROOT / "tests"))
    from servers import _postgres_program, _unprivileged, free_port

    folder.mkdir()
    if os.geteuid() == 0:
        os.chown(folder, 65534, 65534)
    environ = {**os.environ, "LC_ALL": "C", "HOME": str(folder)}
    quiet: dict[str, Any] = {"env": environ, "cwd": folder, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    make = [str(_postgres_program("initdb")), "-D", str(folder / "data"), "-U", "windsock", "--auth=trust"]
    subprocess.run(_unprivileged([*make, "-E", "UTF8"]), check=True, **quiet)
    port = free_port()
    options = ("listen_addresses=127.0.0.1", f"port={port}", f"unix_socket_directories={folder}")
    serve = [str(_postgres_program("postgres")), "-D", str(folder / "data")]
    server = subprocess.Popen(_unprivileged([*serve, *(part for o in options for part in ("-c", o))]), **quiet)
    try:
        url = f"postgresql://windsock@127.0.0.1:{port}/postgres"
        for _ in range(200):
            try:
                psycopg.connect(url, connect_timeout=1).close()
                break
            except psycopg.OperationalError:
                time.sleep(0.1)
        yield url
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(30)


def _figure(name: str, seconds: float, target: str, most: float) -> Row:
    return {"name": name, "value": seconds * 1e3, "baseline": None, "ratio": None, "target": target,
            "ok": seconds <= most, "unit": "ms"}  # fmt: skip


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(json.dumps(row, ensure_ascii=False))
