"""``windsock drift``: baselines and checks of plain files, and the reports that were recorded.

``baseline`` and ``check`` need no stack and no database: they read Parquet or CSV files (or folders of them) and import
neither pandas nor Airflow.
"""

from __future__ import annotations

import tempfile
from dataclasses import replace
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import BaselineNotFound, MonitoringError
from .main import noun
from .narrowing import Since, Until  # noqa: TC001 - Typer reads annotations
from .output import (
    DRIFT_FOUND,
    NOTHING_COMPARED,
    Format,
    Limit,
    Output,
    StackName,
    draw,
    emit,
    facts,
    group,
    progress,
    read_page,
    record,
    say,
    state,
    table,
    when,
    write,
    writing,
)
from .references import model_version
from .session import Session, session

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..metadata.drift import DriftReport
    from ..monitoring.decision import DriftResult, FeatureDrift
    from ..monitoring.policy import DriftPolicy
    from ..monitoring.profile import DriftProfile

app = noun("Baselines, drift checks and reports.")


class ReportFormat(str, Enum):
    TEXT = "text"
    JSON = "json"
    HTML = "html"


class Scan(str, Enum):
    AUTO = "auto"
    FULL = "full"


Data = Annotated[
    list[str], typer.Argument(metavar="DATA...", help="Parquet or CSV files, or folders of them.", show_default=False)
]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="Only this column; may be repeated.", show_default=False)
]


@app.command("baseline")
def baseline(
    data: Data,
    *,
    file: Annotated[
        Path, typer.Option("--output", "-o", metavar="FILE", help="Where to write it.", show_default=False)
    ],
    target: Annotated[str | None, typer.Option(help="Column with the true label.", show_default=False)] = None,
    prediction: Annotated[str | None, typer.Option(help="Column with the prediction.", show_default=False)] = None,
    score: Annotated[str | None, typer.Option(help="Column with the score.", show_default=False)] = None,
    column: Columns = None,
) -> None:
    """Profile reference data: what `check` compares with."""
    from ..monitoring.profile import build_profile

    with _reading("Profiling") as advance:
        profile = build_profile(
            _paths(data), target=target, prediction=prediction, score=score, columns=column, progress=advance
        )
    content = profile.to_bytes()
    _write(file, content)
    say(f"Wrote {file}: {profile.rows:,} rows, {len(profile.columns)} columns, {len(content):,} bytes.")


@app.command("check")
def check(
    ctx: typer.Context,
    data: Data,
    *,
    baseline_file: Annotated[
        Path | None, typer.Option("--baseline", metavar="FILE", help="What `baseline` wrote.", show_default=False)
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="MODEL@VERSION or MODEL@ALIAS whose baseline to use instead.", show_default=False)
    ] = None,
    output: Annotated[ReportFormat, typer.Option("--output", help="Form of the report.")] = ReportFormat.TEXT,
    method: Annotated[
        str | None,
        typer.Option(help="A textbook rule instead: psi, ks, js, wasserstein, chi_square.", show_default=False),
    ] = None,
    threshold: Annotated[
        list[str] | None, typer.Option(metavar="TEST=VALUE", help="Smallest effect that counts; may be repeated.")
    ] = None,
    scan: Annotated[
        Scan, typer.Option(help="auto: of more than two million rows, read as many as the decision needs; full: all.")
    ] = Scan.AUTO,
    column: Columns = None,
    stack: StackName = None,
) -> None:
    """Compare data with a baseline; exit code 0: no drift, 3: drift, 4: nothing could be compared."""
    from ..monitoring.checks import check_against

    policy = _policy(method, threshold or [])
    reference = _reference(session(ctx), baseline_file, model, stack)
    with _reading("Comparing") as advance:
        result = check_against(
            _paths(data), reference, policy=policy, scan=scan.value, columns=column, progress=advance
        )
    if output is ReportFormat.JSON:
        write(result.to_json() + "\n")
    elif output is ReportFormat.HTML:
        write(result.to_html())
    else:
        draw(_result_text(result))
    if result.drifted:
        raise typer.Exit(DRIFT_FOUND)
    if result.status == "degenerate":
        raise typer.Exit(NOTHING_COMPARED)


def _reference(here: Session, file: Path | None, model: str | None, stack: str | None) -> DriftProfile:
    """The baseline's profile, from a file or from a model version. Raises ``BaselineNotFound``, ``ProfileMismatch``."""
    from ..monitoring.profile import DriftProfile

    if (file is None) == (model is None):
        raise typer.BadParameter("give --baseline FILE or --model MODEL@VERSION")
    if file is not None:
        try:
            content = file.read_bytes()
        except OSError as error:
            raise BaselineNotFound(
                f"The baseline {file} cannot be read: {error.strerror}.",
                hint="Make it from reference data: windsock drift baseline DATA -o FILE",
            ) from None
        return DriftProfile.from_bytes(content)
    from ..artifacts.saving import load

    loaded = here.stack(stack)
    version = model_version(loaded.metadata, model or "")
    if version.baseline is None:
        raise BaselineNotFound(
            f"{version.model}@{version.version} was registered without a baseline.",
            hint="Register it with baseline=…, or make one: windsock drift baseline DATA -o FILE",
        )
    return DriftProfile.from_bytes(load(version.baseline, loaded.artifact_store))


