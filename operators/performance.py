"""How good a deployed model is, as an Airflow task."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..sensors.performance import below, performance_facts
from .base import WindsockOperator
from .drift import window_end

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from airflow.sdk import Context


class CheckPerformanceOperator(WindsockOperator):
    """Joins a deployed model's predictions of a window with the true values that have come, and records the metrics.

    True values come through the model server (``POST /feedback``) or ``RecordLabelsOperator``. Until enough are there,
    the metrics are also estimated from the scores. Run it again for the same window when labels are late: each run
    that finds more of them records a new report. XCom: the report's facts, or ``{"rows": 0}``.

    :param deployment: name of the deployment (templated).
    :param window: how far back to look from the end of the run's data interval (or from now, without one).
    :param slices: features by whose values the metrics are told apart.
    :param at_least: metric to the smallest value that passes, ``{"accuracy": 0.9}``; the task fails when even the
        upper end of the metric's interval is below it: chance alone fails nothing.
    :param skip_unless_worse: skip downstream tasks unless a metric of ``at_least`` is too low, instead of failing: put
        the retraining behind it.
    """

    template_fields: Sequence[str] = ("deployment", *WindsockOperator.template_fields)

    def __init__(
        self,
        *,
        deployment: str,
        window: timedelta = timedelta(days=1),
        slices: Sequence[str] = (),
        at_least: Mapping[str, float] | None = None,
        skip_unless_worse: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.deployment = deployment
        self.window = window
        self.slices = list(slices)
        self.at_least = dict(at_least or {})
        self.skip_unless_worse = skip_unless_worse

    def execute(self, context: Context) -> dict[str, Any]:
        """Raises ``MonitoringError`` when a metric is too low."""
        from airflow.sdk.exceptions import AirflowSkipException

        from ..provider.errors import MonitoringError
        from ..provider.monitoring.deployed_performance import check_deployment_performance

        stack, end = self.loaded_stack, window_end(context)
        check = check_deployment_performance(
            stack.metadata,
            stack.artifact_store,
            deployment=self.deployment,
            start=end - self.window,
            end=end,
            slices=self.slices,
        )
        if check.report is None:
            return {"kind": "performance", "deployment": self.deployment, "rows": 0}
        for name in sorted({*check.realised, *check.estimated}):
            found = check.metric(name)
            self.log.info("%s", found)
        low = self._too_low(check)
        if self.skip_unless_worse and not low:
            raise AirflowSkipException("No metric is too low.")
        if low and not self.skip_unless_worse:
            raise MonitoringError(
                f'The performance of "{self.deployment}" is too low: {"; ".join(low)}.',
                hint="Look at what changed: windsock drift list --deployment " + self.deployment,
                deployment=self.deployment,
            )
        return {**performance_facts(check.report), "too_low": low}

    def _too_low(self, check: Any) -> list[str]:
        metrics = ((check.metric(name), limit) for name, limit in self.at_least.items())
        found = (below(one.metric, one.kind, one.to_dict(), limit) for one, limit in metrics if one is not None)
        return [words for words in found if words]


class RecordLabelsOperator(WindsockOperator):
    """Stores true values from an upstream task, so that performance can be told.

    :param model: name of the model (templated).
    :param labels: a reference to a table artifact, or rows, with the columns ``request_id``, ``label`` and, if known,
        ``label_ts`` (templated).
    """

    template_fields: Sequence[str] = ("model", "labels", *WindsockOperator.template_fields)

    def __init__(self, *, model: str, labels: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.model = model
        self.labels = labels

    def execute(self, context: Context) -> int:
        """Returns how many. Idempotent: a retry stores the same file."""
        from ..provider.artifacts.saving import load
        from ..provider.predictions.labels import record_labels

        stack, ti = self.loaded_stack, context["ti"]
        labels = self.labels
        if isinstance(labels, dict) and set(labels) == {"output"}:
            labels = labels["output"]
        if isinstance(labels, dict) and "uri" in labels:
            labels = load(labels, stack.artifact_store)
        started = context["dag_run"].start_date
        name = f"{ti.dag_id}-{ti.run_id}-{ti.task_id}-{ti.map_index}".replace("/", "-").replace(":", "-")
        return record_labels(stack.artifact_store, self.model, labels, at=started, name=name)
