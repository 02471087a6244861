"""Flavor ``gcs``: Google Cloud Storage, through gcsfs.

The connection is Airflow's ``google_cloud_platform`` connection, read the way Airflow's hook reads it: ``extra`` may
hold ``keyfile_dict``, ``key_path``, ``project``, ``is_anonymous``, and, for another endpoint, ``endpoint_url``
(``STORAGE_EMULATOR_HOST`` works, too). Without one, Google's application default credentials apply.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, ClassVar

from .config import ObjectStoreConfig
from .objects import ObjectStore
from .transfers import status_of

if TYPE_CHECKING:
    from .buckets import Bucket


class GcsArtifactStoreConfig(ObjectStoreConfig):
    """As every object store; ``root`` begins with ``gs://``."""

    schemes: ClassVar[tuple[str, ...]] = ("gs", "gcs")


class GcsArtifactStore(ObjectStore):
    """Artifacts in a Google Cloud Storage bucket."""

    Config = GcsArtifactStoreConfig
    scheme = "gs"
    extra = "google"

    def connect(self) -> Any:
        import aiohttp

        # Not gcsfs's default class: that one asks the control API about every bucket before its first request.
        from gcsfs.core import GCSFileSystem

        patience = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
        options = {"requests_timeout": patience, **self._options()}
        return GCSFileSystem(**options, use_listings_cache=False, skip_instance_cache=True)

    def open_bucket(self, filesystem: Any) -> Bucket:
        from .gcs_bucket import GcsBucket

        return GcsBucket(filesystem, str(self.config.bucket), self._path("uploads/"))

    def _options(self) -> dict[str, Any]:
        if self.config.connection is None:
            return {}
        extra = self.context.credentials.connection(self.config.connection).extra
        extra = {name.removeprefix("extra__google_cloud_platform__"): value for name, value in extra.items()}
        keyfile = extra.get("keyfile_dict")
        if isinstance(keyfile, str) and keyfile:
            keyfile = json.loads(keyfile)
        token: Any = "anon" if extra.get("is_anonymous") else keyfile or extra.get("key_path")
        options = {"project": extra.get("project"), "token": token, "endpoint_url": extra.get("endpoint_url")}
        return {name: value for name, value in options.items() if value}

    def explain(self, error: BaseException) -> str | None:
        text = f"{type(error).__name__}: {error}"
        if "Connect" in text or "Timeout" in text:
            return "The endpoint of Google Cloud Storage does not answer. Check the network: windsock stack check"
        if status_of(error) in (401, 403) or any(w in text for w in ("Forbidden", "credentials", "RefreshError")):
            return f"Check connection {self.config.connection or 'of the environment'}: it needs Storage Object Admin."
        return None
