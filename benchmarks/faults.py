"""Kill -9 at random moments: four workers, a thousand kills on SQLite and a thousand on PostgreSQL.

What is counted is not time: the number of things torn, lost or doubled that an independent check of the database and
the artifact store finds afterwards. ``tests/kill_lab.py`` holds the workers and the check, ``tests/faults`` does the
same with fewer kills.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent


def run(quick: bool) -> list[dict[str, Any]]:
    return [row for database in ("SQLite", "PostgreSQL") for row in _kills(database, 250 if quick else 1000)]


def _kills(database: str, times: int) -> list[dict[str, Any]]:
    """In a process of its own: workers are forked from it, and it must have no threads."""
    done = subprocess.run(
        [sys.executable, str(Path(__file__)), database, str(times)], capture_output=True, text=True, check=False
    )
    lines = done.stdout.splitlines()
    detail = lines[-1] if lines else ""
    if done.returncode:
        print(done.stderr[-3000:], file=sys.stderr)
    return [
        {
            "name": f"kill -9 at random, {times} times, 4 processes, {database}: faults ({detail})",
            "value": 0 if done.returncode == 0 else 1,
            "baseline": 0,
            "unit": "torn, lost or doubled",
            "ratio": None,
            "target": "0",
            "ok": done.returncode == 0,
        }
    ]


@contextmanager
def _urls(database: str, folder: Path) -> Iterator[tuple[str, str]]:
    if database == "SQLite":
        yield f"sqlite:///{folder}/first/metadata.db", f"sqlite:///{folder}/second/metadata.db"
        return
    from postgres_lab import Postgres

    with tempfile.TemporaryDirectory(prefix="windsock-bench-") as name:
        server = Postgres(Path(name))
        server.start()
        try:
            yield server.url(server.database()), server.url(server.database())
        finally:
            server.stop()


def main(database: str, times: int) -> None:
    sys.path[:0] = [str(ROOT / "tests")]
    from kill_lab import World, check, kill, warm

    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as name:
        folder = Path(name)
        (folder / "first").mkdir()
        (folder / "second").mkdir()
        with _urls(database, folder) as (first, second):
            task = warm(World(first, folder / "first"))
            check(World(first, folder / "first"))
            began = time.perf_counter()
            world = World(second, folder / "second")
            kill(world, times, task, seed=int.from_bytes(os.urandom(4), "big"))
            found = check(world)
            print(f"{found['tasks']} tasks, {found['attempts']} attempts, {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
