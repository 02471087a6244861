"""A process that saves one value and says what it stored; killed by fault points, raced by others."""

from __future__ import annotations

import dataclasses
import json
import sys
from pathlib import Path

import numpy as np
from windsock.provider.artifacts.saving import save
from windsock.provider.artifacts.stores.local import LocalArtifactStore, LocalArtifactStoreConfig
from windsock.provider.artifacts.stores.s3 import S3ArtifactStore
from windsock.provider.component import ComponentContext
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.settings import Settings


@dataclasses.dataclass(frozen=True)
class SplitLike:
    """A dataclass in a module that can be imported."""

    name: str
    share: float = 0.5
    parts: tuple[int, ...] = ()
    total: int = dataclasses.field(init=False, default=0)


def value_of(kind: str, folder: Path):
    if kind == "array":
        return np.arange(1_500_000, dtype=np.float64)  # several chunks
    if kind == "metrics":
        return {"accuracy": 0.9}
    data = folder / "data"
    if not data.exists():
        (data / "deep").mkdir(parents=True)
        (data / "a.txt").write_text("a")
        (data / "deep" / "b.txt").write_text("b" * 100_000)
    return data


def store_of(kind: str, folder: Path):
    if kind == "local":
        return LocalArtifactStore(LocalArtifactStoreConfig(path=folder / "artifacts", fsync=True))
    settings = Settings.load(environ={"WINDSOCK_HOME": str(folder)})
    options = {"bucket": (folder / "bucket").read_text(), "connection": "aws"}
    return S3ArtifactStore.from_mapping(options, ComponentContext(settings, EnvironmentCredentials()))


if __name__ == "__main__":
    where, kind, folder = sys.argv[1], sys.argv[2], Path(sys.argv[3])
    stored = save(value_of(kind, folder), store_of(where, folder))
    print(json.dumps({"uri": stored.uri, "digest": stored.digest, "type": stored.type}))
