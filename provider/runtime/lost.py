"""Runs in process whose process is gone: found by a lock that dies with it, and closed.

Under Airflow, the scheduler notices that a task is lost. A run by ``pipeline.run()`` has nobody: killed by ``kill -9``
or the OOM killer it would call itself running for ever. So each holds a lock on a small file below
``<home>/running/``, which the kernel releases when the process ends, however it ends. A process number could belong to
another process by now, or to another container; a lock cannot.

Whoever starts the next run, or lists runs, on the same machine (or the same shared ``home``) closes what nobody holds.
What another machine ran is left alone: ``windsock runs close`` closes a run that somebody knows to be dead.
"""

from __future__ import annotations

import fcntl
import json
import logging
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from ..metadata.keys import run_key

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ..stack import Stack

_LOG = logging.getLogger("windsock.run")
FOLDER = "running"


@contextmanager
def held(stack: Stack, dag_id: str, run_id: str) -> Iterator[None]:
    """Say that this process runs it, for as long as it lives. A home that cannot be written is no reason not to run."""
    folder = stack.settings.home / FOLDER
    path = folder / f"{run_key(dag_id, run_id)}.json"
    hidden = folder / f".{path.name}"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        file = hidden.open("w", encoding="utf-8")
    except OSError:
        yield
        return
    with file:
        with suppress(OSError):  # a full disk, a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
            json.dump({"dag_id": dag_id, "run_id": run_id, "database": stack.metadata.url}, file)
            file.flush()
            hidden.rename(path)  # now that it is locked and whole
        try:
            yield
        finally:
            for each in (path, hidden):
                with suppress(OSError):
                    each.unlink(missing_ok=True)


def close_lost(stack: Stack) -> int:
    """Close the runs of this database whose process is gone, as failed; how many. One look at a folder otherwise.

    Raises ``MetadataUnavailable`` only if there is something to close.
    """
    folder = stack.settings.home / FOLDER
    try:
        paths = [path for path in folder.iterdir() if not path.name.startswith(".")]
    except OSError:
        return 0
    return sum(_close(stack, path) for path in paths)


def _close(stack: Stack, path: Path) -> bool:
    try:
        file = path.open(encoding="utf-8")
    except OSError:  # it has just ended, or it is somebody else's
        return False
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            known = json.load(file)
        except (OSError, ValueError):
            return False
        if known["database"] != stack.metadata.url:
            return False
        runs = stack.metadata.runs
        found = runs.find(known["dag_id"], known["run_id"])
        lost = found is not None and found.state == "running"
        if lost:
            runs.end(known["dag_id"], known["run_id"], "failed")
            _LOG.warning("run %s of %s is closed as failed: its process is gone", known["run_id"], known["dag_id"])
        with suppress(OSError):
            path.unlink(missing_ok=True)
        return lost
