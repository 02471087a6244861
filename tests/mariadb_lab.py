"""A MariaDB of one's own, for a while."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from servers import _unprivileged, free_port, missing

if TYPE_CHECKING:
    from collections.abc import Iterator

PASSWORD = "wind"


@contextmanager
def running(*, durable: bool = False) -> Iterator[str]:
    """The URL of the server, without a database. ``durable``: as an administrator would run it; else five times
    faster, and nobody pulls the plug.
    """
    install, program = shutil.which("mariadb-install-db"), _program()
    if install is None or program is None:
        missing("MariaDB (mariadb-install-db)")
        return
    with tempfile.TemporaryDirectory(prefix="windsock-my-", dir="/tmp") as name:
        folder, port = Path(name), free_port()
        start = folder / "start.sql"
        # One statement a line.
        start.write_text(f"CREATE USER windsock@'%' IDENTIFIED BY '{PASSWORD}';\nGRANT ALL ON *.* TO windsock@'%';\n")
        if os.geteuid() == 0:
            for path in (folder, start):
                os.chown(path, 65534, 65534)
        careless = [] if durable else ["--debug-no-sync=ON", "--innodb-flush-method=nosync"]
        options = ["--no-defaults", f"--datadir={folder / 'data'}", *careless]
        with (folder / "log").open("wb") as log:
            make = [install, *options, "--skip-test-db", "--auth-root-authentication-method=normal"]
            subprocess.run(_unprivileged(make), check=True, cwd=name, stdout=log, stderr=log)
            run = [program, *options, *_options(folder, port, durable=durable)]
            server = subprocess.Popen(_unprivileged(run), cwd=name, stdout=log, stderr=log)
            try:
                _wait(port, server, folder / "log")
                yield f"mysql://windsock:{PASSWORD}@127.0.0.1:{port}"
            finally:
                server.kill()  # its files go, too
                server.wait(30)


def _options(folder: Path, port: int, *, durable: bool) -> Iterator[str]:
    options: dict[str, object] = {
        "bind-address": "127.0.0.1",
        "port": port,
        "socket": folder / "sock",
        "pid-file": folder / "pid",
        "init-file": folder / "start.sql",
        "skip-name-resolve": "ON",
        "innodb-buffer-pool-size": "64M",
        "max-connections": 200,
        # What an administrator may have chosen, and what nothing may depend on:
        "character-set-server": "latin1",
        "collation-server": "latin1_swedish_ci",
        "default-time-zone": "+05:30",
        "sql-mode": "",
    }
    if not durable:
        options |= {"innodb-flush-log-at-trx-commit": 0, "innodb-doublewrite": "OFF", "innodb-file-per-table": "OFF"}
    yield from (f"--{key}={value}" for key, value in options.items())


def _program() -> str | None:
    return shutil.which("mariadbd", path=os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/libexec"]))


def _wait(port: int, server: subprocess.Popen[bytes], log: Path) -> None:
    import pymysql

    for _ in range(300):
        if server.poll() is not None:
            pytest.fail(f"MariaDB did not start:\n{log.read_text()[-2000:]}")
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="windsock", password=PASSWORD).close()
            return
        except pymysql.err.OperationalError:
            time.sleep(0.1)
    pytest.fail(f"MariaDB did not answer:\n{log.read_text()[-2000:]}")


def create_database(server: str, name: str) -> str:
    """An empty database; returns its URL."""
    import pymysql

    port = int(server.rsplit(":", 1)[1])
    with pymysql.connect(host="127.0.0.1", port=port, user="windsock", password=PASSWORD) as connection:
        connection.cursor().execute(f"CREATE DATABASE {name}")
    return f"{server}/{name}"
