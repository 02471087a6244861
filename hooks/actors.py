"""Who does it: the name that history and audit show for what a task did."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def task_actor(context: Mapping[str, Any]) -> str:
    """``user:alice`` when a person triggered the run, else ``dag:churn_retraining``."""
    dag_run = context.get("dag_run")
    user = getattr(dag_run, "triggering_user_name", None)
    return f"user:{user}" if user else f"dag:{context['ti'].dag_id}"


def run_reason(context: Mapping[str, Any]) -> dict[str, Any] | None:
    """Why this run exists, if somebody said so.

    An explicit ``windsock_reason`` in the run's conf wins; otherwise the newest triggering asset event tells, with
    the JSON extra that its producer gave it. ``None`` for a plain scheduled or manual run.
    """
    dag_run = context.get("dag_run")
    conf = getattr(dag_run, "conf", None) or {}
    if given := conf.get("windsock_reason"):
        return dict(given) if isinstance(given, Mapping) else {"reason": str(given)}
    try:
        triggering = context.get("triggering_asset_events") or {}
        events = [event for group in triggering.values() for event in group]
    except (AttributeError, RuntimeError, TypeError):
        return None  # outside a real task (dag.test, unit tests) Airflow may have none to give
    if not events:
        return None
    newest = max(events, key=lambda event: event.timestamp)
    extra = dict(newest.extra or {})
    return {
        "kind": "asset",
        "asset": newest.asset.uri,
        "dag": newest.source_dag_id,
        "run": newest.source_run_id,
        **{key: extra[key] for key in sorted(extra) if key != "from_trigger"},
    }


def in_words(reason: Mapping[str, Any] | None) -> str | None:
    """One line for a history: ``drift: 6 features drifted``; None without a reason."""
    if not reason:
        return None
    said = reason.get("reason") or "; ".join(map(str, reason.get("reasons") or ())) or reason.get("asset")
    return f"{reason.get('kind', 'run')}: {said}" if said else None
