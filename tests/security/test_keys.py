"""Key services: a connection, AWS KMS on a real server (moto), and one that somebody else brings."""

from __future__ import annotations

import base64
import json
import sys
import uuid
from importlib import metadata

import boto3
import pytest
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.component import ComponentContext
from windsock.provider.errors import ArtifactCorrupted, EncryptionKeyNotFound, EncryptionKeyWrong
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.security.keys import ConnectionKeys, connections_of, fingerprint, new_key, open_service, read_key
from windsock.provider.settings import Settings

SECRET = bytes(range(32))


def credentials(**connections) -> EnvironmentCredentials:
    return EnvironmentCredentials({f"AIRFLOW_CONN_{name.upper()}": json.dumps(c) for name, c in connections.items()})


def password(*keys: str) -> dict:
    return {"conn_type": "generic", "password": ", ".join(keys)}


class TestConnection:
    def test_the_first_key_wraps_and_all_unwrap(self):
        old, new = new_key(), new_key()
        before = ConnectionKeys("k", credentials(k=password(old)))
        after = ConnectionKeys("k", credentials(k=password(new, old)))
        key_id, wrapped = before.wrap(SECRET, "label")
        assert after.holds(key_id)
        assert after.current() != key_id
        assert after.unwrap(key_id, wrapped, "label") == SECRET
        assert SECRET not in wrapped

    def test_a_wrapped_key_belongs_to_its_label(self):
        service = ConnectionKeys("k", credentials(k=password(new_key())))
        key_id, wrapped = service.wrap(SECRET, "one")
        for label, data in (("two", wrapped), ("one", wrapped[:-1]), ("one", b"")):
            with pytest.raises(ArtifactCorrupted, match="was changed or damaged"):
                service.unwrap(key_id, data, label)

    def test_keys_of_airflow_s_own_kind_are_keys(self):
        from cryptography.fernet import Fernet

        key = Fernet.generate_key().decode()
        assert len(read_key(key, "k")) == 32
        assert base64.b64encode(read_key(key, "k")) == base64.b64encode(base64.urlsafe_b64decode(key))

    def test_it_does_not_show_its_keys(self):
        key = new_key()
        service = ConnectionKeys("k", credentials(k=password(key)))
        assert key not in repr(service)
        assert fingerprint(read_key(key, "k")) in repr(service)


@pytest.fixture
def kms(moto_server, monkeypatch):
    """A client, and what a stack needs to use KMS there."""
    client = boto3.client(
        "kms", "us-east-1", endpoint_url=moto_server, aws_access_key_id="key", aws_secret_access_key="secret"
    )
    aws = {
        "conn_type": "aws",
        "login": "key",
        "password": "secret",
        "extra": {"endpoint_url": moto_server, "region_name": "us-east-1"},
    }
    return client, credentials(aws_ml=aws, k=password(new_key()))


def make_key(client) -> str:
    """A new key, by an alias."""
    alias = f"alias/windsock-{uuid.uuid4().hex[:8]}"
    client.create_alias(AliasName=alias, TargetKeyId=client.create_key()["KeyMetadata"]["KeyId"])
    return alias


def kms_store(tmp_path, found, key: str, *previous: str):
    context = ComponentContext(Settings.load(environ={"WINDSOCK_HOME": str(tmp_path / "home")}), found)
    options = {"path": str(tmp_path / "a"), "encryption": {"key": key, "previous": list(previous)}}
    return LocalArtifactStore.from_mapping(options, context)


def ref_of(stored) -> dict:
    return {"uri": stored.uri, "digest": stored.digest, "type": stored.type}


