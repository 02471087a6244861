"""Waiting for a pipeline run to end, wherever it runs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .base import MetadataSensor

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from ..provider.metadata import Metadata


def find_run(
    metadata: Metadata, *, pipeline: str, state: str = "success", after: str | None = None
) -> dict[str, Any] | None:
    """The newest run of the pipeline in that state that started at or after ``after`` (ISO 8601)."""
    from datetime import datetime

    start = datetime.fromisoformat(after) if after else None
    for run in metadata.runs.list(pipeline=pipeline, state=state, limit=1):
        if start is None or run.started_at >= start:
            return {"pipeline": pipeline, "dag_id": run.dag_id, "run_id": run.run_id, "state": run.state}
    return None


class PipelineRunSensor(MetadataSensor):
    """Waits for a run of a pipeline, in any DAG or in a developer's process, to end in a state.

    XCom: ``{"pipeline", "dag_id", "run_id", "state"}``.

    :param pipeline: name of the pipeline (templated).
    :param state: ``success`` (default) or ``failed`` (templated).
    :param after: ISO 8601 time (templated); runs that started before it do not count. Default: the start of this
        run's data interval, or the run's own start.
    """

    question = "windsock.sensors.runs:find_run"
    template_fields: Sequence[str] = ("pipeline", "state", "after", *MetadataSensor.template_fields)

    def __init__(self, *, pipeline: str, state: str = "success", after: str | None = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pipeline = pipeline
        self.state = state
        self.after = after

    def criteria(self, context: Context) -> dict[str, Any]:
        start = context.get("data_interval_start") or context["dag_run"].start_date
        return {"pipeline": self.pipeline, "state": self.state, "after": self.after or (start and start.isoformat())}
