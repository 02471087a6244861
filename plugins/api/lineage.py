"""Lineage: of one run, for the tab on a DAG's page, and of any node."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from ...provider.errors import RecordNotFound
from ...provider.metadata import Metadata
from ...provider.metadata.lineage import LineageGraph, LineageNode
from .access import READS_ASSETS, READS_DAG, MetadataDep, ReadableDags

router = APIRouter(prefix="/lineage")

_OF_A_DAG = ("run", "step_run")


@router.get("/dags/{dag_id}", dependencies=READS_DAG)
def get_run_lineage(dag_id: str, metadata: MetadataDep, run_id: str | None = None) -> LineageGraph:
    """What a run (the latest, without ``run_id``) read and made, and what serves it."""
    return metadata.lineage.run_graph(dag_id, run_id)


@router.get("", dependencies=READS_ASSETS)
def get_lineage(
    node: str,
    metadata: MetadataDep,
    readable: ReadableDags,
    direction: Literal["up", "down", "both"] = "both",
    depth: Annotated[int, Query(ge=1, le=50)] = 20,
    limit: Annotated[int, Query(ge=1, le=2000)] = 500,
) -> LineageGraph:
    """Everything around a node, for example ``model:churn@3`` or ``artifact:churn.train@1``.

    That a run of a DAG was involved is shown to everybody who may see the assets; its parameters and the like to
    those only who may read the DAG.
    """
    graph = metadata.lineage.graph(node, direction=direction, depth=depth, limit=limit)
    return _only_readable(graph, metadata, readable.value or set())


def _only_readable(graph: LineageGraph, metadata: Metadata, readable: set[str]) -> LineageGraph:
    dag_of = {node.id.partition(":")[2]: node.facts.get("dag_id") for node in graph.nodes if node.kind == "run"}

    def shown(node: LineageNode) -> LineageNode:
        if node.kind not in _OF_A_DAG:
            return node
        run = node.id.partition(":")[2] if node.kind == "run" else str(node.facts.get("run"))
        if run not in dag_of:
            dag_of[run] = _dag_of(metadata, run)
        return node if dag_of[run] in readable else node.model_copy(update={"facts": {"hidden": True}})

    return graph.model_copy(update={"nodes": [shown(node) for node in graph.nodes]})


def _dag_of(metadata: Metadata, run: str) -> str | None:
    try:
        return metadata.runs.get_by_key(run).dag_id
    except RecordNotFound:
        return None
