"""``windsock dataset``: versioned tables."""

from __future__ import annotations

from pathlib import Path  # noqa: TC003 - Typer reads annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ArtifactError, ArtifactNotFound
from .main import noun
from .output import (
    Format,
    Limit,
    Output,
    StackName,
    bytes_shown,
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
    writing,
)
from .references import split
from .session import session

if TYPE_CHECKING:
    from ..datasets.handle import Dataset
    from ..datasets.version import DatasetVersion
    from ..stack import Stack

app = noun("Versioned tables.")

Name = Annotated[str, typer.Argument(help="DATASET (its latest version) or DATASET@VERSION.", show_default=False)]
Columns = Annotated[
    list[str] | None, typer.Option("--column", help="Only this column; may be repeated.", show_default=False)
]


def _dataset(stack: Stack, name: str) -> Dataset:
    from ..datasets.handle import Dataset

    return Dataset(name, stack.metadata, stack.artifact_store)


def _version(stack: Stack, text: str) -> DatasetVersion:
    name, version, alias = split(text)
    if alias is not None:
        raise ArtifactNotFound(f'"{text}": a data set has numbered versions and no aliases.')
    return _dataset(stack, name).version(version)


@app.command("list")
def list_datasets(ctx: typer.Context, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """Every data set with its latest version."""
    from ..datasets.handle import TYPE

    artifacts = session(ctx).metadata(stack).artifacts
    latest: dict[str, Any] = {}
    before: str | None = None
    while True:
        page = artifacts.list(type=TYPE, limit=1000, before=before)
        for version in page:
            latest.setdefault(version.artifact, version)
        if page.next is None:
            break
        before = page.next
    found = [latest[name] for name in sorted(latest)]
    _print(found, output)


@app.command("versions")
def versions(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="Name of the data set.", show_default=False)],
    limit: Limit = 50,
    before: Annotated[str | None, typer.Option(help="Only versions before this one.", show_default=False)] = None,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """The versions of one data set, newest first."""
    loaded = session(ctx).stack(stack)
    _version(loaded, name)
    page = _dataset(loaded, name).versions(limit, before)
    _print(read_page(page, more=f"--before {page.next}"), output)


def _print(found: list[Any], output: Format) -> None:
    emit(
        [record(version) for version in found],
        output,
        lambda: table(
            [
                (
                    f"{v.artifact}@{v.version}",
                    v.metadata.get("rows"),
                    bytes_shown(v.metadata.get("bytes")),
                    v.metadata.get("parts"),
                    ", ".join(v.metadata.get("partition_by") or ()),
                    when(v.created_at),
                )
                for v in found
            ],
            "dataset",
            "#rows",
            "#size",
            "#parts",
            "partitioned by",
            "created",
            empty="There is no data set yet.",
        ),
    )


@app.command("show")
def show(ctx: typer.Context, name: Name, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """One version: its columns, partitions and parts."""
    found = _version(session(ctx).stack(stack), name)
    parts: list[dict[str, Any]] = [
        {"partition": dict(part.partition), "rows": part.rows, "size": part.size, "digest": part.digest}
        for part in found.manifest.parts
    ]
    data = {
        "dataset": found.name,
        "version": found.version,
        "digest": found.digest,
        "parent": found.manifest.parent,
        "rows": found.rows,
        "bytes": found.size,
        "schema": {field.name: str(field.type) for field in found.schema},
        "partition_by": list(found.manifest.partition_by),
        "parts": parts,
    }
    emit(
        data,
        output,
        lambda: group(
            facts(
                {
                    "dataset": f"{found.name}@{found.version}",
                    "rows": found.rows,
                    "size": bytes_shown(found.size),
                    "digest": found.digest,
                    "partitioned by": ", ".join(found.manifest.partition_by) or None,
                }
            ),
            "",
            table([(field.name, str(field.type)) for field in found.schema], "column", "type"),
            "",
            table(
                [(part["partition"], part["rows"], bytes_shown(part["size"]), part["digest"][:19]) for part in parts],
                "partition",
                "#rows",
                "#size",
                "digest",
            ),
        ),
    )


@app.command("append")
def append(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="Name of the data set.", show_default=False)],
    file: Annotated[Path, typer.Argument(help="Parquet or CSV file with the rows.", show_default=False)],
    partition_by: Annotated[
        list[str] | None,
        typer.Option("--partition-by", help="Partition column, for the first rows; may be repeated."),
    ] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace all rows.")] = False,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Add the rows of a file; a new version."""
    from ..datasets.handle import Dataset

    loaded = session(ctx).stack(stack)
    found = Dataset(name, loaded.metadata, loaded.artifact_store, partition_by=partition_by or ())
    with progress(f"Appending {file}"):
        made = found.overwrite(file) if overwrite else found.append(file)
    data = {"dataset": name, "version": made.version, "rows": made.rows, "digest": made.digest}
    conclude(data, output, f"{name}@{made.version} has {made.rows} rows.")


