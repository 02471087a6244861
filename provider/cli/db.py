"""``windsock db``: the schema of the metadata database."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from .main import noun
from .output import Format, Output, StackName, emit, facts, progress, state
from .session import session

if TYPE_CHECKING:
    from ..metadata.component import SqlMetadataStore

app = noun("The schema of the metadata database.")


def _store(ctx: typer.Context, stack: str | None) -> SqlMetadataStore:
    store: SqlMetadataStore = session(ctx).stack(stack).component("metadata_store")
    return store


@app.command("upgrade")
def upgrade(ctx: typer.Context, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """Bring the schema to this version's. Safe to repeat; makes the tables of an empty database."""
    from ..metadata.component import safe_url
    from ..metadata.migrate import upgrade as migrate

    url = _store(ctx, stack).url()
    with progress("Upgrading the metadata database"):
        revision = migrate(url)
    emit(
        {"database": safe_url(url), "revision": revision},
        output,
        lambda: f"{safe_url(url)} has schema {revision}.",
    )


@app.command("check")
def check(ctx: typer.Context, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """Compare the database's schema with this version's; exit code 1 if they differ."""
    from ..metadata.component import safe_url
    from ..metadata.migrate import check as inspect

    url = _store(ctx, stack).url()
    found = inspect(url)
    emit(
        {"database": safe_url(url), "current": found.current, "head": found.head, "ok": found.ok},
        output,
        lambda: facts(
            {
                "database": safe_url(url),
                "schema": found.current or "none",
                "needed": found.head,
                "": state("ok") if found.ok else "Run: windsock db upgrade",
            }
        ),
    )
    if not found.ok:
        raise typer.Exit(1)
