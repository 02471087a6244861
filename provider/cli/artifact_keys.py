"""``windsock artifact rekey`` and ``new-key``: the keys that encrypt an artifact store."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import ArtifactError
from .output import Format, Output, StackName, emit, group, progress, table
from .session import session

if TYPE_CHECKING:
    from ..artifacts.data_keys import RekeyResult

_SHOWN = 20


def rekey(
    ctx: typer.Context,
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count what would be wrapped anew.")] = False,
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Wrap all data keys of an encrypted store with its current key. No data are rewritten; exit code 1 if one fails.

    It may be interrupted and run again, and runs while others read and write. When it has nothing left to do, the old
    key may be taken out of the connection.
    """
    from ..artifacts.encrypted import EncryptedArtifactStore

    store = session(ctx).stack(stack).artifact_store
    if not isinstance(store, EncryptedArtifactStore):
        raise ArtifactError(
            f"The artifact store {store.root} is not encrypted.",
            hint="Add to it in the stack file: encryption: {key: <connection id>}",
        )
    with progress("Wrapping keys") as advance:
        done = store.rekey(dry_run=dry_run, progress=lambda n: advance(n, None))
    emit(
        {
            "key": done.key_id,
            "current": done.current,
            "rewrapped": done.rewrapped,
            "failed": [{"key": key, "problem": problem} for key, problem in done.failed],
            "dry_run": dry_run,
        },
        output,
        lambda: _outcome(done, dry_run=dry_run),
    )
    if done.failed:
        raise typer.Exit(1)


def _outcome(done: RekeyResult, *, dry_run: bool) -> Any:
    would = "would be wrapped" if dry_run else "are wrapped"
    lines: list[Any] = [f"{done.rewrapped} data keys {would} anew with key {done.key_id}; {done.current} were already."]
    if done.failed:
        lines.append(table(done.failed[:_SHOWN], "key", "problem"))
        lines.append(f"{len(done.failed)} failed: keep the old key until none does.")
    elif not dry_run:
        lines.append("Older keys are not needed any more for what is stored now.")
    return group(*lines)


def new_key(output: Output = Format.TEXT) -> None:
    """Print a new random key: the password of the connection that ``encryption`` names, older keys behind a comma."""
    from ..security.keys import fingerprint, read_key
    from ..security.keys import new_key as make

    key = make()
    emit({"key": key, "fingerprint": fingerprint(read_key(key, ""))}, output, key)
