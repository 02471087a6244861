"""Compare what a deployed model was asked in a window with what it was trained on, and keep the result.

Files, store and metadata are handed in; nothing is looked up. The same window gives the same keys and one record, so a
retry of a task changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from ..errors import BaselineNotFound
from ..metadata.drift import NewDriftReport
from .detector import StatisticalDriftDetector
from .predictions import PredictionSource

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..artifacts.store import ArtifactStore
    from ..metadata import Metadata
    from ..metadata.drift import DriftReport
    from ..metadata.models import ModelVersion
    from .decision import DriftResult
    from .detector import DriftDetector
    from .profile import Progress


@dataclass(frozen=True)
class DriftCheck:
    """The outcome of one check. ``report`` is None for a window without (enough) predictions: those may still be on
    their way from the server's buffer to the log, and a record of the window would be final."""

    result: DriftResult
    report: DriftReport | None

    @property
    def drifted(self) -> bool:
        return self.result.drifted


def check_deployment_drift(
    metadata: Metadata,
    store: ArtifactStore,
    *,
    deployment: str | None = None,
    model: str | None = None,
    version: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    detector: DriftDetector | None = None,
    files: Sequence[str] | None = None,
    minimum_rows: int = 1,
    step_run: str | None = None,
    progress: Progress | None = None,
) -> DriftCheck:
    """Check the predictions of ``start <= ts < end`` against the baseline of the model version that gave them.

    Name a ``deployment`` (its present model version is checked) or a ``model`` with its ``version``. ``files`` are the
    prediction log's, when they are not in the store. Stores ``report.json`` and ``report.html`` below ``drift/`` and
    records a ``DriftReport``, unless there are fewer than ``minimum_rows`` predictions. Raises ``BaselineNotFound``,
    ``DataUnreadable``, ``DeploymentNotFound``, ``ModelNotFound``.
    """
    if deployment is not None:
        deployed = metadata.deployments.get(deployment)
        model, version = deployed.model, deployed.version
    if model is None:
        raise TypeError("check_deployment_drift() needs a deployment or a model")
    registered = metadata.models.get(model, version=version)
    detector = detector or StatisticalDriftDetector()
    baseline = baseline_of(registered, store)
    window = None if start is None or end is None else (in_utc(start), in_utc(end))
    if files is None:
        from ..predictions import reader

        files = reader.files(store.root, model, version=registered.version, start=start, end=end)
    source: Any = PredictionSource(files, start, end, opener_of(store)) if files else _nothing()
    wanted = compared(detector.columns(baseline), registered)
    # The server logs all inputs but those that it was told to omit, so an absent one has not drifted.
    logged = [name for name in wanted if name in source.schema] if files else wanted
    result = detector.detect(baseline, source, columns=logged, window=window, progress=progress)
    result = _named(result, registered, omitted=[name for name in wanted if name not in logged])
    if result.rows < max(minimum_rows, 1):
        return DriftCheck(result, None)
    return DriftCheck(result, keep(metadata, store, result, registered, deployment=deployment, step_run=step_run))


def baseline_of(version: ModelVersion, store: ArtifactStore) -> bytes:
    """The bytes of a model version's baseline. Raises ``BaselineNotFound``."""
    if version.baseline is None:
        raise BaselineNotFound(
            f'Model "{version.model}" version {version.version} has no baseline to compare with.',
            hint="Register it with one: register_model(model, name=…, baseline=train_rows)",
            model=version.model,
            version=version.version,
        )
    from ..artifacts.saving import load

    content: bytes = load(version.baseline, store)
    return content


def compared(columns: dict[str, str | None], version: ModelVersion) -> list[str]:
    """The baseline's columns that a prediction log has: the model's inputs, predictions and scores; no target."""
    inputs: set[str] | None = None
    if version.input_schema:
        from ..predictions.schema import InputSchema

        inputs = {feature.column for feature in InputSchema.from_dict(version.input_schema).features}
    return [
        name
        for name, role in columns.items()
        if role in ("prediction", "score") or (role is None and (inputs is None or name in inputs))
    ]


def keep(
    metadata: Metadata,
    store: ArtifactStore,
    result: DriftResult,
    version: ModelVersion,
    *,
    deployment: str | None,
    step_run: str | None = None,
) -> DriftReport:
    """Store the report as JSON and HTML and record it; once for a window, version, deployment and binning."""
    folder = _folder(result, version, deployment)
    json_uri = store.put_bytes(f"{folder}/report.json", result.to_json().encode(), overwrite=True)
    report_uri = store.put_bytes(f"{folder}/report.html", result.to_html().encode(), overwrite=True)
    window = result.current.window
    return metadata.drift.record(
        NewDriftReport(
            model=version.model,
            version=version.version,
            deployment=deployment,
            window_start=window[0] if window else None,
            window_end=window[1] if window else None,
            rows=result.rows,
            drifted=result.drifted,
            drift_share=result.drift_share,
            features={name: feature.to_dict() for name, feature in result.features.items()},
            reasons=list(result.reasons),
            edges_id=result.edges_id,
            report_uri=report_uri,
            json_uri=json_uri,
            step_run=step_run,
        )
    )


def _folder(result: DriftResult, version: ModelVersion, deployment: str | None) -> str:
    return report_key("drift", version, deployment, result.current.window, result.edges_id[:12])


def report_key(
    kind: str, version: ModelVersion, deployment: str | None, window: tuple[datetime, datetime] | None, mark: str
) -> str:
    """Where a report of a window lies in the store; ``mark`` tells it from others of the same window."""
    span = "_".join(f"{time:%Y%m%dT%H%M%S%fZ}" for time in window) if window else "all"
    return f"{kind}/{version.model}/{version.version}/{deployment or '-'}/{span}_{mark}"


def _named(result: DriftResult, version: ModelVersion, omitted: Sequence[str]) -> DriftResult:
    """The result with the model's name, and without the notes on the log's own columns."""
    notes = [note for note in result.notes if "not in the baseline" not in note]
    if omitted:
        notes.append(f"not in the prediction log, so not compared: {', '.join(omitted)}")
    reference = replace(result.reference, model_name=version.model, version=version.version)
    return replace(result, reference=reference, notes=tuple(notes))


def opener_of(store: ArtifactStore) -> Any:
    """Local files are opened by pyarrow itself; others through the store, which has the credentials."""
    if store.root.startswith("file://") or "://" not in store.root:
        return None
    return store.open


def _nothing() -> Any:
    import pyarrow as pa

    return pa.table({})


def in_utc(time: datetime) -> datetime:
    return time.replace(tzinfo=timezone.utc) if time.tzinfo is None else time.astimezone(timezone.utc)
