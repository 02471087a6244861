"""Read last night's sheets with the model in production, and again whenever another version gets there."""

from __future__ import annotations

import os

from airflow.sdk import DAG
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.trigger import CronTriggerTimetable
from windsock import model_asset
from windsock.operators.predictions import BatchPredictOperator

SHEETS = os.environ.get("DIGITS_SHEETS", "sheets")

with DAG(
    "digits_batch_prediction",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 5 * * *", timezone="UTC"), assets=[model_asset("digits", alias="candidate")]
    ),
    catchup=False,
    doc_md=__doc__,
    tags=["windsock", "example"],
):
    BatchPredictOperator(
        task_id="read_sheets",
        model="digits",
        alias="candidate",
        data=SHEETS,
        output=f"{SHEETS}-read/{{{{ ds_nodash }}}}",
    )
