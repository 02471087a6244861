"""Connections of the clouds, as Airflow's own hooks read them, become what the file systems are built with."""

from __future__ import annotations

import json

import pytest
from stores_lab import context
from windsock.provider.artifacts.stores.azure import AzureArtifactStore
from windsock.provider.artifacts.stores.gcs import GcsArtifactStore
from windsock.provider.artifacts.stores.s3 import S3ArtifactStore
from windsock.provider.errors import ComponentInvalid, ConnectionNotFound


def options(store, tmp_path, connection):
    made = store.from_mapping({"bucket": "b", "connection": "ml"}, context(tmp_path, ml=connection))
    return made._options()


class TestAws:
    def test_login_and_password_are_the_key_pair(self, tmp_path):
        found = options(S3ArtifactStore, tmp_path, "aws://AKIA:se%2Fcret@/?region_name=eu-central-1")
        assert (found["key"], found["secret"]) == ("AKIA", "se/cret")
        assert found["client_kwargs"] == {"region_name": "eu-central-1"}
        assert "endpoint_url" not in found

    def test_the_endpoint_of_the_service_goes_before_the_common_one(self, tmp_path):
        extra = {"endpoint_url": "http://all", "service_config": {"s3": {"endpoint_url": "http://s3"}}, "verify": False}
        found = options(S3ArtifactStore, tmp_path, {"conn_type": "aws", "extra": extra})
        assert found["endpoint_url"] == "http://s3"
        assert found["client_kwargs"] == {"verify": False}

    def test_botocore_options_are_the_users(self, tmp_path):
        extra = {"config_kwargs": {"read_timeout": 5, "s3": {"addressing_style": "virtual"}}}
        found = options(S3ArtifactStore, tmp_path, {"conn_type": "aws", "extra": extra})["config_kwargs"]
        assert (found["read_timeout"], found["connect_timeout"]) == (5, 5)
        assert found["s3"] == {"addressing_style": "virtual"}

    def test_another_way_to_a_role_is_refused(self, tmp_path):
        extra = {"role_arn": "arn:aws:iam::1:role/x", "assume_role_method": "assume_role_with_saml"}
        with pytest.raises(ComponentInvalid, match="assume_role_with_saml"):
            options(S3ArtifactStore, tmp_path, {"conn_type": "aws", "extra": extra})

    def test_an_unknown_connection_is_named(self, tmp_path):
        with pytest.raises(ConnectionNotFound, match="nobody"):
            S3ArtifactStore.from_mapping({"bucket": "b", "connection": "nobody"}, context(tmp_path)).exists("x")


class TestGoogle:
    def test_a_key_as_text_or_as_json(self, tmp_path):
        key = {"type": "service_account", "client_email": "ml@proj"}
        for given in (key, json.dumps(key)):
            connection = {"conn_type": "google_cloud_platform", "extra": {"keyfile_dict": given, "project": "proj"}}
            assert options(GcsArtifactStore, tmp_path, connection) == {"token": key, "project": "proj"}

    def test_a_key_file_and_nobody(self, tmp_path):
        for extra, token in (({"key_path": "/keys/ml.json"}, "/keys/ml.json"), ({"is_anonymous": True}, "anon")):
            connection = {"conn_type": "google_cloud_platform", "extra": extra}
            assert options(GcsArtifactStore, tmp_path, connection) == {"token": token}

    def test_names_of_old_connections(self, tmp_path):
        extra = {"extra__google_cloud_platform__key_path": "/keys/ml.json"}
        found = options(GcsArtifactStore, tmp_path, {"conn_type": "google_cloud_platform", "extra": extra})
        assert found == {"token": "/keys/ml.json"}


class TestAzure:
    @pytest.mark.parametrize(
        ("connection", "expected"),
        [
            ({"login": "acme", "password": "key"}, {"account_name": "acme", "account_key": "key"}),
            ({"extra": {"connection_string": "BlobEndpoint=…"}}, {"connection_string": "BlobEndpoint=…"}),
            ({"login": "acme", "extra": {"sas_token": "?sv=1"}}, {"account_name": "acme", "sas_token": "?sv=1"}),
            (
                {"login": "client", "password": "secret", "host": "acme", "extra": {"tenant_id": "t"}},
                {"account_name": "acme", "tenant_id": "t", "client_id": "client", "client_secret": "secret"},
            ),
            (
                {"host": "https://acme.blob.core.windows.net/", "password": "key"},
                {"account_name": "acme", "account_host": "acme.blob.core.windows.net", "account_key": "key"},
            ),
            ({"login": "acme"}, {"account_name": "acme", "anon": False}),
            ({"login": "acme", "extra": {"extra__wasb__sas_token": "?s"}}, {"account_name": "acme", "sas_token": "?s"}),
        ],
    )
    def test_each_way_to_log_in(self, tmp_path, connection, expected):
        assert options(AzureArtifactStore, tmp_path, {"conn_type": "wasb", **connection}) == expected
