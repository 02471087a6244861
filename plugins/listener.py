"""Ends a Windsock run when its DAG run ends.

It is a convenience, not bookkeeping that anything relies on: a run that no listener ended shows as running. It is
called in the scheduler (and in the API server, when a person marks a run), in the middle of a transaction of Airflow's.
Hence:

- The work is done in a thread of its own. Airflow's database session belongs to the thread, and looking up a connection
  would commit what the scheduler is about to write.
- The caller waits for it :data:`PATIENCE` seconds at most. A database that does not answer costs that once, and then
  nothing for :data:`PAUSE` seconds: meanwhile runs that end are not recorded as ended.
- Whatever goes wrong is a warning in the log.
"""

from __future__ import annotations

import logging
import os
import threading
import time
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
            if not self._pausing():
                self._end_in_thread(dag_id, run_id, state)
        except Exception:  # a listener must never disturb the scheduler
            log.warning("Windsock could not end run %s of %s.", run_id, dag_id, exc_info=True)

    def _pausing(self) -> bool:
        if self._pid != os.getpid():  # a thread does not survive a fork
            self._pid, self._busy, self._quiet_until = os.getpid(), None, 0.0
        if self._busy is not None and self._busy.is_alive():
            return True
        return time.monotonic() < self._quiet_until

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
    runs = _stack().metadata.runs
    if runs.find(dag_id, run_id) is not None:  # a DAG without Windsock steps has none
        runs.end(dag_id, run_id, state)


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
