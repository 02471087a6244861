"""Drift reports."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter
from fastapi.responses import HTMLResponse

from ...provider.errors import RecordNotFound
from ...provider.metadata.drift import DriftReport
from .access import READS_ASSETS, Limit, MetadataDep, StackDep

router = APIRouter(prefix="/drift", dependencies=READS_ASSETS)

# The report is one file with inline styles and no scripts; it is shown without any right in Airflow's origin.
_SANDBOX = {
    "Content-Security-Policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
}


@router.get("")
def list_reports(
    metadata: MetadataDep,
    model: str | None = None,
    deployment: str | None = None,
    limit: Limit = 50,
    before: str | None = None,
) -> dict[str, Any]:
    """The newest reports; of each feature how it fared, and not the numbers behind it."""
    page = metadata.drift.list(model=model, deployment=deployment, limit=limit, before=before)
    return {"items": [_summary(one) for one in page.items], "next": page.next}


@router.get("/{report}")
def get_report(report: int, metadata: MetadataDep) -> DriftReport:
    return metadata.drift.get(report)


@router.get("/{report}/html", response_class=HTMLResponse)
def get_html(report: int, stack: StackDep) -> HTMLResponse:
    """The report as a page, from the artifact store of the stack."""
    found = stack.metadata.drift.get(report)
    if found.report_uri is None:
        raise RecordNotFound(f"Drift report {report} has no page.", report=report)
    return HTMLResponse(stack.artifact_store.get_bytes(found.report_uri), headers=_SANDBOX)


def _summary(report: DriftReport) -> dict[str, Any]:
    features = {
        name: {"status": feature.get("status"), "reason": feature.get("reason"), "score": feature.get("score")}
        for name, feature in report.features.items()
    }
    return {**report.model_dump(mode="json", exclude={"features"}), "features": features}
