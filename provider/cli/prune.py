"""``windsock artifact prune``: remove content that no policy keeps and nothing needs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from .output import Format, Output, StackName, bytes_shown, emit, facts, group, progress
from .session import session

if TYPE_CHECKING:
    from ..retention.policy import RetentionPolicy
    from ..retention.prune import PruneSummary


def prune(
    ctx: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")] = False,
    keep_runs: Annotated[
        int | None,
        typer.Option("--keep-runs", min=0, help="Keep the last so many runs of each pipeline.", show_default=False),
    ] = None,
    keep_days: Annotated[
        float | None,
        typer.Option("--keep-days", min=0, help="Keep runs that began in the last so many days.", show_default=False),
    ] = None,
    pipeline: Annotated[
        list[str] | None,
        typer.Option("--pipeline", help="Only of this pipeline; may be repeated. Needs --keep-….", show_default=False),
    ] = None,
    orphans: Annotated[
        bool | None, typer.Option("--orphans/--no-orphans", help="Also what no metadata knows.", show_default=False)
    ] = None,
    reason: Annotated[str | None, typer.Option(help="Kept in the audit trail.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Remove content that nothing needs any more: mark it now, remove what was marked before the grace period.

    The policy is `retention:` of the stack file, or what the options say. Never removed: what an alias, an active model
    version, a deployment or its previous version, a drift baseline or a kept run reaches. Metadata stay for ever.
    """
    from ..retention.prune import prune as work

    if pipeline and keep_runs is None and keep_days is None:
        raise typer.BadParameter("--pipeline needs --keep-runs or --keep-days.")
    current = session(ctx)
    loaded = current.stack(stack)
    policy = _policy(loaded.retention, keep_runs, keep_days, pipeline, orphans)
    with progress("Looking at the metadata") as advance:
        summary = work(
            loaded.metadata,
            loaded.artifact_store,
            policy,
            dry_run=dry_run,
            actor=current.actor,
            reason=reason,
            progress=lambda doing, size: advance(size, doing),
        )
    emit(summary.to_dict(), output, lambda: _shown(summary, policy))
    if summary.failed:
        raise typer.Exit(1)


def _policy(
    stack: RetentionPolicy,
    keep_runs: int | None,
    keep_days: float | None,
    pipelines: list[str] | None,
    orphans: bool | None,
) -> RetentionPolicy:
    """The stack's policy, with the options in the place of its rules."""
    from ..retention.policy import PipelinePolicy

    changes: dict[str, Any] = {} if orphans is None else {"orphans": orphans}
    if keep_runs is not None or keep_days is not None:
        rule = PipelinePolicy(runs=keep_runs, days=keep_days)
        changes["default"] = PipelinePolicy() if pipelines else rule
        changes["pipelines"] = dict.fromkeys(pipelines or (), rule)
    return stack.model_copy(update=changes)


def _shown(summary: PruneSummary, policy: RetentionPolicy) -> Any:
    did = summary.dry_run
    verbs = ("would be marked", "would be removed now") if did else ("marked", "removed")
    nothing = summary.runs_expired == 0 and summary.orphans == 0 and policy.default.keeps_all and not policy.pipelines
    return group(
        facts(
            {
                "store": summary.store,
                "runs": f"{summary.runs_kept} kept, {summary.runs_expired} expired",
                "versions": f"{summary.versions_kept} needed, {summary.versions_expired} not",
                "orphans": f"{summary.orphans} that no metadata know" if summary.orphans else None,
                verbs[0]: f"{summary.marked} ({bytes_shown(summary.marked_bytes)})",
                "waiting": f"{summary.waiting} ({bytes_shown(summary.waiting_bytes)}), marked less than "
                f"{policy.grace_hours:g} h ago"
                if summary.waiting
                else None,
                "needed again": summary.unmarked or None,
                verbs[1]: f"{summary.removed} ({bytes_shown(summary.removed_bytes)})",
                "temporary": f"{summary.leftovers} removed" if summary.leftovers else None,
                "failed": f"{summary.failed}, left to the next prune" if summary.failed else None,
            }
        ),
        "\nThe stack has no retention policy, so every run is kept: add `retention:` to its file, or give --keep-runs."
        if nothing
        else None,
        f"\nWhat is marked is removed by a prune in {policy.grace_hours:g} h or later."
        if summary.marked and not did
        else None,
    )
