"""Ends a Windsock run when its DAG run ends.

It is a convenience, not bookkeeping that anything relies on: a run that no listener ended shows as running. It is
called in the scheduler (and in the API server, when a person marks a run), in the middle of a transaction of Airflow's.
Hence:

- The work is done in a thread of its own. Airflow's database session belongs to the thread, and looking up a connection
  would commit what the scheduler is about to write.
- The caller waits for it :data:`PATIENCE` seconds at most. A database that does not answer costs that once, and then
  nothing for :data:`PAUSE` seconds: meanwhile the ends of runs go into the spool, by a thread that nobody waits for.
- Whatever goes wrong is a warning in the log.

It also replays the spool (``provider/runtime/spool.py``) before it ends a run, so that what the run's last steps left
there is recorded. An object store is asked for that once in :data:`PAUSE` seconds.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from datetime import datetime, timezone
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Any

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models import DagRun

    from ..provider.stack import Stack

log = logging.getLogger(__name__)

PATIENCE = 2.0
PAUSE = 60.0


class RunListener:
    """Listens to DAG runs."""

    def __init__(self) -> None:
        self._quiet_until = 0.0
        self._busy: threading.Thread | None = None
        self._missed: SimpleQueue[tuple[str, str, str, datetime]] = SimpleQueue()
        self._keeper: threading.Thread | None = None
        self._pid = 0

    @hookimpl
    def on_starting(self, component: Any) -> None:
        """A scheduler that will fork the tasks imports for all of them."""
        if type(component).__name__ == "Job":  # and not a task, which must not even import what follows
            from .preload import forks_tasks, preload

            if forks_tasks(component):
                preload()

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        self.end(dag_run.dag_id, dag_run.run_id, "success")

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        self.end(dag_run.dag_id, dag_run.run_id, "failed")

    def end(self, dag_id: str, run_id: str, state: str) -> None:
        """Never raises, and returns within :data:`PATIENCE` seconds."""
        try:
            if self._pausing():
                self._keep(dag_id, run_id, state)
            else:
                self._end_in_thread(dag_id, run_id, state)
        except Exception:  # a listener must never disturb the scheduler
            log.warning("Windsock could not end run %s of %s.", run_id, dag_id, exc_info=True)

    def _pausing(self) -> bool:
        if self._pid != os.getpid():  # a thread does not survive a fork
            self._pid, self._busy, self._keeper, self._quiet_until = os.getpid(), None, None, 0.0
        if self._busy is not None and self._busy.is_alive():
            return True
        return time.monotonic() < self._quiet_until

    def _keep(self, dag_id: str, run_id: str, state: str) -> None:
        self._missed.put((dag_id, run_id, state, datetime.now(timezone.utc)))
        if self._keeper is None or not self._keeper.is_alive():
            self._keeper = threading.Thread(target=self._keep_missed, name="windsock-spool", daemon=True)
            self._keeper.start()

    def _keep_missed(self) -> None:
        try:
            while True:
                _spool_end(*self._missed.get(timeout=1))
        except Empty:
            pass
        except Exception as error:  # noqa: BLE001 - a listener must never disturb the scheduler
            log.warning("Windsock could not spool the end of a run: %s", _reason(error))

    def _end_in_thread(self, dag_id: str, run_id: str, state: str) -> None:
        failures: list[Exception] = []

        def work() -> None:
            try:
                _end(dag_id, run_id, state)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is logged below
                failures.append(error)

        self._busy = threading.Thread(target=work, name="windsock-listener", daemon=True)
        self._busy.start()
        self._busy.join(PATIENCE)
        late = self._busy.is_alive()
        if late or failures:
            self._quiet_until = time.monotonic() + PAUSE
            why = f"no answer within {PATIENCE:g} s" if late else _reason(failures[0])
            log.warning("Windsock could not end run %s of %s: %s. Trying again in %g s.", run_id, dag_id, why, PAUSE)


def _end(dag_id: str, run_id: str, state: str) -> None:
    from ..provider.errors import MetadataUnavailable

    at = datetime.now(timezone.utc)
    try:
        stack = _stack()
        runs = stack.metadata.runs
        known = runs.find(dag_id, run_id)
        if _replayed(stack) or known is not None:  # a DAG without Windsock steps has no run
            runs.end(dag_id, run_id, state)
    except MetadataUnavailable:
        _spool_end(dag_id, run_id, state, at)
        raise


def _spool_end(dag_id: str, run_id: str, state: str, at: datetime) -> None:
    from ..provider.runtime.spool import Spool

    if (spool := Spool.of(_stack())) is not None:
        spool.append_end(dag_id, run_id, state, at)


_looked: list[float] = []
"""When the spool in an object store was last looked at."""


def _replayed(stack: Stack) -> bool:
    """Record what is in the spool; whether there was anything. A store that does not answer is no reason to stop."""
    from ..provider.errors import ArtifactError
    from ..provider.runtime.spool import Spool

    spool = Spool.of(stack)
    if spool is None:
        return False
    if not spool.at_hand():
        if stack.artifact_store.local_path("spool") is not None or (_looked and time.monotonic() < _looked[0] + PAUSE):
            return False
        _looked[:] = [time.monotonic()]
    try:
        return spool.replay(stack.metadata).recorded > 0
    except ArtifactError as error:
        log.warning("Windsock could not read its spool: %s", _reason(error))
        return False


def _stack() -> Stack:
    """With the database; over REST where the scheduler was given none: it has the key that signs tokens."""
    from ..hooks.settings import airflow_settings
    from ..hooks.stacks import load_server_stack

    settings = airflow_settings()
    if settings.metadata_transport != "rest" or settings.database_is_named:
        return load_server_stack()
    from ..provider.stack import Stack
    from .signing import SchedulerCredentials

    return Stack.load(settings=settings, credentials=SchedulerCredentials())


def _reason(error: Exception) -> str:
    from ..provider.runtime.redaction import error_line

    return error_line(error)
