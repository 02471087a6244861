"""``windsock demo``: the whole loop on a private Airflow; the work is in ``cli/demo/``."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from pathlib import Path  # noqa: TC003  Typer reads the annotations
from typing import Annotated

import typer

from ..flavors import missing_extra
from .main import single

app = single()


@app.command()
def demo(
    folder: Annotated[Path | None, typer.Option(help="Where Airflow and the data go.", show_default=".demo")] = None,
    leave: Annotated[bool, typer.Option("--exit", help="End when the loop has closed; exit code 0 only then.")] = False,
) -> None:
    """Train, deploy, watch the data drift, retrain by itself: on a real Airflow, in a few minutes."""
    for library in ("airflow", "sklearn", "pandas"):
        if find_spec(library) is None:
            raise missing_extra("windsock demo", library, "demo")
    entry = import_module("..demo", __name__)
    raise typer.Exit(entry.main(folder, keep_running=not leave))
