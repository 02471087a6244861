"""Metadata on SQLite: each call against raw ``sqlite3`` that writes or reads the same rows of the same schema.

The baseline is prepared statements in the same file format, with the same pragmas and the same commits, and without a
record class, a compiled statement or a check: the floor. Times are medians of CPU-and-wall seconds of one call; the two
sides run in turn, so that a busy machine is busy for both.
"""

from __future__ import annotations

import itertools
import json
import sqlite3
import statistics
import tempfile
import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windsock.provider.metadata import (
    EdgeIn,
    Metadata,
    MetricPoint,
    NewArtifact,
    NewModelVersion,
    StepFinish,
    StepStart,
)
from windsock.provider.metadata.bulk import ImportedRun, ImportedStepRun
from windsock.provider.metadata.filters import RunFilter, Where

if TYPE_CHECKING:
    from collections.abc import Callable

Row = dict[str, Any]
NOW = "2026-01-01 00:00:00.000000+00:00"


def run(quick: bool) -> list[Row]:
    times, many = (100, 2_000) if quick else (400, 10_000)
    with tempfile.TemporaryDirectory(prefix="windsock-bench-") as name:
        bench = Bench(Path(name))
        return [
            bench.step(times),
            bench.cached_step(times),
            bench.thousand_metrics(max(times // 20, 5)),
            bench.register(times),
            bench.alias(times),
            *bench.reading(times, many),
        ]


class Bench:
    def __init__(self, folder: Path) -> None:
        self.metadata = Metadata.open(f"sqlite:///{folder / 'ours.db'}")
        Metadata.open(f"sqlite:///{folder / 'raw.db'}").close()
        self.raw = sqlite3.connect(folder / "raw.db", isolation_level=None)
        self.raw.execute("PRAGMA synchronous=NORMAL")
        self.raw.execute("PRAGMA foreign_keys=ON")
        self.ours = sqlite3.connect(folder / "ours.db", isolation_level=None)
        self.count = 0
        self.data = self.metadata.artifacts.record(artifact("data", 0)).ref()
        self.raw.execute("INSERT INTO windsock_artifact VALUES ('data', ?)", (NOW,))
        self.raw.execute("INSERT INTO windsock_artifact VALUES ('churn.train', ?)", (NOW,))
        self.raw.execute(VERSION, ("data", 1, "file:///x", "blake3:0", 3, "T", "m", "{}", None, NOW))
        self.raw.execute("INSERT INTO windsock_model VALUES ('churn', NULL, ?)", (NOW,))

    # -- writing

    def _start(self, cache_key: str | None = None) -> StepStart:
        self.count += 1
        return StepStart(
            dag_id="churn",
            run_id=f"r{self.count // 10}",
            task_id=f"train{self.count}",
            step="train",
            pipeline="churn",
            pipeline_version=1,
            stack="local",
            parameters={"rate": 0.1},
            step_parameters={"depth": 3},
            cache_key=cache_key,
        )

    def _finish(self, start: StepStart, **facts: Any) -> None:
        facts = {"state": "success", "outputs": [artifact("churn.train", self.count)], **facts}
        inputs = [EdgeIn(name="rows", ref=self.data)]
        self.metadata.runs.finish_step(StepFinish(start=start, inputs=inputs, **facts))

    def step(self, times: int) -> Row:
        def ours() -> None:
            start = self._start()
            self.metadata.runs.start_step(start)
            self._finish(start, metrics={"accuracy": 0.9, "loss": 0.1})

        value, baseline = in_turn(times, ours, self._raw_step)
        return figure("a step, start and finish", value, baseline, target="≤ 2 ms", ok=value <= 2e-3)

    def _raw_step(self) -> None:
        self.count += 1
        n, raw = self.count, self.raw.execute
        run_id, step = f"{n // 10:032x}", f"{n:032x}"
        raw("BEGIN IMMEDIATE")
        raw(
            RUN, (run_id, "churn", f"r{n // 10}", "churn", 1, "local", "running", '{"rate":0.1}', None, None, NOW, None)
        )
        raw(
            STEP,
            (
                step,
                run_id,
                "churn",
                "train",
                f"train{n}",
                -1,
                1,
                "running",
                None,
                None,
                None,
                "{}",
                "{}",
                None,
                NOW,
                None,
            ),
        )
        raw("COMMIT")
        raw("BEGIN IMMEDIATE")
        raw("UPDATE windsock_step_run SET state='success', metrics=?, ended_at=? WHERE id=?", ("{}", NOW, step))
        top = raw("SELECT max(version) FROM windsock_artifact_version WHERE artifact='churn.train'").fetchone()[0] or 0
        raw(
            "SELECT id FROM windsock_artifact_version WHERE artifact='churn.train' AND digest=?", (f"blake3:{n}",)
        ).fetchone()
        new = ("churn.train", top + 1, f"file:///{n}", f"blake3:{n}", 3, "T", "m", '{"rows":3}', step, NOW)
        number = raw(VERSION, new).lastrowid
        edges = [(step, "in", "rows", 1), (step, "out", "output", number)]
        self.raw.executemany("INSERT INTO windsock_edge VALUES (?, ?, ?, ?)", edges)
        self.raw.executemany(METRIC, [(step, 0, "accuracy", 0.9, None, NOW, 1), (step, 1, "loss", 0.1, None, NOW, 1)])
        raw("COMMIT")

    def cached_step(self, times: int) -> Row:
        start = self._start("key")
        self.metadata.runs.start_step(start)
        self._finish(start, outputs=[artifact("churn.cached", 1)])

        def ours() -> None:
            hit = self.metadata.runs.find_cached("churn", "train", "key")
            assert hit is not None
            again = self._start("key")
            self._finish(again, state="cached", cached_from=hit.step_run, outputs=[artifact("churn.cached", 1)])

        value, _ = in_turn(times, ours, lambda: None)
        return figure("a cached step, look-up and finish", value, None, target="≤ 1 ms", ok=value <= 1e-3)

    def thousand_metrics(self, times: int) -> Row:
        points = [MetricPoint(key="loss", value=float(i), step=i) for i in range(1000)]

        def ours() -> None:
            start = self._start()
            self.metadata.runs.start_step(start)
            self._finish(start, metrics=points)

        def raw() -> None:
            self._raw_step()
            step = f"{self.count:032x}"
            self.raw.execute("BEGIN IMMEDIATE")
            self.raw.executemany(METRIC, [(step, i + 2, "loss", float(i), i, NOW, i == 999) for i in range(1000)])
            self.raw.execute("COMMIT")

        value, baseline = in_turn(times, ours, raw)
        return figure("a step that logs 1,000 metrics", value, baseline, target="≤ 20 ms", ok=value <= 20e-3)

    def register(self, times: int) -> Row:
        def ours() -> None:
            self.count += 1
            new = NewModelVersion(model="churn", artifact=self.data, metrics={"accuracy": 0.9}, source=str(self.count))
            self.metadata.models.register(new)

        def raw() -> None:
            self.count += 1
            self.raw.execute("BEGIN IMMEDIATE")
            sql = "SELECT coalesce(max(version), 0) + 1 FROM windsock_model_version WHERE model='churn'"
            number = self.raw.execute(sql).fetchone()[0]
            self.raw.execute(MODEL_VERSION, (number, json.dumps(self.data), "{}", str(self.count), NOW))
            self.raw.execute(AUDIT, (NOW, "me", "register", "model", "churn", None, "{}", None))
            self.raw.execute("COMMIT")

        value, baseline = in_turn(times, ours, raw)
        return figure("register a model version", value, baseline, target="≤ 0.5 ms", ok=value <= 0.5e-3)

    def alias(self, times: int) -> Row:
        turns = itertools.cycle((1, 2)), itertools.cycle((1, 2))

        def ours() -> None:
            self.metadata.models.set_alias("churn", "production", next(turns[0]), actor="me")

        def raw() -> None:
            version = next(turns[1])
            self.raw.execute("BEGIN IMMEDIATE")
            self.raw.execute("SELECT * FROM windsock_alias WHERE model='churn' AND alias='production'").fetchone()
            self.raw.execute(ALIAS, (version, NOW))
            self.raw.execute(ALIAS_EVENT, (1, version, "me", "[]", NOW))
            self.raw.execute(AUDIT, (NOW, "me", "promote", "model", "churn", "{}", "{}", None))
            self.raw.execute("COMMIT")

        value, baseline = in_turn(times, ours, raw)
        return figure("move an alias, with history and audit", value, baseline, target="≤ 0.5 ms", ok=value <= 0.5e-3)

    # -- reading, both sides from the same file

    def reading(self, times: int, many: int) -> list[Row]:
        with self.metadata.transaction():
            for i in range(many):
                self.metadata.artifacts.record(artifact("listed", i))
        one = "SELECT * FROM windsock_artifact_version WHERE artifact='listed' AND version=?"
        page = "SELECT * FROM windsock_artifact_version ORDER BY id DESC LIMIT ?"
        runs = "SELECT * FROM windsock_run ORDER BY started_at DESC, id DESC LIMIT 20"
        metadata, raw = self.metadata, self.ours
        got = in_turn(times, lambda: metadata.artifacts.get("listed", 7), lambda: raw.execute(one, (7,)).fetchone())
        twenty = in_turn(times, lambda: metadata.artifacts.list(limit=20), lambda: raw.execute(page, (20,)).fetchall())
        listed = in_turn(times, lambda: metadata.runs.list(limit=20), lambda: raw.execute(runs).fetchall())
        whole = in_turn(
            max(times // 40, 5),
            lambda: metadata.artifacts.list(limit=many),
            lambda: [decoded(row) for row in raw.execute(page, (many,)).fetchall()],
        )
        wanted = RunFilter(metrics=(Where.parse("auc>=0"),), parameters=(Where.parse("rate>=0"),))
        self._thousand_runs()
        joined = (
            "SELECT r.* FROM windsock_run r WHERE EXISTS (SELECT 1 FROM windsock_step_run s JOIN windsock_metric m "
            "ON m.step_run = s.id WHERE s.run = r.id AND m.key = 'auc' AND m.value >= 0) AND EXISTS (SELECT 1 FROM "
            "windsock_run_parameter p WHERE p.run = r.id AND p.name = 'rate' AND p.number >= 0) "
            "ORDER BY r.started_at DESC, r.id DESC LIMIT 1001"
        )
        assert len(metadata.runs.search(wanted, 1000)) == 1000
        search = in_turn(
            max(times // 20, 5),
            lambda: metadata.runs.search(wanted, 1000),
            lambda: [(*row[:7], json.loads(row[7]), *row[8:]) for row in raw.execute(joined).fetchall()],
        )
        return [
            figure("search over 1,000 runs", *search, target="≤ 15 ms", ok=search[0] <= 15e-3),
            figure("get an artifact version", *got, target="≤ 1 ms", ok=got[0] <= 1e-3),
            figure("list 20 artifact versions", *twenty, target="≤ 3 ms", ok=twenty[0] <= 3e-3),
            figure("list 20 runs", *listed, target="≤ 3 ms", ok=listed[0] <= 3e-3),
            figure(f"list {many:,} artifact versions", *whole, target="≤ 3 times", ok=whole[0] <= 3 * whole[1]),
        ]

    def _thousand_runs(self) -> None:
        at = datetime(2026, 1, 1, tzinfo=timezone.utc)
        where = {"dag_id": "searched", "started_at": at}
        self.metadata.bulk.load(
            record
            for i in range(1000)
            for record in (
                ImportedRun(**where, run_id=f"{i}", parameters={"rate": i, "day": "monday"}),
                ImportedStepRun(**where, run_id=f"{i}", task_id="t", step="t", metrics={"auc": i, "loss": 1}),
            )
        )


def decoded(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """What a program needs of a row: its JSON and its time as values."""
    return (*row[:8], json.loads(row[8]), row[9], datetime.fromisoformat(row[10]))


def artifact(name: str, content: int) -> NewArtifact:
    digest = f"blake3:{content:064x}"
    return NewArtifact(
        artifact=name,
        uri=f"file:///objects/{digest}",
        digest=digest,
        size=3,
        type="T",
        materializer="m",
        metadata={"rows": 3},
    )


def in_turn(times: int, ours: Callable[[], Any], raw: Callable[[], Any]) -> tuple[float, float]:
    """Median seconds of each, called alternately after a warm-up."""
    found: tuple[list[float], list[float]] = ([], [])
    for i in range(times + 3):
        for call, seconds in zip((ours, raw), found, strict=True):
            start = time.perf_counter()
            call()
            if i >= 3:
                seconds.append(time.perf_counter() - start)
    return statistics.median(found[0]), statistics.median(found[1])


def figure(name: str, value: float, baseline: float | None, *, target: str, ok: bool) -> Row:
    return {
        "name": name,
        "value": value * 1e3,
        "baseline": None if baseline is None else baseline * 1e3,
        "ratio": None if baseline is None else value / baseline,
        "target": target,
        "ok": ok,
        "unit": "ms",
    }


RUN = f"INSERT INTO windsock_run VALUES ({', '.join('?' * 12)}) ON CONFLICT DO NOTHING"
STEP = f"INSERT INTO windsock_step_run VALUES ({', '.join('?' * 16)})"
VERSION = (
    "INSERT INTO windsock_artifact_version (artifact, version, uri, digest, size, type, materializer, metadata, "
    f"producer, created_at) VALUES ({', '.join('?' * 10)})"
)
METRIC = "INSERT INTO windsock_metric VALUES (?, ?, ?, ?, ?, ?, ?)"
MODEL_VERSION = (
    "INSERT INTO windsock_model_version (model, version, state, artifact, artifact_version, metrics, parameters, "
    "source, requirements, tags, created_at) VALUES ('churn', ?, 'active', ?, 1, ?, '{}', ?, '{}', '{}', ?)"
)
ALIAS = (
    "INSERT INTO windsock_alias VALUES ('churn', 'production', ?, 1, ?) ON CONFLICT (model, alias) DO UPDATE SET "
    "version = excluded.version, revision = revision + 1, updated_at = excluded.updated_at"
)
ALIAS_EVENT = (
    "INSERT INTO windsock_alias_event (model, alias, from_version, to_version, actor, gates, at) "
    "VALUES ('churn', 'production', ?, ?, ?, ?, ?)"
)
AUDIT = (
    "INSERT INTO windsock_audit_event (at, actor, action, subject_kind, subject, before, after, reason, "
    "previous, hash) VALUES (?, ?, ?, ?, ?, ?, ?, ?, '', '')"
)

if __name__ == "__main__":
    for row in run(quick=False):
        print(json.dumps(row, ensure_ascii=False))
