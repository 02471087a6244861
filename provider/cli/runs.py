"""``windsock runs``: what ran, step by step. (``windsock run`` runs something.)"""

from __future__ import annotations

from enum import Enum
from typing import Annotated, Any

import typer

from ..errors import Conflict
from . import references
from .main import noun
from .narrowing import Metrics, Parameters, Since, Until, comparisons
from .output import Format, Limit, Output, StackName, emit, facts, group, read_page, record, state, table, when
from .session import session

app = noun("Runs of pipelines and their steps.")


class State(str, Enum):
    RUNNING = "running"
    SUCCESS = "success"
    FAILED = "failed"


@app.command("list")
def list_runs(
    ctx: typer.Context,
    *,
    pipeline: Annotated[str | None, typer.Option(help="Only runs of this pipeline.", show_default=False)] = None,
    run_state: Annotated[
        State | None, typer.Option("--state", help="Only runs in this state.", show_default=False)
    ] = None,
    dag: Annotated[str | None, typer.Option(help="Only runs of this DAG.", show_default=False)] = None,
    since: Since = None,
    until: Until = None,
    where: Metrics = None,
    parameter: Parameters = None,
    limit: Limit = 20,
    before: Annotated[str | None, typer.Option(help="Continue where a page ended.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Runs, newest first."""
    from ..metadata.filters import RunFilter

    wanted = RunFilter(
        pipeline=pipeline,
        dag_id=dag,
        state=None if run_state is None else run_state.value,
        since=since,
        until=until,
        metrics=comparisons(where),
        parameters=comparisons(parameter),
    )
    page = _metadata(ctx, stack).runs.search(wanted, limit, before)
    runs = read_page(page, more=f"--before '{page.next}'")
    emit(
        [record(r) for r in runs],
        output,
        lambda: table(
            [
                (
                    state(r.state),
                    f"{r.dag_id}/{r.run_id}",
                    _pipeline(r),
                    r.stack,
                    when(r.started_at),
                    took(r),
                    r.triggered_by,
                )
                for r in runs
            ],
            "state",
            "run",
            "pipeline",
            "stack",
            "started",
            "#took",
            "by",
            empty="No run matches." if before or wanted != RunFilter() else "Nothing ran yet.",
        ),
    )


def _metadata(ctx: typer.Context, stack: str | None) -> Any:
    """The metadata, after runs of this machine whose process is gone have been closed."""
    from ..runtime.lost import close_lost

    chosen = session(ctx).stack(stack)
    close_lost(chosen)
    return chosen.metadata


def _pipeline(run: Any) -> str | None:
    return f"{run.pipeline}@{run.pipeline_version}" if run.pipeline_version else run.pipeline


def took(thing: Any) -> str:
    """How long a run or step took."""
    if thing.ended_at is None:
        return "-"
    seconds = (thing.ended_at - thing.started_at).total_seconds()
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"


@app.command("show")
def show(
    ctx: typer.Context,
    *,
    run: Annotated[str, typer.Argument(help="DAG/RUN, a DAG (its latest run), or the run's id.", show_default=False)],
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """One run: parameters, why it ran, and each step with its metrics, inputs and outputs."""
    metadata = _metadata(ctx, stack)
    found = references.run(metadata, run)
    steps = [_step(metadata, step) for step in metadata.runs.steps(found.id)]
    emit(
        {**record(found), "steps": steps},
        output,
        lambda: group(
            facts(
                {
                    "run": f"{found.dag_id}/{found.run_id}",
                    "state": state(found.state),
                    "pipeline": _pipeline(found),
                    "stack": found.stack,
                    "parameters": found.parameters or None,
                    "reason": found.reason,
                    "triggered by": found.triggered_by,
                    "started": when(found.started_at),
                    "took": took(found),
                }
            ),
            "",
            table([_step_row(step) for step in steps], "state", "step", "#took", "made", "metrics", "error"),
        ),
    )


def _step(metadata: Any, step: Any) -> dict[str, Any]:
    inputs = [{"argument": name, **version.ref()} for name, version in metadata.runs.inputs(step.id)]
    outputs = {name: version.ref() for name, version in metadata.runs.outputs(step.id).items()}
    return {**record(step), "inputs": inputs, "outputs": outputs, "took": took(step)}


def _step_row(step: dict[str, Any]) -> tuple[Any, ...]:
    index = f"[{step['map_index']}]" if step["map_index"] >= 0 else ""
    again = f" (try {step['try_number']})" if step["try_number"] > 1 else ""
    made = ", ".join(f"{ref['artifact']}@{ref['version']}" for ref in step["outputs"].values())
    return (
        state(step["state"]),
        f"{step['step']}{index}{again}",
        step["took"],
        made,
        step["metrics"],
        step["error"] or "",
    )


@app.command("close")
def close(
    ctx: typer.Context,
    *,
    run: Annotated[str, typer.Argument(help="DAG/RUN, a DAG (its latest run), or the run's id.", show_default=False)],
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Close a run that calls itself running though its process is dead, as failed.

    Runs in process that died on this machine are closed by themselves, and Airflow's by its scheduler: this is for one
    that died on another machine. A step of it that ends all the same is still recorded.
    """
    metadata = _metadata(ctx, stack)
    found = references.run(metadata, run)
    if found.state != "running":
        raise Conflict(
            f"Run {found.dag_id}/{found.run_id} is not running: it is {found.state}.",
            hint=f"See it: windsock runs show {found.dag_id}/{found.run_id}",
        )
    metadata.runs.end(found.dag_id, found.run_id, "failed")
    closed = metadata.runs.get_by_key(found.id)
    emit(record(closed), output, lambda: f"Run {closed.dag_id}/{closed.run_id} is closed as {closed.state}.")
