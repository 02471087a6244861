"""A pipeline whose tasks have no database URL: everything they record goes through the API server."""

from __future__ import annotations

import os

from airflow.sdk import DAG
from windsock import airflow_dag, context, pipeline, register_model, step
from windsock.operators.models import PromoteModelOperator


@step(cache=False)
def measure() -> list[float]:
    named = [
        name
        for name in os.environ
        if name.endswith("WINDSOCK__SQL_ALCHEMY_CONN") or name == "WINDSOCK_SQL_ALCHEMY_CONN"
    ]
    assert named == [], named
    return [1.0, 2.0, 3.0, 6.0]


@step(cache=False)
def average(numbers: list[float]) -> dict[str, float]:
    context().log_metric("mean", sum(numbers) / len(numbers))
    return {"mean": sum(numbers) / len(numbers)}


@pipeline
def numbers_over_rest(rounds: int = 1) -> None:
    model = average(measure())
    register_model(model, name="averages", metrics=model)


dag = airflow_dag(numbers_over_rest, dag_id="numbers_over_rest", schedule=None)

with DAG("promotion_over_rest", schedule=None):
    PromoteModelOperator(task_id="promote", model="averages", source="candidate", target="production")
