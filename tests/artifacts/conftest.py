"""A local store, and saving and loading through it."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.stores.local import LocalArtifactStore, LocalArtifactStoreConfig

sys.path.insert(0, str(Path(__file__).parent))  # saver.py, which other processes run


@pytest.fixture
def store(tmp_path):
    return LocalArtifactStore(LocalArtifactStoreConfig(path=tmp_path / "artifacts"))


@pytest.fixture
def round_trip(store):
    """Save, check that saving again is the same artifact, load by type and by recorded materializer."""

    def run(value, **options):
        stored = save(value, store, **options)
        again = save(value, store, **options)
        assert again.digest == stored.digest, "the same value must give the same bytes"
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        pickled = {"allow_pickle": True} if options.get("allow_pickle") else {}
        load({**ref, "materializer": stored.materializer}, store, **pickled)
        return load(ref, store, **pickled)

    return run
