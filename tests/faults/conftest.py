"""What breaks: a PostgreSQL of one's own that is stopped and frozen, and stacks over it or over SQLite."""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from proxy import Proxy
from servers import _postgres_program, _unprivileged, free_port, missing
from windsock.provider.metadata import Metadata, migrate
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


class Postgres:
    """A server that may be stopped (cleanly or by SIGKILL), frozen, thawed and started again on the same port."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._environ = {**os.environ, "LC_ALL": "C", "HOME": str(folder)}
        self._server: subprocess.Popen[bytes] | None = None
        self._template = False
        if _postgres_program("initdb") is None:
            missing("PostgreSQL (initdb)")
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        make = [str(_postgres_program("initdb")), "-D", str(folder / "data"), "-U", "windsock", "--auth=trust"]
        make += ["--no-sync", "-E", "UTF8"]
        subprocess.run(_unprivileged(make), check=True, env=self._environ, cwd=folder, stdout=subprocess.DEVNULL)

    def url(self, database: str = "postgres", port: int | None = None) -> str:
        return f"postgresql://windsock@127.0.0.1:{port or self.port}/{database}"

    def database(self) -> str:
        import psycopg

        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(self.url(), autocommit=True) as connection:
            if not self._template:  # made once, copied for each test
                self._template = True
                connection.execute("CREATE DATABASE ready TEMPLATE template0")
                migrate.upgrade(self.url("ready"))
                Metadata.open(self.url("ready")).close()
            connection.execute(f"CREATE DATABASE {name} TEMPLATE ready")
        return name

    def start(self) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "32MB",
        }
        command = [str(_postgres_program("postgres")), "-D", str(self.folder / "data")]
        command += [part for key, value in options.items() for part in ("-c", f"{key}={value}")]
        log = (self.folder / "log").open("ab")
        # A group of its own: the server's processes are frozen together.
        self._server = subprocess.Popen(
            _unprivileged(command), env=self._environ, cwd=self.folder, stdout=log, stderr=log, start_new_session=True
        )
        log.close()
        self._wait()

    def _wait(self) -> None:
        import psycopg

        for _ in range(600):
            try:
                psycopg.connect(self.url(), connect_timeout=2).close()
                return
            except psycopg.OperationalError:
                time.sleep(0.05)
        pytest.fail(f"PostgreSQL did not answer:\n{(self.folder / 'log').read_text()[-2000:]}")

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT ends every connection; SIGKILL of all its processes is a machine that dies."""
        if self._server is None:
            return
        if how == signal.SIGKILL:
            os.killpg(self._server.pid, how)
            for child in self._children():
                os.kill(child, how)
        else:
            self._server.send_signal(how)
        self._server.wait(30)
        self._server = None

    def freeze(self) -> None:
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, which: signal.Signals) -> None:
        assert self._server is not None
        for pid in [self._server.pid, *self._children()]:
            os.kill(pid, which)

    def _children(self) -> list[int]:
        """Each of PostgreSQL's processes is a group of its own."""
        assert self._server is not None
        path = Path(f"/proc/{self._server.pid}/task/{self._server.pid}/children")
        return [int(pid) for pid in path.read_text().split()] if path.exists() else []


@pytest.fixture(scope="session")
def _own_postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="windsock-faults-", dir="/tmp") as name:
        server = Postgres(Path(name))
        server.start()
        yield server
        server.stop()


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

    def make(**settings: Any) -> Stack:
        return make_stack(postgres.url(name, door.port), **settings)

    make.direct = lambda: Metadata.open(postgres.url(name))  # type: ignore[attr-defined]
    return make
