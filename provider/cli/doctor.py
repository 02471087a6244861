"""``windsock doctor``: what is installed, what works, and what to do about the rest."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, entry_points, version
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from ..errors import WindsockError
from .main import single
from .output import Format, Output, StackName, emit, group, progress, state, table
from .session import Session, session

if TYPE_CHECKING:
    from ..stack import Stack

app = single()

_LIBRARIES = ("apache-airflow-core", "pyarrow", "numpy", "sqlalchemy", "pydantic", "fsspec")
_OPTIONAL = {
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "skops": "sklearn",
    "polars": "polars",
    "s3fs": "amazon",
    "gcsfs": "google",
    "adlfs": "azure",
    "great-expectations": "great-expectations",
    "matplotlib": "plots",
    "onnxruntime": "onnx",
    "psycopg": "postgres",
    "pymysql": "mysql",
}


class Finding(NamedTuple):
    """``ok`` is None for something optional that is not there."""

    what: str
    ok: bool | None
    detail: str
    hint: str | None = None


@app.command()
def doctor(ctx: typer.Context, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """Look at everything; exit code 1 if something does not work."""
    findings = [*_python(), *_libraries(), *_registered(), *_settings(session(ctx))]
    with progress("Checking the stack"):
        findings += _stack(session(ctx), stack)
    failed = [f for f in findings if f.ok is False]
    emit(
        {"ok": not failed, "findings": [f._asdict() for f in findings]},
        output,
        lambda: group(
            table([(_mark(f), f.what, f.detail) for f in findings], "", "what", "found"),
            *(f"\n{f.what}: {f.hint}" for f in failed if f.hint),
            "\nEverything works." if not failed else f"\n{len(failed)} of {len(findings)} do not work.",
        ),
    )
    if failed:
        raise typer.Exit(1)


def _mark(finding: Finding) -> Any:
    return state({True: "ok", False: "failed", None: "skipped"}[finding.ok])


def _python() -> list[Finding]:
    ok = sys.version_info >= (3, 10)
    return [Finding("python", ok, f"{platform.python_version()} at {sys.executable}", "Windsock needs Python 3.10.")]


def _version(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _libraries() -> list[Finding]:
    from ... import __version__
    from ..flavors import DISTRIBUTION

    found = [Finding("windsock", True, f"{__version__} ({_version(DISTRIBUTION) or 'not installed as a package'})")]
    for name in _LIBRARIES:
        installed = _version(name)
        found.append(Finding(name, installed is not None, installed or "missing", f"Run: pip install {DISTRIBUTION}"))
    for name, extra in _OPTIONAL.items():
        installed = _version(name)
        detail = installed or f"not installed: pip install '{DISTRIBUTION}[{extra}]'"
        found.append(Finding(name, True if installed else None, detail))
    return found


def _registered() -> list[Finding]:
    """Whether an Airflow of this environment finds the provider and the plugin (their entry points)."""
    wanted = {"apache_airflow_provider": "windsock.provider", "airflow.plugins": "windsock.plugins"}
    hint = "Install the package itself (pip install airflow-provider-windsock), not only its files."
    found = []
    for kind, module in wanted.items():
        entry = next((e for e in entry_points(group=kind) if e.value.startswith(module)), None)
        found.append(Finding(kind, entry is not None, entry.value if entry else "not registered", hint))
    return found


def _settings(here: Session) -> list[Finding]:
    try:
        settings = here.settings
    except WindsockError as error:
        return [Finding("settings", False, error.message, error.hint)]
    return [Finding("home", True, str(settings.home)), Finding("active stack", True, settings.stack)]


def _stack(here: Session, name: str | None) -> list[Finding]:
    try:
        stack = here.stack(name)
    except WindsockError as error:
        return [Finding("stack", False, error.message, error.hint)]
    rows = [Finding(f"{c.kind} ({c.flavor})", c.result.ok, c.result.detail, c.result.hint) for c in stack.check()]
    return [*rows, *_schema(stack), _spool(stack)]


def _schema(stack: Stack) -> list[Finding]:
    from ..metadata.component import SqlMetadataStore
    from ..metadata.migrate import check

    name = "database schema"
    try:
        store = stack.component("metadata_store")
        if not isinstance(store, SqlMetadataStore):
            return []  # that of the API server, which has said whether it works
        found = check(store.url())
    except WindsockError as error:
        return [Finding(name, False, error.message, error.hint)]
    return [Finding(name, found.ok, f"{found.current} (needed: {found.head})", "Run: windsock db upgrade")]


def _spool(stack: Stack) -> Finding:
    """Records that wait for the database, if any: when it works, they should be gone."""
    from ..runtime.spool import Spool

    try:
        count = len(Spool(stack.artifact_store, stack.name).pending())
    except WindsockError as error:
        return Finding("spool", False, error.message, error.hint)
    return Finding("spool", count == 0, f"{count or 'no'} records to be replayed", "Run: windsock db replay")
