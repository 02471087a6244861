"""The command as people run it: through its one door, in a home and a working directory of its own."""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from windsock.provider.cli.main import main

PIPELINES = Path(__file__).parents[1] / "pipelines"


class Result(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The whole of standard output must be one document."""
        return json.loads(self.out)


@pytest.fixture
def home(tmp_path, monkeypatch):
    for name in list(os.environ):
        if name.startswith(("WINDSOCK_", "AIRFLOW_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("WINDSOCK_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("WINDSOCK_ACTOR", "tester")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path, str(PIPELINES)])
    return tmp_path / "home"


@pytest.fixture
def windsock(home, capsys):
    """``windsock("model", "list")`` -> exit code, standard output, standard error."""

    def run(*words: str) -> Result:
        capsys.readouterr()
        code = main(list(words))
        captured = capsys.readouterr()
        return Result(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="session")
def trained_home(tmp_path_factory):
    """A home in which ``prices`` ran once: a database, artifacts and a model with the alias candidate."""
    folder = tmp_path_factory.mktemp("trained")
    environ = {**os.environ, "WINDSOCK_HOME": str(folder / "home"), "WINDSOCK_ACTOR": "tester"}
    import subprocess

    command = [sys.executable, "-m", "windsock.provider.cli.main", "run", "prices:prices", "--output", "json"]
    done = subprocess.run(command, cwd=PIPELINES, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder / "home", json.loads(done.stdout)


@pytest.fixture
def trained(home, trained_home):
    """A copy of it for this test; the artifacts' URIs name the original folder, so they are moved with it."""
    original, result = trained_home
    shutil.copytree(original, home, dirs_exist_ok=True)
    _move_uris(home / "windsock.db", str(original), str(home))
    return result


def _move_uris(database: Path, old: str, new: str) -> None:
    import sqlite3

    with sqlite3.connect(database) as connection:
        for table, column in connection.execute(
            "SELECT m.name, c.name FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type = 'table'"
        ).fetchall():
            connection.execute(
                f'UPDATE "{table}" SET "{column}" = REPLACE("{column}", ?, ?) WHERE typeof("{column}") = "text"',
                (old, new),
            )
    connection.close()
