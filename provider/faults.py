"""Fault points: named places in every write path where a test may kill the process.

``reach("artifacts.commit.before_rename")`` does nothing, unless the environment names that point. Then the process
dies there by ``SIGKILL``, as it would by the OOM killer or a lost node: no ``finally`` runs, no buffer is flushed.
That is the only honest way to prove that a retry finds no half artifact and no half transaction.

``WINDSOCK_FAULT_POINT``
    The point to die at; ``point@3`` dies when it is reached for the third time.
``WINDSOCK_FAULT_TRACE``
    A file to which each point reached is appended, one a line, so that a test can enumerate them instead of
    repeating them.
"""

from __future__ import annotations

import os
import signal

_reached: dict[str, int] = {}


def reach(point: str) -> None:
    """Say that ``point`` is reached. A dictionary look-up in normal life."""
    wanted = os.environ.get("WINDSOCK_FAULT_POINT")
    trace = os.environ.get("WINDSOCK_FAULT_TRACE")
    if wanted or trace:
        _reach(point, wanted, trace)


def _reach(point: str, wanted: str | None, trace: str | None) -> None:
    if trace:
        line = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        os.write(line, f"{point}\n".encode())
        os.close(line)
    if wanted:
        name, _, count = wanted.partition("@")
        if name == point:
            _reached[point] = _reached.get(point, 0) + 1
            if _reached[point] == int(count or 1):
                os.kill(os.getpid(), signal.SIGKILL)
