"""Flavor ``gcs``: Google Cloud Storage, through gcsfs.

The connection is Airflow's ``google_cloud_platform`` connection: ``extra`` may hold ``keyfile_dict``, ``key_path``,
``project`` and ``is_anonymous``. Without one, Google's application default credentials apply.
"""

from __future__ import annotations

import json
from typing import Any

from .objects import ObjectStore


class GcsArtifactStore(ObjectStore):
    """Artifacts in a Google Cloud Storage bucket."""

    scheme = "gs"
    extra = "google"

    def connect(self) -> Any:
        from gcsfs import GCSFileSystem

        return GCSFileSystem(**self._options(), use_listings_cache=False, skip_instance_cache=True)

    def _options(self) -> dict[str, Any]:
        if self.config.connection is None:
            return {}
        extra = self.context.credentials.connection(self.config.connection).extra
        keyfile = extra.get("keyfile_dict")
        if isinstance(keyfile, str) and keyfile:
            keyfile = json.loads(keyfile)
        token: Any = "anon" if extra.get("is_anonymous") else keyfile or extra.get("key_path")
        options = {"project": extra.get("project"), "token": token, "endpoint_url": extra.get("endpoint_url")}
        return {name: value for name, value in options.items() if value}

    def explain(self, error: BaseException) -> str | None:
        text = f"{type(error).__name__}: {error}"
        if "Connect" in text or "Timeout" in text:
            return "Google Cloud Storage does not answer. Check the network, and: windsock stack check"
        if any(word in text for word in ("401", "403", "Forbidden", "credentials", "RefreshError")):
            return f"Check connection {self.config.connection or 'of the environment'}: it needs Storage Object Admin."
        return None
