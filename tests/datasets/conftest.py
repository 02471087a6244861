from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from windsock.provider.metadata import migrate
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def stack(tmp_path: Path) -> Iterator[Stack]:
    made = Stack.load("local", settings=Settings.load(environ={"WINDSOCK_HOME": str(tmp_path / "home")}))
    yield made
    made.metadata.close()


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metadata.db'}"
    make: Callable[[], str] = request.getfixturevalue(
        "mariadb_database" if request.param == "mariadb" else "postgres_database"
    )
    made = make()
    migrate.upgrade(made)
    return made
