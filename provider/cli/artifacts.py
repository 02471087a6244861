"""``windsock artifact``: the versioned outputs of steps, and their content."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence  # noqa: TC003
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ArtifactCorrupted, ArtifactError, ArtifactNotFound
from .artifact_keys import new_key, rekey
from .main import noun
from .narrowing import Since, Smallest, Until  # noqa: TC001 - Typer reads annotations
from .output import (
    Format,
    Limit,
    Output,
    StackName,
    bytes_shown,
    emit,
    facts,
    group,
    progress,
    read_page,
    record,
    shown,
    state,
    table,
    when,
    writing,
)
from .prune import prune
from .references import split
from .session import session

if TYPE_CHECKING:
    from ..artifacts.store import ArtifactStore
    from ..metadata.artifacts import ArtifactVersion
    from ..stack import Stack

app = noun("Versioned outputs of steps.")

Name = Annotated[str, typer.Argument(help="ARTIFACT (its latest version) or ARTIFACT@VERSION.", show_default=False)]


def _version(stack: Stack, text: str) -> ArtifactVersion:
    name, version, alias = split(text)
    if alias is not None:
        raise ArtifactNotFound(f'"{text}": an artifact has numbered versions and no aliases.')
    found: ArtifactVersion = stack.metadata.artifacts.get(name, version)
    return found


def _ref(version: ArtifactVersion) -> dict[str, Any]:
    return {**version.ref(), "materializer": version.materializer}


@app.command("list")
def list_artifacts(
    ctx: typer.Context,
    *,
    name: Annotated[str | None, typer.Option(help="Only this artifact.", show_default=False)] = None,
    prefix: Annotated[
        str | None, typer.Option(help="Only artifacts whose names begin like this.", show_default=False)
    ] = None,
    kind: Annotated[str | None, typer.Option("--type", help="Only this type.", show_default=False)] = None,
    since: Since = None,
    until: Until = None,
    larger_than: Smallest = None,
    limit: Limit = 50,
    before: Annotated[str | None, typer.Option(help="Continue where a page ended.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Artifact versions, newest first."""
    from ..metadata.filters import ArtifactFilter

    wanted = ArtifactFilter(name=name, prefix=prefix, type=kind, since=since, until=until, min_size=larger_than)
    page = session(ctx).metadata(stack).artifacts.search(wanted, limit, before)
    found = read_page(page, more=f"--before '{page.next}'")
    anything = not before and wanted == ArtifactFilter()
    _print(found, output, "No artifact is recorded yet." if anything else "No artifact matches.")


def _print(found: list[Any], output: Format, empty: str = "No artifact is recorded yet.") -> None:
    emit(
        [record(v) for v in found],
        output,
        lambda: table(
            [
                (f"{v.artifact}@{v.version}", v.type, bytes_shown(v.size), v.digest[:19], when(v.created_at))
                for v in found
            ],
            "artifact",
            "type",
            "#size",
            "digest",
            "created",
            empty=empty,
        ),
    )


