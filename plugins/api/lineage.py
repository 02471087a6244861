"""Lineage: of one run, for the tab on a DAG's page, and of any node."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query

from ...provider.errors import RecordNotFound
from ...provider.metadata import Metadata
from ...provider.metadata.lineage import LineageGraph, LineageNode
from .access import READS_ASSETS, READS_DAG, MetadataDep, ReadableDags, may_read_run

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
    return _only_readable(graph, metadata, readable.value)


def _only_readable(graph: LineageGraph, metadata: Metadata, readable: set[str] | None) -> LineageGraph:
    shown: dict[str, bool] = {}

    def may_read(node: LineageNode) -> bool:
        run = _run_of(node)
        if run not in shown:
            shown[run] = _may_read(metadata, run, readable)
        return shown[run]

    for node in graph.nodes:
        if node.kind == "run":
            shown[_run_of(node)] = may_read_run(str(node.facts["dag_id"]), str(node.facts["run_id"]), readable)
    nodes = [
        node if node.kind not in _OF_A_DAG or may_read(node) else node.model_copy(update={"facts": {"hidden": True}})
        for node in graph.nodes
    ]
    return graph.model_copy(update={"nodes": nodes})


def _run_of(node: LineageNode) -> str:
    return node.id.partition(":")[2] if node.kind == "run" else str(node.facts["run"])


def _may_read(metadata: Metadata, key: str, readable: set[str] | None) -> bool:
    try:
        run = metadata.runs.get_by_key(key)
    except RecordNotFound:
        return False
    return may_read_run(run.dag_id, run.run_id, readable)
