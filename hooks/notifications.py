"""Airflow notifications through the stack's alerter."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.notifier import BaseNotifier

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class AlertNotifier(BaseNotifier):
    """Sends an alert when a DAG or task fails, succeeds, retries or misses its deadline.

    ``on_failure_callback=AlertNotifier(title="{{ dag.dag_id }} failed")``. Where it goes is the stack's business, so
    the same DAG alerts another channel in another environment. Airflow's own notifiers (Slack, SMTP, PagerDuty…) work
    beside it.

    :param title: one line (templated).
    :param text: the message (templated); default: which task of which run, and its log.
    :param severity: ``info``, ``warning`` or ``critical``.
    :param stack: stack whose alerter sends (templated); default: the active one.
    """

    template_fields: Sequence[str] = ("title", "text", "stack")

    def __init__(
        self,
        *,
        title: str = "{{ dag.dag_id }}: {{ ti.task_id if ti else 'run' }} needs a look",
        text: str = "",
        severity: str = "critical",
        stack: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.title = title
        self.text = text
        self.severity = severity
        self.stack = stack

    def notify(self, context: Context) -> None:
        """Send it. Raises ``AlertNotSent``, and ``StackInvalid`` when the stack has no alerter."""
        from ..provider.alerters.base import Alert
        from .stacks import load_stack

        ti = context.get("ti")
        dag_id = ti.dag_id if ti else context["dag"].dag_id
        run_id = getattr(ti, "run_id", None) or context.get("run_id") or ""
        task_id = getattr(ti, "task_id", "")
        log = getattr(ti, "log_url", None)
        alert = Alert(
            title=self.title,
            text=self.text or f"{dag_id} {task_id} {run_id}".strip(),
            severity=self.severity,
            key=f"airflow/{dag_id}/{task_id}",
            links={"log": log} if log else {},
            facts={"dag_id": dag_id, "run_id": run_id, "task_id": task_id},
        )
        load_stack(self.stack or None).component("alerter").send(alert)  # type: ignore[attr-defined]
