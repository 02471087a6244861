"""A shop's own DAG, as it was, with Windsock operators dropped in.

The first and the last task are ordinary Airflow. In between, the data are validated, a model is registered from a file
that the shop's own code trained, a person approves it, and only then it is promoted.
"""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import DAG, task
from windsock.operators.models import ApproveModelOperator, PromoteModelOperator, RegisterModelOperator
from windsock.operators.validation import ValidateDataOperator
from windsock_examples.wines import TARGET, collect_analyses, train_grower_model

with DAG("wine_shop", schedule="@daily", catchup=False, doc_md=__doc__, tags=["windsock", "example"]):
    analyses = collect_analyses()  # a Windsock step inside a plain DAG is a task
    validate = ValidateDataOperator(
        task_id="validate",
        data=analyses,
        expectations=[
            {"type": "expect_column_values_to_not_be_null", "kwargs": {"column": "alcohol"}},
            {"type": "expect_column_values_to_be_between", "kwargs": {"column": "alcohol", "min_value": 0}},
            {"type": "expect_column_values_to_be_unique", "kwargs": {"column": "bottle"}},
        ],
    )
    model = train_grower_model(analyses)
    register = RegisterModelOperator(task_id="register", name="wines", model=model, baseline=analyses, target=TARGET)
    approve = ApproveModelOperator(task_id="approve", model="wines", response_timeout=timedelta(days=2))
    promote = PromoteModelOperator(task_id="promote", model="wines", source="candidate", target="production")

    @task
    def publish() -> None:
        print("The new wine model is in production.")

    validate >> model
    register >> approve >> promote >> publish()
