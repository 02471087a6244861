"""Artifacts and their versions: what is known about them, not their content."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ...provider.metadata.artifacts import ArtifactVersion
from ...provider.metadata.filters import ArtifactFilter
from . import public
from .access import READS_ASSETS, Limit, MetadataDep
from .narrowing import Moment

router = APIRouter(prefix="/artifacts", dependencies=READS_ASSETS)


@router.get("")
def list_artifacts(
    metadata: MetadataDep,
    name: str | None = None,
    prefix: str | None = None,
    type: str | None = None,  # noqa: A002 - the field's own name
    since: Moment = None,
    until: Moment = None,
    limit: Limit = 50,
    before: str | None = None,
) -> dict[str, Any]:
    """The newest versions."""
    wanted = ArtifactFilter(name=name, prefix=prefix, type=type, since=since, until=until)
    page = metadata.artifacts.search(wanted, limit, before)
    return {"items": [_without_columns(_public(one)) for one in page.items], "next": page.next}


@router.get("/{artifact}/versions/{version}")
def get_version(artifact: str, version: int, metadata: MetadataDep) -> dict[str, Any]:
    return _public(metadata.artifacts.get(artifact, version))


def _without_columns(version: dict[str, Any]) -> dict[str, Any]:
    """For lists: what is in the columns of each table would be most of the answer."""
    return {**version, "metadata": {key: fact for key, fact in version["metadata"].items() if key != "statistics"}}


def _public(version: ArtifactVersion) -> dict[str, Any]:
    return {**version.model_dump(mode="json"), "metadata": public.facts(version.metadata)}
