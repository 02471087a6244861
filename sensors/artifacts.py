"""Waiting for an artifact: its first version, or one newer than a number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import MetadataSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from ..provider.metadata import Metadata


def find_artifact(metadata: Metadata, *, artifact: str, newer_than: int | None = None) -> dict[str, Any] | None:
    """Reference of the newest version, if it exists and is newer than ``newer_than``."""
    version = metadata.artifacts.find(artifact)
    if version is None or (newer_than is not None and version.version <= newer_than):
        return None
    return dict(version.ref())


class ArtifactSensor(MetadataSensor):
    """Waits for a version of an artifact. XCom: its reference.

    :param artifact: name of the artifact, ``pipeline.step[.output]`` (templated).
    :param newer_than: a version number (templated); only higher ones count.
    """

    question = "windsock.sensors.artifacts:find_artifact"
    template_fields: Sequence[str] = ("artifact", "newer_than", *MetadataSensor.template_fields)

    def __init__(self, *, artifact: str, newer_than: int | str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.artifact = artifact
        self.newer_than = newer_than

    def criteria(self, context: Context) -> dict[str, Any]:
        newer_than = None if self.newer_than in (None, "") else int(self.newer_than)  # type: ignore[arg-type]
        return {"artifact": self.artifact, "newer_than": newer_than}
