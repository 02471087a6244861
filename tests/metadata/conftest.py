"""Every behaviour runs on SQLite, PostgreSQL and MariaDB, and over REST: ``metadata`` is one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NoReturn

import pytest
from metadata_lab import Lab, emptied
from windsock.provider.metadata import Metadata, migrate, schema
from windsock.provider.metadata.rest.client import RestMetadata

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgres_metadata_url(postgres_database: Callable[[], str]) -> str:
    url = postgres_database()
    migrate.upgrade(url)
    return url


@pytest.fixture(scope="session")
def mariadb_metadata_url(mariadb_database: Callable[[], str]) -> str:
    url = mariadb_database()
    migrate.upgrade(url)
    return url


@pytest.fixture(params=["sqlite", "postgresql", "mariadb", "rest"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty metadata database."""
    if request.param in ("sqlite", "rest"):
        return f"sqlite:///{tmp_path / 'metadata.db'}"
    if request.param == "mariadb":
        return emptied(request.getfixturevalue("mariadb_metadata_url"))
    url: str = request.getfixturevalue("postgres_metadata_url")
    metadata = Metadata.open(url)
    with metadata.transaction() as connection:
        tables = ", ".join(table.name for table in schema.metadata.sorted_tables)
        connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY")
    return url


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database without tables."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'empty.db'}"
    make: Callable[[], str] = request.getfixturevalue(
        "postgres_database" if request.param == "postgresql" else "mariadb_database"
    )
    return make()


@pytest.fixture
def empty_mariadb(mariadb_metadata_url: str) -> str:
    """The session's MariaDB with all tables and no rows."""
    return emptied(mariadb_metadata_url)


class OverRest(RestMetadata):
    """The metadata of an API server; a test of what only a database has is skipped."""

    def transaction(self) -> NoReturn:
        pytest.skip("a transaction over several calls needs the database")

    @property
    def database(self) -> NoReturn:  # type: ignore[override]
        pytest.skip("it looks into the database")


@pytest.fixture
def metadata(url: str, request: pytest.FixtureRequest) -> Iterator[Metadata]:
    if _transport(request.node) == "rest":
        metadata: Metadata = request.getfixturevalue("rest_server").open(url, OverRest)
    else:
        metadata = Metadata.open(url)
    yield metadata
    metadata.close()


OF_THE_DATABASE = {"test_audit", "test_bulk", "test_races"}
"""Tests of what only the database has: the chain of audit events, bulk import, processes that collide in it."""


def _transport(item: Any) -> str | None:
    return item.callspec.params.get("url") if hasattr(item, "callspec") else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A test that opens the database itself has nothing to ask over REST."""
    idle = [
        item
        for item in items
        if _transport(item) == "rest" and ("metadata" not in item.fixturenames or item.path.stem in OF_THE_DATABASE)  # type: ignore[attr-defined]
    ]
    items[:] = [item for item in items if item not in idle]
    config.hook.pytest_deselected(items=idle)


@pytest.fixture
def lab(metadata: Metadata) -> Lab:
    return Lab(metadata)
