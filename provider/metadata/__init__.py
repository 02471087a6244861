"""Metadata: what ran, what it made, and what serves, in a database of its own.

``Metadata.open(url)`` is the door; each noun's records and SQL are in the module of that name. The names below are
resolved on first use, so that importing this package costs nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "ANY": ".records",
    "Alias": ".models",
    "AliasEvent": ".models",
    "Artifact": ".artifacts",
    "ArtifactVersion": ".artifacts",
    "AuditEvent": ".audit",
    "CachedStep": ".runs",
    "Deployment": ".deployments",
    "DeploymentEvent": ".deployments",
    "DriftReport": ".drift",
    "EdgeIn": ".runs",
    "LineageEdge": ".lineage",
    "LineageGraph": ".lineage",
    "LineageNode": ".lineage",
    "Metadata": ".store",
    "MetricPoint": ".runs",
    "Model": ".models",
    "ModelVersion": ".models",
    "NewArtifact": ".artifacts",
    "NewDriftReport": ".drift",
    "NewModelVersion": ".models",
    "Page": ".records",
    "PipelineVersion": ".pipelines",
    "Run": ".runs",
    "StepFinish": ".runs",
    "StepRun": ".runs",
    "StepStart": ".runs",
    "run_key": ".keys",
    "step_run_key": ".keys",
}

__all__ = [
    "ANY",
    "Alias",
    "AliasEvent",
    "Artifact",
    "ArtifactVersion",
    "AuditEvent",
    "CachedStep",
    "Deployment",
    "DeploymentEvent",
    "DriftReport",
    "EdgeIn",
    "LineageEdge",
    "LineageGraph",
    "LineageNode",
    "Metadata",
    "MetricPoint",
    "Model",
    "ModelVersion",
    "NewArtifact",
    "NewDriftReport",
    "NewModelVersion",
    "Page",
    "PipelineVersion",
    "Run",
    "StepFinish",
    "StepRun",
    "StepStart",
    "run_key",
    "step_run_key",
]


def __getattr__(name: str) -> Any:
    try:
        module = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    from importlib import import_module

    value = globals()[name] = getattr(import_module(module, __name__), name)
    return value


if TYPE_CHECKING:
    from .artifacts import Artifact, ArtifactVersion, NewArtifact
    from .audit import AuditEvent
    from .deployments import Deployment, DeploymentEvent
    from .drift import DriftReport, NewDriftReport
    from .keys import run_key, step_run_key
    from .lineage import LineageEdge, LineageGraph, LineageNode
    from .models import Alias, AliasEvent, Model, ModelVersion, NewModelVersion
    from .pipelines import PipelineVersion
    from .records import ANY, Page
    from .runs import CachedStep, EdgeIn, MetricPoint, Run, StepFinish, StepRun, StepStart
    from .store import Metadata
