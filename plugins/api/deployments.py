"""Deployments: what serves, and what happened to it."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ...provider.metadata.deployments import Deployment, DeploymentEvent
from .access import READS_ASSETS, MetadataDep

router = APIRouter(prefix="/deployments", dependencies=READS_ASSETS)


@router.get("")
def list_deployments(metadata: MetadataDep) -> list[dict[str, Any]]:
    return [_public(one) for one in metadata.deployments.list()]


@router.get("/{name}")
def get_deployment(name: str, metadata: MetadataDep) -> dict[str, Any]:
    return _public(metadata.deployments.get(name))


@router.get("/{name}/history")
def get_history(name: str, metadata: MetadataDep) -> list[DeploymentEvent]:
    return list(metadata.deployments.history(name))


def _public(deployment: Deployment) -> dict[str, Any]:
    """Without the handle, which is the deployer's own business."""
    return deployment.model_dump(mode="json", exclude={"handle"})
