"""Upkeep of the artifact store, as Airflow tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import WindsockOperator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context


class PruneArtifactsOperator(WindsockOperator):
    """Removes content that no retention policy keeps and nothing needs, in two phases.

    Each run of the task marks what nothing needs now, and removes what an earlier run marked, if the grace period is
    over and nothing has needed it since. So schedule it, daily for example; it is safe while other DAGs write. The
    policy is ``retention:`` of the stack file; without one only orphans are removed. Metadata and lineage stay.

    XCom: the summary, sizes in bytes (``removed_bytes``, ``marked_bytes``, ``waiting_bytes``…). One audit event.

    :param report_only: say what would happen, and change nothing (templated).
    :param policy: retention policy instead of the stack's, as it would stand in its file (templated).
    :param reason: kept in the audit trail (templated); default: the DAG run.
    """

    template_fields: Sequence[str] = ("stack", "report_only", "policy", "reason")

    def __init__(
        self,
        *,
        report_only: bool | str = False,
        policy: dict[str, Any] | None = None,
        reason: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.report_only = report_only
        self.policy = policy
        self.reason = reason

    def execute(self, context: Context) -> dict[str, Any]:
        from ..provider.retention.policy import RetentionPolicy
        from ..provider.retention.prune import prune

        stack = self.loaded_stack
        summary = prune(
            stack.metadata,
            stack.artifact_store,
            stack.retention if self.policy is None else RetentionPolicy.of(self.policy),
            dry_run=str(self.report_only).lower() in {"1", "true", "yes"},
            actor=self.actor(context),
            reason=self.reason or f"run {context['run_id']}",
            progress=_Reporter(self.log),
        )
        self.log.info("Done: %s", summary.to_dict())
        return summary.to_dict()


class _Reporter:
    """A line in the log for each stage, and for each gigabyte."""

    def __init__(self, log: Any) -> None:
        self.log = log
        self.stage = ""
        self.removed = 0
        self.told = 0

    def __call__(self, doing: str, size: int) -> None:
        self.removed += size
        if doing != self.stage or self.removed - self.told >= 1 << 30:
            self.stage, self.told = doing, self.removed
            self.log.info("%s%s", doing, f", {self.removed / (1 << 20):.0f} MiB so far" if self.removed else "")
