"""Waiting for a model: a new version, an alias that points to one."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import MetadataSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from ..provider.metadata import Metadata


def find_version(
    metadata: Metadata, *, model: str, alias: str | None = None, newer_than: int | None = None
) -> dict[str, Any] | None:
    """The version that the alias points to (without one: the newest), if it exists and is newer than ``newer_than``."""
    version = metadata.models.find(model, alias=alias)
    if version is None or (newer_than is not None and version.version <= newer_than):
        return None
    return {"model": model, "version": version.version, "alias": alias, "metrics": version.metrics}


class ModelVersionSensor(MetadataSensor):
    """Waits for a version of a model: the first, one newer than a number, or one under an alias.

    XCom: ``{"model", "version", "alias", "metrics"}``.

    :param model: name of the model (templated).
    :param alias: alias that must point to the version (templated); default: any version counts.
    :param newer_than: a version number (templated); only higher ones count.
    """

    question = "windsock.sensors.models:find_version"
    template_fields: Sequence[str] = ("model", "alias", "newer_than", *MetadataSensor.template_fields)

    def __init__(
        self, *, model: str, alias: str | None = None, newer_than: int | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.alias = alias
        self.newer_than = newer_than

    def criteria(self, context: Context) -> dict[str, Any]:
        return {
            "model": self.model,
            "alias": self.alias,
            "newer_than": None if self.newer_than in (None, "") else int(self.newer_than),  # type: ignore[arg-type]
        }
