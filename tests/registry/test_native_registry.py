from __future__ import annotations

import pytest
from windsock.provider.metadata import NewArtifact
from windsock.provider.registry.models import NativeModelRegistry
from windsock.provider.testing.registry import RegistryContract


class NativeContract(RegistryContract):
    def reference(self, registry, n):
        new = NewArtifact(
            artifact="contract.train",
            uri=f"file:///models/{n}",
            digest=f"blake3:{n:064x}",
            size=1,
            type="sklearn.Model",
        )
        return registry.metadata.artifacts.record(new).ref()


class TestNativeRegistryOnSQLite(NativeContract):
    @pytest.fixture
    def registry(self, metadata):
        return NativeModelRegistry.over(metadata)
