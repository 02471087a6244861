"""Look for drift in what the deployed model is asked, and tell those who wait for it.

``tumours_drift_check`` compares the last predictions with the rows that the deployed version was trained on, and writes
a report. ``tumours_drift_watch`` waits (in the triggerer, without a worker) for a report that found drift, and emits
``drift_asset("tumours")``; ``tumours_training`` is scheduled on that asset. One drift is announced once, and no second
time within the cool-down.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG
from airflow.timetables.trigger import CronTriggerTimetable
from windsock.operators.drift import DetectDriftOperator
from windsock.sensors.drift import DriftSensor

with DAG(
    "tumours_drift_check",
    schedule=CronTriggerTimetable("* * * * *", timezone="UTC"),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["windsock", "example"],
):
    DetectDriftOperator(
        task_id="detect_drift", deployment="tumours", window=timedelta(minutes=2), minimum_rows=500, announce=False
    )

with DAG(
    "tumours_drift_watch",
    schedule="@continuous",
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["windsock", "example"],
):
    DriftSensor(task_id="wait_for_drift", deployment="tumours", cooldown=timedelta(hours=24), poke_interval=5)
