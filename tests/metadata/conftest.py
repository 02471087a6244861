"""Every behaviour runs on SQLite and on PostgreSQL: ``metadata`` is one and then the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from metadata_lab import Lab
from windsock.provider.metadata import Metadata, migrate, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def postgres_metadata_url(postgres_database: Callable[[], str]) -> str:
    url = postgres_database()
    migrate.upgrade(url)
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty metadata database."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metadata.db'}"
    url: str = request.getfixturevalue("postgres_metadata_url")
    metadata = Metadata.open(url)
    with metadata.transaction() as connection:
        tables = ", ".join(table.name for table in schema.metadata.sorted_tables)
        connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY")
    return url


@pytest.fixture
def metadata(url: str) -> Iterator[Metadata]:
    metadata = Metadata.open(url)
    yield metadata
    metadata.close()


@pytest.fixture
def lab(metadata: Metadata) -> Lab:
    return Lab(metadata)
