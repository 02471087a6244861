"""``windsock demo``: the whole loop on a private Airflow; the work is in ``cli/demo/``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from ..flavors import missing_extra
from .main import single
from .output import console

app = single()


@app.command()
def demo(
    folder: Annotated[Path, typer.Option(help="Where Airflow and the data go.")] = Path(".demo"),
    leave: Annotated[bool, typer.Option("--exit", help="End when the loop has closed; exit code 0 only then.")] = False,
) -> None:
    """Train, deploy, watch the data drift, retrain by itself: on a real Airflow, in a few minutes."""
    for library in ("airflow", "sklearn", "pandas"):
        if find_spec(library) is None:
            raise missing_extra("windsock demo", library, "demo")
    from .demo.loop import run_demo

    examples = Path(__file__).parents[2] / "dags"  # there in a clone; the wheel has no examples
    raise typer.Exit(run_demo(folder.absolute(), examples, console(), keep_running=not leave))