class TestAwsKms:
    def test_an_artifact_under_a_key_of_kms(self, kms, tmp_path):
        client, found = kms
        uri = f"aws-kms://{make_key(client)}?connection=aws_ml"
        ref = ref_of(save({"a": 1}, kms_store(tmp_path, found, uri)))
        again = kms_store(tmp_path, found, uri)
        assert load(ref, again) == {"a": 1}
        assert again.check().ok
        assert ":kms:" in again.check().detail
        assert again.connections() == connections_of(uri) == ("aws_ml",)

    def test_from_a_connection_to_kms_and_to_another_key_of_it(self, kms, tmp_path):
        client, found = kms
        one, two = (f"aws-kms://{make_key(client)}?connection=aws_ml" for _ in range(2))
        ref = ref_of(save("text", kms_store(tmp_path, found, "k")))
        assert kms_store(tmp_path, found, one, "k").rekey().rewrapped == 2
        assert load(ref, kms_store(tmp_path, found, one)) == "text"
        with pytest.raises(EncryptionKeyWrong, match=r"was wrapped by key arn:aws:kms"):
            load(ref, kms_store(tmp_path, found, "k"))
        done = kms_store(tmp_path, found, two, one).rekey()
        assert (done.rewrapped, done.failed) == (2, [])
        assert kms_store(tmp_path, found, two).rekey().current == 2

    def test_a_wrapped_key_belongs_to_its_label(self, kms):
        client, found = kms
        service = open_service(f"aws-kms://{make_key(client)}?connection=aws_ml", found)
        key_id, wrapped = service.wrap(SECRET, "one")
        assert service.unwrap(key_id, wrapped, "one") == SECRET
        with pytest.raises(ArtifactCorrupted):
            service.unwrap(key_id, wrapped, "two")

    def test_a_key_that_is_not_there(self, kms, tmp_path):
        store = kms_store(tmp_path, kms[1], "aws-kms://alias/none?connection=aws_ml")
        with pytest.raises(EncryptionKeyNotFound, match="alias/none") as caught:
            save("text", store)
        assert "DescribeKey" in caught.value.hint
        assert not store.check().ok

    def test_data_keys_are_asked_for_once_a_process(self, kms, tmp_path, monkeypatch):
        client, found = kms
        store = kms_store(tmp_path, found, f"aws-kms://{make_key(client)}?connection=aws_ml")
        ref = ref_of(save("text", store))
        fresh = kms_store(tmp_path, found, store.encryption.key)
        asked = []
        unwrap = fresh.keys_of.service().unwrap
        monkeypatch.setattr(fresh.keys_of.service(), "unwrap", lambda *a: asked.append(a) or unwrap(*a))
        assert [load(ref, fresh) for _ in range(5)] == ["text"] * 5
        assert len(asked) == 1

    def test_a_dead_endpoint(self, tmp_path):
        aws = {"conn_type": "aws", "login": "k", "password": "s", "extra": {"endpoint_url": "http://127.0.0.1:9"}}
        aws["extra"]["region_name"] = "us-east-1"
        store = kms_store(tmp_path, credentials(aws_ml=aws), "aws-kms://alias/x?connection=aws_ml")
        result = store.check()
        assert not result.ok
        assert "aws-kms://alias/x" in result.detail


class TestAnEntryPoint:
    def test_a_service_of_another_package(self, tmp_path, monkeypatch):
        package = tmp_path / "site" / "acme_vault-1.0.dist-info"
        package.mkdir(parents=True)
        (package / "METADATA").write_text("Metadata-Version: 2.1\nName: acme-vault\nVersion: 1.0\n")
        (package / "entry_points.txt").write_text("[windsock.key_service]\nvault = acme_vault:Vault\n")
        (tmp_path / "site" / "acme_vault.py").write_text(
            "from windsock.provider.security.keys import KeyService\n"
            "class Vault(KeyService):\n"
            "    def __init__(self, uri, credentials): self.uri = uri\n"
            "    def current(self): return 'vault:1'\n"
            "    def holds(self, key_id): return key_id.startswith('vault:')\n"
            "    def wrap(self, secret, label): return 'vault:1', secret[::-1]\n"
            "    def unwrap(self, key_id, wrapped, label): return wrapped[::-1]\n"
        )
        monkeypatch.setattr(sys, "path", [str(tmp_path / "site"), *sys.path])
        assert [e.name for e in metadata.entry_points(group="windsock.key_service")] == ["vault"]
        store = kms_store(tmp_path, credentials(), "vault://transit/windsock")
        assert load(ref_of(save([1, 2], store)), store) == [1, 2]
        assert store.check().ok
