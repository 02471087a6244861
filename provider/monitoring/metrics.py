"""Drift and performance as Prometheus metrics: what the last check of each model version found.

One table, :data:`METRICS`, says what there is; dashboard and docs are made from it. Gauges hold what is recorded in the
metadata, so whoever scrapes sees the present state, also after a restart, and a version that was archived disappears.
Three ways out: a page to scrape (the plugin's ``/windsock/api/metrics``), a file for node_exporter's textfile
collector, and a push to a Pushgateway, for networks in which nothing may be scraped.

What it does not do: count predictions. The model server does, before sampling (``deployers/server/metrics.py``).
"""

from __future__ import annotations

import math
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from ..errors import MonitoringError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from prometheus_client import CollectorRegistry

    from ..metadata import Metadata
    from ..metadata.drift import DriftReport
    from ..metadata.performance import PerformanceReport

Report = TypeVar("Report", "DriftReport", "PerformanceReport")

FEATURES = 500
"""Features of a model version that get series of their own: the ones that moved most."""

_VERSION = ("model_name", "version")
_FEATURE = (*_VERSION, "feature")


class Metric(NamedTuple):
    name: str
    labels: tuple[str, ...]
    help: str


METRICS = (
    Metric("model_feature_drift", _FEATURE, "Kolmogorov-Smirnov distance (numbers) or total variation, 0 to 1"),
    Metric("model_feature_drift_threshold", _FEATURE, "From where on model_feature_drift counts as drift"),
    Metric("model_feature_missing_ratio", _FEATURE, "Share of missing values in the window"),
    Metric("model_feature_unseen_ratio", _FEATURE, "Share of values that the training data did not have"),
    Metric("model_drift_share", _VERSION, "Share of features that drifted, weighted by importance"),
    Metric("model_drift_detected", _VERSION, "1 if the last check found drift, else 0"),
    Metric("model_prediction_drift", _VERSION, "Drift of the predictions themselves, 0 to 1"),
    Metric("model_drift_rows", _VERSION, "Predictions in the window of the last check"),
    Metric("model_performance", (*_VERSION, "metric", "kind"), "Realised from true values, or estimated without them"),
    Metric("model_drift_last_run_timestamp_seconds", _VERSION, "When the last check was recorded, Unix time"),
)
"""All are gauges. What the checks of a model version tell of it."""


def latest_reports(metadata: Metadata, model: str | None = None) -> list[DriftReport]:
    """The newest drift report of each model version that is not archived, among the last 200 of its model."""
    return _newest(metadata, model, lambda name: metadata.drift.list(name, limit=200))


def latest_performance(metadata: Metadata, model: str | None = None) -> list[PerformanceReport]:
    """The newest performance report of each model version that is not archived, among the last 200 of its model."""
    return _newest(metadata, model, lambda name: metadata.performance.list(name, limit=200))


def _newest(metadata: Metadata, model: str | None, listed: Callable[[str], Iterable[Report]]) -> list[Report]:
    """``listed`` gives a model's reports, the newest first."""
    found: list[Report] = []
    for name in [one.name for one in metadata.models.list()] if model is None else [model]:
        newest: dict[int, Report] = {}
        for report in listed(name):
            newest.setdefault(report.version, report)
        found += [r for v, r in sorted(newest.items()) if metadata.models.get(name, version=v).state != "archived"]
    return found


def registry_of(reports: Iterable[DriftReport], performance: Iterable[PerformanceReport] = ()) -> CollectorRegistry:
    """A registry that holds the gauges of these reports, and nothing else."""
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    gauges = {one.name: Gauge(one.name, one.help, one.labels, registry=registry) for one in METRICS}
    for report in reports:
        version = (report.model, str(report.version))
        for name, feature, value in samples(report):
            gauges[name].labels(*version, *((feature,) if feature is not None else ())).set(value)
    for one in performance:
        for kind, found in one.metrics.items():
            for name, metric in found.items():
                gauges["model_performance"].labels(one.model, str(one.version), name, kind).set(metric["value"])
    return registry


