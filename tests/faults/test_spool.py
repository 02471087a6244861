"""What the database cannot take is spooled, and replayed in order, once, whoever dies meanwhile."""

from __future__ import annotations

import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from faults_lab import invoke, load, nothing_is_torn, run
from windsock.provider import faults
from windsock.provider.errors import MetadataUnavailable, SettingInvalid
from windsock.provider.metadata.keys import run_key
from windsock.provider.runtime.execution import Execution
from windsock.provider.runtime.recorder import recorder_for
from windsock.provider.runtime.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from proxy import Proxy
    from windsock.provider.stack import Stack

    Make = Callable[..., Stack]
SOON = {"metadata_patience": 0.3}


def spooled(stack: Stack) -> list[str]:
    spool = Spool.of(stack)
    assert spool is not None
    return [entry.kind for entry in spool.pending()]


class TestDatabaseAway:
    def test_steps_go_on_and_all_is_recorded_afterwards(self, behind: Make, door: Proxy) -> None:
        """Away before the first step; back after the second; the third records everything."""
        stack = behind(**SOON)
        stack.metadata.runs.list()  # the connection that breaks is an open one
        door.refuse()
        began = time.time()
        rows = run(stack, "load", seed=3)
        assert rows.outputs["output"]["version"] is None
        total = run(stack, "add", rows=rows.outputs["output"])
        assert spooled(stack) == ["start", "finish"] * 2
        time.sleep(1)
        door.accept()
        later = run(stack, "add", "r2", rows=rows.outputs["output"])
        assert later.outputs["output"]["version"] == 1
        metadata = behind.direct()  # type: ignore[attr-defined]
        assert spooled(stack) == []
        steps = {s.step: s for s in metadata.runs.steps(run_key("shop", "r1"))}
        assert {name: s.state for name, s in steps.items()} == {"load": "success", "add": "success"}
        ended = steps["add"].ended_at
        assert ended is not None
        assert began <= ended.timestamp() < time.time() - 1  # when it ended, not when it was replayed
        assert [(n, v.artifact, v.version) for n, v in metadata.runs.inputs(steps["add"].id)] == [
            ("rows", "shop.load", 1)
        ]
        assert metadata.artifacts.get("shop.add").digest == total.outputs["output"]["digest"]
        nothing_is_torn(stack, metadata)

    def test_gone_while_the_step_runs(self, behind: Make, door: Proxy) -> None:
        stack = behind(**SOON)

        def function(seed: int) -> list[int]:
            door.refuse()
            return load(seed)

        run(stack, "load", seed=1, function=function)
        assert spooled(stack) == ["finish"]
        door.accept()
        metadata = behind.direct()  # type: ignore[attr-defined]
        assert [s.state for s in metadata.runs.steps(run_key("shop", "r1"))] == ["running"]
        spool = Spool.of(stack)
        assert spool is not None
        assert spool.replay(metadata).recorded == 1
        assert [s.state for s in metadata.runs.steps(run_key("shop", "r1"))] == ["success"]
        nothing_is_torn(stack, metadata)

    def test_it_is_waited_for_once_and_not_by_every_step(self, behind: Make, door: Proxy) -> None:
        stack = behind(metadata_patience=1.5)
        door.refuse()
        began = time.monotonic()
        for n in range(5):
            run(stack, "load", f"r{n}", seed=n)
        assert 1.5 <= time.monotonic() - began < 4

    def test_a_failure_is_kept_too(self, behind: Make, door: Proxy) -> None:
        stack = behind(**SOON)
        door.refuse()

        def function(seed: int) -> Any:
            raise ValueError("seed is bad")

        with pytest.raises(ValueError, match="seed is bad"):
            run(stack, "load", seed=1, function=function)
        door.accept()
        run(stack, "load", "r2", seed=2)
        (step,) = stack.metadata.runs.steps(run_key("shop", "r1"))
        assert (step.state, step.error) == ("failed", "ValueError: seed is bad")

    def test_off_means_a_clear_error(self, behind: Make, door: Proxy) -> None:
        stack = behind(spool="off", **SOON)
        door.refuse()
        with pytest.raises(MetadataUnavailable, match="Cannot record the start of the step") as caught:
            run(stack, "load", seed=1)
        assert "retry the task" in str(caught.value)
        assert list(stack.artifact_store.list("spool")) == []

    @pytest.mark.parametrize("wrong", ["soon", "-1", "inf", "nan"])
    def test_a_patience_that_is_no_time(self, make_stack: Make, wrong: str) -> None:
        with pytest.raises(SettingInvalid, match=r"metadata_patience is .* which is no number of seconds"):
            make_stack(metadata_patience=wrong)

    def test_neither_database_nor_spool(self, behind: Make, door: Proxy, tmp_path: Path) -> None:
        stack = behind(**SOON)
        door.refuse()
        (tmp_path / "home").mkdir(exist_ok=True)
        (tmp_path / "home" / "artifacts").write_text("in the way")
        with pytest.raises(MetadataUnavailable, match="Cannot record the start of the step"):
            run(stack, "load", seed=1)

    def test_a_pipeline_is_registered_afterwards(self, behind: Make, door: Proxy) -> None:
        from flows import plain
        from windsock.provider.runtime.versions import register_pipeline

        stack = behind(**SOON)
        door.refuse()
        recorder = recorder_for(stack, lambda metadata: register_pipeline(metadata, plain.spec))
        Execution(invoke("load", seed=1), stack.artifact_store, recorder, stack).run()
        door.accept()
        run(stack, "load", "r2", seed=2)
        found = stack.metadata.runs.get("shop", "r1")
        assert found.pipeline_version == 1
        assert stack.metadata.pipelines.get("plain", 1).spec == plain.spec.to_dict()

    def test_a_run_that_ends_meanwhile(self, behind: Make, door: Proxy) -> None:
        stack = behind(**SOON)
        run(stack, "load", seed=1)
        door.refuse()
        recorder_for(stack).end_run("shop", "r1", "success")
        door.accept()
        run(stack, "load", "r2", seed=2)
        assert stack.metadata.runs.get("shop", "r1").state == "success"
        assert stack.metadata.runs.get("shop", "r2").state == "running"


