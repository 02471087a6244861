"""Deploying and rolling back on a real Airflow, with a real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import loop_lab
import pytest
from airflow.sdk import DAG
from windsock.hooks.deployments import DeploymentHook
from windsock.hooks.stacks import load_stack
from windsock.operators.deployments import DeleteDeploymentOperator, DeployModelOperator, RollbackDeploymentOperator
from windsock.provider.errors import DeploymentFailed, DeploymentNotFound


@pytest.fixture
def served(windsock_home: Path) -> Iterator[Path]:
    """A home whose deployments end with the test."""
    yield windsock_home
    deployer = load_stack().deployer
    for deployment in load_stack().metadata.deployments.list():
        deployer.delete(deployment.name)


def one_task(dag_id: str, operator: type, **options: Any) -> DAG:
    with DAG(dag_id, schedule=None) as dag:
        operator(task_id="act", retries=0, **options)
    return dag


ROW = {"sepal length (cm)": 5.1, "sepal width (cm)": 3.5, "petal length (cm)": 1.4, "petal width (cm)": 0.2}


class TestDeploy:
    def test_serves_rolls_over_rolls_back_and_ends(self, served: Path, run_dag: Any) -> None:
        loop_lab.flowers.run()
        deploy = one_task("deploy", DeployModelOperator, model="flowers", alias="candidate")
        first = run_dag(deploy).xcoms["act"]
        assert (first["version"], first["phase"], first["previous"]) == (1, "ready", None)
        answer = DeploymentHook().predict("flowers", [ROW])
        assert (answer["predictions"], str(answer["model_version"])) == ([0], "1")

        loop_lab.flowers.run(seed=1, depth=1)
        second = run_dag(deploy).xcoms["act"]
        assert (second["version"], second["previous"], second["url"]) == (2, 1, first["url"])
        assert str(DeploymentHook().predict("flowers", [ROW])["model_version"]) == "2"

        back = run_dag(one_task("back", RollbackDeploymentOperator, deployment="flowers", reason="worse")).xcoms["act"]
        assert (back["version"], back["previous"]) == (1, 2)
        assert str(DeploymentHook().predict("flowers", [ROW])["model_version"]) == "1"
        event = next(one for one in load_stack().metadata.deployments.history("flowers") if one.action == "roll_back")
        assert (event.actor, event.reason, event.to_version) == ("user:dag_test", "worse", 1)

        run_dag(one_task("end", DeleteDeploymentOperator, deployment="flowers"))
        with pytest.raises((DeploymentNotFound, DeploymentFailed)):
            DeploymentHook().predict("flowers", [ROW])

    def test_wrong_rows_are_refused_by_name(self, served: Path, run_dag: Any) -> None:
        loop_lab.flowers.run()
        run_dag(one_task("deploy", DeployModelOperator, model="flowers", alias="candidate"))
        with pytest.raises(DeploymentFailed, match="petal width"):
            DeploymentHook().predict("flowers", [{**ROW, "petal width (cm)": "wide"}])

    def test_a_model_that_is_not_there(self, served: Path, run_dag: Any) -> None:
        assert run_dag(one_task("deploy", DeployModelOperator, model="nothing")).tasks["act"] == "failed"
