"""PostgreSQL restarted, killed, frozen, slow, cut off in the middle of a commit: a step waits, and is recorded once."""

from __future__ import annotations

import signal
import threading
import time
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from faults_lab import load, nothing_is_torn, run
from proxy import Proxy, Stall, cut_at, slow
from windsock.provider.errors import MetadataUnavailable
from windsock.provider.metadata import Metadata, NewModelVersion, migrate, mysql, patient
from windsock.provider.metadata.keys import run_key, step_run_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from postgres_lab import Postgres
    from windsock.provider.stack import Stack

    Make = Callable[..., Stack]


def recorded_once(stack: Stack, metadata: Metadata) -> None:
    (step,) = metadata.runs.steps(run_key("shop", "r1"))
    assert (step.state, step.step) == ("success", "load")
    assert [v.version for v in metadata.artifacts.versions("shop.load")] == [1]
    nothing_is_torn(stack, metadata)


class TestCutInTheMiddleOfACommit:
    """The client cannot know whether the server committed. Whatever it did, the second try makes it right."""

    @pytest.mark.parametrize("commit", [1, 2], ids=["start", "finish"])
    @pytest.mark.parametrize("heard", [False, True], ids=["not-received", "committed"])
    def test_of_a_step(self, behind: Make, door: Proxy, commit: int, heard: bool) -> None:
        stack = behind(spool="off")
        assert stack.metadata.runs.find("shop") is None  # connected
        cut = cut_at(b"COMMIT", pass_on=heard)

        def function(seed: int) -> list[int]:
            if commit == 2:
                door.rule = cut
            return load(seed)

        if commit == 1:
            door.rule = cut
        before = door.connections
        result = run(stack, "load", seed=1, function=function)
        assert door.connections > before  # it did happen
        assert result.outputs["output"]["version"] == 1
        recorded_once(stack, behind.direct())  # type: ignore[attr-defined]

    @pytest.mark.parametrize("heard", [False, True], ids=["not-received", "committed"])
    def test_of_the_registry(self, behind: Make, door: Proxy, heard: bool) -> None:
        """It says so, and doing it again, as the retry of the task does, does it once."""
        stack = behind()
        made = run(stack, "load", seed=1)
        models = stack.metadata.models
        new = NewModelVersion(
            model="m", artifact=made.outputs["output"], step_run=step_run_key("shop", "r1", "load", -1, 1)
        )
        door.rule = cut_at(b"COMMIT", pass_on=heard)
        with pytest.raises(MetadataUnavailable, match="may or may not be recorded"):
            models.register(new)
        assert models.register(new).version == 1

        def promote() -> int:
            return models.set_alias("m", "production", 1, expected=None, actor="me", run="r1").version

        door.rule = cut_at(b"COMMIT", pass_on=heard)
        with pytest.raises(MetadataUnavailable, match="may or may not be recorded"):
            promote()
        assert promote() == 1
        metadata = behind.direct()  # type: ignore[attr-defined]
        assert [v.version for v in metadata.models.versions("m")] == [1]
        assert [(e.from_version, e.to_version) for e in metadata.models.history("m")] == [(None, 1)]


class TestServerGone:
    @pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL], ids=["restarted", "crashed"])
    def test_while_the_step_runs(
        self, postgres: Postgres, make_stack: Make, how: signal.Signals, request: pytest.FixtureRequest
    ) -> None:
        url = postgres.url(postgres.database())
        stack = make_stack(url)

        def function(seed: int) -> list[int]:
            postgres.stop(how)
            threading.Timer(0.5, postgres.start).start()
            return load(seed)

        result = run(stack, "load", seed=1, function=function)
        assert result.outputs["output"]["version"] == 1
        recorded_once(stack, Metadata.open(url))

    def test_connections_that_died_in_the_pool_are_not_noticed(self, behind: Make, door: Proxy) -> None:
        stack = behind(metadata_patience=0, spool="off")
        with stack.metadata.database.read(), stack.metadata.database.read():
            pass
        door.cut()
        assert stack.metadata.runs.find("shop") is None
        door.cut()
        run(stack, "load", seed=1)
        recorded_once(stack, behind.direct())  # type: ignore[attr-defined]

    def test_the_error_is_one_paragraph(self, behind: Make, door: Proxy) -> None:
        stack = behind(metadata_patience=0.2, spool="off")
        door.refuse()
        with pytest.raises(MetadataUnavailable) as caught:
            run(stack, "load", seed=1)
        text = str(caught.value)
        assert "does not answer" in text
        assert "windsock doctor" in text
        assert text.count("\n") == 1
        assert len(text) < 500


