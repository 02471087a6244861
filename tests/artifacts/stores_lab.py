"""Stores for tests, with connections and settings of their own."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Any

from windsock.provider.artifacts.stores.azure import AzureArtifactStore
from windsock.provider.artifacts.stores.gcs import GcsArtifactStore
from windsock.provider.artifacts.stores.s3 import S3ArtifactStore
from windsock.provider.component import ComponentContext
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.settings import Settings

if TYPE_CHECKING:
    from pathlib import Path

    from windsock.provider.artifacts.stores.objects import ObjectStore


def context(home: Path, **connections: Any) -> ComponentContext:
    """Settings below ``home``, and connections as Airflow's JSON."""
    environ = {
        f"AIRFLOW_CONN_{name.upper()}": value if isinstance(value, str) else json.dumps(value)
        for name, value in connections.items()
    }
    settings = Settings.load(environ={"WINDSOCK_HOME": str(home)})
    return ComponentContext(settings=settings, credentials=EnvironmentCredentials(environ))


def aws(url: str, **extra: Any) -> dict[str, Any]:
    """An ``aws`` connection to an endpoint."""
    path_style = {"s3": {"addressing_style": "path"}}
    more = {"endpoint_url": url, "region_name": "us-east-1", "config_kwargs": path_style, **extra}
    return {"conn_type": "aws", "login": "key", "password": "secret", "extra": more}


def google(url: str) -> dict[str, Any]:
    extra = {"project": "proj", "is_anonymous": True, "endpoint_url": url}
    return {"conn_type": "google_cloud_platform", "extra": extra}


def wasb(connection_string: str) -> dict[str, Any]:
    return {"conn_type": "wasb", "extra": {"connection_string": connection_string}}


def s3_store(home: Path, url: str, bucket: str | None = None, **options: Any) -> ObjectStore:
    """A store in a bucket of that name, which is not made, or in a new one."""
    store = S3ArtifactStore.from_mapping(
        {"bucket": bucket or new_name(), "prefix": "team/artifacts", "connection": "ml", **options},
        context(home, ml=aws(url)),
    )
    if bucket is None:
        store.filesystem.call_s3("create_bucket", Bucket=store.config.bucket)
    return store


def gcs_store(home: Path, url: str, bucket: str | None = None, **options: Any) -> ObjectStore:
    store = GcsArtifactStore.from_mapping(
        {"bucket": bucket or new_name(), "prefix": "team/artifacts", "connection": "ml", **options},
        context(home, ml=google(url)),
    )
    if bucket is None:
        store.filesystem.mkdir(store.config.bucket)
    return store


def azure_store(home: Path, connection_string: str, bucket: str | None = None, **options: Any) -> ObjectStore:
    store = AzureArtifactStore.from_mapping(
        {"bucket": bucket or new_name(), "prefix": "team/artifacts", "connection": "ml", **options},
        context(home, ml=wasb(connection_string)),
    )
    if bucket is None:
        store.filesystem.mkdir(store.config.bucket)
    return store


def new_name() -> str:
    return f"bucket-{uuid.uuid4().hex[:12]}"
