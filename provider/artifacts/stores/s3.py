"""Flavor ``s3``: Amazon S3 and everything that speaks it (MinIO, Ceph, R2…), through s3fs.

The connection is Airflow's ``aws`` connection, read the way Airflow's hook reads it: login and password are the key
pair, ``extra`` may hold ``endpoint_url``, ``region_name``, ``aws_session_token``, ``profile_name``, ``role_arn`` with
``assume_role_kwargs``, ``verify``, ``service_config`` and ``config_kwargs`` (botocore's ``Config``). Without a
connection, botocore's own chain applies (instance role, web identity).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .config import ObjectStoreConfig
from .objects import ObjectStore
from .transfers import status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...security.credentials import Connection
    from .buckets import Bucket

_PATIENCE = {"connect_timeout": 5, "read_timeout": 60, "retries": {"total_max_attempts": 1}}
"""A dead endpoint is reported in seconds, a slow one is waited for. ``config_kwargs`` may say otherwise; retries are
the store's own."""


class S3ArtifactStoreConfig(ObjectStoreConfig):
    """As every object store; ``root`` begins with ``s3://``."""

    schemes: ClassVar[tuple[str, ...]] = ("s3", "s3a", "s3n")


class S3ArtifactStore(ObjectStore):
    """Artifacts in an S3 bucket."""

    Config = S3ArtifactStoreConfig
    scheme = "s3"
    extra = "amazon"

    def connect(self) -> Any:
        from s3fs import S3FileSystem

        return S3FileSystem(**self._options(), use_listings_cache=False, skip_instance_cache=True)

    def open_bucket(self, filesystem: Any) -> Bucket:
        from .s3_bucket import S3Bucket

        return S3Bucket(filesystem, str(self.config.bucket))

    def _options(self) -> dict[str, Any]:
        own = {**_PATIENCE, "max_pool_connections": max(10, int(self.config.concurrency))}
        if self.config.connection is None:
            return {"config_kwargs": own}
        connection = self.context.credentials.connection(self.config.connection)
        extra = connection.extra
        services: Mapping[str, Any] = (extra.get("service_config") or {}).get("s3") or {}
        endpoint = services.get("endpoint_url") or extra.get("endpoint_url") or extra.get("host")
        client = {"region_name": extra.get("region_name"), "verify": services.get("verify", extra.get("verify"))}
        options: dict[str, Any] = {
            "endpoint_url": endpoint,
            "client_kwargs": {name: value for name, value in client.items() if value is not None},
            "config_kwargs": {**own, **(extra.get("config_kwargs") or {})},
        }
        if extra.get("role_arn"):
            from .s3_roles import assuming_session

            options["session"] = assuming_session(connection, options["client_kwargs"])
        else:
            options |= _keys(connection)
        return {name: value for name, value in options.items() if value}

    def explain(self, error: BaseException) -> str | None:
        text = f"{type(error).__name__}: {error}"
        connection = self.config.connection or "of the environment"
        if any(word in text for word in ("Connect", "Timeout", "timed out", "resolve")):
            return f"The endpoint does not answer. Check endpoint_url of connection {connection}: windsock stack check"
        if any(word in text for word in ("NoCredentials", "InvalidAccessKey", "SignatureDoesNotMatch", "ExpiredToken")):
            return f"Check the key pair of connection {connection}."
        if status_of(error) == 403 or isinstance(error, PermissionError):
            return (
                f"Connection {connection} may not do this in bucket {self.config.bucket}: it needs GetObject, "
                "PutObject, DeleteObject and ListBucket."
            )
        if "NotImplemented" in text and self.config.conditional_writes:
            return "This server does not know If-None-Match: set `conditional_writes: false` in the stack file."
        return None


def _keys(connection: Connection) -> dict[str, Any]:
    extra = connection.extra
    return {
        "key": connection.login or extra.get("aws_access_key_id"),
        "secret": connection.password or extra.get("aws_secret_access_key"),
        "token": extra.get("aws_session_token"),
        "profile": extra.get("profile_name"),
    }
