"""The folder of a local deployment: ``<home>/deployments/<name>/``.

::

    state.json            what the supervisor last saw; written whole, no secrets
    lock                  held by the supervisor as long as it lives
    deploy.lock           held by whoever changes the deployment
    supervisor.sock       where the supervisor takes orders
    release-3.json        the third release that was started; worker-3.sock its private door
    supervisor.log, worker-3.log
    spool/                rows of the prediction log that are not Parquet yet
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

STATE = "state.json"
LOCK = "lock"
DEPLOY_LOCK = "deploy.lock"
CONTROL = "supervisor.sock"
SUPERVISOR_LOG = "supervisor.log"
SPOOL = "spool"


def folder_of(home: Path, name: str) -> Path:
    return home / "deployments" / name


def read(folder: Path) -> dict[str, Any] | None:
    try:
        state: dict[str, Any] = json.loads((folder / STATE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return state


def write(folder: Path, state: Mapping[str, Any], name: str = STATE) -> None:
    """Replace a file of the folder as a whole, readable by its owner only."""
    hidden = folder / f".{name}.{os.getpid()}"
    with os.fdopen(os.open(hidden, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
        json.dump(state, file, indent=2)
        file.flush()
        os.fsync(file.fileno())
    hidden.replace(folder / name)


def tail(path: Path, lines: int = 12) -> str:
    """The last lines of a log, JSON entries as their level, message and traceback."""
    try:
        with path.open("rb") as file:
            file.seek(0, os.SEEK_END)
            file.seek(max(0, file.tell() - 16_384))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    readable = [part for line in text.splitlines() for part in _readable(line) if part.strip()]
    return "\n".join(readable[-lines:])


def _readable(line: str) -> list[str]:
    try:
        entry = json.loads(line)
        return [f"{entry['level']}: {entry['message']}", *str(entry.get("traceback", "")).splitlines()]
    except (ValueError, TypeError, KeyError):
        return [line]