def _policy(method: str | None, thresholds: list[str]) -> DriftPolicy:
    from ..monitoring.policy import DriftPolicy

    policy = DriftPolicy.preset(method) if method else DriftPolicy()
    given: dict[str, float] = {}
    for pair in thresholds:
        name, _, text = pair.partition("=")
        try:
            given[name] = float(text)
        except ValueError:
            raise typer.BadParameter(f"{pair!r} is not TEST=VALUE", param_hint="--threshold") from None
    return replace(policy, thresholds={**policy.thresholds, **given}) if given else policy


def _paths(data: list[str]) -> list[str] | str:
    return data[0] if len(data) == 1 else data


class _reading:  # noqa: N801  used like a function
    """A progress bar fed with (done, total) rows by the scan."""

    def __init__(self, description: str) -> None:
        self._bar = progress(description, total=1.0)
        self._seen = 0.0

    def __enter__(self) -> Callable[[int, int | None], None]:
        advance = self._bar.__enter__()

        def update(done: int, total: int | None) -> None:
            share = done / total if total else 0.0
            advance(share - self._seen, None)
            self._seen = share

        return update

    def __exit__(self, *problem: Any) -> None:
        self._bar.__exit__(*problem)


def _write(file: Path, content: bytes) -> None:
    """All of it or nothing."""
    part = file.with_name(f".{file.name}.part")
    with writing(file, MonitoringError):
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(content)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)


def _result_text(result: DriftResult) -> Any:
    return group(
        table([_feature_row(f) for f in result.ranked()], "", "feature", "#score", "what was found"),
        "",
        *(f"- {reason}" for reason in result.reasons),
        *(f"Note: {note}" for note in result.notes),
        _sentence(result),
    )


def _sentence(result: DriftResult) -> str:
    drifted = sum(f.status == "drift" for f in result.features.values())
    found = {
        "drift": "Drift found",
        "warn": "No drift, but warnings",
        "degenerate": "Nothing could be compared",
        "ok": "No drift",
    }[result.status]
    return f"{found}: {drifted} of {len(result.features)} features drifted, over {result.rows:,} rows."


def _feature_row(feature: FeatureDrift) -> tuple[Any, ...]:
    return state(feature.status), feature.name, f"{feature.score:.2f}", feature.reason


@app.command("list")
def list_reports(
    ctx: typer.Context,
    *,
    model: Annotated[str | None, typer.Option(help="Only of this model.", show_default=False)] = None,
    deployment: Annotated[str | None, typer.Option(help="Only of this deployment.", show_default=False)] = None,
    drifted: Annotated[
        bool | None, typer.Option("--drifted/--quiet", help="Only with, or only without drift.", show_default=False)
    ] = None,
    since: Since = None,
    until: Until = None,
    limit: Limit = 50,
    before: Annotated[str | None, typer.Option(help="Continue where a page ended.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Recorded reports, newest first."""
    from ..metadata.filters import DriftFilter

    wanted = DriftFilter(model=model, deployment=deployment, drifted=drifted, since=since, until=until)
    page = session(ctx).metadata(stack).drift.search(wanted, limit, before)
    reports = read_page(page, more=f"--before '{page.next}'")
    emit(
        [record(r) for r in reports],
        output,
        lambda: table(
            [
                (
                    r.id,
                    state("drift" if r.drifted else "ok"),
                    f"{r.model}@{r.version}",
                    r.deployment,
                    r.rows,
                    f"{r.drift_share:.0%}",
                    when(r.window_start),
                    when(r.created_at),
                )
                for r in reports
            ],
            "#id",
            "",
            "model",
            "deployment",
            "#rows",
            "#share",
            "window",
            "created",
            empty="No drift report is recorded yet.",
        ),
    )


@app.command("show")
def show(
    ctx: typer.Context,
    *,
    report: Annotated[int, typer.Argument(help="Id of the report.", show_default=False)],
    html: Annotated[
        Path | None, typer.Option("--html", help="Write the HTML report to a file.", show_default=False)
    ] = None,
    browse: Annotated[bool, typer.Option("--open", help="Open the HTML report in a browser.")] = False,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """One report: each feature, and the HTML page with its plots."""
    loaded = session(ctx).stack(stack)
    found = loaded.metadata.drift.get(report)
    if html is not None or browse:
        page = _page(loaded, found)
        target = html or Path(tempfile.mkdtemp(prefix="windsock-drift-")) / f"drift-{report}.html"
        _write(target, page)
        say(f"Wrote {target}")
        if browse:
            typer.launch(str(target.absolute()))
    emit(record(found), output, lambda: _report_text(found))


def _page(stack: Any, report: DriftReport) -> bytes:
    if report.report_uri is None:
        raise MonitoringError(f"Drift report {report.id} was recorded without an HTML page.")
    content: bytes = stack.artifact_store.get_bytes(report.report_uri)
    return content


def _report_text(report: DriftReport) -> Any:
    order = {"drift": 0, "degenerate": 1, "warn": 2, "ok": 3}
    features = sorted(report.features.items(), key=lambda item: (order.get(item[1]["status"], 4), item[0]))
    return group(
        facts(
            {
                "report": report.id,
                "result": state("drift" if report.drifted else "ok"),
                "model": f"{report.model}@{report.version}",
                "deployment": report.deployment,
                "window": f"{when(report.window_start)} to {when(report.window_end)}" if report.window_start else None,
                "rows": report.rows,
                "share of drifted features": f"{report.drift_share:.0%}",
                "html": report.report_uri,
                "created": when(report.created_at),
            }
        ),
        "",
        table([(state(f["status"]), name, f.get("reason")) for name, f in features], "", "feature", "what was found"),
        *(f"- {reason}" for reason in report.reasons),
    )
