"""``windsock performance``: true values, and how good a deployed model was by them."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from pathlib import Path  # noqa: TC003 - Typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DataUnreadable
from .main import noun
from .output import Format, Limit, Output, StackName, emit, facts, group, read_page, record, say, table, when
from .session import session

if TYPE_CHECKING:
    from ..metadata.performance import PerformanceReport

app = noun("True values, and how good a deployed model was by them.")

KINDS = ("realised", "estimated")


@app.command("label")
def label(
    ctx: typer.Context,
    *,
    model: Annotated[str, typer.Argument(help="Name of the model.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="Parquet or CSV: request_id, label, label_ts.", show_default=False)],
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Store true values from a file; of several for one request the last one counts."""
    from ..predictions.labels import record_labels

    loaded = session(ctx).stack(stack)
    loaded.metadata.models.get(model)
    stored = record_labels(loaded.artifact_store, model, _read(file))
    emit({"model": model, "labels": stored}, output, lambda: f"Stored {stored:,} labels of {model}.")


@app.command("check")
def check(
    ctx: typer.Context,
    *,
    deployment: Annotated[str, typer.Argument(help="Name of the deployment.", show_default=False)],
    hours: Annotated[float, typer.Option(min=0.0, help="How far back to look.")] = 24.0,
    slices: Annotated[
        list[str] | None, typer.Option("--slice", help="Feature to tell apart by; may be repeated.", show_default=False)
    ] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Join predictions with the true values that have come, and record the metrics."""
    from ..monitoring.deployed_performance import check_deployment_performance

    loaded = session(ctx).stack(stack)
    end = datetime.now(timezone.utc)
    found = check_deployment_performance(
        loaded.metadata,
        loaded.artifact_store,
        deployment=deployment,
        start=end - timedelta(hours=hours),
        end=end,
        slices=slices or (),
    )
    if found.report is None:
        say(f"{deployment} answered nothing in the last {hours:g} hours.")
        raise typer.Exit(4)
    report = found.report
    emit(record(report), output, lambda: _text(report))


@app.command("list")
def list_reports(
    ctx: typer.Context,
    *,
    model: Annotated[str | None, typer.Option(help="Only of this model.", show_default=False)] = None,
    deployment: Annotated[str | None, typer.Option(help="Only of this deployment.", show_default=False)] = None,
    limit: Limit = 50,
    before: Annotated[str | None, typer.Option(help="Continue where a page ended.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Recorded reports, newest first."""
    page = session(ctx).metadata(stack).performance.list(model, deployment, limit, before)
    reports = read_page(page, more=f"--before {page.next}")
    emit(
        [record(report) for report in reports],
        output,
        lambda: table(
            [
                (
                    report.id,
                    f"{report.model}@{report.version}",
                    report.deployment,
                    report.rows,
                    f"{report.labelled / report.rows:.0%}" if report.rows else "",
                    ", ".join(_short(report)),
                    when(report.window_start),
                    when(report.created_at),
                )
                for report in reports
            ],
            "#id",
            "model",
            "deployment",
            "#rows",
            "#labelled",
            "metrics",
            "window",
            "created",
            empty="No performance report is recorded yet.",
        ),
    )


@app.command("show")
def show(
    ctx: typer.Context,
    *,
    report: Annotated[int, typer.Argument(help="Id of the report.", show_default=False)],
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """One report: each metric with its interval."""
    found = session(ctx).metadata(stack).performance.get(report)
    emit(record(found), output, lambda: _text(found))


def _read(file: Path) -> Any:
    import pyarrow as pa

    try:
        if file.suffix.lower() == ".csv":
            from pyarrow import csv

            return csv.read_csv(file)
        import pyarrow.parquet as pq

        return pq.read_table(file)
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise DataUnreadable(f"{file} cannot be read: {reason}.", hint="Give a Parquet or CSV file.") from None


def _short(report: PerformanceReport) -> list[str]:
    """Two metrics, realised ones if there are."""
    kind = next((kind for kind in KINDS if report.metrics.get(kind)), None)
    metrics = report.metrics.get(kind, {}) if kind else {}
    mark = "~" if kind == "estimated" else ""
    return [f"{name} {mark}{metric['value']:.4g}" for name, metric in list(metrics.items())[:2]]


def _text(report: PerformanceReport) -> Any:
    rows = [
        (name, kind, f"{metric['value']:.4g}", _interval(metric), metric["rows"])
        for kind in KINDS
        for name, metric in report.metrics.get(kind, {}).items()
    ]
    return group(
        facts(
            {
                "report": report.id,
                "model": f"{report.model}@{report.version}",
                "deployment": report.deployment,
                "window": f"{when(report.window_start)} to {when(report.window_end)}" if report.window_start else None,
                "predictions": f"{report.rows:,}, of which {report.labelled:,} have a true value",
                "mature": "yes" if report.mature else "no: more true values are to be expected",
            }
        ),
        "",
        table(rows, "metric", "", "#value", "95 % interval", "#rows", empty="Nothing can be told yet."),
    )


def _interval(metric: dict[str, Any]) -> str:
    return "" if metric["low"] is None else f"{metric['low']:.4g} to {metric['high']:.4g}"
