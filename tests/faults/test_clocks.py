"""Workers whose clocks are hours apart (libfaketime): order, attempts and what lives do not hang on them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from faults_lab import nothing_is_torn
from servers import missing
from windsock.provider.metadata.keys import run_key
from windsock.provider.runtime.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable

    from postgres_lab import Postgres
    from proxy import Proxy
    from windsock.provider.stack import Stack

SCRIPT = Path(__file__).with_name("skewed.py")
HOUR = 3600


def library() -> str:
    """libfaketime, from Debian's package of that name."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not found:
        missing("libfaketime")
    return str(found[0])


class Workers:
    def __init__(self, url: str, home: Path) -> None:
        self.url, self.home = url, home
        self._library = library()

    def __call__(self, hours: float, *words: object) -> Any:
        """What a worker answers whose clock is that many hours ahead."""
        environ = {
            **os.environ,
            "LD_PRELOAD": self._library,
            "FAKETIME": f"{hours * HOUR:+.0f}",
            "FAKETIME_DONT_FAKE_MONOTONIC": "1",
            "NO_FAKE_STAT": "1",
        }
        command = [sys.executable, str(SCRIPT), self.url, str(self.home), *map(str, words)]
        done = subprocess.run(command, env=environ, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr[-2000:]
        return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def workers(postgres: Postgres, door: Proxy, make_stack: Callable[..., Stack], tmp_path: Path) -> Workers:
    """Each is another process; all share a database and an artifact store."""
    made = Workers(postgres.url(postgres.database(), door.port), tmp_path / "home")
    assert made(2, "time") - time.time() == pytest.approx(2 * HOUR, abs=60)  # it does work
    return made


@pytest.fixture
def stack(workers: Workers, make_stack: Callable[..., Stack]) -> Stack:
    return make_stack(workers.url)


def test_nothing_ends_before_it_began(workers: Workers, stack: Stack) -> None:
    rows = workers(3, "load", 1, 1)
    workers(0, "add", json.dumps(rows))
    workers(-3, "end")
    run = stack.metadata.runs.get("shop", "r1")
    steps = stack.metadata.runs.steps(run.id)
    assert {s.step: s.state for s in steps} == {"load": "success", "add": "success"}
    for each in (run, *steps):
        assert each.ended_at is not None
        assert each.ended_at >= each.started_at
    nothing_is_torn(stack, stack.metadata)


def test_the_spool_is_in_order_whatever_the_clocks_say(workers: Workers, stack: Stack, door: Proxy) -> None:
    """The second step is numbered after the first, although its clock is six hours behind."""
    door.refuse()
    rows = workers(3, "load", 1, 1)
    workers(-3, "add", json.dumps(rows))
    door.accept()
    entries = Spool(stack.artifact_store, "local").pending()
    assert [entry.kind for entry in entries] == ["start", "finish"] * 2
    assert entries[2].number > entries[1].number
    assert workers(0, "replay") == 4
    assert {s.step: s.state for s in stack.metadata.runs.steps(run_key("shop", "r1"))} == {
        "load": "success",
        "add": "success",
    }
    nothing_is_torn(stack, stack.metadata)


@pytest.mark.parametrize("ahead", [2, -2])
def test_a_retry_wins_whatever_the_clocks_say(workers: Workers, stack: Stack, ahead: float) -> None:
    """An attempt counts as older by its number, not by its time."""
    newer = workers(ahead, "load", 2, 2)
    assert workers(0, "load", 1, 1)["version"] is None
    assert [v.digest for v in stack.metadata.artifacts.versions("shop.load")] == [newer["digest"]]
    states = [(s.try_number, s.state) for s in stack.metadata.runs.steps(run_key("shop", "r1"))]
    assert sorted(states) == [(1, "failed"), (2, "success")]


def test_a_clock_that_is_days_ahead_sweeps_nothing_that_is_being_written(workers: Workers, stack: Stack) -> None:
    with stack.artifact_store.stage() as path:
        path.write_bytes(b"half of it")
        workers(72, "sweep")
        assert path.read_bytes() == b"half of it"
        os.utime(path, (time.time() - 72 * HOUR,) * 2)
        workers(0, "sweep")
        assert not path.exists()
