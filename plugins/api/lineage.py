"""Lineage: of one run, for the tab on a DAG's page, and of any node."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from ...provider.metadata.lineage import LineageGraph
from .access import READS_ASSETS, READS_DAG, MetadataDep

router = APIRouter(prefix="/lineage")


@router.get("/dags/{dag_id}", dependencies=READS_DAG)
def get_run_lineage(dag_id: str, metadata: MetadataDep, run_id: str | None = None) -> LineageGraph:
    """What a run (the latest, without ``run_id``) read and made, and what serves it."""
    return metadata.lineage.run_graph(dag_id, run_id)


@router.get("", dependencies=READS_ASSETS)
def get_lineage(
    node: str,
    metadata: MetadataDep,
    direction: Literal["up", "down", "both"] = "both",
    depth: Annotated[int, Query(ge=1, le=50)] = 20,
    limit: Annotated[int, Query(ge=1, le=2000)] = 500,
) -> LineageGraph:
    """Everything around a node, for example ``model:churn@3`` or ``artifact:churn.train@1``."""
    return metadata.lineage.graph(node, direction=direction, depth=depth, limit=limit)
