"""Models, their versions and the moves of their aliases."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from ...provider.metadata.filters import ModelVersionFilter
from ...provider.metadata.models import AliasEvent, Model, ModelVersion
from .access import READS_ASSETS, Limit, MetadataDep, StackDep
from .narrowing import Compared, Moment, compared

router = APIRouter(prefix="/models", dependencies=READS_ASSETS)

_ROWS = {"example"}  # rows of somebody's data
_LONG = {*_ROWS, "input_schema", "requirements"}


@router.get("")
def list_models(metadata: MetadataDep) -> list[Model]:
    return list(metadata.models.list())


@router.get("/{model}/versions")
def list_versions(
    model: str,
    metadata: MetadataDep,
    since: Moment = None,
    until: Moment = None,
    metric: Compared = None,
    tag: Compared = None,
    limit: Limit = 50,
    before: str | None = None,
) -> dict[str, Any]:
    """The newest versions of the model."""
    wanted = ModelVersionFilter(model=model, since=since, until=until, metrics=compared(metric), tags=compared(tag))
    page = metadata.models.search(wanted, limit, before)
    return {"items": [_public(one, _LONG) for one in page.items], "next": page.next}


@router.get("/{model}/versions/{version}")
def get_version(model: str, version: int, metadata: MetadataDep) -> dict[str, Any]:
    return _public(metadata.models.get(model, version=version), _ROWS)


@router.get("/{model}/history")
def get_history(model: str, metadata: MetadataDep, alias: str | None = None) -> list[AliasEvent]:
    return list(metadata.models.history(model, alias))


@router.get("/{model}/why/{alias}")
def explain(model: str, alias: str, stack: StackDep) -> dict[str, Any]:
    """Why the version that holds the alias holds it: who, when, which gates, which run, which data."""
    return stack.model_registry.explain(model, alias).to_dict()


def _public(version: ModelVersion, without: set[str]) -> dict[str, Any]:
    return version.model_dump(mode="json", exclude=without)
