"""``windsock deployment``: what serves, rolling it over, back and away."""

from __future__ import annotations

import json
import time
from enum import Enum
from pathlib import Path  # noqa: TC003
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import DeploymentError, DeploymentNotFound
from .main import noun
from .output import (
    Format,
    Limit,
    Output,
    StackName,
    conclude,
    emit,
    facts,
    group,
    progress,
    read_page,
    record,
    state,
    table,
    when,
)
from .references import split
from .session import session

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..metadata.deployments import Deployment
    from ..stack import Stack

app = noun("Served models.")

Name = Annotated[str, typer.Argument(help="Name of the deployment.", show_default=False)]
Reason = Annotated[str | None, typer.Option("--reason", help="Kept in the history.", show_default=False)]


class Phase(str, Enum):
    PENDING = "pending"
    READY = "ready"
    FAILED = "failed"
    DELETED = "deleted"


@app.command("list")
def list_deployments(
    ctx: typer.Context,
    *,
    model: Annotated[str | None, typer.Option(help="Only of this model.", show_default=False)] = None,
    phase: Annotated[
        Phase | None,
        typer.Option(help="Only in this phase; else all but deleted ones.", show_default=False),
    ] = None,
    limit: Limit = 1000,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """What is deployed, as recorded; `show` also looks at the server."""
    from ..metadata.filters import DeploymentFilter

    wanted = DeploymentFilter(model=model, phase=None if phase is None else phase.value)
    found = read_page(session(ctx).metadata(stack).deployments.search(wanted, limit))
    emit(
        [record(d) for d in found],
        output,
        lambda: table(
            [(d.name, state(d.phase), f"{d.model}@{d.version}", d.url, d.stack, when(d.updated_at)) for d in found],
            "deployment",
            "phase",
            "serves",
            "url",
            "stack",
            "since",
            empty="Nothing is deployed.",
        ),
    )


@app.command("show")
def show(ctx: typer.Context, name: Name, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """A deployment: what is recorded, what its server says, and its history."""
    loaded = session(ctx).stack(stack)
    found = loaded.metadata.deployments.get(name)
    live = _live(loaded, found)
    events = loaded.metadata.deployments.history(name, 20)
    emit(
        {**record(found), "live": live, "history": [record(e) for e in events]},
        output,
        lambda: group(
            facts(
                {
                    "deployment": found.name,
                    "serves": f"{found.model}@{found.version}",
                    "before": f"{found.model}@{found.previous_version}" if found.previous_version else None,
                    "phase": state(found.phase),
                    "server": state(live["phase"]),
                    "": live["detail"],
                    "url": found.url,
                    "stack": found.stack,
                    "flavor": found.flavor,
                    "since": when(found.updated_at),
                }
            ),
            "",
            _history(events),
        ),
    )


def _live(stack: Stack, found: Deployment) -> dict[str, Any]:
    """What the deployer sees. A record of another stack's deployer is not looked at."""
    if found.stack not in (None, stack.name):
        return {"phase": "not looked at", "detail": f"It is on stack {found.stack}: add --stack {found.stack}"}
    try:
        seen = stack.deployer.describe(found.name)
    except DeploymentNotFound as error:
        return {"phase": "failed", "detail": error.message}
    return {"phase": seen.phase, "detail": seen.detail, "version": seen.version, "url": seen.url}


def _history(events: list[Any]) -> Any:
    return table(
        [(when(e.at), e.action, e.from_version, e.to_version, e.actor, e.reason) for e in events],
        "when",
        "what",
        "#from",
        "#to",
        "who",
        "reason",
    )


@app.command("deploy")
def deploy(
    ctx: typer.Context,
    *,
    model: Annotated[
        str, typer.Argument(help="MODEL@VERSION or MODEL@ALIAS; the alias production if left out.", show_default=False)
    ],
    name: Annotated[
        str | None, typer.Option("--name", help="Name of the deployment.", show_default="the model's")
    ] = None,
    reason: Reason = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Serve a model version; what was served before is replaced without a failed request."""
    from ..deployers.deployments import deploy as start

    here = session(ctx)
    loaded = here.stack(stack)
    model_name, version, alias = split(model)
    with progress(f"Deploying {model}"):
        done = start(
            metadata=loaded.metadata,
            deployer=loaded.deployer,
            store=loaded.artifact_store,
            name=name or model_name,
            model=model_name,
            version=version,
            alias=alias if version is None and alias else ("production" if version is None else None),
            actor=here.actor,
            reason=reason,
            stack=loaded.name,
        )
    _told(done, output)


@app.command("rollback")
def rollback(
    ctx: typer.Context,
    *,
    name: Name,
    version: Annotated[
        int | None, typer.Option(min=1, help="Version to go back to.", show_default="the one before")
    ] = None,
    reason: Reason = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Serve the version that was served before."""
    from ..deployers.deployments import roll_back

    here = session(ctx)
    loaded = here.stack(stack)
    with progress(f"Rolling {name} back"):
        done = roll_back(
            metadata=loaded.metadata,
            deployer=loaded.deployer,
            store=loaded.artifact_store,
            name=name,
            version=version,
            actor=here.actor,
            reason=reason,
        )
    _told(done, output)


def _told(done: Deployment, output: Format) -> None:
    emit(record(done), output, lambda: f'"{done.name}" serves {done.model}@{done.version} at {done.url}')


@app.command("delete")
def delete(
    ctx: typer.Context,
    *,
    name: Name,
    reason: Reason = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Stop serving. History and logged predictions stay."""
    from ..deployers.deployments import delete as end

    here = session(ctx)
    loaded = here.stack(stack)
    with progress(f"Ending {name}"):
        end(metadata=loaded.metadata, deployer=loaded.deployer, name=name, actor=here.actor, reason=reason)
    conclude({"name": name, "phase": "deleted"}, output, f'"{name}" is not served any more.')


@app.command("logs")
def logs(
    ctx: typer.Context,
    *,
    name: Name,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="How many of the last lines.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what is written from now on.")] = False,
    supervisor: Annotated[
        bool, typer.Option("--supervisor", help="The supervisor's log instead of the server's.")
    ] = False,
    stack: StackName = None,
) -> None:
    """The log of a local deployment's server."""
    here = session(ctx)
    loaded = here.stack(stack)
    flavor = loaded.description["deployer"]["flavor"]
    if flavor != "local":
        raise DeploymentError(
            f'The deployer "{flavor}" keeps its logs itself.',
            hint=f"Its handle says where: windsock deployment show {name}",
        )
    log = _log_file(here.settings.home, name, supervisor=supervisor)
    for line in log.read_text(encoding="utf-8", errors="replace").splitlines()[-lines:]:
        typer.echo(_readable(line))
    if follow:
        for line in _follow(log):
            typer.echo(_readable(line))


def _log_file(home: Path, name: str, *, supervisor: bool) -> Path:
    from ..deployers import state as files

    folder = files.folder_of(home, name)
    servers = sorted(folder.glob("worker-*.log"), key=lambda path: int(path.stem.rpartition("-")[2]))
    found = folder / files.SUPERVISOR_LOG if supervisor else (servers or [folder / "worker.log"])[-1]
    if not found.is_file():
        raise DeploymentNotFound(
            f'There is no log of a local deployment "{name}" in {folder}.', hint="List them: windsock deployment list"
        )
    return found


def _readable(line: str) -> str:
    """The server logs JSON objects; other lines stay as they are."""
    try:
        entry = json.loads(line)
        text = f"{entry['at']} {entry['level'].upper():<7} {entry['message']}"
    except (ValueError, KeyError, TypeError, AttributeError):
        return line
    return f"{text}\n{entry['traceback']}" if entry.get("traceback") else text


def _follow(log: Path) -> Iterator[str]:
    """Lines as they are written. Ends with Ctrl-C, or when the file is removed."""
    with log.open(encoding="utf-8", errors="replace") as file:
        file.seek(0, 2)
        part = ""
        while log.exists():
            part += file.read()
            *whole, part = part.split("\n")
            yield from whole
            if not whole:
                time.sleep(0.2)
