"""Waiting for drift: a report that says so and that nobody has acted on yet."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..hooks.assets import drift_asset, emit, outlet
from .base import MetadataSensor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context

    from ..provider.metadata import Metadata


def find_drift(
    metadata: Metadata,
    *,
    model: str | None = None,
    deployment: str | None = None,
    after: str | None = None,
    consumer: str,
    cooldown: float | None = None,
) -> dict[str, Any] | None:
    """The newest report, if it found drift, was made after ``after`` (ISO 8601) and ``consumer`` may claim it now.

    ``cooldown`` is in seconds. Older reports do not count: if the newest finds no drift, there is none any more.
    """
    report = metadata.drift.latest(model=model, deployment=deployment)
    if report is None or not report.drifted:
        return None
    if after and report.created_at < datetime.fromisoformat(after):
        return None
    pause = None if cooldown is None else timedelta(seconds=cooldown)
    return drift_facts(report) if metadata.drift.claimable(report.id, consumer, cooldown=pause) else None


def drift_facts(report: Any) -> dict[str, Any]:
    """What an event and an XCom say about a drift report (JSON)."""
    return {
        "kind": "drift",
        "report": report.id,
        "model": report.model,
        "version": report.version,
        "deployment": report.deployment,
        "rows": report.rows,
        "drift_share": report.drift_share,
        "features": sorted(name for name, feature in report.features.items() if feature["status"] == "drift"),
        "reasons": list(report.reasons)[:10],
        "window": [time and time.isoformat() for time in (report.window_start, report.window_end)],
        "uri": report.report_uri,
    }


class DriftSensor(MetadataSensor):
    """Waits for a drift report of a model or deployment, claims it, and emits ``drift_asset(name)``.

    Claiming makes one drift one rerun: of all sensors and operators that announce the drift of one name, exactly one
    succeeds for a report, and none within ``cooldown`` of the last one. A retry of the task keeps its claim.
    XCom and event extra: the report's facts, with the reason in words.

    :param deployment: name of the deployment (templated); or
    :param model: name of the model (templated).
    :param after: ISO 8601 time (templated); older reports do not count.
    :param cooldown: no second announcement within this time; default none.
    """

    question = "windsock.sensors.drift:find_drift"
    template_fields: Sequence[str] = ("deployment", "model", "after", *MetadataSensor.template_fields)

    def __init__(
        self,
        *,
        deployment: str | None = None,
        model: str | None = None,
        after: str | None = None,
        cooldown: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        if (deployment is None) == (model is None):
            raise ValueError("DriftSensor takes exactly one of deployment and model.")
        kwargs["outlets"] = [*(kwargs.get("outlets") or ()), outlet("drift", deployment or model or "")]
        super().__init__(**kwargs)
        self.deployment = deployment
        self.model = model
        self.after = after
        self.cooldown = cooldown

    @property
    def subject(self) -> str:
        return str(self.deployment or self.model)

    def criteria(self, context: Context) -> dict[str, Any]:
        return {
            "model": self.model,
            "deployment": self.deployment,
            "after": self.after,
            "consumer": consumer(self.subject),
            "cooldown": None if self.cooldown is None else self.cooldown.total_seconds(),
        }

    def accept(self, answer: Mapping[str, Any], context: Context) -> bool:
        return announce_drift(self.metadata, answer, self.subject, self.cooldown, context)


def announce_drift(
    metadata: Metadata, facts: Mapping[str, Any], subject: str, cooldown: timedelta | None, context: Context
) -> bool:
    """Claim a report for ``drift_asset(subject)`` and emit its event; False if somebody else did, or it is too soon."""
    asset = drift_asset(subject)
    ti = context["ti"]
    claimed = metadata.drift.claim(
        facts["report"],
        consumer(subject),
        claimant=f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}",
        cooldown=cooldown,
        now=datetime.now(timezone.utc),
    )
    if claimed:
        emit(context, asset, facts)
    return claimed


def consumer(subject: str) -> str:
    """Under which name the announcements of ``drift_asset(subject)`` are claimed."""
    return f"drift_asset.{subject}"
