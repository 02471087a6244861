"""A process is killed at every fault point, then the step is tried again: nothing half, nothing lost, nothing twice.

The kill is a real SIGKILL in a forked process. The points are not listed here: a run that is traced tells them, so a
new ``reach(...)`` on the way of a step is tested from the day it is written.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from windsock.provider import faults
from windsock.provider.artifacts.digests import digest_file, hex_of, read_manifest
from windsock.provider.artifacts.saving import load
from windsock.provider.metadata.keys import run_key
from windsock.provider.pipelines.pipeline import pipeline
from windsock.provider.pipelines.step import step
from windsock.provider.runtime.context import context
from windsock.provider.runtime.entrypoint import find_result, main, submit
from windsock.provider.runtime.invocation import RunIdentity, StepInvocation, StepResult
from windsock.provider.runtime.recorder import record_result
from windsock.provider.runtime.runner import run_step
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

FORK = multiprocessing.get_context("fork")
METRICS = 3
OUTPUTS = ("plain", "array", "folder")


def make(x: int) -> tuple[Any, Any, Any]:
    current = context()
    for i in range(METRICS):
        current.log_metric("loss", 1 / (i + 1), step=i)
    current.log_figure(np.arange(10 * x), "drawn")
    return {"x": x}, np.arange(1000) * x, [np.arange(5), np.arange(6)]


@step
def first() -> int:
    return 4


@step
def second(x: int) -> int:
    return x * 2


@pipeline
def crashing() -> None:
    second(first())


def open_stack(home: Path) -> Stack:
    return Stack.load("local", settings=Settings.load(environ={"WINDSOCK_HOME": str(home)}))


def invocation(run: str = "r1", try_number: int = 1, *, remote: bool = False) -> StepInvocation:
    return StepInvocation(
        step="make",
        function=f"{__name__}:make",
        identity=RunIdentity("crash", run, "make", -1, try_number),
        arguments={"x": {"value": 7}},
        outputs=tuple((name, None, f"crash.make.{name}") for name in OUTPUTS),  # type: ignore[misc]
        pipeline="crash",
        cache=not remote,
    )


def in_child(work: Callable[[], Any], point: str | None = None, trace: Path | None = None) -> int | None:
    """Run ``work`` in a forked process; its exit code, -9 if it was killed."""

    def body() -> None:
        faults._reached.clear()
        for name, value in (("WINDSOCK_FAULT_POINT", point), ("WINDSOCK_FAULT_TRACE", trace and str(trace))):
            os.environ.pop(name, None)
            if value:
                os.environ[name] = value
        work()

    process = FORK.Process(target=body)
    process.start()
    process.join(60)
    return process.exitcode


def points_of(work: Callable[[], Any], trace: Path) -> list[str]:
    """Every point that ``work`` reaches, as ``point@n`` for its n-th time."""
    assert in_child(work, trace=trace) == 0
    counts: dict[str, int] = {}
    found = []
    for point in trace.read_text().split():
        counts[point] = counts.get(point, 0) + 1
        found.append(f"{point}@{counts[point]}")
    return found


def assert_nothing_half(home: Path) -> None:
    """Every visible blob is what its name says; every folder that is visible is whole; every row has its bytes."""
    objects = home / "artifacts" / "objects"
    for path in objects.rglob("*"):
        digits = path.name.partition(".")[0]
        if not path.is_file() or len(digits) != 64:
            continue  # a file of a folder artifact: checked through its manifest
        assert hex_of(digest_file(path)) == digits, path
        if path.suffix == ".tree":
            for entry in read_manifest(path.read_bytes(), str(path)):
                assert digest_file(path.with_suffix("") / entry["name"]) == entry["digest"]
    if (home / "windsock.db").exists():
        stack = open_stack(home)
        for version in stack.metadata.artifacts.list(limit=1000):
            assert stack.artifact_store.exists(version.uri), version


def assert_whole(home: Path, expected: StepResult, result: StepResult, runs: tuple[str, ...]) -> None:
    """The retry gave what an undisturbed run gives, and the database tells it once."""
    stack = open_stack(home)
    facts = ("artifact", "version", "digest", "type")
    for name in OUTPUTS:
        assert [result.outputs[name][f] for f in facts] == [expected.outputs[name][f] for f in facts]
    assert load(result.outputs["plain"], stack.artifact_store) == {"x": 7}
    assert [len(a) for a in load(result.outputs["folder"], stack.artifact_store)] == [5, 6]
    for name in (*OUTPUTS, "drawn"):
        assert [v.version for v in stack.metadata.artifacts.versions(f"crash.make.{name}")] == [1]
    steps = [s for run in runs for s in stack.metadata.runs.steps(run_key("crash", run))]
    assert {s.state for s in steps} <= {"success", "cached", "failed"}
    done = [s for s in steps if s.state == "success"]
    assert len(done) == 1
    assert len(stack.metadata.runs.metrics(done[0].id)) == METRICS
    for finished in (s for s in steps if s.state in ("success", "cached")):
        assert set(stack.metadata.runs.outputs(finished.id)) == {*OUTPUTS, "drawn"}


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> StepResult:
    return run_step(invocation(), stack=open_stack(tmp_path_factory.mktemp("expected")))


class TestAStepThatIsKilled:
    def test_at_every_point(self, tmp_path: Path, expected: StepResult) -> None:
        def attempt(home: Path, number: int) -> StepResult:
            return run_step(invocation(try_number=number), stack=open_stack(home))

        points = points_of(lambda: attempt(tmp_path / "traced", 1), tmp_path / "trace")
        assert len(points) >= 30
        assert len({p.partition("@")[0] for p in points}) >= 15
        assert {p.partition(".")[0] for p in points} == {"artifacts", "metadata", "runtime"}
        for number, point in enumerate(points):
            home = tmp_path / f"home{number}"
            assert in_child(lambda h=home: attempt(h, 1), point) == -signal.SIGKILL, point  # type: ignore[misc]
            assert_nothing_half(home)
            result = attempt(home, 2)
            assert_nothing_half(home)
            assert_whole(home, expected, result, ("r1",))
            open_stack(home).metadata.close()


class TestACachedStepThatIsKilled:
    def test_at_every_point(self, tmp_path: Path, expected: StepResult) -> None:
        def attempt(home: Path, run: str, number: int = 1) -> StepResult:
            return run_step(invocation(run, number), stack=open_stack(home))

        attempt(tmp_path / "traced", "r1")
        points = points_of(lambda: attempt(tmp_path / "traced", "r2"), tmp_path / "trace")
        assert {"runtime.cache.hit@1", "runtime.cache.recorded@1"} <= set(points)
        for number, point in enumerate(points):
            home = tmp_path / f"home{number}"
            attempt(home, "r1")
            open_stack(home).metadata.close()
            assert in_child(lambda h=home: attempt(h, "r2"), point) == -signal.SIGKILL, point  # type: ignore[misc]
            result = attempt(home, "r2", 2)
            assert result.state == "cached"
            assert_whole(home, expected, result, ("r1", "r2"))


class TestARemoteStepThatIsKilled:
    def test_at_every_point(self, tmp_path: Path, expected: StepResult) -> None:
        given = invocation(remote=True)

        def attempt(home: Path) -> None:
            uri = submit(given, open_stack(home).artifact_store)
            assert main([uri], {"WINDSOCK_HOME": str(home)}) == 0

        points = points_of(lambda: attempt(tmp_path / "traced"), tmp_path / "trace")
        assert "runtime.remote.before_result@1" in points
        for number, point in enumerate(points):
            home = tmp_path / f"home{number}"
            assert in_child(lambda h=home: attempt(h), point) == -signal.SIGKILL, point  # type: ignore[misc]
            assert_nothing_half(home)
            attempt(home)
            stack = open_stack(home)
            result = find_result(submit(given, stack.artifact_store), stack.artifact_store)
            assert result is not None
            for _ in range(2):  # the worker too may be killed and do it again
                recorded = record_result(result, stack.metadata, given)
            assert_whole(home, expected, recorded, ("r1",))


class TestAPipelineThatIsKilled:
    def test_at_every_point(self, tmp_path: Path) -> None:
        points = points_of(lambda: crashing.run(stack=open_stack(tmp_path / "traced")), tmp_path / "trace")
        mine = [p for p in points if p.startswith("runtime.")]
        assert "runtime.run.before_end@1" in mine
        for number, point in enumerate(mine):
            home = tmp_path / f"home{number}"
            killed = in_child(lambda h=home: crashing.run(stack=open_stack(h)), point)  # type: ignore[misc]
            assert killed == -signal.SIGKILL, point
            stack = open_stack(home)
            result = crashing.run(stack=stack)
            assert result.load("second") == 8
            assert result.ref("second")["version"] == 1
            assert [v.number for v in stack.metadata.pipelines.versions("crashing")] == [1]


@pytest.fixture(autouse=True)
def _no_fault() -> Iterator[None]:
    yield
    assert "WINDSOCK_FAULT_POINT" not in os.environ
