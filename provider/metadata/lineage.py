"""Lineage: what a thing came from, and what came of it.

Data flows from source to target::

    run ─▶ step run ─▶ artifact version ─▶ step run ─▶ …
                              ├─▶ model version ─▶ deployment

An artifact version came from the step run that made it first; others that made the same content again are not asked.
Models and deployments are always ends of the flow, so the one recursive query walks over artifact versions alone and
everything else is joined to what it found.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from pydantic import Field

from .records import JSON, Record

if TYPE_CHECKING:
    from .database import Database

Direction = Literal["up", "down", "both"]


class LineageNode(Record):
    """``id``: ``artifact:{name}@{version}``, ``step_run:{id}``, ``run:{id}``, ``model:{name}@{version}``,
    ``deployment:{name}``; ``kind`` is what stands before the colon.
    """

    id: str
    kind: Literal["artifact", "step_run", "run", "model", "deployment"]
    label: str
    facts: JSON = Field(default_factory=dict)


class LineageEdge(Record):
    """Data flowed from ``source`` to ``target``; ``label`` says as what."""

    source: str
    target: str
    label: str


class LineageGraph(Record):
    """``truncated``: there is more than the limits let through."""

    nodes: list[LineageNode]
    edges: list[LineageEdge]
    truncated: bool = False


class Lineage:
    def __init__(self, database: Database) -> None:
        self._database = database

    def graph(self, node: str, *, direction: Direction = "both", depth: int = 20, limit: int = 1000) -> LineageGraph:
        """Everything up to ``depth`` steps before (``up``) and after (``down``) the node, nearest first.

        Raises ``RecordNotFound`` for a node that is not there, and one that is no node id.
        """
        from .lineage_graph import Walk

        def query(connection: Any) -> LineageGraph:
            walk = Walk(connection, limit)
            walk.start(node, direction, depth)
            return walk.graph()

        return self._database.fetch(query)

    def run_graph(self, dag_id: str, run_id: str | None = None) -> LineageGraph:
        """One run (the latest of the DAG without ``run_id``): its steps, what they read and made, what serves it.

        Raises ``RecordNotFound``.
        """
        from .lineage_graph import Walk

        def query(connection: Any) -> LineageGraph:
            walk = Walk(connection, 10_000)
            walk.run(dag_id, run_id)
            return walk.graph()

        return self._database.fetch(query)
