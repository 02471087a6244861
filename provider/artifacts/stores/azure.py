"""Flavor ``azure``: Azure Blob Storage, through adlfs.

The connection is Airflow's ``wasb`` connection: ``extra`` may hold ``connection_string``, ``sas_token`` or
``tenant_id``; otherwise login is the account and password its key, or, with a tenant, a service principal.
"""

from __future__ import annotations

from typing import Any

from .objects import ObjectStore


class AzureArtifactStore(ObjectStore):
    """Artifacts in an Azure Blob Storage container."""

    scheme = "abfs"
    extra = "azure"

    def connect(self) -> Any:
        from adlfs import AzureBlobFileSystem

        return AzureBlobFileSystem(**self._options(), use_listings_cache=False, skip_instance_cache=True)

    def _options(self) -> dict[str, Any]:
        if self.config.connection is None:
            return {"anon": False}
        connection = self.context.credentials.connection(self.config.connection)
        extra = connection.extra
        if extra.get("connection_string"):
            return {"connection_string": extra["connection_string"]}
        account = (connection.host or connection.login or "").removeprefix("https://").split(".")[0]
        options: dict[str, Any] = {"account_name": account, "sas_token": extra.get("sas_token")}
        if extra.get("tenant_id"):
            options |= {
                "tenant_id": extra["tenant_id"],
                "client_id": connection.login,
                "client_secret": connection.password,
            }
        else:
            options["account_key"] = connection.password
        return {name: value for name, value in options.items() if value}

    def explain(self, error: BaseException) -> str | None:
        text = f"{type(error).__name__}: {error}"
        if "ServiceRequestError" in text or "Timeout" in text or "Connect" in text:
            return "Azure Blob Storage does not answer. Check the network, and: windsock stack check"
        if "Authentication" in text or "AuthorizationFailure" in text:
            return f"Check connection {self.config.connection or 'of the environment'}."
        return None
