"""The metadata behind Airflow's API server as a stack component."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any

from ...component import CheckResult, Component, ComponentConfig
from ...errors import SettingInvalid

if TYPE_CHECKING:
    from .client import RestMetadata


class RestMetadataStoreConfig(ComponentConfig):
    """``url``: Windsock's address on the API server, as ``https://airflow.example.com/windsock``; without one,
    ``[windsock] api_url``. ``stack``: whose metadata to use there. ``ca_file``: whom to trust besides the system's.
    """

    url: str | None = None
    stack: str | None = None
    timeout: float = 60.0
    patience: float = 10.0
    ca_file: str | None = None


class RestMetadataStore(Component):
    """For processes without database access: every call goes to Windsock's plugin in the API server.

    What ``[windsock] metadata_transport = rest`` puts in the place of ``sql``.
    """

    kind = "metadata_store"
    Config = RestMetadataStoreConfig

    def url(self) -> str:
        """Raises ``SettingInvalid`` when nothing says where the API server is."""
        url = self.config.url or self.context.settings.api_url
        if not url:
            raise SettingInvalid(
                "[windsock] metadata_transport is rest, and nothing says where the API server is.",
                hint="Set [windsock] api_url, for example http://airflow.example.com:8080/windsock",
            )
        return str(url)

    def open(self) -> RestMetadata:
        """Connects to nothing yet. Raises ``SettingInvalid``."""
        return self._metadata

    @cached_property
    def _metadata(self) -> RestMetadata:
        from ...security.tokens import EnvironmentToken, Identity
        from .client import RestMetadata
        from .http import HttpClient

        given: Any = self.config
        url, credentials = self.url(), self.context.credentials
        http = HttpClient(url, timeout=given.timeout, patience=given.patience, ca_file=given.ca_file)
        tokens = credentials.tokens(url, given.ca_file) if isinstance(credentials, Identity) else EnvironmentToken()
        return RestMetadata(http, tokens, stack=given.stack)

    def check(self) -> CheckResult:
        """Read one page: proves the way there, the token, and the server's own database."""
        metadata = self.open()
        metadata.models.list(limit=1)
        return CheckResult(ok=True, detail=f"{metadata.url}: answered a question")
