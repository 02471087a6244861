from __future__ import annotations

import pytest
from windsock.provider.component import ComponentContext
from windsock.provider.errors import ComponentInvalid
from windsock.provider.metadata import Metadata, NewArtifact
from windsock.provider.registry.models import NativeModelRegistry
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack
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


class TestNativeRegistryOnPostgreSQL(NativeContract):
    @pytest.fixture
    def registry(self, upgraded_postgres_url):
        metadata = Metadata.open(upgraded_postgres_url)
        yield NativeModelRegistry.over(metadata)
        metadata.close()


class TestOfAStack:
    def test_it_opens_the_database_of_the_settings_and_knows_its_neighbours(self, tmp_path):
        settings = Settings.load(environ={"WINDSOCK_HOME": str(tmp_path), "USER": "ada"})
        registry = Stack.load("local", settings=settings).model_registry
        assert isinstance(registry, NativeModelRegistry)
        assert registry.check().detail == "0 models registered"
        assert registry.artifact_store.root == (tmp_path / "artifacts").as_uri()
        assert (tmp_path / "windsock.db").exists()

    def test_without_a_stack_it_opens_the_database_of_its_context(self, sqlite_url):
        settings = Settings.load(environ={"WINDSOCK_SQL_ALCHEMY_CONN": sqlite_url, "USER": "ada"})
        context = ComponentContext(settings=settings, credentials=EnvironmentCredentials({}))
        registry = NativeModelRegistry.from_mapping({}, context)
        assert registry.check().ok

    def test_an_option_that_it_does_not_have(self):
        with pytest.raises(ComponentInvalid, match='Did you mean "allow_pickle"'):
            NativeModelRegistry.from_mapping({"allow_pickles": True})
