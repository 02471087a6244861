"""Windsock: MLOps on Apache Airflow.

This module is a table of public names and nothing else: ``import airflow`` imports it to discover the
provider, so it may import only the standard library, and resolves each name on first use (:pep:`562`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "Artifact": ".provider.artifacts.handle",
    "Component": ".provider.component",
    "ComponentConfig": ".provider.component",
    "DatasetVersion": ".provider.datasets.version",
    "Pipeline": ".provider.pipelines.pipeline",
    "Resources": ".provider.pipelines.resources",
    "Step": ".provider.pipelines.step",
    "airflow_dag": ".operators.dag",
    "airflow_task_group": ".operators.dag",
    "append_dataset": ".provider.steps",
    "artifact_asset": ".hooks.assets",
    "context": ".provider.runtime.context",
    "dataset": ".provider.datasets.handle",
    "deploy_model": ".provider.steps",
    "drift_asset": ".hooks.assets",
    "load_pipeline": ".provider.pipelines.yaml",
    "model_asset": ".hooks.assets",
    "on_exit": ".provider.pipelines.pipeline",
    "pipeline": ".provider.pipelines.pipeline",
    "promote_model": ".provider.steps",
    "read_dataset": ".provider.steps",
    "register_model": ".provider.steps",
    "step": ".provider.pipelines.step",
    "when": ".provider.pipelines.pipeline",
}

__all__ = ["__version__", *_PUBLIC]


def __getattr__(name: str) -> Any:
    try:
        module = _PUBLIC[name]
    except KeyError:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}") from None
    from importlib import import_module

    value = globals()[name] = getattr(import_module(module, __name__), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})


if TYPE_CHECKING:
    from .hooks.assets import artifact_asset, drift_asset, model_asset
    from .operators.dag import airflow_dag, airflow_task_group
    from .provider.artifacts.handle import Artifact
    from .provider.component import Component, ComponentConfig
    from .provider.datasets.handle import dataset
    from .provider.datasets.version import DatasetVersion
    from .provider.pipelines.pipeline import Pipeline, on_exit, pipeline, when
    from .provider.pipelines.resources import Resources
    from .provider.pipelines.step import Step, step
    from .provider.pipelines.yaml import load_pipeline
    from .provider.runtime.context import context
    from .provider.steps import append_dataset, deploy_model, promote_model, read_dataset, register_model
