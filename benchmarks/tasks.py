"""What a step costs as an Airflow task: a chain of 20 steps against 20 bare ``@task`` that do the same.

A real Airflow with LocalExecutor runs both, in turns. A task's time is what Airflow records, from start to end: the
process parses the DAG file, runs the task and reports. Each run gets a parameter of its own, so that no step is cached.
Processor time is that of the task's own process, noted by a callback that both kinds have: unlike the time on the wall
it does not depend on who else is using the machine.
"""

from __future__ import annotations

import compileall
import json
import os
import statistics
import sys
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

from windsock.provider.cli.demo.airflow import PrivateAirflow

LENGTH = 20
REPOSITORY = Path(__file__).parents[1]
_NOTED = "TASKS_BENCHMARK_NOTES"
_DAGS = ("bench_bare", "bench_steps")

_COMMON = f'''
import os, time

def note(context):
    ti = context["ti"]
    with open(os.environ["{_NOTED}"], "a") as file:
        file.write(f"{{ti.dag_id}} {{ti.run_id}} {{ti.task_id}} {{time.process_time()}}\\n")
'''

_BARE = f"""{_COMMON}
from airflow.sdk import DAG, Param, task

@task
def add_one(x: int) -> int:
    return int(x) + 1

with DAG("bench_bare", schedule=None, params={{"start": Param(0, type="integer")}},
         default_args={{"on_success_callback": note}}):
    x = "{{{{ params.start }}}}"
    for _ in range({LENGTH}):
        x = add_one(x)
"""

_STEPS = f"""{_COMMON}
from windsock import airflow_dag, pipeline, step

@step
def add_one(x: int) -> int:
    return x + 1

@pipeline(name="bench_steps")
def chain(start: int = 0):
    x = start
    for _ in range({LENGTH}):
        x = add_one(x)

dag = airflow_dag(chain, default_args={{"on_success_callback": note}})
"""


def run(quick: bool) -> list[dict[str, Any]]:
    rounds = 2 if quick else 4
    with tempfile.TemporaryDirectory(prefix="windsock-tasks-") as folder:
        wall, cpu = _measure(Path(folder), rounds)
    rows = []
    for name, seconds in (("start to end", wall), ("processor time", cpu)):
        bare, steps = (statistics.median(seconds[dag]) * 1e3 for dag in _DAGS)
        rows.append(_row(f"a step as a task over a bare @task, {name}", steps, bare))
    return rows


def _row(name: str, value: float, baseline: float) -> dict[str, Any]:
    """Judged by the difference: what Airflow itself needs for a task differs between machines and versions."""
    return {
        "name": name,
        "value": value,
        "baseline": baseline,
        "ratio": value / baseline,
        "difference": value - baseline,
        "target": "≤ 50 ms more",
        "ok": value - baseline <= 50.0,
        "unit": "ms",
    }


def _measure(folder: Path, rounds: int) -> tuple[dict[str, list[float]], dict[str, list[float]]]:
    """Seconds of every task by DAG: on the wall, and of the processor. The first run of each warms up."""
    dags, notes = folder / "dags", folder / "notes"
    dags.mkdir()
    (dags / "bare.py").write_text(_BARE)
    (dags / "steps.py").write_text(_STEPS)
    for package in (REPOSITORY / name for name in ("provider", "operators", "hooks", "plugins")):
        compileall.compile_dir(package, quiet=2)
    own = {"WINDSOCK_HOME": str(folder / "windsock"), _NOTED: str(notes), "PYTHONDONTWRITEBYTECODE": ""}
    own["AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME"] = "0.1"
    airflow = PrivateAirflow(folder / "airflow", dags, own)
    airflow.prepare()
    wall: dict[str, list[float]] = {dag: [] for dag in _DAGS}
    runs: set[tuple[str, str]] = set()
    try:
        airflow.migrate()
        airflow.start()
        airflow.wait_until_healthy()
        airflow.wait_for_dags(_DAGS)
        for dag in _DAGS:
            airflow.unpause(dag)
        for turn in range(rounds + 1):
            for dag in _DAGS:
                started = airflow.trigger(dag, conf={"start": turn * 1000})
                airflow.wait_for_run(dag, started, 300)
                if turn:
                    wall[dag] += [_seconds(task) for task in airflow.tasks(dag, started)]
                    runs.add((dag, started))
    finally:
        airflow.stop()
    return wall, _noted(notes, runs)


def _seconds(task: dict[str, Any]) -> float:
    start, end = (datetime.fromisoformat(task[name].replace("Z", "+00:00")) for name in ("start_date", "end_date"))
    return (end - start).total_seconds()


def _noted(notes: Path, runs: set[tuple[str, str]]) -> dict[str, list[float]]:
    cpu: dict[str, list[float]] = {dag: [] for dag in _DAGS}
    for line in notes.read_text().splitlines():
        dag, run_id, _, seconds = line.split()
        if (dag, run_id) in runs:
            cpu[dag].append(float(seconds))
    return cpu


if __name__ == "__main__":
    print(json.dumps({"load": os.getloadavg()}), file=sys.stderr)
    for row in run(quick="--quick" in sys.argv):
        print(json.dumps(row))
