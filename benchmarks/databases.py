"""What a person waits for, on each server: an alias move, a registration, and the look-up of a serving process.

The servers run as they are installed: each commit is on the disk. The baseline is a server's floor: one row and its
commit, by the driver alone; where the disk is busy, that is most of it. SQLite's figures are in ``metadata.py``.
"""

from __future__ import annotations

import itertools
import statistics
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windsock.provider.metadata import Metadata, NewArtifact, NewModelVersion, migrate

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
TARGET_MS = 5.0


def run(quick: bool) -> list[dict[str, Any]]:
    sys.path[:0] = [str(ROOT / "tests")]
    times = 60 if quick else 300
    rows: list[dict[str, Any]] = []
    for name, server in (("PostgreSQL", _postgresql), ("MariaDB", _mariadb)):
        with server() as (url, floor):
            rows += _measure(name, url, floor, times)
    return rows


def _measure(name: str, url: str, floor: Callable[[], object], times: int) -> list[dict[str, Any]]:
    migrate.upgrade(url)
    metadata, count = Metadata.open(url), itertools.count()
    stored = NewArtifact(artifact="churn.model", uri="file:///x", digest="blake3:0", size=3, type="T")
    artifact = metadata.artifacts.record(stored).ref()

    def register() -> object:
        return metadata.models.register(NewModelVersion(model="churn", artifact=artifact, source=f"s{next(count)}"))

    def move() -> object:
        return metadata.models.set_alias("churn", "production", 1 + next(count) % 2, actor="me")

    register(), register(), move()
    try:
        return [
            _row(f"version registration on {name}", register, floor, times, TARGET_MS),
            _row(f"alias move on {name}", move, floor, times, TARGET_MS),
            _row(
                f"the model behind an alias on {name}",
                lambda: metadata.models.get("churn", alias="production"),
                None,
                times,
            ),
        ]
    finally:
        metadata.close()


def _row(
    name: str, ours: Callable[[], object], floor: Callable[[], object] | None, times: int, limit: float | None = None
) -> dict[str, Any]:
    spent: dict[int, list[float]] = {0: [], 1: []}
    for _ in range(times):
        for side, act in enumerate((ours, floor)):  # in turn: a busy machine is busy for both
            if act is not None:
                began = time.perf_counter()
                act()
                spent[side].append((time.perf_counter() - began) * 1000)
    value = statistics.median(spent[0])
    baseline = statistics.median(spent[1]) if spent[1] else None
    return {
        "name": name,
        "value": value,
        "baseline": baseline,
        "unit": "ms",
        "ratio": None if baseline is None else value / baseline,
        "target": "" if limit is None else f"<= {limit:g} ms",
        "ok": None if limit is None else value <= limit,
    }


@contextmanager
def _postgresql() -> Iterator[tuple[str, Callable[[], object]]]:
    import psycopg
    from postgres_lab import Postgres

    with tempfile.TemporaryDirectory(prefix="windsock-bench-") as name:
        server = Postgres(Path(name))
        server.start(fsync="on", full_page_writes="on")
        try:
            url = server.url(server.database())
            with psycopg.connect(url, autocommit=True) as raw:
                raw.execute("CREATE TABLE floor (id SERIAL PRIMARY KEY, text VARCHAR(100))")
                yield url, lambda: raw.execute("INSERT INTO floor (text) VALUES (%s)", ("x" * 100,))
        finally:
            server.stop()


@contextmanager
def _mariadb() -> Iterator[tuple[str, Callable[[], object]]]:
    import pymysql
    from mariadb_lab import PASSWORD, create_database, running

    with running(durable=True) as server:
        url = create_database(server, "bench")
        port = int(server.rsplit(":", 1)[1])
        access = {"host": "127.0.0.1", "port": port, "user": "windsock", "password": PASSWORD, "database": "bench"}
        with pymysql.connect(**access, autocommit=True) as raw:  # type: ignore[arg-type]
            cursor = raw.cursor()
            cursor.execute("CREATE TABLE floor (id INTEGER AUTO_INCREMENT PRIMARY KEY, text VARCHAR(100))")
            yield url, lambda: cursor.execute("INSERT INTO floor (text) VALUES (%s)", ("x" * 100,))
