"""What breaks: a PostgreSQL of one's own that is stopped and frozen, and stacks over it or over SQLite."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from postgres_lab import Postgres
from proxy import Proxy
from windsock.provider.metadata import Metadata
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="session")
def _own_postgres() -> Iterator[Postgres]:
    # A database a test is thousands of files, which a busy disk takes minutes to remove.
    shared = Path("/dev/shm")
    fast = os.access(shared, os.W_OK) and shutil.disk_usage(shared).free > 4 << 30
    with tempfile.TemporaryDirectory(prefix="windsock-faults-", dir=shared if fast else "/tmp") as name:
        server = Postgres(Path(name))
        server.start()
        yield server
        server.stop(signal.SIGQUIT)  # at once: nobody needs it any more


@pytest.fixture
def postgres(_own_postgres: Postgres) -> Iterator[Postgres]:
    """A running server that the test may break."""
    if _own_postgres._server is None:
        _own_postgres.start()
    yield _own_postgres
    if _own_postgres._server is not None:
        _own_postgres.thaw()


@pytest.fixture
def door(postgres: Postgres) -> Iterator[Proxy]:
    """A proxy in front of the server."""
    with Proxy("127.0.0.1", postgres.port) as proxy:
        yield proxy


@pytest.fixture
def make_stack(tmp_path: Path) -> Iterator[Callable[..., Stack]]:
    """Makes the stack ``local``, as another process would; all share the artifact store of the test."""
    made: list[Stack] = []

    def make(url: str | None = None, **settings: Any) -> Stack:
        environ = {"WINDSOCK_HOME": str(tmp_path / "home"), "WINDSOCK_ACTOR": "ada"}
        environ |= {f"WINDSOCK_{key.upper()}": str(value) for key, value in settings.items()}
        if url is not None:
            environ["WINDSOCK_SQL_ALCHEMY_CONN"] = url
        made.append(Stack.load("local", settings=Settings.load(environ=environ)))
        return made[-1]

    yield make
    for stack in made:
        if "metadata" in stack._built:
            stack.metadata.close()


@pytest.fixture
def behind(postgres: Postgres, door: Proxy, make_stack: Callable[..., Stack]) -> Callable[..., Stack]:
    """Makes stacks whose database is behind the proxy, all the same one."""
    name = postgres.database()

    def make(query: str = "", **settings: Any) -> Stack:
        return make_stack(postgres.url(name, door.port) + query, **settings)

    make.direct = lambda: Metadata.open(postgres.url(name))  # type: ignore[attr-defined]
    return make
