"""Two workers with the same task: the older attempt, believed dead, wakes up and ends after the newer one has begun.

The older worker is a process that is really stopped (SIGSTOP) and goes on (SIGCONT).
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest
from faults_lab import load, nothing_is_torn, run
from windsock.provider.metadata import NewModelVersion, run_key, step_run_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from windsock.provider.stack import Stack

    Make = Callable[[], Stack]


@pytest.fixture(params=["sqlite", "postgresql"])
def make(request: pytest.FixtureRequest, make_stack: Callable[..., Stack]) -> Callable[[], Stack]:
    if request.param == "sqlite":
        return make_stack
    server = request.getfixturevalue("postgres")
    url = server.url(server.database())
    return lambda: make_stack(url)


class Zombie:
    """A forked worker that stops itself where ``work`` calls ``stop``; ``wake`` lets it go on and gives its answer."""

    def __init__(self, work: Callable[[Callable[[], None]], Any], answer: Path) -> None:
        self._answer = answer
        self.pid = os.fork()
        if self.pid == 0:
            try:
                answer.write_text(json.dumps(work(lambda: os.kill(os.getpid(), signal.SIGSTOP))))
            except BaseException as error:
                answer.write_text(json.dumps(f"{type(error).__name__}: {error}"))
            finally:
                os._exit(0)
        _, status = os.waitpid(self.pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), answer.read_text()

    def wake(self) -> Any:
        os.kill(self.pid, signal.SIGCONT)
        os.waitpid(self.pid, 0)
        return json.loads(self._answer.read_text())


@pytest.fixture
def zombie(tmp_path: Path) -> Iterator[Callable[..., Zombie]]:
    made: list[Zombie] = []

    def begin(work: Callable[[Callable[[], None]], Any]) -> Zombie:
        made.append(Zombie(work, tmp_path / f"answer-{len(made)}"))
        return made[-1]

    yield begin
    for each in made:
        try:
            os.kill(each.pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def attempts(stack: Stack) -> list[tuple[int, str]]:
    return sorted((s.try_number, s.state) for s in stack.metadata.runs.steps(run_key("shop", "r1")))


def only_the_newer(stack: Stack, digest: str) -> None:
    """What attempt 1 made left no trace; the cache and the model registry see attempt 2's."""
    assert attempts(stack) == [(1, "failed"), (2, "success")]
    (first,) = [s for s in stack.metadata.runs.steps(run_key("shop", "r1")) if s.try_number == 1]
    assert "killed or lost" in str(first.error)
    assert [(v.version, v.digest) for v in stack.metadata.artifacts.versions("shop.load")] == [(1, digest)]
    nothing_is_torn(stack, stack.metadata)


class TestOlderAttempt:
    def test_it_ends_after_the_newer_one(self, make: Make, zombie: Callable[..., Zombie]) -> None:
        make().metadata.runs.list()

        def work(stop: Callable[[], None]) -> Any:
            return run(make(), "load", seed=1, function=lambda seed: (stop(), load(seed))[1]).outputs

        older = zombie(work)
        stack = make()
        newer = run(stack, "load", "r1", 2, seed=2)
        late = older.wake()
        assert late["output"]["version"] is None
        only_the_newer(stack, newer.outputs["output"]["digest"])

    def test_it_ends_while_the_newer_one_runs(self, make: Make, zombie: Callable[..., Zombie]) -> None:
        make().metadata.runs.list()

        def work(stop: Callable[[], None]) -> Any:
            return run(make(), "load", seed=1, function=lambda seed: (stop(), load(seed))[1]).outputs

        older = zombie(work)
        stack = make()
        newer = run(stack, "load", "r1", 2, seed=2, function=lambda seed: (older.wake(), load(seed))[1])
        only_the_newer(stack, newer.outputs["output"]["digest"])

    def test_it_begins_after_the_newer_one(self, make: Make, zombie: Callable[..., Zombie]) -> None:
        """It stopped on its way to its first word to the database."""
        make().metadata.runs.list()

        def work(stop: Callable[[], None]) -> Any:
            stack = make()
            stop()
            return run(stack, "load", seed=1).outputs

        older = zombie(work)
        stack = make()
        newer = run(stack, "load", "r1", 2, seed=2)
        assert older.wake()["output"]["version"] is None
        only_the_newer(stack, newer.outputs["output"]["digest"])

    def test_it_fails_after_the_newer_one(self, make: Make, zombie: Callable[..., Zombie]) -> None:
        make().metadata.runs.list()

        def work(stop: Callable[[], None]) -> Any:
            def function(seed: int) -> Any:
                stop()
                raise ValueError("late")

            return run(make(), "load", seed=1, function=function).outputs

        older = zombie(work)
        stack = make()
        newer = run(stack, "load", "r1", 2, seed=2)
        assert older.wake() == "ValueError: late"
        only_the_newer(stack, newer.outputs["output"]["digest"])

    def test_the_same_content_is_one_version(self, make: Make, zombie: Callable[..., Zombie]) -> None:
        make().metadata.runs.list()

        def work(stop: Callable[[], None]) -> Any:
            return run(make(), "load", seed=1, function=lambda seed: (stop(), load(seed))[1]).outputs

        older = zombie(work)
        stack = make()
        newer = run(stack, "load", "r1", 2, seed=1)
        assert older.wake()["output"]["digest"] == newer.outputs["output"]["digest"]
        only_the_newer(stack, newer.outputs["output"]["digest"])

    def test_a_model_is_registered_once(self, make: Make, zombie: Callable[..., Zombie]) -> None:
        """Both attempts register the same artifact: what identifies the version is the task, not the attempt."""
        made = run(make(), "load", seed=1).outputs["output"]

        def register(stack: Stack, attempt: int) -> int:
            key = step_run_key("shop", "r1", "add", -1, attempt)
            new = NewModelVersion(model="m", artifact=made, step_run=key)
            version = stack.metadata.models.register(new).version
            stack.metadata.models.set_alias("m", "candidate", version, actor="me", run=run_key("shop", "r1"))
            return version

        def work(stop: Callable[[], None]) -> Any:
            stack = make()
            return run(
                stack, "add", rows=made, function=lambda rows: (stop(), register(stack, 1))[1]
            ).outputs  # attempt 1

        older = zombie(work)
        stack = make()
        run(stack, "add", "r1", 2, rows=made, function=lambda rows: register(stack, 2))
        older.wake()
        assert [v.version for v in stack.metadata.models.versions("m")] == [1]
        assert len(stack.metadata.models.history("m")) == 1


class TestBelievedDead:
    def test_an_attempt_nobody_replaced_counts_after_all(self, make: Make, zombie: Callable[..., Zombie]) -> None:
        """The run was closed over it, by a person or because its scheduler was lost; then it ended well."""
        make().metadata.runs.list()

        def work(stop: Callable[[], None]) -> Any:
            return run(make(), "load", seed=1, function=lambda seed: (stop(), load(seed))[1]).outputs

        older = zombie(work)
        stack = make()
        stack.metadata.runs.end("shop", "r1", "failed")
        assert attempts(stack) == [(1, "failed")]
        time.sleep(0.01)
        assert older.wake()["output"]["version"] == 1
        assert attempts(stack) == [(1, "success")]
        assert stack.metadata.runs.get("shop", "r1").state == "failed"
        nothing_is_torn(stack, stack.metadata)
