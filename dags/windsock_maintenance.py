"""Upkeep: every night, content that no retention policy keeps and nothing needs is marked, and a day later removed.

What is kept is said by `retention:` of the stack file; without it, only what no metadata knows is removed. Trigger it
with `dry_run` to see what it would do.
"""

from __future__ import annotations

from airflow.sdk import DAG, Param
from windsock.operators.artifacts import PruneArtifactsOperator

with DAG(
    "windsock_maintenance",
    schedule="@daily",
    catchup=False,
    max_active_runs=1,
    params={"dry_run": Param(default=False, type="boolean", description="Change nothing.")},
    doc_md=__doc__,
    tags=["windsock", "example"],
):
    PruneArtifactsOperator(task_id="prune", report_only="{{ params.dry_run }}")