def two_runs(stack: Stack, door: Proxy) -> None:
    """Two runs of two steps each, spooled."""
    door.refuse()
    for name, seed in (("r1", 1), ("r2", 2)):
        rows = run(stack, "load", name, seed=seed)
        run(stack, "add", name, rows=rows.outputs["output"])
        recorder_for(stack).end_run("shop", name, "success")
    door.accept()


def everything_once(stack: Stack, metadata: Any) -> None:
    for name in ("r1", "r2"):
        found = metadata.runs.get("shop", name)
        assert found.state == "success"
        assert [(s.step, s.state) for s in metadata.runs.steps(found.id)] == [("load", "success"), ("add", "success")]
    assert sorted((v.artifact, v.version) for v in metadata.artifacts.list()) == [
        ("shop.add", 1),
        ("shop.add", 2),
        ("shop.load", 1),
        ("shop.load", 2),
    ]
    assert metadata.artifacts.get("shop.load", 1).digest != metadata.artifacts.get("shop.load", 2).digest
    nothing_is_torn(stack, metadata)


POINTS = [f"runtime.spool.{point}@{n}" for point in ("before_record", "recorded", "removed") for n in (1, 4, 10)]


class TestReplay:
    @pytest.mark.parametrize("point", POINTS)
    def test_killed_in_the_middle(self, behind: Make, door: Proxy, point: str) -> None:
        stack = behind(**SOON)
        two_runs(stack, door)
        spool = Spool.of(stack)
        assert spool is not None
        before = spool.pending()
        assert len(before) == 10
        child = os.fork()
        if child == 0:
            os.environ["WINDSOCK_FAULT_POINT"] = point
            faults._reached.clear()
            spool.replay(behind.direct())  # type: ignore[attr-defined]
            os._exit(0)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL
        left = spool.pending()
        assert left == before[10 - len(left) :]  # in order
        metadata = behind.direct()  # type: ignore[attr-defined]
        assert spool.replay(metadata).recorded == len(left)
        everything_once(stack, metadata)

    def test_several_at_once(self, behind: Make, door: Proxy) -> None:
        stack = behind(**SOON)
        two_runs(stack, door)
        stacks = [behind() for _ in range(4)]

        def replay(each: Stack) -> Any:
            spool = Spool.of(each)
            assert spool is not None
            return spool.replay(each.metadata)

        with ThreadPoolExecutor(4) as pool:
            done = list(pool.map(replay, stacks))
        assert sum(d.recorded for d in done) >= 10
        assert all(not d.waiting and not d.refused for d in done)
        assert spooled(stack) == []
        everything_once(stack, stacks[0].metadata)

    def test_steps_that_spool_while_others_replay(self, behind: Make, door: Proxy) -> None:
        """The database flickers; four workers run chains of steps. Nothing of it shows afterwards."""
        stacks = [behind(metadata_patience=0.05) for _ in range(4)]

        def work(n: int) -> None:
            rows = run(stacks[n], "load", f"w{n}", seed=n)
            for again in range(6):
                found = run(stacks[n], "add", f"w{n}-{again}", rows=rows.outputs["output"])
                rows = run(stacks[n], "load", f"w{n}-{again}", seed=100 * n + again) if again % 2 else rows
                assert found.outputs["output"]["digest"]

        with ThreadPoolExecutor(4) as pool:
            done = [pool.submit(work, n) for n in range(4)]
            while not all(d.done() for d in done):
                door.refuse()
                time.sleep(0.15)
                door.accept()
                time.sleep(0.1)
        for each in done:
            each.result()
        metadata = behind.direct()  # type: ignore[attr-defined]
        spool = Spool.of(stacks[0])
        assert spool is not None
        assert spool.replay(metadata).waiting == []
        assert spooled(stacks[0]) == []
        steps = [s for r in metadata.runs.list(limit=100) for s in metadata.runs.steps(r.id)]
        assert len(steps) == 4 * (1 + 6 + 3)
        assert {s.state for s in steps} == {"success"}
        nothing_is_torn(stacks[0], metadata)

    def test_what_reads_something_unrecorded_waits(self, behind: Make, door: Proxy) -> None:
        stack = behind(**SOON)
        rows = run(stack, "load", seed=1).outputs["output"]
        ghost = {**rows, "artifact": "shop.ghost", "version": None}
        door.refuse()
        run(stack, "add", "r2", rows=ghost)
        run(stack, "load", "r3", seed=5)
        door.accept()
        spool = Spool.of(stack)
        assert spool is not None
        done = spool.replay(stack.metadata)
        assert done.recorded == 3
        ((_, why),) = done.waiting
        assert "shop.ghost" in why
        assert spooled(stack) == ["finish"]
        assert stack.metadata.runs.get("shop", "r3").state == "running"

    def test_damage_is_set_aside_and_stops_nothing(self, behind: Make, door: Proxy) -> None:
        stack = behind(**SOON)
        two_runs(stack, door)
        spool = Spool.of(stack)
        assert spool is not None
        damaged = spool.pending()[0]
        path = stack.artifact_store.local_path(damaged.key)
        assert path is not None
        content = json.loads(path.read_text())
        content["record"]["step"] = "stolen"
        path.chmod(0o600)
        path.write_text(json.dumps(content))
        metadata = behind.direct()  # type: ignore[attr-defined]
        done = spool.replay(metadata)
        ((where, why),) = done.refused
        assert "digest" in why
        assert stack.artifact_store.exists(stack.artifact_store.uri_of(where))
        everything_once(stack, metadata)  # a start that is lost costs nothing: the end says it, too

    def test_an_attempt_that_was_given_up_meanwhile(self, behind: Make, door: Proxy) -> None:
        """Attempt 1 ends while the database is away, and is believed dead when attempt 2 starts: both did run."""
        stack = behind(**SOON)

        def function(seed: int) -> list[int]:
            door.refuse()
            return load(seed)

        first = run(stack, "load", seed=1, function=function)
        door.accept()
        time.sleep(0.01)
        other = behind(spool="off")  # a worker that does not look into the spool
        run(other, "load", "r1", 2, seed=2)
        spool = Spool.of(stack)
        assert spool is not None
        spool.replay(other.metadata)
        states = [(s.try_number, s.state) for s in other.metadata.runs.steps(run_key("shop", "r1"))]
        assert states == [(1, "success"), (2, "success")]
        assert other.metadata.artifacts.get("shop.load", 2).digest == first.outputs["output"]["digest"]
        nothing_is_torn(stack, other.metadata)


