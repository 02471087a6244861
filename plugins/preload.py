"""Import what every step needs once, in the scheduler, where LocalExecutor forks its workers from.

A task process that is forked has all that its parent has imported, as it has Airflow itself that way. Without this,
each task would import Windsock anew, which costs it more than the rest of what Windsock does. Nothing is opened here
and no library of a step (pandas, scikit-learn…) is imported: only Windsock's own modules, for a few megabytes that the
workers share.

Other executors start from a process of their own and get nothing from it.
"""

from __future__ import annotations

import logging
import multiprocessing
import sys
from importlib import import_module
from typing import Any

log = logging.getLogger(__name__)

_PACKAGE = __package__.rpartition(".")[0]
MODULES = (
    "operators.dag",
    "operators.binding",
    "hooks.actors",
    "hooks.stacks",
    "provider.artifacts.handle",
    "provider.artifacts.materializers.plain",
    "provider.artifacts.saving",
    "provider.artifacts.stores.local",
    "provider.compiler.mermaid",
    "provider.flavors",
    "provider.metadata.component",
    "provider.metadata.pipelines",
    "provider.metadata.runs",
    "provider.metadata.state",
    "provider.metadata.store",
    "provider.pipelines.checks",
    "provider.pipelines.encoding",
    "provider.pipelines.pipeline",
    "provider.pipelines.resources",
    "provider.pipelines.step",
    "provider.runtime.execution",
    "provider.runtime.lost",
    "provider.runtime.recorder",
    "provider.runtime.runner",
    "provider.runtime.spool",
    "provider.runtime.staleness",
    "provider.runtime.versions",
    "provider.stack",
)


def forks_tasks(component: Any) -> bool:
    """Is this the job of a scheduler whose executor runs tasks in forks of it?

    Airflow tells listeners about a job before it has told the job what it is.
    """
    if type(component).__name__ != "Job" or "airflow.jobs.scheduler_job_runner" not in sys.modules:
        return False
    if multiprocessing.get_start_method() != "fork":
        return False
    from airflow.executors.executor_loader import ExecutorLoader

    return any(
        "LocalExecutor" in (name.module_path or "") for name in ExecutorLoader.get_executor_names(validate_teams=False)
    )


def preload() -> None:
    """Never raises: what cannot be imported here will say so in the task that needs it."""
    for name in MODULES:
        try:
            import_module(f"{_PACKAGE}.{name}")
        except Exception:
            log.debug("%s was not imported ahead of the tasks.", name, exc_info=True)
    _build_records()


def _build_records() -> None:
    """Validators of records are built when first used (10 ms for those of a step): use them here."""
    try:
        from ..provider.metadata.records import Record

        for record in Record.__subclasses__():
            record.model_rebuild()
    except Exception:
        log.debug("Records were not built ahead of the tasks.", exc_info=True)
