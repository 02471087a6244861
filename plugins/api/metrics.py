"""What Prometheus scrapes: the drift of every model version, as it is recorded."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from ...provider.monitoring.metrics import exposition, latest_performance, latest_reports, registry_of
from .access import READS_ASSETS, MetadataDep

router = APIRouter(prefix="/metrics", dependencies=READS_ASSETS)


@router.get("")
def scrape(request: Request, metadata: MetadataDep) -> Response:
    """The gauges of ``provider/monitoring/metrics.py``, for who may read assets."""
    registry = registry_of(latest_reports(metadata), latest_performance(metadata))
    content, content_type = exposition(registry, request.headers.get("accept", ""))
    return Response(content, headers={"Content-Type": content_type})
