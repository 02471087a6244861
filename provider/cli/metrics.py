"""``windsock metrics``: what drift checks found, for Prometheus; and the rules and the dashboard to go with it."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads annotations
from typing import TYPE_CHECKING, Annotated

import typer

from .main import noun
from .output import StackName, say, write
from .session import session

if TYPE_CHECKING:
    from ..metadata.drift import DriftReport

app = noun("Drift for Prometheus, with alert rules and a dashboard.")

Model = Annotated[str | None, typer.Option("--model", help="Only of this model.", show_default=False)]
Gateway = Annotated[str, typer.Argument(help="Address of the Pushgateway: host:9091.", show_default=False)]


@app.command("show")
def show(ctx: typer.Context, *, model: Model = None, stack: StackName = None) -> None:
    """Print the metrics as Prometheus reads them."""
    from ..monitoring.metrics import exposition, latest_performance, registry_of

    reports = _reports(ctx, model, stack)
    content, _ = exposition(registry_of(reports, latest_performance(session(ctx).metadata(stack), model)))
    write(content.decode())


@app.command("write")
def write_file(
    ctx: typer.Context,
    *,
    file: Annotated[Path, typer.Argument(help="File of node_exporter's textfile collector: NAME.prom.")],
    model: Model = None,
    stack: StackName = None,
) -> None:
    """Write the metrics to a file, all of it or nothing."""
    from ..monitoring.metrics import latest_performance, registry_of, write_textfile

    reports = _reports(ctx, model, stack)
    write_textfile(file, registry_of(reports, latest_performance(session(ctx).metadata(stack), model)))
    say(f"Wrote {file}: {len(reports)} model versions.")


@app.command("push")
def push(ctx: typer.Context, *, gateway: Gateway, model: Model = None, stack: StackName = None) -> None:
    """Push the metrics to a Pushgateway; each model version replaces its own."""
    from ..monitoring import metrics

    say(f"Pushed {metrics.push(gateway, _reports(ctx, model, stack))} model versions to {gateway}.")


@app.command("forget")
def forget(
    *,
    gateway: Gateway,
    model: Annotated[str, typer.Argument(help="Name of the model.", show_default=False)],
    version: Annotated[int, typer.Argument(help="Its version.", show_default=False)],
) -> None:
    """Remove an archived version from a Pushgateway, which would show it for ever."""
    from ..monitoring import metrics

    metrics.forget(gateway, model, version)
    say(f"{gateway} shows nothing of {model} version {version} any more.")


@app.command("rules")
def rules(
    *,
    routes: Annotated[bool, typer.Option("--routes", help="An example of Alertmanager's routing instead.")] = False,
) -> None:
    """Print recording and alert rules for Prometheus."""
    from importlib.resources import files

    name = "alertmanager.yml" if routes else "rules.yml"
    write((files(__package__.replace(".cli", ".monitoring")) / name).read_text(encoding="utf-8"))


@app.command("dashboard")
def dashboard() -> None:
    """Print the Grafana dashboard (JSON, to be imported)."""
    from ..monitoring.dashboard import dashboard_json

    write(dashboard_json())


def _reports(ctx: typer.Context, model: str | None, stack: str | None) -> list[DriftReport]:
    from ..monitoring.metrics import latest_reports

    metadata = session(ctx).metadata(stack)
    if model is not None:
        metadata.models.get(model)
    return latest_reports(metadata, model)
