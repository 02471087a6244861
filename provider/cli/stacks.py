"""``windsock stack``: list, show, use and check stacks."""

from __future__ import annotations

import os
from typing import Annotated, Any

import typer

from ..errors import ConfigurationError
from .main import noun
from .output import Format, Output, conclude, emit, facts, group, progress, say, state, table, writing
from .session import session

app = noun("The components that everything runs on.")

Name = Annotated[str | None, typer.Argument(help="Name of the stack; the active one if left out.", show_default=False)]


@app.command("list")
def list_stacks(ctx: typer.Context, output: Output = Format.TEXT) -> None:
    """Every stack that can be used here."""
    from ..errors import WindsockError
    from ..stack import Stack

    settings = session(ctx).settings
    rows: list[dict[str, Any]] = []
    for name in Stack.names(settings):
        try:
            file, problem = Stack.describe(name, settings=settings)["file"], None
        except WindsockError as error:  # one broken file must not hide the others
            file, problem = None, error.message
        rows.append({"name": name, "active": name == settings.stack, "file": file, "problem": problem})
    emit(
        rows,
        output,
        lambda: table(
            [("*" if r["active"] else " ", r["name"], r["problem"] or r["file"] or "built in") for r in rows],
            " ",
            "stack",
            "from",
        ),
    )


@app.command("show")
def show(ctx: typer.Context, name: Name = None, output: Output = Format.TEXT) -> None:
    """Flavor and options of each component."""
    from ..stack import Stack

    settings = session(ctx).settings
    described = dict(Stack.describe(name, settings=settings))
    rows = []
    for kind, options in described.items():
        if kind == "compute":
            for entry, values in options.items():
                if entry != "default":
                    mark = " (default)" if entry == options["default"] else ""
                    rows.append((f"compute.{entry}{mark}", values["flavor"], _rest(values)))
        elif kind not in {"name", "file"}:
            rows.append((kind, options["flavor"], _rest(options)))
    emit(
        described,
        output,
        lambda: group(
            facts({"stack": described["name"], "file": described["file"] or "built in", "home": settings.home}),
            "",
            table(rows, "component", "flavor", "options"),
        ),
    )


def _rest(options: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key != "flavor"}


@app.command("use")
def use(
    ctx: typer.Context, name: Annotated[str, typer.Argument(help="Name of the stack.")], output: Output = Format.TEXT
) -> None:
    """Make a stack the active one (WINDSOCK_STACK, if set, still wins)."""
    from ..stack import Stack

    settings = session(ctx).settings
    Stack.describe(name, settings=settings)
    target = settings.home / "active_stack"
    temporary = target.with_name(f".active_stack.{os.getpid()}")
    with writing(target, ConfigurationError):
        settings.home.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_text(f"{name}\n", encoding="utf-8")
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
    conclude({"stack": name, "file": str(target)}, output, f'"{name}" is the active stack.')
    for variable in ("WINDSOCK_STACK", "AIRFLOW__WINDSOCK__STACK"):
        if os.environ.get(variable) not in (None, "", name):
            say(f"But {variable}={os.environ[variable]} is set in this shell and wins. Unset it.", style="yellow")


@app.command("check")
def check(
    ctx: typer.Context,
    name: Name = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for a component.")] = 30.0,
    output: Output = Format.TEXT,
) -> None:
    """Prove each component with a live round trip; exit code 1 if one fails."""
    stack = session(ctx).stack(name)
    with progress(f'Checking stack "{stack.name}"'):
        checks = stack.check(timeout=timeout)
    rows: list[dict[str, Any]] = [
        {
            "component": c.kind,
            "flavor": c.flavor,
            "ok": c.result.ok,
            "seconds": round(c.seconds, 4),
            "detail": c.result.detail,
            "hint": c.result.hint,
        }
        for c in checks
    ]
    failed = [r for r in rows if not r["ok"]]
    emit(
        {"stack": stack.name, "ok": not failed, "components": rows},
        output,
        lambda: table(
            [
                (
                    state("ok" if r["ok"] else "failed"),
                    r["component"],
                    r["flavor"],
                    f"{r['seconds'] * 1000:.0f} ms",
                    r["detail"],
                )
                for r in rows
            ],
            "",
            "component",
            "flavor",
            "#time",
            "detail",
        ),
    )
    for row in failed:
        if row["hint"] and output is Format.TEXT:
            say(f"{row['component']}: {row['hint']}")
    if failed:
        raise typer.Exit(1)
