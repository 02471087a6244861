"""Who may see what: Windsock adds no permissions of its own, it asks Airflow's auth manager.

- What belongs to one DAG (its runs, its lineage) needs the right to read that DAG's task instances.
- Models, deployments, drift reports, artifacts and stacks are assets, and need the right to read assets.
- Checking a stack writes to it, and needs the right to make assets.
- Where runs of several DAGs come together, only those are shown whose DAG the user may read; a run that no DAG made
  (``pipeline.run()``) is shown to who may read assets.
"""

from __future__ import annotations

from typing import Annotated

from airflow.api_fastapi.auth.managers.models.resource_details import DagAccessEntity
from airflow.api_fastapi.core_api.security import ReadableDagsFilterDep, requires_access_asset, requires_access_dag
from fastapi import Depends, Query

from ...hooks.stacks import load_server_stack
from ...provider.metadata import Metadata
from ...provider.metadata.rest.access import LOCAL_RUN
from ...provider.stack import Stack

can_read_assets = requires_access_asset("GET")
can_make_assets = requires_access_asset("POST")
can_read_dag = requires_access_dag("GET", DagAccessEntity.TASK_INSTANCE)

GUARDS = (can_read_assets, can_make_assets, can_read_dag)

READS_ASSETS = [Depends(can_read_assets)]
MAKES_ASSETS = [Depends(can_make_assets)]
READS_DAG = [Depends(can_read_dag)]

ReadableDags = ReadableDagsFilterDep


def may_read_run(dag_id: str, run_id: str, readable: set[str] | None) -> bool:
    """``readable``: the DAGs that the user may read."""
    return dag_id in (readable or ()) or run_id.startswith(LOCAL_RUN)


def _stack(
    stack: Annotated[str | None, Query(description="Name of a stack; default: the active one.")] = None,
) -> Stack:
    return load_server_stack(stack or None)


def _metadata(stack: Annotated[Stack, Depends(_stack)]) -> Metadata:
    return stack.metadata


StackDep = Annotated[Stack, Depends(_stack)]
MetadataDep = Annotated[Metadata, Depends(_metadata)]
Limit = Annotated[int, Query(ge=1, le=500)]
