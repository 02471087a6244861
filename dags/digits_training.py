"""A whole pipeline as one DAG: its parameters are the DAG's, its steps are the tasks."""

from __future__ import annotations

from windsock import airflow_dag
from windsock_examples.digits import digits

dag = airflow_dag(digits, dag_id="digits_training", schedule="@weekly", catchup=False, tags=["example"])
