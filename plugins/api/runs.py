"""Runs of pipelines and their steps."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ...provider.metadata.runs import StepRun
from .access import READS_ASSETS, READS_DAG, Limit, MetadataDep, ReadableDags

router = APIRouter(prefix="/runs")


@router.get("", dependencies=READS_ASSETS)
def list_runs(
    metadata: MetadataDep, readable: ReadableDags, pipeline: str | None = None, limit: Limit = 50, before: str | None = None
) -> dict[str, Any]:
    """The newest runs of the DAGs that the user may read. A page may hold fewer than ``limit``; ``next`` tells the end."""
    page = metadata.runs.list(pipeline=pipeline, limit=limit, before=before)
    allowed = readable.value or set()
    return {"items": [run for run in page.items if run.dag_id in allowed], "next": page.next}


@router.get("/{dag_id}/{run_id}/steps", dependencies=READS_DAG)
def list_steps(dag_id: str, run_id: str, metadata: MetadataDep) -> list[StepRun]:
    return list(metadata.runs.steps(metadata.runs.get(dag_id, run_id).id))
