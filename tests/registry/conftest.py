"""Real databases and a real artifact store under every test of the registry."""

from __future__ import annotations

import pytest
from windsock.provider.metadata import Metadata
from windsock.provider.metadata.migrate import upgrade
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack


@pytest.fixture
def sqlite_url(tmp_path):
    return f"sqlite:///{tmp_path / 'windsock.db'}"


@pytest.fixture
def upgraded_postgres_url(postgres_database):
    """A database of this test's own, with tables."""
    url = postgres_database()
    upgrade(url)
    return url


@pytest.fixture
def metadata(sqlite_url):
    opened = Metadata.open(sqlite_url)
    yield opened
    opened.close()


@pytest.fixture
def stack(tmp_path):
    """The built-in stack with everything in a folder of this test's own."""
    settings = Settings.load(environ={"WINDSOCK_HOME": str(tmp_path / "home"), "WINDSOCK_ACTOR": "ada"})
    loaded = Stack.load("local", settings=settings)
    yield loaded
    loaded.metadata.close()