def samples(report: DriftReport) -> Iterator[tuple[str, str | None, float]]:
    """``(metric, feature or None, value)``; what the report does not tell, or is no number, is left out."""
    ranked = sorted(report.features.items(), key=lambda item: (-float(item[1].get("score") or 0), item[0]))
    for name, feature in ranked[:FEATURES]:
        measure = _measure(feature)
        yield from _present("model_feature_drift", name, feature["metrics"].get(measure))
        yield from _present("model_feature_drift_threshold", name, feature.get("thresholds", {}).get(measure))
        yield from _present("model_feature_missing_ratio", name, feature["metrics"].get("missing"))
        yield from _present("model_feature_unseen_ratio", name, feature["metrics"].get("unseen"))
    predictions = [f["metrics"].get(_measure(f)) for f in report.features.values() if f.get("role") == "prediction"]
    yield "model_drift_share", None, report.drift_share
    yield "model_drift_detected", None, float(report.drifted)
    if predictions:
        yield from _present("model_prediction_drift", None, predictions[0])
    yield "model_drift_rows", None, float(report.rows)
    yield "model_drift_last_run_timestamp_seconds", None, report.created_at.timestamp()


def _measure(feature: dict[str, Any]) -> str:
    return "ks" if "ks" in feature["metrics"] else "tv"


def _present(name: str, feature: str | None, value: Any) -> Iterator[tuple[str, str | None, float]]:
    if isinstance(value, (int, float)) and math.isfinite(value):
        yield name, feature, float(value)


def exposition(registry: CollectorRegistry, accept: str = "") -> tuple[bytes, str]:
    """The text to be scraped and its content type, in the format that the scraper asks for."""
    from prometheus_client.exposition import choose_encoder

    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def write_textfile(path: Path, registry: CollectorRegistry) -> None:
    """All of the file or nothing, as node_exporter's textfile collector wants it. Raises ``MonitoringError``."""
    from prometheus_client import generate_latest

    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, part = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(generate_latest(registry))
            Path(part).chmod(0o644)  # another user's collector reads it
            Path(part).replace(path)
        except BaseException:
            Path(part).unlink(missing_ok=True)
            raise
    except OSError as error:
        raise MonitoringError(
            f"The metrics file {path} cannot be written: {error.strerror}.",
            hint="Give a path ending in .prom, in the folder of node_exporter's textfile collector.",
        ) from None


def push(gateway: str, reports: Iterable[DriftReport], *, timeout: float = 10.0) -> int:
    """Replace what the Pushgateway at ``gateway`` (``host:port`` or URL) holds of each report's version; how many.

    A Pushgateway never forgets: remove an archived version with :func:`forget`. Raises ``MonitoringError``.
    """
    from prometheus_client import push_to_gateway

    pushed = 0
    for report in reports:
        with _answering(gateway):
            push_to_gateway(gateway, JOB, registry_of([report]), grouping_key=_group(report), timeout=timeout)
        pushed += 1
    return pushed


def forget(gateway: str, model: str, version: int, *, timeout: float = 10.0) -> None:
    """Remove a version's group from the Pushgateway. Raises ``MonitoringError``."""
    from prometheus_client import delete_from_gateway

    with _answering(gateway):
        group = {"model_name": model, "version": str(version)}
        delete_from_gateway(gateway, JOB, grouping_key=group, timeout=timeout)


JOB = "windsock_drift"


def _group(report: DriftReport) -> dict[str, str]:
    return {"model_name": report.model, "version": str(report.version)}


class _answering:  # noqa: N801  used like a function
    def __init__(self, gateway: str) -> None:
        self._gateway = gateway

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, _: Any) -> None:
        if isinstance(error, (OSError, ValueError)):
            raise MonitoringError(
                f"The Pushgateway {self._gateway} does not take metrics: {error}",
                hint="Check its address: host:9091 or http://host:9091.",
            ) from None
