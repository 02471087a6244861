"""Runs, for tasks of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stacks import StackHook

if TYPE_CHECKING:
    from ..provider.metadata.runs import Run, StepRun


class RunHook(StackHook):
    """Reads runs of pipelines and the metrics that their steps logged.

    :param stack: name of the stack; default: the active one.
    :param windsock_conn_id: connection of type ``windsock``.
    """

    def get_run(self, dag_id: str, run_id: str) -> Run:
        """Raises ``RecordNotFound``."""
        return self.stack().metadata.runs.get(dag_id, run_id)

    def steps(self, dag_id: str, run_id: str) -> list[StepRun]:
        """The step runs of a run, with their latest metrics. Raises ``RecordNotFound``."""
        return list(self.stack().metadata.runs.steps(self.get_run(dag_id, run_id).id))
