"""Flavor ``s3``: Amazon S3 and everything that speaks it (MinIO, Ceph, R2…), through s3fs.

The connection is Airflow's ``aws`` connection, read the way Airflow's hook reads it: login and password are the key
pair, ``extra`` may hold ``endpoint_url``, ``region_name``, ``aws_session_token``, ``profile_name`` and
``config_kwargs`` (botocore's ``Config``). Without a connection, botocore's own chain applies (instance role,
web identity).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .objects import ObjectStore

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATIENCE = {"connect_timeout": 5, "read_timeout": 60, "retries": {"max_attempts": 3, "mode": "standard"}}
"""A dead endpoint is reported in seconds, a slow one is waited for. ``config_kwargs`` may say otherwise."""


class S3ArtifactStore(ObjectStore):
    """Artifacts in an S3 bucket."""

    scheme = "s3"
    extra = "amazon"

    def connect(self) -> Any:
        from s3fs import S3FileSystem

        return S3FileSystem(**self._options(), use_listings_cache=False, skip_instance_cache=True)

    def _options(self) -> dict[str, Any]:
        if self.config.connection is None:
            return {"config_kwargs": dict(_PATIENCE)}
        connection = self.context.credentials.connection(self.config.connection)
        extra = connection.extra
        given: Mapping[str, Any] = extra.get("config_kwargs") or {}
        services: Mapping[str, Any] = (extra.get("service_config") or {}).get("s3") or {}
        endpoint = services.get("endpoint_url") or extra.get("endpoint_url") or extra.get("host")
        options = {
            "key": connection.login or extra.get("aws_access_key_id"),
            "secret": connection.password or extra.get("aws_secret_access_key"),
            "token": extra.get("aws_session_token"),
            "profile": extra.get("profile_name"),
            "endpoint_url": endpoint,
            "client_kwargs": {"region_name": extra["region_name"]} if extra.get("region_name") else None,
            "config_kwargs": {**_PATIENCE, **given},
        }
        return {name: value for name, value in options.items() if value}

    def explain(self, error: BaseException) -> str | None:
        text = f"{type(error).__name__}: {error}"
        connection = self.config.connection or "of the environment"
        if any(word in text for word in ("Connect", "Timeout", "timed out", "resolve")):
            return f"The endpoint does not answer. Check endpoint_url of connection {connection}: windsock stack check"
        if any(word in text for word in ("NoCredentials", "InvalidAccessKey", "SignatureDoesNotMatch", "ExpiredToken")):
            return f"Check the key pair of connection {connection}."
        if isinstance(error, PermissionError) or "AccessDenied" in text or "Forbidden" in text:
            return (
                f"Connection {connection} may not do this in bucket {self.config.bucket}: it needs GetObject, "
                "PutObject, DeleteObject and ListBucket."
            )
        return None
