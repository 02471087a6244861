from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
import serving_lab as lab

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from windsock.provider.artifacts.store import ArtifactStore
    from windsock.provider.component import ComponentContext
    from windsock.provider.deployers.local import LocalDeployer


@pytest.fixture
def home(tmp_path: Path) -> Iterator[Path]:
    """A home whose deployments are gone, processes and all, when the test is over."""
    folder = tmp_path / "home"
    yield folder
    deadline = time.monotonic() + 10
    while (left := lab.processes_of(folder)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert left == [], "a process of this test is still there"


@pytest.fixture
def context(home: Path) -> ComponentContext:
    return lab.context_of(home)


@pytest.fixture
def store(context: ComponentContext) -> ArtifactStore:
    return lab.store_of(context)


@pytest.fixture
def deployer(context: ComponentContext, home: Path) -> Iterator[LocalDeployer]:
    deployer = lab.deployer_of(context)
    yield deployer
    for folder in (home / "deployments").glob("*"):
        deployer.delete(folder.name)
