"""S3, Google Cloud Storage and Azure Blob Storage against the contract, by real servers: moto, an emulator, Azurite."""

from __future__ import annotations

import os
import re
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from stores_lab import aws, azure_store, context, gcs_store, s3_store
from windsock.provider.artifacts.digests import digest_bytes
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.store import object_key
from windsock.provider.artifacts.stores.s3 import S3ArtifactStore
from windsock.provider.errors import ComponentInvalid, StoreUnavailable
from windsock.provider.testing.artifacts import ArtifactStoreContract

MIB = 1 << 20


class ObjectStoreContract(ArtifactStoreContract):
    """What object stores must do beyond the contract. Override ``make``: a store by bucket and options."""

    @pytest.fixture
    def make(self):
        raise NotImplementedError

    @pytest.fixture
    def store(self, make):
        return make()

    @pytest.fixture
    def broken_store(self, make):
        return make("bucket-that-is-gone")

    @pytest.fixture
    def big(self, tmp_path):
        """A file of three parts, the last one shorter, and its key."""
        data = os.urandom(11 * MIB)
        (tmp_path / "big").write_bytes(data)
        return tmp_path / "big", object_key(digest_bytes(data), ".bin"), data

    def test_its_root_names_bucket_and_prefix(self, store):
        assert store.root == f"{store.scheme}://{store.config.bucket}/team/artifacts"

    def test_a_gone_bucket_says_which(self, broken_store):
        with pytest.raises(StoreUnavailable, match="bucket 'bucket-that-is-gone' does not exist"):
            save([1], broken_store)

    def test_it_works_in_a_forked_process(self, store):
        ref = self.reference(save({"a": 1}, store))
        child = os.fork()
        if child == 0:
            os._exit(0 if load(ref, store) == {"a": 1} and save("x", store) else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

    def test_of_32_racing_writers_one_wins(self, store):
        with ThreadPoolExecutor(32) as pool:
            won = list(pool.map(lambda n: store.write("race-32", f"writer {n}".encode()), range(32)))
        assert sum(won) == 1
        assert store.get_bytes("race-32") == f"writer {won.index(True)}".encode()

    def test_of_racing_uploads_in_parts_one_wins(self, make, tmp_path):
        store = make(part_size=5 * MIB)
        contents = [bytes([n]) * (5 * MIB + n) for n in range(6)]
        for n, content in enumerate(contents):
            (tmp_path / str(n)).write_bytes(content)
        with ThreadPoolExecutor(6) as pool:
            won = list(pool.map(lambda n: store.write("race-big", tmp_path / str(n)), range(6)))
        assert sum(won) == 1
        assert store.get_bytes("race-big") == contents[won.index(True)]

    def test_a_blob_in_parts_is_the_same_blob(self, make, big):
        store, (path, key, data) = make(part_size=5 * MIB), big
        uri = store.commit(path, key)
        assert (store.get_bytes(uri), store.size(uri)) == (data, len(data))
        assert not store.write(key, path)
        assert sorted(store.list("")) == [uri], "parts do not stay"
        with store.open(uri) as file:
            file.seek(5 * MIB - 3)
            assert file.read(10) == data[5 * MIB - 3 : 5 * MIB + 7]
            file.seek(-4, os.SEEK_END)
            assert file.read() == data[-4:]

    def test_pages_of_keys(self, store, tmp_path):
        folder = tmp_path / "folder"
        folder.mkdir()
        for n in range(30):
            (folder / f"{n:02} ü&+%.txt").write_text(str(n))
        stored = save(folder, store)
        pages = []
        token = None
        while True:
            found, token = store._run("listing", partial(store.bucket.page, store._path("objects/"), token, 7))
            pages += found
            if token is None:
                break
        assert sorted(pages) == sorted(store._path(store.key_of(uri)) for uri in store.list(""))
        assert len(pages) == len(set(pages)) == 31
        assert sum(1 for _ in load(self.reference(stored), store).iterdir()) == 30

    def test_it_is_configured_by_one_path(self, make):
        ours = make()
        same = type(ours).from_mapping(
            {"root": f"{ours.scheme}://ml@{ours.config.bucket}/team/artifacts"}, ours._context
        )
        assert same.root == ours.root
        assert same.get_bytes(ours.put_bytes("a/b", b"1")) == b"1"


class TestConfiguration:
    @pytest.mark.parametrize(
        ("options", "problem"),
        [
            ({"root": "gs://ml@bucket"}, "root 'gs://ml@bucket' does not begin with s3://"),
            ({"root": "s3://ml@bucket", "prefix": "more"}, "root already says prefix"),
            ({"prefix": "somewhere"}, '"bucket" is missing'),
            ({"bucket": ""}, "names no bucket"),
            ({"bucket": "b", "part_size": 1}, '"part_size": Input should be greater'),
            ({"bucket": "b", "cache_size": "much"}, '"cache_size"'),
        ],
    )
    def test_a_wrong_option_is_named(self, options, problem):
        with pytest.raises(ComponentInvalid, match=re.escape(problem)):
            S3ArtifactStore.from_mapping(options)


class TestS3Store(ObjectStoreContract):
    @pytest.fixture
    def make(self, moto_server, tmp_path):
        return lambda bucket=None, url=moto_server, **options: s3_store(tmp_path, url, bucket, **options)

    def test_a_dead_endpoint_says_which_connection(self, make):
        with pytest.raises(StoreUnavailable, match="endpoint") as caught:
            save([1], make("bucket", url="http://127.0.0.1:9", retries=1))
        assert "connection ml" in caught.value.hint
        assert "Traceback" not in str(caught.value)

    def test_it_assumes_the_role_of_its_connection(self, moto_server, tmp_path, make):
        ours = make()
        arn = "arn:aws:iam::123456789012:role/writer"
        connection = aws(moto_server, role_arn=arn, assume_role_kwargs={"ExternalId": "windsock"})
        store = S3ArtifactStore.from_mapping(
            {"bucket": ours.config.bucket, "prefix": "team/artifacts", "connection": "ml"},
            context(tmp_path, ml=connection),
        )
        assert ours.get_bytes(store.put_bytes("by/role", b"1")) == b"1"
        keys = store._run("asking", store.filesystem.session._credentials.get_frozen_credentials)
        assert keys.access_key.startswith("ASIA"), "temporary keys, not those of the connection"


class TestGcsStore(ObjectStoreContract):
    @pytest.fixture
    def make(self, gcs_server, tmp_path):
        return lambda bucket=None, url=gcs_server, **options: gcs_store(tmp_path, url, bucket, **options)

    def test_a_dead_endpoint_is_one_paragraph(self, make):
        with pytest.raises(StoreUnavailable, match="does not work") as caught:
            save([1], make("bucket", url="http://127.0.0.1:9", retries=1))
        assert "does not answer" in caught.value.hint

    def test_more_parts_than_one_request_composes(self, store):
        async def send():
            upload = await store.bucket.upload(store._path("many"), 70)
            for number in range(70):
                await upload.part(number, b"%03d;" % number)
            await upload.finish(create=True)

        store._run("writing", send)
        assert store.get_bytes("many") == b"".join(b"%03d;" % n for n in range(70))
        assert list(store.keys("")) == ["many"]


class TestAzureStore(ObjectStoreContract):
    @pytest.fixture
    def make(self, azurite_server, tmp_path):
        return lambda bucket=None, url=azurite_server, **options: azure_store(tmp_path, url, bucket, **options)

    def test_a_dead_endpoint_is_one_paragraph(self, make, azurite_server):
        dead = azurite_server.rpartition("BlobEndpoint=")[0] + "BlobEndpoint=http://127.0.0.1:9/devstoreaccount1;"
        with pytest.raises(StoreUnavailable, match="does not work") as caught:
            save([1], make("bucket", url=dead, retries=1))
        assert "does not answer" in caught.value.hint
