"""``windsock db``: the schema of the metadata database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from .imports import import_file
from .main import noun
from .output import Format, Output, StackName, emit, facts, group, progress, state, table
from .session import session

if TYPE_CHECKING:
    from ..metadata.component import SqlMetadataStore

app = noun("The schema of the metadata database.")


def _store(ctx: typer.Context, stack: str | None) -> SqlMetadataStore:
    from ..errors import MetadataError
    from ..metadata.component import SqlMetadataStore

    store = session(ctx).stack(stack).component("metadata_store")
    if not isinstance(store, SqlMetadataStore):
        raise MetadataError(
            "The schema belongs to the metadata database, and here the metadata is reached over REST.",
            hint="Run it where the database is: WINDSOCK_METADATA_TRANSPORT=sql windsock db …",
        )
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


@app.command("downgrade")
def downgrade(
    ctx: typer.Context,
    revision: Annotated[str, typer.Argument(help="The revision to go back to, or base: no tables at all.")],
    yes: Annotated[bool, typer.Option("--yes", help="Really do it: what only the newer schema holds is lost.")] = False,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Bring the schema back to that of an older Windsock, before that one is installed again."""
    from ..metadata.component import safe_url
    from ..metadata.migrate import check as inspect
    from ..metadata.migrate import downgrade as migrate
    from ..metadata.migrate import known

    url = _store(ctx, stack).url()
    known(revision)
    if not yes:
        lost = "every table and row is lost" if revision == "base" else "what only the newer schema holds is lost"
        raise typer.BadParameter(
            f"{safe_url(url)} would go from schema {inspect(url).current or 'none'} back to {revision}, and {lost}. "
            "Make a backup, then say --yes.",
            param_hint="--yes",
        )
    with progress("Downgrading the metadata database"):
        found = migrate(url, revision)
    emit(
        {"database": safe_url(url), "revision": found},
        output,
        lambda: (
            f"{safe_url(url)} has {f'schema {found}' if found else 'no tables'}. Install the Windsock that needs it."
        ),
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


@app.command("replay")
def replay(ctx: typer.Context, stack: StackName = None, output: Output = Format.TEXT) -> None:
    """Record what steps left in the artifact store while the database was away; exit code 1 if something is left.

    Steps and the scheduler do that by themselves. What waits reads an artifact that is not recorded (yet); what was
    refused is damaged or against the database's rules, and is kept under spool-refused/ in the artifact store.
    """
    from ..runtime.spool import REFUSED, Spool

    chosen = session(ctx).stack(stack)
    with progress("Replaying the spool"):
        done = Spool(chosen.artifact_store, chosen.name).replay(chosen.metadata)
    rows = [("waits", key, why) for key, why in done.waiting] + [("refused", key, why) for key, why in done.refused]
    refused = [*chosen.artifact_store.list(f"{REFUSED}/{chosen.name}/")]
    emit(
        {
            "recorded": done.recorded,
            "waiting": [{"key": key, "why": why} for key, why in done.waiting],
            "refused": [{"key": key, "why": why} for key, why in done.refused],
            "kept_as_refused": refused,
        },
        output,
        lambda: group(
            f"Recorded {done.recorded}, {len(done.waiting)} wait, {len(refused)} are kept as refused.",
            *([table(rows, "", "record", "why")] if rows else []),
        ),
    )
    if rows:
        raise typer.Exit(1)


app.command("import")(import_file)
