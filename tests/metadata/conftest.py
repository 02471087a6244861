"""Every behaviour runs on SQLite, PostgreSQL and MariaDB: ``metadata`` is one after the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from metadata_lab import Lab
from windsock.provider.metadata import Metadata, migrate, schema
from windsock.provider.metadata.database import Database
from windsock.provider.metadata.engine import engine_for

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


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty metadata database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metadata.db'}"
    if request.param == "mariadb":
        return emptied(request.getfixturevalue("mariadb_metadata_url"))
    url: str = request.getfixturevalue("postgres_metadata_url")
    metadata = Metadata.open(url)
    with metadata.transaction() as connection:
        tables = ", ".join(table.name for table in schema.metadata.sorted_tables)
        connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY")
    return url


def emptied(url: str) -> str:
    """A MariaDB database without rows, its numbers at one. TRUNCATE takes 10 ms a table: only where there are rows."""
    with engine_for(Database(url).url).connect() as connection:
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 0")
        for table in schema.metadata.sorted_tables:
            if connection.exec_driver_sql(f"SELECT 1 FROM {table.name} LIMIT 1").first():
                connection.exec_driver_sql(f"TRUNCATE {table.name}")
        connection.exec_driver_sql("SET FOREIGN_KEY_CHECKS = 1")
    return url


@pytest.fixture
def metadata(url: str) -> Iterator[Metadata]:
    metadata = Metadata.open(url)
    yield metadata
    metadata.close()


@pytest.fixture
def lab(metadata: Metadata) -> Lab:
    return Lab(metadata)
