"""``windsock db import``: records of another place into the metadata database."""

from __future__ import annotations

import sys
import time
from contextlib import nullcontext
from pathlib import Path  # noqa: TC003 - Typer reads annotations
from typing import Annotated

import typer

from .output import Format, Output, StackName, emit, facts, progress
from .session import session


def import_file(
    ctx: typer.Context,
    *,
    file: Annotated[
        Path,
        typer.Argument(
            exists=True, dir_okay=False, allow_dash=True, help="JSON lines; - for standard input.", show_default=False
        ),
    ],
    stack: StackName = None,
    output: Output = Format.TEXT,
) -> None:
    """Import runs, steps, artifact versions, edges and models. What is there already stays: safe to repeat."""
    found = session(ctx)
    bulk = found.metadata(stack).bulk
    began = time.perf_counter()
    source = nullcontext(sys.stdin.buffer) if str(file) == "-" else file.open("rb")
    with source as lines, progress(f"Importing {file}") as advance:
        done = bulk.load_lines(lines, actor=found.actor, progress=lambda count: advance(count, None))
    seconds = time.perf_counter() - began
    counts = {kind: f"{given:,} ({done.new[kind]:,} new)" for kind, given in done.given.items() if given}
    emit(
        {"given": done.given, "new": done.new, "seconds": round(seconds, 3)},
        output,
        lambda: facts(
            {
                "imported": f"{done.rows:,} records, {sum(done.new.values()):,} of them new, "
                f"{done.rows / max(seconds, 1e-9):,.0f} a second",
                **counts,
            }
        ),
    )
