"""Detecting drift, as an Airflow task."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

from ..hooks.assets import outlet
from ..sensors.drift import announce_drift, drift_facts
from .base import WindsockOperator
from .links import DriftReportLink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow.sdk import Context

    from ..provider.metadata.drift import DriftReport


class DetectDriftOperator(WindsockOperator):
    """Compares what a deployed model was asked in a window with the rows that its version was trained on.

    It reads the prediction log of the window, one column at a time, and never the training data: their profile was
    stored when the version was registered. The report (JSON and a page) goes to the artifact store and is linked from
    the task. Idempotent by window: a retry finds its own report. Emits ``drift_asset(deployment)`` when it found drift
    and ``announce`` is set. XCom: the report's facts, or ``{"rows": n, "skipped": reason}`` without enough rows.

    :param deployment: name of the deployment (templated).
    :param window: how far back to look from the end of the run's data interval (or from now, without one).
    :param minimum_rows: below this many rows the task skips itself: too few to say anything.
    :param skip_unless_drifted: skip downstream tasks when there is no drift: put the retraining behind it.
    :param announce: emit the asset's event; False if a ``DriftSensor`` does.
    :param cooldown: no second event within this time; default 24 hours.
    :param alert: tell people through the stack's alerter when drift begins, and again when it is over; not each time.
    """

    template_fields: Sequence[str] = ("deployment", *WindsockOperator.template_fields)
    operator_extra_links = (DriftReportLink(),)

    def __init__(
        self,
        *,
        deployment: str,
        window: timedelta = timedelta(days=1),
        minimum_rows: int = 50,
        skip_unless_drifted: bool = False,
        announce: bool = True,
        cooldown: timedelta | None = timedelta(hours=24),
        alert: bool = False,
        **kwargs: Any,
    ) -> None:
        if announce:
            kwargs["outlets"] = [*(kwargs.get("outlets") or ()), outlet("drift", deployment)]
        super().__init__(**kwargs)
        self.deployment = deployment
        self.window = window
        self.minimum_rows = minimum_rows
        self.skip_unless_drifted = skip_unless_drifted
        self.announce = announce
        self.cooldown = cooldown
        self.alert = alert
        self.report_id: int | None = None

    def execute(self, context: Context) -> dict[str, Any]:
        from airflow.sdk.exceptions import AirflowSkipException

        from ..provider.metadata.keys import step_run_key
        from ..provider.monitoring.deployments import check_deployment_drift

        stack, ti = self.loaded_stack, context["ti"]
        end = window_end(context)
        check = check_deployment_drift(
            stack.metadata,
            stack.artifact_store,
            deployment=self.deployment,
            start=end - self.window,
            end=end,
            detector=stack.drift_detector,
            minimum_rows=self.minimum_rows,
            step_run=step_run_key(
                ti.dag_id, ti.run_id, ti.task_id, -1 if ti.map_index is None else ti.map_index, ti.try_number
            ),
        )
        report = check.report
        if report is None:
            raise AirflowSkipException(
                f'The log has {check.result.rows} predictions of "{self.deployment}" since '
                f"{end - self.window:%H:%M:%S}, fewer than {self.minimum_rows}."
            )
        self.report_id = report.id
        facts = drift_facts(report)
        self.log.info("%s", "; ".join(map(str, report.reasons)) or "No drift.")
        self._publish(report)
        if self.alert:
            self._tell(report, context)
        if report.drifted and self.announce:
            announced = announce_drift(stack.metadata, facts, self.deployment, self.cooldown, context)
            self.log.info("Announced." if announced else "Not announced: somebody did already, or it is too soon.")
        if self.skip_unless_drifted and not report.drifted:
            raise AirflowSkipException("No drift.")
        return facts

    def _tell(self, report: DriftReport, context: Context) -> None:
        """Send an alert if the report says something else than the one before it. A retry may send it again."""
        from ..provider.alerters.base import Alert

        stack, ti = self.loaded_stack, context["ti"]
        earlier = next((r for r in stack.metadata.drift.list(deployment=self.deployment) if r.id < report.id), None)
        if report.drifted == (earlier is not None and earlier.drifted):
            return
        claimant = f"{ti.dag_id}/{ti.run_id}/{ti.task_id}/{ti.map_index}"
        if not stack.metadata.drift.claim(report.id, f"alert.{self.deployment}", claimant=claimant):
            return
        links = {"log": getattr(ti, "log_url", None), "report": report.report_uri}
        version = f"{report.model} version {report.version}"
        sentence = f"The data of {version} have drifted" if report.drifted else f"The drift of {version} is over"
        stack.component("alerter").send(
            Alert(
                title=f"{self.deployment}: {sentence}",
                text="; ".join(map(str, report.reasons)),
                severity="warning" if report.drifted else "info",
                status="firing" if report.drifted else "resolved",
                key=f"drift/{self.deployment}",
                links={name: url for name, url in links.items() if url},
                facts=drift_facts(report),
            )
        )

    def _publish(self, report: DriftReport) -> None:
        """Push the metrics, if the settings say where to. What is recorded stays recorded when that fails."""
        gateway = self.loaded_stack.settings.metrics_pushgateway
        if gateway:
            from ..provider.errors import MonitoringError
            from ..provider.monitoring.metrics import push

            try:
                push(gateway, [report])
            except MonitoringError as error:
                self.log.warning("The metrics were not pushed: %s", error)


def window_end(context: Context) -> datetime:
    """Where the window of a run ends: its data interval's end, so that a retry looks at the same rows."""
    dag_run = context["dag_run"]
    end = context.get("data_interval_end") or getattr(dag_run, "run_after", None) or dag_run.start_date
    return end or datetime.now(timezone.utc)
