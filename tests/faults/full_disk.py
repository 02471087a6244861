"""``python full_disk.py FOLDER how``: steps on a disk that runs full; what happened, as JSON.

``mount``: FOLDER is a small file system of its own. ``limit``: no file may grow beyond a megabyte (RLIMIT_FSIZE), which
needs no privilege.
"""

from __future__ import annotations

import json
import resource
import sqlite3
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

import numpy as np
from faults_lab import nothing_is_torn, run
from windsock.provider.metadata import StepStart
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack


def tried(action: Any) -> str | None:
    try:
        action()
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return None


def main(folder: Path, how: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    environ = {"WINDSOCK_HOME": str(folder / "home"), "WINDSOCK_METADATA_PATIENCE": "0.2"}
    stack = Stack.load("local", settings=Settings.load(environ=environ))
    run(stack, "load", "before", seed=0)

    def make(seed: int) -> np.ndarray:
        return np.random.default_rng(seed).random(250_000)  # 2 MB

    filler = folder / "filler"
    if how == "mount":
        fill(filler, leave=1 << 20)
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, resource.RLIM_INFINITY))
    found["artifact"] = tried(lambda: run(stack, "make", "r1", seed=1, function=make))
    if how == "mount":
        fill(filler, leave=0)
        big = {"text": "x" * 200_000}
        start = StepStart(dag_id="shop", run_id="r2", task_id="t", step="t", parameters=big)
        found["database"] = tried(lambda: stack.metadata.runs.start_step(start))
        found["both"] = tried(lambda: run(stack, "load", "r3", seed=3))
        found["reading"] = tried(stack.metadata.runs.list)
        filler.unlink()
    else:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    found["again"] = tried(lambda: run(stack, "make", "r1", 2, seed=1, function=make))
    found["after"] = tried(lambda: run(stack, "load", "r3", 2, seed=3))
    nothing_is_torn(stack, stack.metadata)
    found["steps"] = sorted(
        [r.run_id, s.step, s.try_number, s.state]
        for r in stack.metadata.runs.list()
        for s in stack.metadata.runs.steps(r.id)
    )
    found["left"] = [p.name for p in (folder / "home" / "artifacts" / ".staging").iterdir()]
    with sqlite3.connect(folder / "home" / "windsock.db") as connection:
        found["integrity"] = connection.execute("PRAGMA integrity_check").fetchone()[0]
    return found


def fill(path: Path, *, leave: int) -> None:
    """Write zeros until the disk is full, then give ``leave`` bytes back."""
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while file.write(b"\0" * size):
                    pass
        file.truncate(max(0, file.tell() - leave))


if __name__ == "__main__":
    print(json.dumps(main(Path(sys.argv[1]), sys.argv[2])))
