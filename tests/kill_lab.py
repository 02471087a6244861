"""Kill -9 at random moments: four workers, killed and begun again a thousand times, and what must hold afterwards.

A worker does what tasks do: steps that store artifacts and record them, a model version, two moves of aliases. It
writes what it is about to do and what it has done to a journal. Whoever is begun in its place repeats the task that was
cut off as the next attempt, as Airflow would. In the end each worker finishes its last task undisturbed, and
:func:`check` compares the database and the store, read afresh, with the journals.

Workers are forked from a process that has done a task itself: a life is milliseconds, and the kill meets the work, not
imports.
"""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from windsock.provider.artifacts.digests import digest_bytes
from windsock.provider.errors import PromotionConflict
from windsock.provider.metadata import Metadata, NewModelVersion, run_key, step_run_key
from windsock.provider.runtime.context import context
from windsock.provider.runtime.invocation import OutputTarget, RunIdentity, StepInvocation
from windsock.provider.runtime.runner import run_step
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

WORKERS = 4
METRICS = 3
RUN_LENGTH = 10
"""Tasks of one run."""


def make(worker: int, n: int) -> tuple[Any, Any]:
    """``array`` is this task's own; ``shared`` is what other workers make, too, perhaps at the same moment."""
    for i in range(METRICS):
        context().log_metric("loss", 1 / (i + 1), step=i)
    return np.arange(300.0) + 1000 * worker + n, {"shared": n // 2}


def use(array: Any, shared: Any) -> dict[str, Any]:
    return {"sum": float(array.sum()), **shared}


@dataclass(frozen=True)
class World:
    url: str
    home: Path

    def stack(self) -> Stack:
        environ = {"WINDSOCK_HOME": str(self.home), "WINDSOCK_SQL_ALCHEMY_CONN": self.url}
        return Stack.load("local", settings=Settings.load(environ=environ))

    def journal(self, worker: int) -> Path:
        return self.home / f"journal-{worker}"

    def read(self, worker: int) -> list[list[str]]:
        path = self.journal(worker)
        return [line.split() for line in path.read_text().splitlines()] if path.exists() else []


def run_name(worker: int, n: int) -> str:
    return f"w{worker}-{n // RUN_LENGTH}"


class Worker:
    """One life of one worker."""

    def __init__(self, world: World, worker: int) -> None:
        self.worker = worker
        self.stack = world.stack()
        self._journal = os.open(world.journal(worker), os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        lines = world.read(worker)
        self.done = max((int(line[1]) for line in lines if line[0] == "end"), default=0)
        self.attempt = 1 + sum(1 for line in lines if line[0] == "begin" and int(line[1]) == self.done + 1)

    def note(self, *words: Any) -> None:
        os.write(self._journal, (" ".join(map(str, words)) + "\n").encode())

    def live(self) -> None:
        parent = os.getppid()
        while os.getppid() == parent:  # nobody lives on without the killer
            self.task()

    def task(self) -> None:
        n = self.done + 1
        self.note("begin", n, self.attempt)
        made = self.step("make", n, ("array", "shared"), {"worker": {"value": self.worker}, "n": {"value": n}})
        inputs = {name: {"artifact": ref, "path": []} for name, ref in made.items()}
        used = self.step("use", n, ("output",), inputs)
        key = step_run_key("kill", run_name(self.worker, n), f"use{n}", -1, self.attempt)
        models = self.stack.metadata.models
        version = models.register(NewModelVersion(model=f"m{self.worker % 2}", artifact=used["output"], step_run=key))
        run = run_key("kill", f"{self.worker}/{n}")
        models.set_alias(version.model, f"own-{self.worker}", version.version, actor="worker", run=run)
        self.contend(version.model, version.version)
        if n % RUN_LENGTH == RUN_LENGTH - 1:
            self.stack.metadata.runs.end("kill", run_name(self.worker, n), "success")
        self.note("end", n, version.version, *(ref["digest"] for ref in (*made.values(), used["output"])))
        self.done, self.attempt = n, 1

    def contend(self, model: str, version: int) -> None:
        """An alias that two workers want: compare-and-set until it works."""
        models = self.stack.metadata.models
        while True:
            present = models.aliases(model).get("shared")
            try:
                models.set_alias(
                    model, "shared", version, expected=present.version if present else None, actor=str(self.worker)
                )
            except PromotionConflict:
                continue
            return

    def step(self, name: str, n: int, outputs: tuple[str, ...], arguments: dict[str, Any]) -> dict[str, Any]:
        given = StepInvocation(
            step=name,
            function=f"{__name__}:{name}",
            identity=RunIdentity("kill", run_name(self.worker, n), f"{name}{n}", -1, self.attempt),
            arguments=arguments,
            outputs=tuple(OutputTarget(o, None, f"kill.{name}.{o}") for o in outputs),
            pipeline="kill",
            cache=False,
        )
        return run_step(given, stack=self.stack, function=globals()[name]).outputs


def warm(world: World) -> float:
    """Do some tasks here, in a world of its own: what is imported and built on first use is inherited.

    Returns the seconds of a life that is long enough for one task.
    """
    worker = Worker(world, 0)
    for _ in range(RUN_LENGTH):
        worker.task()
    worker.stack.metadata.close()
    os.close(worker._journal)
    began = time.perf_counter()
    os.waitpid(_born(world, 1, last=True), 0)
    return time.perf_counter() - began


def _born(world: World, worker: int, *, last: bool) -> int:
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        life = Worker(world, worker)
        if last:
            life.task()
            code = 0
        else:
            life.live()
    except BaseException:  # whatever it is: the parent sees the code, a person the traceback
        import traceback

        traceback.print_exc()
    finally:
        os._exit(code)


def kill(world: World, times: int, task: float, *, seed: int = 0) -> None:
    """Kill workers ``times`` times in all, then let each finish its task.

    ``task``: what :func:`warm` returned. Four workers share the machine, so a life is up to four times that, and at
    most 0.4 s.
    """
    chance = random.Random(seed)
    lives: dict[int, tuple[int, float]] = {}

    def begin(worker: int) -> None:
        lives[worker] = (_born(world, worker, last=False), time.monotonic() + chance.uniform(0.001, min(4 * task, 0.4)))

    seen: set[str] = set()
    try:
        for worker in range(WORKERS):
            begin(worker)
        for count in range(1, times + 1):
            worker = min(lives, key=lambda w: lives[w][1])
            child, moment = lives[worker]
            time.sleep(max(0.0, moment - time.monotonic()))
            del lives[worker]
            _end(child)
            _objects_are_whole(world.stack(), seen)  # now, too, while the others go on: a next attempt may mend it
            if count <= times - WORKERS:
                begin(worker)
    finally:
        for child, _ in lives.values():
            _end(child)
    for worker in range(WORKERS):
        _, status = os.waitpid(_born(world, worker, last=True), 0)
        assert status == 0, f"worker {worker} could not finish its last task"


def _end(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    assert os.WIFSIGNALED(status), "a worker ended by itself: its traceback is above"


def check(world: World) -> dict[str, int]:
    """Raises AssertionError for anything torn, lost or doubled. Returns what there was."""
    stack = world.stack()
    metadata = stack.metadata
    ends = {
        (worker, int(line[1])): line for worker in range(WORKERS) for line in world.read(worker) if line[0] == "end"
    }
    _nothing_torn(world, stack)
    counted = Counter(worker for worker, _ in ends)
    assert set(ends) == {(worker, n) for worker, many in counted.items() for n in range(1, many + 1)}
    _artifacts(metadata, ends)
    attempts = _steps(metadata, ends)
    _models(metadata, ends)
    metadata.close()
    return {"tasks": len(ends), "attempts": attempts}


def _objects_are_whole(stack: Stack, seen: set[str]) -> None:
    """What is visible has the content that its name says. What was seen before cannot have changed: it is immutable."""
    for uri in stack.artifact_store.list("objects/"):
        if uri not in seen:
            content = stack.artifact_store.get_bytes(uri)
            assert digest_bytes(content) == f"blake3:{uri.rpartition('/')[2].partition('.')[0]}"
            seen.add(uri)


def _nothing_torn(world: World, stack: Stack) -> None:
    _objects_are_whole(stack, set())
    if world.url.startswith("sqlite"):
        with sqlite3.connect(world.url.removeprefix("sqlite:///")) as connection:
            assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert connection.execute("PRAGMA foreign_key_check").fetchall() == []


def _artifacts(metadata: Metadata, ends: dict[tuple[int, int], list[str]]) -> None:
    """Each content once, under consecutive numbers, in the store; and nothing that nobody made."""
    expected = {"kill.make.array": set(), "kill.make.shared": set(), "kill.use.output": set()}  # type: ignore[var-annotated]
    for line in ends.values():
        for name, digest in zip(expected, line[3:], strict=True):
            expected[name].add(digest)
    for name, digests in expected.items():
        versions = [*metadata.artifacts.versions(name, limit=100_000)]
        assert len(versions) == len(digests)
        assert {v.digest for v in versions} == digests
        assert [v.version for v in reversed(versions)] == list(range(1, len(versions) + 1))
    assert {a.name for a in metadata.artifacts.names()} == set(expected)


def _steps(metadata: Metadata, ends: dict[tuple[int, int], list[str]]) -> int:
    """The last attempt of each task succeeded; an earlier one did, whole, or is failed and made nothing."""
    runs = {run_name(worker, n) for worker, n in ends}
    found = [*metadata.runs.list(limit=100_000)]
    assert {r.run_id for r in found} == runs
    digests = {(w, n): line[3:] for (w, n), line in ends.items()}
    last: dict[tuple[str, str], Any] = {}
    count = 0
    for run in found:
        worker = int(run.run_id[1:].partition("-")[0])
        for step in metadata.runs.steps(run.id):
            count += 1
            n = int(step.task_id.removeprefix(step.step))
            made = metadata.runs.outputs(step.id)
            assert step.state in {"success", "failed"}, step
            if step.state == "failed":
                assert not made
                assert "killed or lost" in str(step.error)
            elif step.step == "make":
                assert [made[o].digest for o in ("array", "shared")] == digests[worker, n][:2]
                assert len(metadata.runs.metrics(step.id)) == METRICS
            else:
                assert made["output"].digest == digests[worker, n][2]
                assert sorted(v.digest for _, v in metadata.runs.inputs(step.id)) == sorted(digests[worker, n][:2])
            before = last.get((run.id, step.task_id))
            if before is None or before.try_number < step.try_number:
                last[run.id, step.task_id] = step
    assert len(last) == 2 * len(ends)
    assert {step.state for step in last.values()} == {"success"}
    return count


def _models(metadata: Metadata, ends: dict[tuple[int, int], list[str]]) -> None:
    """One version a task, and one move of its worker's own alias; the shared alias is one unbroken chain."""
    for model in ("m0", "m1"):
        mine = {key: int(line[2]) for key, line in ends.items() if f"m{key[0] % 2}" == model}
        versions = [v.version for v in metadata.models.versions(model, limit=100_000)]
        assert sorted(versions) == sorted(mine.values()) == list(range(1, len(mine) + 1))
        for worker in {worker for worker, _ in mine}:
            moves = metadata.models.since(model, f"own-{worker}", limit=100_000)
            assert [m.to_version for m in moves] == [mine[key] for key in sorted(mine) if key[0] == worker]
        for alias in metadata.models.aliases(model).values():
            moves = metadata.models.since(model, alias.alias, limit=100_000)
            assert [m.from_version for m in moves] == [None, *(m.to_version for m in moves[:-1])]
            assert moves[-1].to_version == alias.version
            assert alias.revision == len(moves)
