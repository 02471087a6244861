"""Waiting for a model to become worse: a performance report that says so and that nobody has acted on yet."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any

from .base import MetadataSensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from ..provider.metadata import Metadata


def find_bad_performance(
    metadata: Metadata,
    *,
    model: str | None = None,
    deployment: str | None = None,
    after: str | None = None,
    at_least: Mapping[str, float] | None = None,
    estimated: bool = False,
) -> dict[str, Any] | None:
    """The newest report, if one of its metrics is too low for certain and it was made after ``after`` (ISO 8601)."""
    report = metadata.performance.latest(model=model, deployment=deployment)
    if report is None or (after and report.created_at < datetime.fromisoformat(after)):
        return None
    low = too_low(report.metrics, at_least or {}, estimated=estimated)
    return {**performance_facts(report), "too_low": low} if low else None


def too_low(metrics: Mapping[str, Any], at_least: Mapping[str, float], *, estimated: bool) -> list[str]:
    """The limits that metrics are below, in words; ``metrics`` are those of a report, by kind."""
    kinds = ("realised", "estimated") if estimated else ("realised",)
    found = (
        below(name, kind, metrics.get(kind, {}).get(name), limit) for kind in kinds for name, limit in at_least.items()
    )
    return [words for words in found if words]


def below(name: str, kind: str, metric: Mapping[str, Any] | None, limit: float) -> str | None:
    """Words for a metric of which even the upper end of the interval is below the limit; None for any other."""
    if not metric or (metric["value"] if metric["high"] is None else metric["high"]) >= limit:
        return None
    return f"{name} {metric['value']:.4g} ({kind}) < {limit:g}"


def performance_facts(report: Any) -> dict[str, Any]:
    """What an event and an XCom say about a performance report (JSON)."""
    return {
        "kind": "performance",
        "report": report.id,
        "model": report.model,
        "version": report.version,
        "deployment": report.deployment,
        "rows": report.rows,
        "labelled": report.labelled,
        "mature": report.mature,
        "metrics": {
            kind: {name: metric["value"] for name, metric in found.items()} for kind, found in report.metrics.items()
        },
        "window": [time and time.isoformat() for time in (report.window_start, report.window_end)],
        "uri": report.report_uri,
    }


class PerformanceSensor(MetadataSensor):
    """Waits until a deployed model is worse than it may be, by a report of ``CheckPerformanceOperator``.

    A metric counts as too low when even the upper end of its 95 % interval is below the limit. XCom: the report's
    facts, with the reason in words.

    :param at_least: metric to the smallest value that is good enough, ``{"accuracy": 0.9}``.
    :param deployment: name of the deployment (templated); or
    :param model: name of the model (templated).
    :param after: ISO 8601 time (templated); older reports do not count.
    :param estimated: let estimates count too, where true values have not come yet.
    """

    question = "windsock.sensors.performance:find_bad_performance"
    template_fields: Sequence[str] = ("deployment", "model", "after", *MetadataSensor.template_fields)

    def __init__(
        self,
        *,
        at_least: Mapping[str, float],
        deployment: str | None = None,
        model: str | None = None,
        after: str | None = None,
        estimated: bool = False,
        **kwargs: Any,
    ) -> None:
        if (deployment is None) == (model is None):
            raise ValueError("PerformanceSensor takes exactly one of deployment and model.")
        if not at_least:
            raise ValueError('PerformanceSensor needs a limit, for example at_least={"accuracy": 0.9}.')
        super().__init__(**kwargs)
        self.at_least = dict(at_least)
        self.deployment = deployment
        self.model = model
        self.after = after
        self.estimated = estimated

    def criteria(self, context: Context) -> dict[str, Any]:
        return {
            "model": self.model,
            "deployment": self.deployment,
            "after": self.after,
            "at_least": self.at_least,
            "estimated": self.estimated,
        }
