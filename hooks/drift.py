"""Drift reports, for tasks of your own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .stacks import StackHook

if TYPE_CHECKING:
    from ..provider.metadata.drift import DriftReport


class DriftHook(StackHook):
    """Reads drift reports.

    :param stack: name of the stack; default: the active one.
    :param windsock_conn_id: connection of type ``windsock``.
    """

    def latest_report(self, *, model: str | None = None, deployment: str | None = None) -> DriftReport | None:
        """The newest report of the model or deployment; None if there is none yet."""
        return self.stack().metadata.drift.latest(model=model, deployment=deployment)
