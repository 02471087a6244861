"""Real servers for tests: each started on 127.0.0.1 and a free port, and stopped at the end of the session.

A server whose program is not installed skips the tests that need it, except in CI (``CI`` set), where they fail:
nothing may be green because nothing ran.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def missing(program: str) -> None:
    """Skip, or fail in CI."""
    message = f"{program} is not installed"
    if os.environ.get("CI"):
        pytest.fail(f"{message}, and CI must have it")
    pytest.skip(message)


def _postgres_program(name: str) -> str | None:
    """On PATH, else the newest of Debian's versioned folders."""
    folders = Path("/usr/lib/postgresql")
    versions = sorted(folders.glob("*/bin"), key=lambda path: float(path.parent.name), reverse=True)
    return shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", ""), *map(str, versions)]))


def _unprivileged(command: list[str]) -> list[str]:
    """PostgreSQL refuses to run as root: then it runs as nobody."""
    if os.geteuid() != 0:
        return command
    switch = shutil.which("setpriv")
    if switch is None:
        missing("setpriv")
    return [str(switch), "--reuid=65534", "--regid=65534", "--clear-groups", "--", *command]


@pytest.fixture(scope="session")
def moto_server() -> Iterator[str]:
    """An S3 (and the rest of AWS, in memory) by moto: the URL of its endpoint. Accepts any credentials."""
    program = shutil.which("moto_server", path=os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]))
    if program is None:
        missing("moto_server")
    port = free_port()
    command = [str(program), "-H", "127.0.0.1", "-p", str(port)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as server:
        try:
            _wait_for_port(port, server)
            yield f"http://127.0.0.1:{port}"
        finally:
            server.terminate()


def _wait_for_port(port: int, server: subprocess.Popen[bytes], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError:
            assert server.poll() is None, f"the server ended with exit code {server.returncode}"
            assert time.monotonic() < deadline, f"nothing answers on port {port} after {seconds} s"
            time.sleep(0.05)
        else:
            return


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """A private PostgreSQL: the URL of its maintenance database, without a driver name."""
    initdb, postgres = _postgres_program("initdb"), _postgres_program("postgres")
    if initdb is None or postgres is None:
        missing("PostgreSQL (initdb)")
        return
    with tempfile.TemporaryDirectory(prefix="windsock-pg-", dir="/tmp") as name:
        folder = Path(name)
        if os.geteuid() == 0:
            os.chown(folder, 65534, 65534)
        data, port = folder / "data", free_port()
        environ = {**os.environ, "LC_ALL": "C", "HOME": name}
        log = (folder / "log").open("wb")
        make = [initdb, "-D", str(data), "-U", "windsock", "--auth=trust", "--no-sync", "-E", "UTF8"]
        subprocess.run(_unprivileged(make), check=True, env=environ, cwd=name, stdout=log, stderr=log)
        options = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": name,
            "fsync": "off",
            "synchronous_commit": "off",
            "full_page_writes": "off",
            "max_connections": 200,
            "shared_buffers": "64MB",
        }
        run = [
            postgres,
            "-D",
            str(data),
            *(part for key, value in options.items() for part in ("-c", f"{key}={value}")),
        ]
        server = subprocess.Popen(_unprivileged(run), env=environ, cwd=name, stdout=log, stderr=log)
        try:
            url = f"postgresql://windsock@127.0.0.1:{port}/postgres"
            _wait_for_postgres(url, server, folder / "log")
            yield url
        finally:
            server.send_signal(signal.SIGQUIT)  # at once: its files go, too
            server.wait(20)
            log.close()


def _wait_for_postgres(url: str, server: subprocess.Popen[bytes], log: Path) -> None:
    import psycopg

    for _ in range(300):
        if server.poll() is not None:
            pytest.fail(f"PostgreSQL did not start:\n{log.read_text()[-2000:]}")
        try:
            psycopg.connect(url, connect_timeout=1).close()
            return
        except psycopg.OperationalError:
            time.sleep(0.1)
    pytest.fail(f"PostgreSQL did not answer:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def postgres_database(postgres_server: str) -> Callable[[], str]:
    """Makes an empty database a call; returns its URL. They go with the server."""

    def make() -> str:
        import psycopg

        name = f"t{uuid.uuid4().hex[:12]}"
        with psycopg.connect(postgres_server, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return f"{postgres_server.rsplit('/', 1)[0]}/{name}"

    return make


@pytest.fixture(scope="session")
def postgres_url(postgres_database: Callable[[], str]) -> str:
    """One empty database for the session: share it only between tests that do not mind."""
    return postgres_database()


@pytest.fixture(scope="session")
def mariadb_server() -> Iterator[str]:
    """A private MariaDB: the URL of its server, with a user that may do everything, without a driver name."""
    from mariadb_lab import running

    with running() as url:
        yield url


@pytest.fixture(scope="session")
def mariadb_database(mariadb_server: str) -> Callable[[], str]:
    """Makes an empty database a call; returns its URL. They go with the server."""

    from mariadb_lab import create_database

    return lambda: create_database(mariadb_server, f"t{uuid.uuid4().hex[:12]}")


@pytest.fixture(scope="session")
def mariadb_url(mariadb_database: Callable[[], str]) -> str:
    """One empty database for the session: share it only between tests that do not mind."""
    return mariadb_database()
