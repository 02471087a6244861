"""How good a deployed model was in a window: realised where the truth has come, estimated until then, and recorded.

Files, store and metadata are handed in; nothing is looked up. A window is checked again whenever more true values have
come: the same window with the same labels is one record.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..errors import DataUnreadable
from ..metadata.performance import NewPerformanceReport
from .deployments import in_utc, opener_of, report_key
from .estimation import estimated
from .outcomes import ClassOutcomes, Outcomes, outcomes_from_dict
from .performance import PerformanceMetric, realised
from .truth import read_truth

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ..artifacts.store import ArtifactStore
    from ..metadata import Metadata
    from ..metadata.models import ModelVersion
    from ..metadata.performance import PerformanceReport

MATURE_SHARE = 0.95
"""A window is mature when so many of its rows have a true value…"""
_DELAYS = 100
"""… or when it is older than the delay of 95 % of them, once this many are known."""
_REFERENCES = 100
"""How many earlier reports an estimate looks for labelled rows in."""


@dataclass(frozen=True)
class PerformanceCheck:
    """The outcome of one check. ``report`` is None for a window without predictions: they may still be on their way."""

    rows: int
    labelled: int
    mature: bool
    realised: Mapping[str, PerformanceMetric]
    estimated: Mapping[str, PerformanceMetric]
    slices: Mapping[str, Mapping[str, Outcomes]] = field(default_factory=dict)
    report: PerformanceReport | None = None

    def metric(self, name: str) -> PerformanceMetric | None:
        """The realised one if the window is mature or nothing was estimated, else the estimate."""
        first, second = (self.realised, self.estimated) if self.mature else (self.estimated, self.realised)
        return first.get(name) or second.get(name)


def check_deployment_performance(
    metadata: Metadata,
    store: ArtifactStore,
    *,
    deployment: str | None = None,
    model: str | None = None,
    version: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    slices: Sequence[str] = (),
    now: datetime | None = None,
    step_run: str | None = None,
) -> PerformanceCheck:
    """Join the predictions of ``start <= ts < end`` with their true values, and record what they tell.

    Name a ``deployment`` (its present model version is checked) or a ``model`` with its ``version``. ``slices``:
    features by whose values the metrics are told apart. Raises ``DataUnreadable``, ``DeploymentNotFound``,
    ``ModelNotFound``.
    """
    from ..predictions import reader
    from ..predictions.labels import label_files

    if deployment is not None:
        deployed = metadata.deployments.get(deployment)
        model, version = deployed.model, deployed.version
    if model is None:
        raise TypeError("check_deployment_performance() needs a deployment or a model")
    registered = metadata.models.get(model, version=version)
    files = reader.files(store.root, model, version=registered.version, start=start, end=end)
    if not files:
        return PerformanceCheck(0, 0, mature=False, realised={}, estimated={})
    truth = read_truth(
        files,
        label_files(store, model, since=start),
        classes=_classes(registered),
        start=start,
        end=end,
        slices=slices,
        opener=opener_of(store),
    )
    outcomes = truth.outcomes
    window = None if start is None or end is None else (in_utc(start), in_utc(end))
    mature = is_mature(outcomes, truth.delay, window[1] if window else None, now or datetime.now(timezone.utc))
    check = PerformanceCheck(
        outcomes.rows,
        outcomes.labelled,
        mature,
        realised(outcomes),
        _estimates(metadata, store, registered, outcomes, window),
        truth.slices,
    )
    if not outcomes.rows:
        return check
    report = _keep(
        metadata,
        store,
        check,
        outcomes,
        version=registered,
        window=window,
        deployment=deployment,
        step_run=step_run,
    )
    return PerformanceCheck(**{**vars(check), "report": report})


def is_mature(outcomes: Outcomes, delay: float | None, end: datetime | None, now: datetime) -> bool:
    """Whether no true values are to be expected that would change much.

    That is so when 95 % of the rows have theirs, or when the window is older than 95 % of them took; ``delay`` is
    that time in seconds, and counts once a hundred are known.
    """
    if outcomes.rows and outcomes.labelled >= MATURE_SHARE * outcomes.rows:
        return True
    if delay is None or end is None or outcomes.labelled < _DELAYS:
        return False
    return now - end >= timedelta(seconds=delay)


def _classes(version: ModelVersion) -> list[Any] | None:
    """A classifier's classes, in the order of its scores; None for a regressor."""
    from ..predictions.schema import InputSchema

    outputs = InputSchema.from_dict(version.input_schema).outputs if version.input_schema else None
    if outputs is None or (outputs.task == "classification" and outputs.classes is None):
        raise DataUnreadable(
            f"{version.model}@{version.version} does not say what it predicts, so nothing can be compared with it.",
            hint="Register it with its training data: register_model(model, name=…, baseline=train_rows, target=…)",
            model=version.model,
            version=version.version,
        )
    return list(outputs.classes) if outputs.task == "classification" and outputs.classes else None


def _estimates(
    metadata: Metadata,
    store: ArtifactStore,
    version: ModelVersion,
    outcomes: Outcomes,
    window: tuple[datetime, datetime] | None,
) -> dict[str, PerformanceMetric]:
    """From the scores, calibrated on all rows of this version whose true values have come, this window's included."""
    if not isinstance(outcomes, ClassOutcomes) or not outcomes.scored:
        return {}
    reference = outcomes
    seen = {window}
    for report in metadata.performance.list(version.model, limit=_REFERENCES, version=version.version):
        span = (
            None
            if report.window_start is None or report.window_end is None
            else (report.window_start, report.window_end)
        )
        if span in seen or report.report_uri is None:  # of one window the newest report counts
            continue
        seen.add(span)
        earlier = outcomes_from_dict(json.loads(store.get_bytes(report.report_uri))["outcomes"])
        if isinstance(earlier, ClassOutcomes) and earlier.classes == outcomes.classes and earlier.scored:
            reference = reference.merge(earlier)
    return estimated(reference, outcomes)


def _keep(
    metadata: Metadata,
    store: ArtifactStore,
    check: PerformanceCheck,
    outcomes: Outcomes,
    *,
    version: ModelVersion,
    window: tuple[datetime, datetime] | None,
    deployment: str | None,
    step_run: str | None,
) -> PerformanceReport:
    """Store the counts, metrics and slices as JSON and record the report."""
    metrics = {
        kind: {m.metric: m.to_dict() for m in getattr(check, kind).values()} for kind in ("realised", "estimated")
    }
    slices = {
        column: {
            value: {
                "rows": one.rows,
                "labelled": one.labelled,
                "metrics": {name: metric.to_dict() for name, metric in realised(one).items()},
            }
            for value, one in found.items()
        }
        for column, found in check.slices.items()
    }
    content = {
        "format": 1,
        "model": version.model,
        "version": version.version,
        "deployment": deployment,
        "window": None if window is None else [time.isoformat() for time in window],
        "rows": check.rows,
        "labelled": check.labelled,
        "mature": check.mature,
        "metrics": metrics,
        "slices": slices,
        "outcomes": outcomes.to_dict(),
    }
    key = report_key("performance", version, deployment, window, f"{check.rows}_{check.labelled}.json")
    uri = store.put_bytes(key, json.dumps(content, allow_nan=False).encode(), overwrite=True)
    return metadata.performance.record(
        NewPerformanceReport(
            model=version.model,
            version=version.version,
            deployment=deployment,
            window_start=window[0] if window else None,
            window_end=window[1] if window else None,
            rows=check.rows,
            labelled=check.labelled,
            mature=check.mature,
            metrics=metrics,
            report_uri=uri,
            step_run=step_run,
        )
    )
