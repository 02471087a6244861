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
    install, server_program = shutil.which("mariadb-install-db"), _mariadb_program()
    if install is None or server_program is None:
        missing("MariaDB (mariadb-install-db)")
        return
    with tempfile.TemporaryDirectory(prefix="windsock-my-", dir="/tmp") as name:
        folder, port = Path(name), free_port()
        data, start = folder / "data", folder / "start.sql"
        start.write_text("CREATE USER windsock@'%' IDENTIFIED BY 'wind';\nGRANT ALL ON *.* TO windsock@'%';\n")
        if os.geteuid() == 0:
            for path in (folder, start):
                os.chown(path, 65534, 65534)
        log = (folder / "log").open("wb")
        careless = [
            "--debug-no-sync=ON",
            "--innodb-flush-method=nosync",
        ]  # five times faster, and nobody pulls the plug
        root = "--auth-root-authentication-method=normal"
        make = [install, "--no-defaults", f"--datadir={data}", "--skip-test-db", root, *careless]
        subprocess.run(_unprivileged(make), check=True, cwd=name, stdout=log, stderr=log)
        options = {
            "datadir": data,
            "bind-address": "127.0.0.1",
            "port": port,
            "socket": folder / "sock",
            "pid-file": folder / "pid",
            "init-file": start,
            "skip-name-resolve": "ON",
            "innodb-flush-log-at-trx-commit": 0,
            "innodb-doublewrite": "OFF",
            "innodb-file-per-table": "OFF",
            "innodb-buffer-pool-size": "64M",
            "max-connections": 200,
            # What an administrator may have chosen, and what nothing may depend on:
            "character-set-server": "latin1",
            "collation-server": "latin1_swedish_ci",
            "default-time-zone": "+05:30",
            "sql-mode": "",
        }
        run = [server_program, "--no-defaults", *careless, *(f"--{key}={value}" for key, value in options.items())]
        server = subprocess.Popen(_unprivileged(run), cwd=name, stdout=log, stderr=log)
        try:
            _wait_for_mariadb(port, server, folder / "log")
            yield f"mysql://windsock:wind@127.0.0.1:{port}"
        finally:
            server.kill()  # its files go, too
            server.wait(30)
            log.close()


def _mariadb_program() -> str | None:
    return shutil.which("mariadbd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/libexec"]))


def _wait_for_mariadb(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    import pymysql

    for _ in range(300):
        if server.poll() is not None:
            pytest.fail(f"MariaDB did not start:\n{log.read_text()[-2000:]}")
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="windsock", password="wind").close()
            return
        except pymysql.err.OperationalError:
            time.sleep(0.1)
    pytest.fail(f"MariaDB did not answer:\n{log.read_text()[-2000:]}")


@pytest.fixture(scope="session")
def mariadb_database(mariadb_server: str) -> Callable[[], str]:
    """Makes an empty database a call; returns its URL. They go with the server."""

    def make() -> str:
        import pymysql

        name, port = f"t{uuid.uuid4().hex[:12]}", int(mariadb_server.rsplit(":", 1)[1])
        with pymysql.connect(host="127.0.0.1", port=port, user="windsock", password="wind") as connection:
            connection.cursor().execute(f"CREATE DATABASE {name}")
        return f"{mariadb_server}/{name}"

    return make


@pytest.fixture(scope="session")
def mariadb_url(mariadb_database: Callable[[], str]) -> str:
    """One empty database for the session: share it only between tests that do not mind."""
    return mariadb_database()
