"""The listener ends runs, and the scheduler never feels it."""

from __future__ import annotations

import logging
import socket
import threading
import time
from typing import TYPE_CHECKING

import pytest
from plugin_world import BARE_DAG, DAG, FAILING_DAG
from windsock.hooks.stacks import load_stack
from windsock.plugins import listener
from windsock.plugins.listener import RunListener
from windsock.provider.cli.demo.airflow import wait_for
from windsock.provider.metadata.runs import StepStart
from windsock.provider.runtime.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from plugin_world import World
    from windsock.provider.metadata.runs import Run


@pytest.fixture
def run(windsock_home: Path) -> Run:
    """A run that has begun."""
    runs = load_stack().metadata.runs
    runs.start_step(StepStart(dag_id="shop", run_id="monday", task_id="fit", step="fit"))
    found = runs.get("shop", "monday")
    assert found.state == "running"
    return found


@pytest.fixture
def silent_database(windsock_home: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A database server that takes the connection and then says nothing: the worst way to be down."""
    pytest.importorskip("psycopg")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        monkeypatch.setenv("WINDSOCK_SQL_ALCHEMY_CONN", f"postgresql://w:secret@127.0.0.1:{port}/w?connect_timeout=8")
        yield str(port)


@pytest.mark.xdist_group("plugins")
class TestInTheScheduler:
    def test_a_run_ends_when_its_dag_run_ends(self, world: World) -> None:
        def ended(dag: str) -> Run | None:
            found = world.metadata.runs.get(dag, world.runs[dag])
            return found if found.ended_at else None

        assert wait_for(lambda: ended(DAG), 20, "the run to end").state == "success"
        assert wait_for(lambda: ended(FAILING_DAG), 60, "the failing run to end").state == "failed"

    def test_a_dag_without_windsock_gets_no_run(self, world: World) -> None:
        world.airflow.wait_for_run(BARE_DAG, world.runs[BARE_DAG], 60)
        assert world.metadata.runs.find(BARE_DAG) is None


class TestListener:
    @pytest.mark.parametrize("state", ["success", "failed"])
    def test_ends_a_run(self, run: Run, state: str) -> None:
        RunListener().end(run.dag_id, run.run_id, state)
        ended = load_stack().metadata.runs.get(run.dag_id, run.run_id)
        assert ended.state == state
        assert ended.ended_at is not None

    def test_airflow_calls_it(self, run: Run, airflow_home: object) -> None:
        from types import SimpleNamespace

        from airflow.listeners.listener import get_listener_manager

        manager = get_listener_manager()
        one = RunListener()
        manager.add_listener(one)
        try:
            dag_run = SimpleNamespace(dag_id=run.dag_id, run_id=run.run_id)
            manager.hook.on_dag_run_failed(dag_run=dag_run, msg="")
        finally:
            manager.pm.unregister(one)
        assert load_stack().metadata.runs.get(run.dag_id, run.run_id).state == "failed"

    def test_a_database_that_says_nothing_costs_two_seconds_once(
        self, silent_database: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        one = RunListener()
        with caplog.at_level(logging.WARNING, logger=listener.log.name):
            began = time.monotonic()
            one.end("shop", "monday", "success")
            first = time.monotonic() - began
            for _ in range(100):
                one.end("shop", "tuesday", "success")
            rest = time.monotonic() - began - first
        assert listener.PATIENCE <= first < listener.PATIENCE + 1
        assert rest < 0.5
        (warning,) = caplog.messages
        assert "no answer within 2 s" in warning
        assert one._keeper is not None
        one._keeper.join()
        spool = Spool.of(load_stack())
        assert spool is not None
        assert [entry.kind for entry in spool.pending()] == ["end"] * 100  # nobody waited for it, nothing is lost

    def test_a_database_that_refuses_is_a_warning_without_its_password(
        self, windsock_home: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        pytest.importorskip("psycopg")
        monkeypatch.setenv("WINDSOCK_SQL_ALCHEMY_CONN", "postgresql://w:secret-word@127.0.0.1:1/w")
        began = time.monotonic()
        with caplog.at_level(logging.WARNING, logger=listener.log.name):
            RunListener().end("shop", "monday", "success")
        assert time.monotonic() - began < listener.PATIENCE + 1
        (warning,) = caplog.messages
        assert "MetadataUnavailable" in warning
        assert "secret-word" not in caplog.text

    def test_it_tries_again_after_a_pause(self, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
        one = RunListener()
        with monkeypatch.context() as broken:
            broken.setattr(listener, "_end", lambda *_: 1 / 0)
            one.end(run.dag_id, run.run_id, "success")
        one.end(run.dag_id, run.run_id, "success")
        runs = load_stack().metadata.runs
        assert runs.get(run.dag_id, run.run_id).state == "running"
        later = time.monotonic() + listener.PAUSE
        monkeypatch.setattr(listener.time, "monotonic", lambda: later)
        one.end(run.dag_id, run.run_id, "success")
        assert runs.get(run.dag_id, run.run_id).state == "success"

    def test_what_the_scheduler_is_writing_is_left_alone(
        self, run: Run, airflow_home: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Airflow's session belongs to the thread: used in the same one, it would be committed half-way."""
        from airflow.models.variable import Variable
        from airflow.utils.session import create_session
        from sqlalchemy import select

        def end(dag_id: str, run_id: str, state: str) -> None:
            with create_session() as session:  # as a look-up of a connection does
                assert session.scalars(select(Variable)).all() == []
            seen.append(threading.current_thread().name)

        seen: list[str] = []
        monkeypatch.setattr(listener, "_end", end)
        with create_session() as session:
            session.add(Variable("half", "written"))
            RunListener().end(run.dag_id, run.run_id, "success")
            assert [one.key for one in session.new] == ["half"]
            session.rollback()
        assert seen == ["windsock-listener"]
