"""What Airflow's provider discovery is told about Windsock. Standard library only (see ``provider/__init__``)."""

from __future__ import annotations

from typing import Any

PROVIDER_INFO: dict[str, Any] = {
    "package-name": "airflow-provider-windsock",
    "name": "Windsock",
    "description": "MLOps on Airflow: pipelines, artifacts, model registry, deployment, drift, lineage.",
}
