"""Runs of pipelines and their steps."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ...provider.metadata.filters import RunFilter
from ...provider.metadata.runs import Run, StepRun
from .access import READS_ASSETS, READS_DAG, Limit, MetadataDep, ReadableDags, may_read_run
from .narrowing import Compared, Moment, compared

router = APIRouter(prefix="/runs")

_READS_AHEAD = 20  # pages, for a user who may read few of many DAGs


@router.get("", dependencies=READS_ASSETS)
def list_runs(
    metadata: MetadataDep,
    readable: ReadableDags,
    pipeline: str | None = None,
    dag_id: str | None = None,
    state: str | None = None,
    since: Moment = None,
    until: Moment = None,
    metric: Compared = None,
    parameter: Compared = None,
    limit: Limit = 50,
    before: str | None = None,
) -> dict[str, Any]:
    """The newest runs of the DAGs that the user may read.

    A page may hold fewer than ``limit``, even none; whether there is more is told by ``next`` alone.
    """
    wanted = RunFilter(
        pipeline=pipeline,
        dag_id=dag_id,
        state=state,
        since=since,
        until=until,
        metrics=compared(metric),
        parameters=compared(parameter),
    )
    found: list[Run] = []
    for _ in range(_READS_AHEAD):
        page = metadata.runs.search(wanted, limit - len(found), before)
        found += [run for run in page.items if may_read_run(run.dag_id, run.run_id, readable.value)]
        before = page.next
        if before is None or len(found) >= limit:
            break
    return {"items": found, "next": before}


@router.get("/{dag_id}/{run_id}/steps", dependencies=READS_DAG)
def list_steps(dag_id: str, run_id: str, metadata: MetadataDep) -> list[StepRun]:
    return list(metadata.runs.steps(metadata.runs.get(dag_id, run_id).id))
