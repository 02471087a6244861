"""Kill -9 at random moments. A thousand times on each database: ``make bench ARGS=faults``."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from kill_lab import WORKERS, World, check, kill, warm
from windsock.provider.metadata import migrate

if TYPE_CHECKING:
    from collections.abc import Iterator

TIMES = 120


@pytest.fixture
def memory() -> Iterator[Path]:
    """A folder in memory if there is one: a process that is killed leaves its writes with the kernel either way."""
    shared = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=shared if os.access(shared, os.W_OK) else None) as name:
        yield Path(name)


def _url(database: str, request: pytest.FixtureRequest, home: Path) -> str:
    home.mkdir()
    if database == "sqlite":
        return f"sqlite:///{home / 'metadata.db'}"
    if database == "mariadb":
        url: str = request.getfixturevalue("mariadb_database")()
        migrate.upgrade(url)
        return url
    server = request.getfixturevalue("postgres")
    return str(server.url(server.database()))


@pytest.mark.slow
@pytest.mark.parametrize(("database", "times"), [("sqlite", TIMES), ("postgresql", TIMES), ("mariadb", TIMES // 2)])
def test_nothing_is_torn_lost_or_doubled(
    database: str, times: int, memory: Path, request: pytest.FixtureRequest
) -> None:
    first, second = (World(_url(database, request, home), home) for home in (memory / "first", memory / "second"))
    task = warm(first)
    assert check(first)["tasks"] == 11
    kill(second, times, task)
    found = check(second)
    assert found["tasks"] >= WORKERS  # each did get something done
    assert found["attempts"] > 2 * found["tasks"]  # and were cut off in the middle of it