class TestPruning:
    def test_what_is_spooled_is_no_orphan(self, behind: Make, door: Proxy) -> None:
        """The bytes are there and no metadata know them: exactly what an orphan looks like."""
        from windsock.provider.retention.policy import RetentionPolicy
        from windsock.provider.retention.prune import prune

        stack = behind(**SOON)
        two_runs(stack, door)

        def clean() -> int:
            for _ in range(2):  # the first marks, the second removes
                done = prune(stack.metadata, stack.artifact_store, RetentionPolicy(), actor="me", grace=timedelta(0))
            return done.removed

        assert clean() == 0
        spool = Spool.of(stack)
        assert spool is not None
        assert spool.replay(stack.metadata).recorded == 10
        everything_once(stack, stack.metadata)
        stack.artifact_store.put_bytes("objects/00/" + "0" * 64, b"an orphan")
        assert clean() == 1
        everything_once(stack, stack.metadata)


class TestCommand:
    """``windsock db replay``, and what ``windsock doctor`` says of it."""

    @pytest.fixture
    def windsock(
        self, behind: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> Callable[..., tuple[int, Any]]:
        from windsock.provider.cli.main import main

        monkeypatch.setenv("WINDSOCK_HOME", str(tmp_path / "home"))
        monkeypatch.setenv("WINDSOCK_SQL_ALCHEMY_CONN", behind().settings.sql_alchemy_conn)
        monkeypatch.chdir(tmp_path)

        def run(*words: str) -> tuple[int, Any]:
            capsys.readouterr()
            code = main([*words, "--output", "json"])
            return code, json.loads(capsys.readouterr().out or "null")

        return run

    def test_replay(self, behind: Make, door: Proxy, windsock: Callable[..., tuple[int, Any]]) -> None:
        stack = behind(**SOON)
        assert windsock("db", "replay") == (
            0,
            {"recorded": 0, "waiting": [], "refused": [], "kept_as_refused": []},
        )
        two_runs(stack, door)
        code, found = windsock("doctor")
        (finding,) = [f for f in found["findings"] if f["what"] == "spool"]
        assert (finding["ok"], finding["detail"]) == (False, "10 records to be replayed")
        assert finding["hint"] == "Run: windsock db replay"
        code, found = windsock("db", "replay")
        assert (code, found["recorded"]) == (0, 10)
        everything_once(stack, stack.metadata)

    def test_what_is_left_is_told(self, behind: Make, door: Proxy, windsock: Callable[..., tuple[int, Any]]) -> None:
        stack = behind(**SOON)
        rows = run(stack, "load", seed=1).outputs["output"]
        door.refuse()
        run(stack, "add", "r2", rows={**rows, "artifact": "shop.ghost", "version": None})
        door.accept()
        code, found = windsock("db", "replay")
        assert code == 1
        assert "shop.ghost" in found["waiting"][0]["why"]
