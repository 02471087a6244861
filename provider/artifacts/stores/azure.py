"""Flavor ``azure``: Azure Blob Storage, through adlfs.

The connection is Airflow's ``wasb`` connection, read the way Airflow's hook reads it: ``extra`` may hold
``connection_string``, ``sas_token``, ``tenant_id``, ``account_name``, ``shared_access_key``; otherwise login is the
account and password its key, or, with a tenant, a service principal. The host is the account's URL or name. Without a
key, Azure's default credential chain applies (managed identity, environment).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from .config import ObjectStoreConfig
from .objects import ObjectStore
from .transfers import status_of

if TYPE_CHECKING:
    from .buckets import Bucket


class AzureArtifactStoreConfig(ObjectStoreConfig):
    """As every object store; ``bucket`` is the container, and ``root`` begins with ``abfs://``."""

    schemes: ClassVar[tuple[str, ...]] = ("abfs", "abfss", "az", "adl")


class AzureArtifactStore(ObjectStore):
    """Artifacts in an Azure Blob Storage container."""

    Config = AzureArtifactStoreConfig
    scheme = "abfs"
    extra = "azure"

    def connect(self) -> Any:
        from adlfs import AzureBlobFileSystem

        return AzureBlobFileSystem(**self._options(), use_listings_cache=False, skip_instance_cache=True)

    def open_bucket(self, filesystem: Any) -> Bucket:
        from .azure_bucket import AzureBucket

        return AzureBucket(filesystem, str(self.config.bucket))

    def _options(self) -> dict[str, Any]:
        if self.config.connection is None:
            return {"anon": False}
        connection = self.context.credentials.connection(self.config.connection)
        extra = {name.removeprefix("extra__wasb__"): value for name, value in connection.extra.items() if value}
        if extra.get("connection_string"):
            return {"connection_string": extra["connection_string"]}
        tenant = extra.get("tenant_id")
        address = connection.host or extra.get("account_name") or (None if tenant else connection.login) or ""
        host = address.partition("://")[2] or address
        options: dict[str, Any] = {
            "account_name": host.split(".")[0],
            "account_host": host.rstrip("/") if "." in host else None,
            "sas_token": extra.get("sas_token"),
            "account_key": extra.get("shared_access_key") or (None if tenant else connection.password),
        }
        if tenant:
            options |= {"tenant_id": tenant, "client_id": connection.login, "client_secret": connection.password}
        if not tenant and not options["sas_token"] and not options["account_key"]:
            options["anon"] = False
        return {name: value for name, value in options.items() if value is not None}

    def explain(self, error: BaseException) -> str | None:
        text = f"{type(error).__name__}: {error}"
        if status_of(error) in (401, 403) or "Authentication" in text or "AuthorizationFailure" in text:
            return f"Check connection {self.config.connection or 'of the environment'}."
        if "ServiceRequestError" in text or "Timeout" in text or "Connect" in text:
            return "The endpoint of Azure Blob Storage does not answer. Check the network: windsock stack check"
        return None
