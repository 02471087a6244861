"""Artifacts and their versions: what is known about them, not their content."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ...provider.metadata.artifacts import ArtifactVersion
from . import public
from .access import READS_ASSETS, Limit, MetadataDep

router = APIRouter(prefix="/artifacts", dependencies=READS_ASSETS)


@router.get("")
def list_artifacts(
    metadata: MetadataDep, name: str | None = None, limit: Limit = 50, before: str | None = None
) -> dict[str, Any]:
    page = metadata.artifacts.list(name=name, limit=limit, before=before)
    return {"items": [_public(one) for one in page.items], "next": page.next}


@router.get("/{artifact}/versions/{version}")
def get_version(artifact: str, version: int, metadata: MetadataDep) -> dict[str, Any]:
    return _public(metadata.artifacts.get(artifact, version))


def _public(version: ArtifactVersion) -> dict[str, Any]:
    return {**version.model_dump(mode="json"), "metadata": public.facts(version.metadata)}