class TestServerFrozen:
    """The kernel still answers for a stopped process: no socket is ever closed."""

    @pytest.fixture(autouse=True)
    def _soon(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(patient, "ANSWER_TIMEOUT", 0.5)

    def test_while_the_step_runs(self, postgres: Postgres, make_stack: Make) -> None:
        """What the frozen server still does when it wakes up, and the second try, are one record."""
        url = postgres.url(postgres.database()) + "?connect_timeout=2"
        stack = make_stack(url)

        def function(seed: int) -> list[int]:
            postgres.freeze()
            threading.Timer(1.5, postgres.thaw).start()
            return load(seed)

        began = time.monotonic()
        result = run(stack, "load", seed=1, function=function)
        assert time.monotonic() - began >= 1.4
        assert result.outputs["output"]["version"] == 1
        recorded_once(stack, Metadata.open(url))

    def test_for_longer_than_the_patience(self, behind: Make, door: Proxy) -> None:
        stack = behind("?connect_timeout=2", metadata_patience=1)
        frozen = Stall()

        def function(seed: int) -> list[int]:
            door.rule = frozen
            return load(seed)

        result = run(stack, "load", seed=1, function=function)
        assert result.outputs["output"]["version"] is None
        door.refuse()
        frozen.over.set()
        door.rule = lambda piece: piece.data
        door.accept()
        run(stack, "add", "r2", rows=result.outputs["output"])
        metadata = behind.direct()  # type: ignore[attr-defined]
        recorded_once(stack, metadata)

    def test_a_frozen_commit(self, behind: Make, door: Proxy) -> None:
        stack = behind()
        frozen = Stall(b"COMMIT")
        stack.metadata.runs.find("shop")
        door.rule = frozen
        threading.Timer(1.5, lambda: (setattr(door, "rule", lambda p: p.data), frozen.over.set())).start()
        run(stack, "load", seed=1)
        assert frozen.held.is_set()
        recorded_once(stack, behind.direct())  # type: ignore[attr-defined]

    def test_waiting_for_a_lock_is_not_being_frozen_unless_it_lasts(self, behind: Make) -> None:
        """A statement that waits in the server says nothing either: it, too, ends, and the lock's owner is not hurt."""
        stack = behind()
        other: Any = behind.direct()  # type: ignore[attr-defined]
        began = time.monotonic()
        with other.transaction() as connection:
            connection.exec_driver_sql("LOCK TABLE windsock_run")
            with pytest.raises(MetadataUnavailable, match=r"has not answered for 0\.5 s"):
                stack.metadata.runs.end("a", "b", "failed")
        assert time.monotonic() - began < 2

    def test_changes_of_the_schema_may_take_long(self, postgres: Postgres) -> None:
        url = postgres.url(postgres.database())
        metadata = Metadata.open(url)
        with metadata.transaction() as connection, patient.unhurried(connection):
            connection.exec_driver_sql("SELECT pg_sleep(1)")


def test_a_slow_network_is_only_slow(behind: Make, door: Proxy) -> None:
    stack = behind(spool="off")
    stack.metadata.runs.find("shop")
    door.rule = slow(0.03)
    run(stack, "load", seed=1)
    recorded_once(stack, behind.direct())  # type: ignore[attr-defined]


class TestMariaDb:
    """The same through PyMySQL."""

    @pytest.fixture
    def line(self, mariadb_url: str) -> Iterator[Proxy]:
        with Proxy("127.0.0.1", urlsplit(mariadb_url).port or 0) as proxy:
            yield proxy

    @pytest.fixture
    def through(self, line: Proxy, mariadb_database: Callable[[], str], make_stack: Make) -> Callable[..., Stack]:
        """Makes stacks whose database is behind the proxy."""
        direct = mariadb_database()
        migrate.upgrade(direct)

        def make(**settings: Any) -> Stack:
            port = urlsplit(direct).port
            return make_stack(direct.replace(f":{port}/", f":{line.port}/"), **settings)

        make.direct = lambda: Metadata.open(direct)  # type: ignore[attr-defined]
        return make

    @pytest.mark.parametrize("heard", [False, True], ids=["not-received", "committed"])
    def test_cut_in_the_middle_of_a_commit(self, through: Make, line: Proxy, heard: bool) -> None:
        stack = through(spool="off")
        assert stack.metadata.runs.find("shop") is None
        cut = cut_at(b"COMMIT", pass_on=heard)

        def function(seed: int) -> list[int]:
            line.rule = cut
            return load(seed)

        before = line.connections
        assert run(stack, "load", seed=1, function=function).outputs["output"]["version"] == 1
        assert line.connections > before
        recorded_once(stack, through.direct())  # type: ignore[attr-defined]

    def test_frozen_for_longer_than_the_patience(
        self, through: Make, line: Proxy, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(mysql, "ANSWER_TIMEOUT", 1)
        stack = through(metadata_patience=1)
        frozen = Stall()

        def function(seed: int) -> list[int]:
            line.rule = frozen
            return load(seed)

        began = time.monotonic()
        result = run(stack, "load", seed=1, function=function)
        assert time.monotonic() - began < 25
        assert result.outputs["output"]["version"] is None
        line.refuse()
        frozen.over.set()
        line.rule = lambda piece: piece.data
        line.accept()
        run(stack, "add", "r2", rows=result.outputs["output"])
        recorded_once(stack, through.direct())  # type: ignore[attr-defined]
