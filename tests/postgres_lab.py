"""A PostgreSQL of one's own, to be broken: stopped, killed, frozen, thawed, started again."""

from __future__ import annotations

import os
import signal
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from servers import _postgres_program, _unprivileged, free_port, missing
from windsock.provider.metadata import Metadata, migrate


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

    def start(self, **changed: str) -> None:
        options = {
            "listen_addresses": "127.0.0.1",
            "port": self.port,
            "unix_socket_directories": str(self.folder),
            "shared_buffers": "32MB",
            "fsync": "off",  # a process that is killed leaves its writes with the kernel
            "full_page_writes": "off",
            "autovacuum": "off",  # it would hold the database that is to be copied
            **changed,
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