@app.command("versions")
def versions(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="Name of the artifact.", show_default=False)],
    limit: Limit = 100,
    before: Annotated[str | None, typer.Option(help="Only versions before this one.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """The versions of one artifact, newest first."""
    artifacts = session(ctx).metadata(stack).artifacts
    artifacts.get(name)
    page = artifacts.versions(name, limit, before)
    _print(read_page(page, more=f"--before {page.next}"), output)


_LOOKED_INTO = {"preview", "statistics", "thumbnail"}
"""What ``preview`` shows."""


@app.command("show")
def show(ctx: typer.Context, name: Name, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """Everything that is known about one version."""
    loaded = session(ctx).stack(stack)
    found = _version(loaded, name)
    step = loaded.metadata.runs.step(found.producer) if found.producer else None
    run = loaded.metadata.runs.get_by_key(step.run) if step else None
    details = {k: v for k, v in found.metadata.items() if k not in _LOOKED_INTO}
    emit(
        {**record(found), "step": step.step if step else None, "run": f"{run.dag_id}/{run.run_id}" if run else None},
        output,
        lambda: facts(
            {
                "artifact": f"{found.artifact}@{found.version}",
                "type": found.type,
                "size": bytes_shown(found.size),
                "digest": found.digest,
                "uri": found.uri,
                "saved as": found.materializer,
                "made by": f"step {step.step} of {run.dag_id}/{run.run_id}" if step and run else "no step",
                "created": when(found.created_at),
                "content": _gone(loaded, found.uri),
                **details,
            }
        ),
    )


def _gone(stack: Stack, uri: str) -> str | None:
    """What a pruner did with the content, if it did something."""
    stone = stack.metadata.tombstones.find(uri)
    if stone is None:
        return None
    what = {"marked": "to be removed: nothing needs it, since", "removing": "being removed since"}
    return f"{what.get(stone.state, 'removed at')} {when(stone.since)}"


@app.command("preview")
def preview(ctx: typer.Context, name: Name, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """The first rows or values and what is in the columns, as they were recorded; reads no data."""
    found = _version(session(ctx).stack(stack), name)
    beginning = found.metadata.get("preview", found.metadata.get("items"))
    data = {"artifact": found.artifact, "version": found.version, "type": found.type, "preview": beginning}
    more = {key: found.metadata.get(key) for key in ("schema", "statistics")}
    emit({**data, **more}, output, lambda: _with_statistics(found, _beginning(found, beginning)))


_COLUMNS = 8


def _beginning(found: ArtifactVersion, beginning: Any) -> Any:
    if beginning is None:
        return f"{found.artifact}@{found.version} ({found.type}) has no preview."
    schema = found.metadata.get("schema")
    if isinstance(beginning, dict) and schema and all(isinstance(v, list) for v in beginning.values()):
        rows = list(zip(*beginning.values(), strict=False))
        hidden = len(schema) - len(beginning)
        total = found.metadata.get("rows")
        note = f"{len(rows)} of {total} rows" + (f", {hidden} more columns" if hidden > 0 else "")
        if len(beginning) <= _COLUMNS:
            return group(table(rows, *beginning), "", note)
        # A wide table is readable only when it is turned on its side.
        lines = [(name, schema.get(name), *values) for name, values in beginning.items()]
        return group(table(lines, "column", "type", *(f"#{row}" for row in range(len(rows)))), "", note)
    return facts(beginning) if isinstance(beginning, dict) else shown(beginning)


def _with_statistics(found: ArtifactVersion, beginning: Any) -> Any:
    statistics = found.metadata.get("statistics")
    if not statistics or not statistics["columns"]:
        return beginning
    names = ("nulls", "min", "max", "mean", "std")
    lines = [
        (name, *(_rounded(facts.get(key)) for key in names), sparkline(facts.get("histogram") or ()))
        for name, facts in statistics["columns"].items()
    ]
    sample = statistics.get("sampled")
    note = f"mean, std and histogram of {sample} of {statistics['rows']} rows" if sample else None
    parts = [beginning, "", table(lines, "column", *names, "histogram")]
    return group(*parts, "", note) if note else group(*parts)


def _rounded(value: Any) -> Any:
    return float(f"{value:.6g}") if isinstance(value, float) else value


def sparkline(counts: Sequence[int]) -> str:
    """A histogram in one line of text: ``▁▂▅█▃``."""
    most = max(counts, default=0)
    return "".join(_BARS[-(-count * (len(_BARS) - 1) // most)] for count in counts) if most else ""


_BARS = " ▁▂▃▄▅▆▇█"


@app.command("get")
def get(
    ctx: typer.Context,
    *,
    name: Name,
    to: Annotated[
        Path | None,
        typer.Option(
            "--to", help="File or folder to write, or a folder to write it into.", show_default="its own name, here"
        ),
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Copy the content to a file or folder, verifying its digest."""
    loaded = session(ctx).stack(stack)
    found = _version(loaded, name)
    with progress(f"Reading {found.artifact}@{found.version}"), _verified(found, loaded.artifact_store) as content:
        own_name = f"{found.artifact}@{found.version}{'' if content.is_dir() else content.suffix}"
        # Like cp: into a folder that is there. So --force replaces what this command made, never somebody's folder.
        target = Path(own_name) if to is None else to / own_name if to.is_dir() else to
        if target.exists() and not force:
            raise ArtifactError(f"{target} is there already.", hint="Choose another name with --to, or add --force.")
        with writing(target, ArtifactError):
            _copy(content, target)
    written = {"artifact": found.artifact, "version": found.version, "digest": found.digest, "path": str(target)}
    emit(written, output, lambda: f"{found.artifact}@{found.version} ({found.type}) is in {target}")


def _copy(content: Path, target: Path) -> None:
    """All of it or nothing: beside the target first, then renamed."""
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name}.part")
    _discard(part)
    try:
        if content.is_dir():
            shutil.copytree(content, part)
        else:
            shutil.copyfile(content, part)
        if target.is_dir():
            shutil.rmtree(target)
        elif content.is_dir():
            target.unlink(missing_ok=True)
        part.replace(target)
    finally:
        _discard(part)


def _discard(part: Path) -> None:
    if part.is_dir():
        shutil.rmtree(part, ignore_errors=True)
    else:
        part.unlink(missing_ok=True)


@contextmanager
def _verified(found: ArtifactVersion, store: ArtifactStore, *, cached: bool = True) -> Iterator[Path]:
    """The content on this machine, its digest compared. Raises ``ArtifactCorrupted``, ``ArtifactNotFound``."""
    from ..artifacts.digests import digest_file
    from ..artifacts.saving import localized, require_digest

    ref = _ref(found)
    with localized(ref, store, verify=True, cached=cached) as path:
        # What a remote store sends is verified on its way, a local file is not.
        if path.is_file() and store.local_path(found.uri) is not None:
            require_digest(ref, digest_file(path))
        yield path


@app.command("verify")
def verify(
    ctx: typer.Context,
    *,
    names: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARTIFACT[@VERSION]]...", help="Which; all if left out.", show_default=False),
    ] = None,
    remove: Annotated[
        bool, typer.Option("--remove", help="Delete content that is damaged: the next run makes it again.")
    ] = False,
    limit: Limit = 10_000,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Read the content and compare its digest with the recorded one; exit code 1 if anything is wrong."""
    loaded = session(ctx).stack(stack)
    if names:
        wanted = [_version(loaded, name) for name in names]
    else:
        wanted = read_page(loaded.metadata.artifacts.list(limit=limit))
    rows = []
    with progress("Verifying", total=len(wanted)) as advance:
        for found in wanted:
            rows.append(_verdict(found, loaded.artifact_store, remove=remove, alone=len(wanted) == 1))
            advance(1, None)
    failed = [row for row in rows if not row["ok"]]
    emit(
        rows,
        output,
        lambda: group(
            table([(state("failed"), r["artifact"], r["problem"]) for r in failed], "", "artifact", "problem")
            if failed
            else None,
            f"{len(rows) - len(failed)} of {len(rows)} are as they were stored.",
            "What was damaged is deleted: run what made it again." if any(r["removed"] for r in rows) else None,
        ),
    )
    if failed:
        raise typer.Exit(1)


def _verdict(found: ArtifactVersion, store: ArtifactStore, *, remove: bool, alone: bool) -> dict[str, Any]:
    problem, removed = None, False
    try:
        with _verified(found, store, cached=False):
            pass
    except ArtifactCorrupted as error:
        if remove:
            _delete(store, found.uri)
        elif alone:
            raise
        problem, removed = error.message, remove
    except ArtifactError as error:
        if alone:
            raise
        problem = error.message
    label = f"{found.artifact}@{found.version}"
    return {"artifact": label, "ok": problem is None, "digest": found.digest, "problem": problem, "removed": removed}


def _delete(store: ArtifactStore, uri: str) -> None:
    try:
        store.delete(uri)
    except ArtifactCorrupted:  # the list of a folder's files itself
        store.remove(store.key_of(uri))


@app.command("find")
def find(
    ctx: typer.Context,
    digest: Annotated[str, typer.Argument(help="blake3:… as other commands show it, in full.", show_default=False)],
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Every artifact version that has this content."""
    found = session(ctx).metadata(stack).artifacts.by_digest(digest if ":" in digest else f"blake3:{digest}")
    _print(list(found), output, "Nothing that is recorded has this digest.")


app.command("rekey")(rekey)
app.command("new-key")(new_key)


app.command("prune")(prune)
