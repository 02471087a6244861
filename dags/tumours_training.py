"""Train, promote, deploy: every Sunday night, and whenever drift is found.

One asset event of ``drift_asset("tumours")`` is one run; why it ran is recorded with the run, with the promotion and
with the deployment.
"""

from __future__ import annotations

import os

from airflow.sdk import DAG
from airflow.timetables.assets import AssetOrTimeSchedule
from airflow.timetables.trigger import CronTriggerTimetable
from windsock import airflow_task_group, drift_asset
from windsock.operators.deployments import DeployModelOperator
from windsock.operators.models import PromoteModelOperator
from windsock_examples.tumours import tumours

with DAG(
    "tumours_training",
    schedule=AssetOrTimeSchedule(
        timetable=CronTriggerTimetable("0 3 * * 0", timezone="UTC"), assets=[drift_asset("tumours")]
    ),
    catchup=False,
    max_active_runs=1,
    doc_md=__doc__,
    tags=["windsock", "example"],
):
    train = airflow_task_group(tumours.bind(data_folder=os.environ.get("TUMOURS_DATA", "")), group_id="train")
    promote = PromoteModelOperator(
        task_id="promote",
        model="tumours",
        source="candidate",
        target="production",
        gates=[
            {"gate": "metric", "metric": "accuracy", "minimum": 0.85},
            {"gate": "better_than_current", "metric": "accuracy", "margin": 0.01},
        ],
        skip_if_refused=True,
    )
    deploy = DeployModelOperator(task_id="deploy", model="tumours", alias="production")
    train >> promote >> deploy
