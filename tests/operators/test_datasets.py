"""Data sets in DAGs, on a real Airflow."""

from __future__ import annotations

from typing import Any

import loop_lab
from airflow.sdk import DAG
from loop_lab import events
from windsock.hooks.assets import artifact_asset
from windsock.hooks.stacks import load_stack
from windsock.operators.datasets import AppendDatasetOperator
from windsock.provider.datasets import dataset


class TestAppend:
    def test_rows_of_a_step_become_a_version_and_an_event(self, run_dag: Any) -> None:
        with DAG("collecting", schedule=None) as dag:
            AppendDatasetOperator(task_id="append", dataset="flowers", rows=loop_lab.load_flowers())
        before = len(events(artifact_asset("flowers").uri))
        for number in (1, 2):
            result = run_dag(dag)
            assert result.state == "success"
            ref = result.xcoms["append"]["output"]
            assert (ref["artifact"], ref["version"]) == ("flowers", number)
        assert [extra["version"] for extra in events(artifact_asset("flowers").uri)[before:]] == [1, 2]
        version = dataset("flowers", stack=load_stack()).latest()
        assert version.rows == 300
        assert len({part.digest for part in version.manifest.parts}) == 1
