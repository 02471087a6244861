"""A server of Windsock's plugin app for tests, and the metadata over it."""

from __future__ import annotations

import os
import subprocess
import sys
import uuid
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from servers import _wait_for_port, free_port
from windsock.provider.metadata.rest.client import RestMetadata
from windsock.provider.metadata.rest.http import HttpClient
from windsock.provider.security.tokens import EnvironmentToken

if TYPE_CHECKING:
    from collections.abc import Iterator

TOKENS = EnvironmentToken({"WINDSOCK_API_TOKEN": "the-tests-own-token"})


@dataclass
class RestServer:
    """``stacks`` is its folder of stack files; each database is a stack of its own there."""

    port: int
    stacks: Path
    _names: dict[str, str] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/windsock"

    def stack(self, database: str) -> str:
        """The name of the stack of that database."""
        if database not in self._names:
            name = f"s{uuid.uuid4().hex[:12]}"
            (self.stacks / f"{name}.yaml").write_text(f'metadata_store: {{flavor: sql, url: "{database}"}}\n')
            self._names[database] = name
        return self._names[database]

    def open(self, database: str, cls: type[RestMetadata] = RestMetadata, **options: float) -> RestMetadata:
        return cls(HttpClient(self.url, **options), TOKENS, stack=self.stack(database))


@contextmanager
def serving(stacks: Path, *, app: str = "windsock", workers: int = 1, loop: str = "auto") -> Iterator[RestServer]:
    port = free_port()
    environ = {**os.environ, "WINDSOCK_STACKS_FOLDER": str(stacks), "AIRFLOW__API_AUTH__JWT_SECRET": uuid.uuid4().hex}
    command = [sys.executable, str(Path(__file__).with_name("rest_app.py")), app, str(port), str(workers), loop]
    with subprocess.Popen(command, env=environ, cwd=stacks, start_new_session=True) as server:
        try:
            _wait_for_port(port, server)
            yield RestServer(port, stacks)
        finally:
            server.terminate()


@pytest.fixture(scope="session")
def rest_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RestServer]:
    """Windsock's plugin app on a real server (six seconds), for the whole session."""
    with serving(tmp_path_factory.mktemp("stacks")) as server:
        yield server
