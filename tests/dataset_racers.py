"""Processes that append to one data set. The step is defined here, so that a spawned process can import it."""

from __future__ import annotations

from pathlib import Path

from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.datasets import Dataset
from windsock.provider.metadata import Metadata


def open_dataset(url: str, folder: str, name: str = "sales") -> Dataset:
    store = LocalArtifactStore.from_mapping({"path": Path(folder)})
    return Dataset(name, Metadata.open(url), store, partition_by=["who"])  # type: ignore[arg-type]


def append(url: str, folder: str, who: str, times: int) -> list[int]:
    sales = open_dataset(url, folder)
    made = []
    for turn in range(times):
        version = sales.append({"who": [who] * 3, "turn": [turn] * 3, "row": [0, 1, 2]})
        assert version.version is not None
        made.append(version.version)
    return made
