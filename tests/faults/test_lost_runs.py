"""A run in process that is killed does not call itself running for ever."""

from __future__ import annotations

import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from windsock import pipeline, step
from windsock.provider.metadata import run_key
from windsock.provider.runtime.local import run_pipeline
from windsock.provider.runtime.lost import FOLDER, close_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from windsock.provider.stack import Stack

    Make = Callable[..., Stack]


@step(cache=False)
def first(ready: str) -> int:
    return 1


@step(cache=False)
def linger(x: int, ready: str, seconds: float) -> int:
    with open(ready, "w") as file:
        file.write(str(os.getpid()))
    time.sleep(seconds)
    return x + 1


@pipeline
def lingering(ready: str, seconds: float = 60.0) -> None:
    linger(first(ready), ready, seconds)


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.fixture
def child(make_stack: Make, tmp_path: Path) -> Iterator[int]:
    """A process that runs the pipeline, in its second step."""
    make_stack().metadata.close()
    ready = tmp_path / "ready"
    pid = os.fork()
    if pid == 0:
        try:
            run_pipeline(lingering, {"ready": str(ready)}, stack=make_stack())
        finally:
            os._exit(1)
    wait_for(ready)
    yield pid
    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except (ProcessLookupError, ChildProcessError):
        pass


def kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)


def states(stack: Stack) -> list[tuple[str, dict[str, str]]]:
    return [
        (found.state, {s.step: s.state for s in stack.metadata.runs.steps(found.id)})
        for found in stack.metadata.runs.list()
    ]


class TestKilledRun:
    def test_the_next_run_closes_it(self, child: int, make_stack: Make, tmp_path: Path) -> None:
        kill(child)
        stack = make_stack()
        assert states(stack) == [("running", {"first": "success", "linger": "running"})]
        run_pipeline(lingering, {"ready": str(tmp_path / "again"), "seconds": 0.0}, stack=stack)
        assert states(stack) == [
            ("success", {"first": "success", "linger": "success"}),
            ("failed", {"first": "success", "linger": "failed"}),
        ]
        assert list((tmp_path / "home" / FOLDER).iterdir()) == []

    def test_a_list_closes_it(
        self, child: int, make_stack: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        from windsock.provider.cli.main import main

        stack = make_stack()
        monkeypatch.setenv("WINDSOCK_HOME", str(stack.settings.home))
        assert main(["runs", "list", "--state", "running", "--output", "json"]) == 0
        assert '"lingering"' in capsys.readouterr().out
        kill(child)
        assert main(["runs", "list", "--state", "running", "--output", "json"]) == 0
        assert capsys.readouterr().out.strip() == "[]"
        assert states(stack)[0][0] == "failed"

    def test_one_that_lives_is_left_alone(self, child: int, make_stack: Make) -> None:
        stack = make_stack()
        assert close_lost(stack) == 0
        assert states(stack)[0][0] == "running"

    def test_one_of_another_database_is_left_alone(self, child: int, make_stack: Make, tmp_path: Path) -> None:
        kill(child)
        assert close_lost(make_stack(f"sqlite:///{tmp_path / 'other.db'}")) == 0
        assert close_lost(make_stack()) == 1

    def test_several_close_it_once(self, child: int, make_stack: Make) -> None:
        kill(child)
        stacks = [make_stack() for _ in range(4)]
        with ThreadPoolExecutor(4) as pool:
            assert sum(pool.map(close_lost, stacks)) == 1

    def test_by_hand(
        self, child: int, make_stack: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """As for one that died on another machine, whose lock is not here."""
        from windsock.provider.cli.main import main

        stack = make_stack()
        monkeypatch.setenv("WINDSOCK_HOME", str(stack.settings.home))
        for path in (stack.settings.home / FOLDER).iterdir():
            path.unlink()
        kill(child)
        assert close_lost(stack) == 0
        assert main(["runs", "close", "lingering"]) == 0
        assert states(stack) == [("failed", {"first": "success", "linger": "failed"})]
        capsys.readouterr()
        assert main(["runs", "close", "lingering"]) == 1
        assert "is not running: it is failed" in capsys.readouterr().err


class TestRunThatEnds:
    def test_it_leaves_nothing(self, make_stack: Make, tmp_path: Path) -> None:
        stack = make_stack()
        seen: list[Any] = []

        def watch(event: Any) -> None:
            seen.append(sorted((tmp_path / "home" / FOLDER).iterdir()))

        result = run_pipeline(
            lingering, {"ready": str(tmp_path / "ready"), "seconds": 0.0}, stack=stack, progress=watch
        )
        assert {tuple(p.name for p in paths) for paths in seen} == {(f"{run_key('lingering', result.run_id)}.json",)}
        assert list((tmp_path / "home" / FOLDER).iterdir()) == []

    def test_a_home_that_cannot_be_written_does_not_matter(self, make_stack: Make, tmp_path: Path) -> None:
        (tmp_path / "home").mkdir()
        (tmp_path / "home" / FOLDER).write_text("in the way")
        stack = make_stack()
        run_pipeline(lingering, {"ready": str(tmp_path / "ready"), "seconds": 0.0}, stack=stack)
        assert states(stack)[0][0] == "success"
