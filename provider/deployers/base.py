"""Deployers: where a model version is served.

A deployer knows nothing about the registry or the metadata database: it is told what to serve under which name, and
says how that goes. Who, when and why is the business of :mod:`.deployments`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from ..component import Component, ComponentConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..artifacts.store import ArtifactStore

Phase = Literal["starting", "ready", "degraded", "failed"]


@dataclass(frozen=True)
class DeploymentRequest:
    """What to serve. ``artifact`` is the model's Ref; ``input_schema`` and ``example`` are the model version's."""

    name: str
    model: str
    version: int
    artifact: Mapping[str, Any]
    store: ArtifactStore
    input_schema: Mapping[str, Any] | None = None
    example: list[Any] | None = None


@dataclass(frozen=True)
class DeploymentState:
    """What a deployer sees when it looks.

    ``phase``: ``starting`` (nothing answers yet), ``ready``, ``degraded`` (it answers, but something must be done:
    ``detail`` says what; ``deploy`` heals it), ``failed`` (nothing answers). ``handle`` is JSON and holds no secret.
    """

    name: str
    phase: Phase
    model: str | None = None
    version: int | None = None
    url: str | None = None
    detail: str | None = None
    handle: Mapping[str, Any] = field(default_factory=dict)


class DeployerConfig(ComponentConfig):
    """Options of every deployer.

    ``require_signatures``: serve only model versions that a trusted key has signed, whatever ``[windsock]
    require_signatures`` says.
    """

    require_signatures: bool = False


class Deployer(Component):
    """Serves model versions under names.

    All methods are idempotent and may be called by several processes at once; the later of two ``deploy`` calls wins
    as a whole. Credentials come from the component's context.
    """

    kind: ClassVar[str] = "deployer"
    Config: ClassVar[type[ComponentConfig]] = DeployerConfig
    flavor: ClassVar[str] = ""

    @abstractmethod
    def deploy(self, request: DeploymentRequest) -> DeploymentState:
        """Serve the requested version under the name and return when it is ready.

        What was served before is replaced without a failed request; it keeps serving when the new version does not
        become ready. Does nothing when that version is served already. Raises ``DeploymentFailed`` with the reason.
        """

    @abstractmethod
    def describe(self, name: str) -> DeploymentState:
        """How the deployment is, by looking. Raises ``DeploymentNotFound``."""

    @abstractmethod
    def delete(self, name: str) -> None:
        """End it, with every logged prediction kept. Nothing happens when there is none."""
