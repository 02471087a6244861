"""Ends a Windsock run when its DAG run ends.

It is a convenience, not bookkeeping that anything relies on: a run that no listener ended shows as running until the next
one. It runs in the scheduler, so it does nothing for a DAG that has no Windsock run, and swallows what goes wrong.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from airflow.listeners import hookimpl

if TYPE_CHECKING:
    from airflow.models import DagRun

log = logging.getLogger(__name__)


class RunListener:
    """Listens to DAG runs."""

    @hookimpl
    def on_dag_run_success(self, dag_run: DagRun, msg: str) -> None:
        _end(dag_run, "success")

    @hookimpl
    def on_dag_run_failed(self, dag_run: DagRun, msg: str) -> None:
        _end(dag_run, "failed")


def _end(dag_run: DagRun, state: str) -> None:
    try:
        from ..hooks.stacks import load_stack

        metadata = load_stack().metadata
        if metadata.runs.find(dag_run.dag_id, dag_run.run_id) is not None:
            metadata.runs.end(dag_run.dag_id, dag_run.run_id, state)
    except Exception:  # noqa: BLE001 - a listener must never disturb the scheduler
        log.warning("Windsock could not end run %s of %s.", dag_run.run_id, dag_run.dag_id, exc_info=True)
