"""DAGs of the plugin's tests: an example pipeline, one that fails, and one that has nothing to do with Windsock."""

from __future__ import annotations

from airflow.sdk import DAG, task
from windsock import airflow_dag, pipeline, step
from windsock_examples.tumours import tumours


@step(cache=False)
def refuse() -> int:
    raise ValueError("this step always fails")


@pipeline
def refusal() -> None:
    refuse()


tumours_dag = airflow_dag(tumours, dag_id="tumours_pages", schedule=None)
refusal_dag = airflow_dag(refusal, dag_id="refusal_pages", schedule=None, default_args={"retries": 0})

with DAG("bare_pages", schedule=None):

    @task
    def nothing() -> None: ...

    nothing()
