"""The metadata over Airflow's own API server with two workers, against the database opened directly.

The server is ``airflow api-server --workers 2`` on 127.0.0.1 with an SQLite metadata database; the client holds a
task's token and one connection. ``asyncio`` is the same server where uvloop cannot be imported: its answers stall for
40 ms unless the client sees to it (``provider/metadata/rest/http.py``). Times are medians of one call, the two sides
in turn.
"""

from __future__ import annotations

import itertools
import statistics
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windsock.provider.cli.demo.airflow import PrivateAirflow
from windsock.provider.metadata import Metadata, MetricPoint, NewArtifact, NewModelVersion, StepFinish, StepStart
from windsock.provider.metadata.rest.client import RestMetadata
from windsock.provider.metadata.rest.http import HttpClient
from windsock.provider.metadata.rest.methods import SCOPES
from windsock.provider.security.tokens import EnvironmentToken

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]
TARGET_MS = 5.0
DAG, RUN = "bench", "r1"


def run(quick: bool) -> list[Row]:
    times = 100 if quick else 400
    rows: list[Row] = []
    for loop in ("uvloop", "asyncio"):
        with tempfile.TemporaryDirectory(prefix="windsock-bench-") as name:
            rows += _measured(Path(name), loop, times)
    return rows


def _measured(folder: Path, loop: str, times: int) -> list[Row]:
    url = f"sqlite:///{folder / 'metadata.db'}"
    environment = {
        "WINDSOCK_HOME": str(folder / "windsock"),
        "WINDSOCK_SQL_ALCHEMY_CONN": url,
        "AIRFLOW__API__WORKERS": "2",
    }
    if loop == "asyncio":
        hidden = folder / "without" / "uvloop"
        hidden.mkdir(parents=True)
        (hidden / "__init__.py").write_text("raise ImportError\n")
        environment["PYTHONPATH"] = str(hidden.parent)
    dags = folder / "dags"
    dags.mkdir()
    airflow = PrivateAirflow(folder / "airflow", dags, environment, components=("api-server",))
    try:
        airflow.prepare()
        airflow.migrate()
        airflow.start()
        airflow.wait_until_healthy()
        direct, rest = Metadata.open(url), _as_a_task(airflow)
        rest.models.list()
        return Bench(direct, rest).rows(loop, times)
    finally:
        airflow.stop()


def _as_a_task(airflow: PrivateAirflow) -> RestMetadata:
    import jwt

    now = int(time.time())
    claims = {"sub": "task", "ti": str(uuid.uuid4()), "dag_id": DAG, "run_id": RUN, "task_id": "t", "map_index": -1}
    claims |= {"try_number": 1, "actor": f"dag:{DAG}", "scopes": list(SCOPES), "aud": "windsock"}
    claims |= {"iat": now, "nbf": now, "exp": now + 3600}
    token = jwt.encode(claims, airflow.environment["AIRFLOW__API_AUTH__JWT_SECRET"], algorithm="HS512")
    return RestMetadata(HttpClient(f"{airflow.url}/windsock"), EnvironmentToken({"WINDSOCK_API_TOKEN": token}))


class Bench:
    def __init__(self, direct: Metadata, rest: RestMetadata) -> None:
        self.direct = direct
        self.rest = rest
        self.count = itertools.count()
        new = NewArtifact(artifact="m", uri="file:///m", digest="blake3:0", size=1, type="T")
        self.version = NewModelVersion(model="churn", artifact=direct.artifacts.record(new).ref())
        direct.models.register(self.version)
        direct.models.register(self.version)

    def rows(self, loop: str, times: int) -> list[Row]:
        found = [
            self.row(f"alias move over HTTP, 2 workers, {loop}", times, self.alias, limit=TARGET_MS),
            self.row(f"version registration over HTTP, 2 workers, {loop}", times, self.register, limit=TARGET_MS),
        ]
        if loop == "uvloop":
            found += [
                self.row("a step's bookkeeping over HTTP", times, self.step),
                self.row("a step with 1,000 metrics over HTTP", max(times // 20, 5), self.metrics),
                self.row(
                    "one model version over HTTP", times, lambda metadata: metadata.models.get("churn", version=1)
                ),
            ]
        return found

    def alias(self, metadata: Metadata) -> Any:
        return metadata.models.set_alias("churn", "production", 1 + next(self.count) % 2, actor="me")

    def register(self, metadata: Metadata) -> Any:
        return metadata.models.register(self.version)

    def step(self, metadata: Metadata, points: int = 1) -> Any:
        number = next(self.count)
        start = StepStart(
            dag_id=DAG, run_id=RUN, task_id=f"t{number}", step="t", pipeline=DAG, parameters={"rate": 0.1}
        )
        metadata.runs.start_step(start)
        output = NewArtifact(artifact="bench.t", uri=f"file:///{number}", digest=f"blake3:{number}", size=1, type="T")
        values = [MetricPoint(key="loss", value=i / 7, step=i) for i in range(points)]
        return metadata.runs.finish_step(StepFinish(start=start, state="success", outputs=[output], metrics=values))

    def metrics(self, metadata: Metadata) -> Any:
        return self.step(metadata, 1_000)

    def row(self, name: str, times: int, call: Callable[[Metadata], Any], *, limit: float | None = None) -> Row:
        """``value`` is the median over HTTP in milliseconds, ``baseline`` the one of the database itself."""
        sides: tuple[list[float], list[float]] = ([], [])
        for metadata in (self.rest, self.direct):
            for _ in range(5):
                call(metadata)
        for _ in range(times):
            for metadata, seconds in zip((self.rest, self.direct), sides, strict=True):
                began = time.perf_counter()
                call(metadata)
                seconds.append(time.perf_counter() - began)
        over, alone = (statistics.median(seconds) * 1000 for seconds in sides)
        row: Row = {"name": name, "value": over, "baseline": alone, "unit": "ms", "ratio": over / alone}
        if limit is not None:
            row |= {"target": f"p50 ≤ {limit:g} ms", "ok": over <= limit}
        return row
