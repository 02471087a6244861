"""Airflow's ``ObjectStoragePath`` as what a step returns and takes, on a real S3 server and on local files."""

from __future__ import annotations

import json

import pytest
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io import attach
from stores_lab import aws, s3_store
from windsock.provider.artifacts.saving import load, save
from windsock.provider.errors import ArtifactCorrupted, ArtifactNotFound, MaterializerNotFound
from windsock.provider.runtime.binding import coerce


@pytest.fixture
def remote(moto_server, tmp_path):
    """A store, and a folder with two objects in the same bucket that is not the store's."""
    store = s3_store(tmp_path / "home", moto_server)
    attach("s3", "theirs", fs=store.filesystem)
    folder = ObjectStoragePath(f"s3://theirs@{store.config.bucket}/exports/2026")
    for name in ("a.csv", "deep/b.csv"):
        with (folder / name).open("wb") as file:
            file.write(f"{name}\n".encode())
    return store, folder


def saved(value, store):
    stored = save(value, store)
    return stored, {"uri": stored.uri, "digest": stored.digest, "type": stored.type}


class TestObjectStoragePath:
    def test_a_path_comes_back_with_its_connection(self, remote):
        store, folder = remote
        stored, ref = saved(folder / "a.csv", store)
        assert stored.type == "airflow.sdk.ObjectStoragePath"
        assert stored.metadata["bytes"] == 6
        loaded = load(ref, store)
        assert isinstance(loaded, ObjectStoragePath)
        assert (loaded.conn_id, loaded.read_text()) == ("theirs", "a.csv\n")
        assert loaded == folder / "a.csv"

    def test_it_is_a_reference_and_no_copy(self, remote):
        store, folder = remote
        stored, _ = saved(folder, store)
        found = json.loads(store.get_bytes(stored.uri))
        assert found["path"] == str(folder)
        assert set(found["objects"]) == {"a.csv", "deep/b.csv"}
        assert sum(1 for _ in store.list("objects/")) == 1

    def test_the_same_data_is_the_same_version_and_new_data_a_new_one(self, remote):
        store, folder = remote
        first, _ = saved(folder, store)
        assert saved(folder, store)[0].digest == first.digest
        with (folder / "c.csv").open("wb") as file:
            file.write(b"more")
        assert saved(folder, store)[0].digest != first.digest

    def test_data_that_changed_since_is_an_error(self, remote):
        store, folder = remote
        _, ref = saved(folder, store)
        with (folder / "deep" / "b.csv").open("wb") as file:
            file.write(b"something else")
        with pytest.raises(ArtifactCorrupted, match=r"has changed since the step returned it: deep/b\.csv"):
            load(ref, store)

    def test_data_that_is_gone_is_an_error(self, remote):
        store, folder = remote
        _, ref = saved(folder / "a.csv", store)
        (folder / "a.csv").unlink()
        with pytest.raises(ArtifactNotFound, match="a reference to it, not a copy"):
            load(ref, store)

    def test_a_path_to_nothing_is_refused(self, remote):
        store, folder = remote
        with pytest.raises(MaterializerNotFound, match="no such object"):
            save(folder / "none", store)

    def test_local_files_are_object_storage_too(self, remote, tmp_path):
        store, _ = remote
        (tmp_path / "data.txt").write_text("text")
        stored, ref = saved(ObjectStoragePath(f"file://{tmp_path}/data.txt"), store)
        assert load(ref, store).read_text() == "text"
        assert stored.metadata["files"] == 1

    def test_a_parameter_given_as_text_becomes_a_path(self):
        path = coerce("s3://theirs@bucket/key", ObjectStoragePath)
        assert isinstance(path, ObjectStoragePath)
        assert (path.conn_id, path.bucket, path.key) == ("theirs", "bucket", "key")

    def test_a_store_is_configured_by_one(self, remote, moto_server, tmp_path):
        from stores_lab import context
        from windsock.provider.artifacts.stores.s3 import S3ArtifactStore

        store, _ = remote
        root = ObjectStoragePath(f"s3://ml@{store.config.bucket}/team/artifacts")
        same = S3ArtifactStore.from_mapping({"root": root}, context(tmp_path, ml=aws(moto_server)))
        assert (same.root, same.config.connection) == (store.root, "ml")
        assert same.get_bytes(store.put_bytes("a", b"1")) == b"1"
