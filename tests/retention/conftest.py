"""A metadata database and an artifact store: each kind of one with each kind of the other."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from metadata_lab import emptied
from retention_lab import Depot
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.metadata import Metadata, migrate, schema

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from windsock.provider.artifacts.store import ArtifactStore


@pytest.fixture(scope="session")
def retention_postgres_url(postgres_database: Callable[[], str]) -> str:
    url = postgres_database()
    migrate.upgrade(url)
    return url


@pytest.fixture(scope="session")
def retention_mariadb_url(mariadb_database: Callable[[], str]) -> str:
    url = mariadb_database()
    migrate.upgrade(url)
    return url


@pytest.fixture(params=["sqlite", "postgresql", "mariadb"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'metadata.db'}"
    if request.param == "mariadb":
        return emptied(request.getfixturevalue("retention_mariadb_url"))
    url: str = request.getfixturevalue("retention_postgres_url")
    with Metadata.open(url).transaction() as connection:
        tables = ", ".join(table.name for table in schema.metadata.sorted_tables)
        connection.exec_driver_sql(f"TRUNCATE {tables} RESTART IDENTITY")
    return url


@pytest.fixture
def metadata(url: str) -> Iterator[Metadata]:
    metadata = Metadata.open(url)
    yield metadata
    metadata.close()


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return LocalArtifactStore.from_mapping({"path": tmp_path / "artifacts"})  # type: ignore[return-value]


@pytest.fixture
def depot(metadata: Metadata, store: ArtifactStore) -> Depot:
    return Depot(metadata, store)
