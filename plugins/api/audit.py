"""The audit trail: who changed what. Read only; whether it is whole is `windsock audit verify`'s to say."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from . import public
from .access import READS_ASSETS, Limit, MetadataDep

router = APIRouter(prefix="/audit", dependencies=READS_ASSETS)


@router.get("")
def list_events(
    metadata: MetadataDep,
    limit: Limit = 50,
    before: str | None = None,
    subject_kind: str | None = None,
    subject: str | None = None,
) -> dict[str, Any]:
    """Newest first; of one subject when both its kind and its name are given."""
    page = metadata.audit.list(limit, before, subject_kind=subject_kind, subject=subject if subject_kind else None)
    return {"items": [_public(event.model_dump(mode="json")) for event in page.items], "next": page.next}


def _public(event: dict[str, Any]) -> dict[str, Any]:
    return {**event, **{name: public.change(event[name]) for name in ("before", "after") if event[name]}}
