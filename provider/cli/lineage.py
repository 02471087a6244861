"""``windsock lineage``: where something comes from and what became of it, down to one logged prediction."""

from __future__ import annotations

from enum import Enum
from pathlib import Path  # noqa: TC003  Typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import RecordNotFound, WindsockError
from . import references
from .main import noun
from .output import (
    Format,
    Output,
    StackName,
    draw,
    facts,
    group,
    json_text,
    plain,
    progress,
    record,
    say,
    when,
    write,
    writing,
)
from .session import session

if TYPE_CHECKING:
    from ..metadata.lineage import LineageGraph
    from ..stack import Stack

app = noun("Where something comes from and what became of it.")


class Drawing(str, Enum):
    TEXT = "text"
    JSON = "json"
    MERMAID = "mermaid"
    DOT = "dot"
    SVG = "svg"


class Direction(str, Enum):
    UP = "up"
    DOWN = "down"
    BOTH = "both"


@app.command("show")
def show(
    ctx: typer.Context,
    *,
    node: Annotated[
        str | None,
        typer.Argument(
            help="model:NAME@VERSION, artifact:NAME@VERSION, deployment:NAME, run:DAG/RUN.", show_default=False
        ),
    ] = None,
    request: Annotated[
        str | None,
        typer.Option(help="Id of a prediction: trace it back to its model, run and data.", show_default=False),
    ] = None,
    drawing: Annotated[Drawing, typer.Option("--format", help="How to draw it.")] = Drawing.TEXT,
    direction: Annotated[
        Direction, typer.Option(help="up: where it comes from; down: what became of it.")
    ] = Direction.BOTH,
    depth: Annotated[int, typer.Option(min=1, help="How many artifacts away at most.")] = 20,
    file: Annotated[Path | None, typer.Option("--file", help="Write to a file instead.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Draw the lineage of a model version, artifact, deployment, run or prediction."""
    if (node is None) == (request is None):
        raise typer.BadParameter("give a NODE or --request ID")
    if output is Format.JSON:
        drawing = Drawing.JSON
    loaded = session(ctx).stack(stack)
    prediction: dict[str, Any] | None = None
    if request is not None:
        prediction, graph, focus = trace(loaded, request)
    else:
        focus = references.node(loaded.metadata, node or "")
        graph = _graph(loaded, focus, direction, depth)
    if graph.truncated:
        say("This is not all of it: the graph was cut at its limits.", style="yellow")
    if drawing is Drawing.TEXT and file is None:
        from .lineage_views import tree

        chain = _chain(loaded, prediction) if prediction else None
        draw(group(chain, "" if chain else None, tree(graph, focus)))
        return
    _write(_drawn(graph, focus, drawing, prediction), file)


def _graph(stack: Stack, focus: str, direction: Direction, depth: int) -> LineageGraph:
    if focus.startswith("run:"):
        run = stack.metadata.runs.get_by_key(focus.removeprefix("run:"))
        return stack.metadata.lineage.run_graph(run.dag_id, run.run_id)
    return stack.metadata.lineage.graph(focus, direction=direction.value, depth=depth)


def trace(stack: Stack, request: str) -> tuple[dict[str, Any], LineageGraph, str]:
    """One logged prediction, and the graph that leads to it. Raises ``RecordNotFound``."""
    from ..metadata.lineage import LineageEdge, LineageGraph, LineageNode

    with progress("Looking through the prediction log"):
        row = _find(stack, request)
    if row is None:
        raise RecordNotFound(
            f'The prediction log of stack "{stack.name}" has no request {request}.',
            hint="A request is logged after the next rotation of the log (about a minute), unless it was not sampled.",
            request=request,
        )
    model = f"model:{row['model']}@{row['version']}"
    upstream = stack.metadata.lineage.graph(model, direction="up")
    focus = f"prediction:{row['request_id']}"
    facts_of_row = {"at": when(row["ts"]), "prediction": row["prediction"], "score": row["score"]}
    # A prediction is no record of the metadata (there are millions): its node is made here.
    node = LineageNode.model_construct(
        None, **{"id": focus, "kind": "prediction", "label": row["request_id"], "facts": facts_of_row}
    )
    edge = LineageEdge(source=model, target=focus, label="predicted")
    graph = LineageGraph.model_construct(
        nodes=[*upstream.nodes, node], edges=[*upstream.edges, edge], truncated=upstream.truncated
    )
    return row, graph, focus


def _find(stack: Stack, request: str) -> dict[str, Any] | None:
    from ..predictions.reader import find

    store = stack.artifact_store
    return find(store.root, request, filesystem=getattr(store, "filesystem", None))


def _chain(stack: Stack, row: dict[str, Any]) -> Any:
    """Prediction, model version, run, step, data: one line each."""
    version = stack.metadata.models.get(row["model"], version=row["version"])
    made = stack.metadata.artifacts.get(version.artifact["artifact"], version.artifact["version"])
    sources = source_data(stack, f"model:{version.model}@{version.version}")
    return facts(
        {
            "request": row["request_id"],
            "answered": when(row["ts"]),
            "inputs": row["features"],
            "prediction": row["prediction"],
            "score": row["score"],
            "error": row["error"],
            "model": f"{version.model}@{version.version}",
            "trained by": _step(stack, made.producer),
            "registered by": _step(stack, version.step_run),
            "model digest": made.digest,
            **{f"data {name}": digest for name, digest in sources},
        }
    )


def _step(stack: Stack, key: str | None) -> str | None:
    if key is None:
        return None
    step = stack.metadata.runs.step(key)
    run = stack.metadata.runs.get_by_key(step.run)
    return f"step {step.step} of run {run.dag_id}/{run.run_id}"


def source_data(stack: Stack, node: str) -> list[tuple[str, str]]:
    """Label and digest of the artifacts upstream where data enter: some step read them, none made them from others."""
    graph = stack.metadata.lineage.graph(node, direction="up")
    makers = {edge.target: edge.source for edge in graph.edges if edge.target.startswith("artifact:")}
    fed = {edge.target for edge in graph.edges if edge.source.startswith("artifact:")}
    read = {edge.source for edge in graph.edges if edge.target.startswith("step_run:")}
    return sorted(
        (found.label, str(found.facts.get("digest")))
        for found in graph.nodes
        if found.id in read and found.kind == "artifact" and makers.get(found.id) not in fed
    )


def _drawn(graph: LineageGraph, focus: str, drawing: Drawing, prediction: dict[str, Any] | None) -> Any:
    from . import lineage_views as views

    if drawing is Drawing.MERMAID:
        return views.mermaid(graph)
    if drawing is Drawing.DOT:
        return views.dot(graph)
    if drawing is Drawing.SVG:
        return views.svg(graph, focus)
    if drawing is Drawing.TEXT:
        return plain(views.tree(graph, focus))
    nodes = [record(node) for node in graph.nodes]
    edges = [record(edge) for edge in graph.edges]
    return {"focus": focus, "prediction": prediction, "nodes": nodes, "edges": edges, "truncated": graph.truncated}


def _write(drawn: Any, file: Path | None) -> None:
    if file is None:
        write(drawn if isinstance(drawn, str) else json_text(drawn))
        return
    with writing(file, WindsockError):
        file.write_text(drawn if isinstance(drawn, str) else json_text(drawn), encoding="utf-8")
    say(f"Wrote {file}")
