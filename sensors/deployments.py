"""Waiting for a deployment: ready, and serving the version that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import MetadataSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from ..provider.metadata import Metadata


def find_deployment(
    metadata: Metadata, *, deployment: str, phase: str = "ready", version: int | None = None
) -> dict[str, Any] | None:
    """The deployment, if it is in that phase and (when asked) serves that version."""
    found = metadata.deployments.find(deployment)
    if found is None or found.phase != phase or (version is not None and found.version != version):
        return None
    return {"deployment": found.name, "model": found.model, "version": found.version, "url": found.url, "phase": phase}


class DeploymentSensor(MetadataSensor):
    """Waits until a deployment is in a phase. XCom: ``{"deployment", "model", "version", "url", "phase"}``.

    :param deployment: name of the deployment (templated).
    :param phase: ``ready`` (default), ``failed`` or ``deleted`` (templated).
    :param version: model version that must be served (templated); default: any.
    """

    question = "windsock.sensors.deployments:find_deployment"
    template_fields: Sequence[str] = ("deployment", "phase", "version", *MetadataSensor.template_fields)

    def __init__(
        self, *, deployment: str, phase: str = "ready", version: int | str | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self.phase = phase
        self.version = version

    def criteria(self, context: Context) -> dict[str, Any]:
        version = None if self.version in (None, "") else int(self.version)  # type: ignore[arg-type]
        return {"deployment": self.deployment, "phase": self.phase, "version": version}