@app.command("get")
def get(
    ctx: typer.Context,
    *,
    name: Name,
    to: Annotated[Path, typer.Option("--to", help="File to write: .parquet or .csv.", show_default=False)],
    columns: Columns = None,
    force: Annotated[bool, typer.Option("--force", help="Replace what is there.")] = False,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Write the rows of a version to a file, verifying each part."""
    if to.suffix not in {".parquet", ".csv"}:
        raise typer.BadParameter(f"{to} is neither .parquet nor .csv.")
    if to.exists() and not force:
        raise ArtifactError(f"{to} is there already.", hint="Choose another name with --to, or add --force.")
    found = _version(session(ctx).stack(stack), name)
    with progress(f"Reading {found.name}@{found.version}"), writing(to, ArtifactError):
        rows = found.to_arrow(columns or None)
        part = to.with_name(f".{to.name}.part")
        _write(rows, part, to.suffix)
        part.replace(to)
    data = {"dataset": found.name, "version": found.version, "rows": rows.num_rows, "path": str(to)}
    conclude(data, output, f"{rows.num_rows} rows of {found.name}@{found.version} are in {to}")


def _write(rows: Any, part: Path, suffix: str) -> None:
    if suffix == ".csv":
        from pyarrow import csv

        csv.write_csv(rows, part)
        return
    import pyarrow.parquet as pq

    pq.write_table(rows, part, compression="zstd")


@app.command("diff")
def diff(
    ctx: typer.Context,
    *,
    name: Annotated[str, typer.Argument(help="Name of the data set.", show_default=False)],
    old: Annotated[int, typer.Argument(min=1, help="Number of the version before.", show_default=False)],
    new: Annotated[int | None, typer.Argument(min=1, help="And of the one after.", show_default="the latest")] = None,
    distribution: Annotated[
        bool, typer.Option("--distribution/--no-distribution", help="Compare how the values are distributed.")
    ] = True,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """What changed between two versions: columns, rows, partitions, and how the values are distributed."""
    with progress("Comparing"):
        found = _dataset(session(ctx).stack(stack), name).diff(old, new, distribution=distribution)
    drift = found.drift.ranked() if found.drift else []
    unknown = "not comparable: nested columns"
    emit(
        found.to_dict(),
        output,
        lambda: group(
            facts(
                {
                    "dataset": f"{found.dataset}@{found.old} -> {found.dataset}@{found.new}",
                    "rows": f"{found.old_rows} -> {found.new_rows}",
                    "added": unknown if found.rows_added is None else f"{found.rows_added} rows",
                    "removed": unknown if found.rows_removed is None else f"{found.rows_removed} rows",
                    "new columns": found.columns_added or None,
                    "gone columns": found.columns_removed or None,
                    "other types": {n: f"{a} -> {b}" for n, (a, b) in found.columns_changed.items()} or None,
                    "partitions": "; ".join(str(one) for one in found.partitions) or None,
                }
            ),
            "",
            table([(state(f.status), f.name, f.reason) for f in drift], "", "column", "distribution")
            if drift
            else None,
        ),
    )
