"""Importing ahead of the tasks, in the scheduler that forks them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest


def _python(code: str, home: Path) -> Any:
    """What ``code`` prints as JSON, run by a process of its own."""
    environment = {**os.environ, "AIRFLOW_HOME": str(home / "airflow"), "WINDSOCK_HOME": str(home / "windsock")}
    done = subprocess.run(
        [sys.executable, "-c", dedent(code)], env=environment, capture_output=True, text=True, check=False, cwd=home
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


_DAG = """
from windsock import airflow_dag, pipeline, step

@step
def add_one(x: int) -> int:
    return x + 1

@pipeline
def chain(start: int = 0):
    add_one(add_one(start))

dag = airflow_dag(chain)
"""


class TestPreload:
    def test_a_task_imports_nothing_of_windsock_that_was_not_preloaded(self, tmp_path: Path) -> None:
        (tmp_path / "chain_dag.py").write_text(_DAG)
        late = _python(
            """
            import json, sys
            from windsock.plugins.preload import preload
            preload()
            before = set(sys.modules)
            from chain_dag import chain
            from windsock.operators.steps import StepOperator
            from windsock.provider.stack import Stack
            chain.run(start=1)
            new = {name for name in set(sys.modules) - before if name.startswith("windsock.")}
            of_the_local_run = {"local", "conditions"}
            print(json.dumps(sorted(name for name in new if name.rpartition(".")[2] not in of_the_local_run)))
            """,
            tmp_path,
        )
        assert late == []

    def test_no_library_of_a_step_is_imported_and_nothing_is_opened(self, tmp_path: Path) -> None:
        heavy = _python(
            """
            import json, sys
            from windsock.plugins.preload import preload
            preload()
            heavy = {"pandas", "numpy", "sklearn", "pyarrow", "scipy", "boto3", "great_expectations", "alembic"}
            print(json.dumps(sorted(heavy & set(sys.modules))))
            """,
            tmp_path,
        )
        assert heavy == []
        assert not (tmp_path / "windsock").exists()

    def test_every_module_of_the_list_exists(self, tmp_path: Path) -> None:
        missing = _python(
            """
            import json, sys
            from windsock.plugins.preload import MODULES, preload
            preload()
            print(json.dumps([name for name in MODULES if f"windsock.{name}" not in sys.modules]))
            """,
            tmp_path,
        )
        assert missing == []

    def test_records_of_a_step_are_ready_to_validate(self, tmp_path: Path) -> None:
        built = _python(
            """
            import json
            from windsock.plugins.preload import preload
            preload()
            from windsock.provider.metadata.runs import StepFinish, StepStart
            print(json.dumps([r.__pydantic_complete__ for r in (StepFinish, StepStart)]))
            """,
            tmp_path,
        )
        assert built == [True, True]


class TestWhoPreloads:
    @pytest.mark.parametrize(
        ("executor", "scheduler", "expected"),
        [
            ("LocalExecutor", True, True),
            ("LocalExecutor", False, False),
            ("airflow.executors.local_executor.LocalExecutor", True, True),
            ("airflow.providers.celery.executors.celery_executor.CeleryExecutor", True, False),
        ],
    )
    def test_only_a_scheduler_that_forks_tasks(
        self, executor: str, scheduler: bool, expected: bool, tmp_path: Path
    ) -> None:
        loaded = _python(
            f"""
            import json, os, sys
            os.environ["AIRFLOW__CORE__EXECUTOR"] = {executor!r}
            if {scheduler}:
                import airflow.jobs.scheduler_job_runner
            from airflow.jobs.job import Job
            from windsock.plugins.listener import RunListener
            RunListener().on_starting(Job())
            print(json.dumps("windsock.provider.runtime.runner" in sys.modules))
            """,
            tmp_path,
        )
        assert loaded is expected

    def test_a_task_that_starts_imports_nothing(self, tmp_path: Path) -> None:
        loaded = _python(
            """
            import json, sys
            from airflow.sdk.execution_time.task_runner import TaskRunnerMarker
            import airflow.jobs.scheduler_job_runner
            from windsock.plugins.listener import RunListener
            RunListener().on_starting(TaskRunnerMarker())
            print(json.dumps("windsock.plugins.preload" in sys.modules))
            """,
            tmp_path,
        )
        assert loaded is False
