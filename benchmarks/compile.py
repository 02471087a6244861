"""What a pipeline costs when Airflow parses its DAG file, against DAGs written by hand.

Baselines, in the same process: a loop over a plain custom operator, and the same chain in TaskFlow. In each chain a
task takes the output of the one before.
"""

from __future__ import annotations

import gc
import json
import statistics
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

SIZES = (10, 100, 1000)


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows of the table: parse of a chain, bytes a task, spec and plan of 1,000 steps."""
    sizes = SIZES[:2] if quick else SIZES
    rows: list[dict[str, Any]] = []
    for size in sizes:
        ours, operators, taskflow = _interleaved(
            [lambda n=size: _pipeline_dag(n), lambda n=size: _operator_dag(n), lambda n=size: _taskflow_dag(n)],
            repeat=max(5, min(60, 3000 // size)),
        )
        rows.append(_row(f"parse a chain of {size}, over an operator loop", ours, operators, 1.5))
        rows.append(_row(f"parse a chain of {size}, over TaskFlow", ours, taskflow, 1.0))
    rows.append(_serialized(sizes[-1]))
    (seconds,) = _interleaved([lambda: _spec_and_plan(1000)], repeat=5 if quick else 20)
    rows.append(
        {
            "name": "spec and plan of 1000 steps",
            "value": round(seconds * 1000, 2),
            "baseline": None,
            "ratio": None,
            "target": 50,
            "ok": seconds <= 0.050,
            "unit": "ms",
        }
    )
    return rows


def _row(name: str, seconds: float, baseline: float, target: float) -> dict[str, Any]:
    ratio = seconds / baseline
    return {
        "name": name,
        "value": round(seconds * 1000, 2),
        "baseline": round(baseline * 1000, 2),
        "ratio": round(ratio, 2),
        "target": target,
        "ok": ratio <= target,
        "unit": "ms",
    }


def _interleaved(functions: list[Callable[[], Any]], repeat: int) -> list[float]:
    """Median CPU seconds of each, measured in turns, so that a noisy moment hits all of them."""
    times: list[list[float]] = [[] for _ in functions]
    for function in functions:
        function()
    for _ in range(repeat):
        for function, seen in zip(functions, times, strict=True):
            gc.collect()
            start = time.process_time()
            made = function()
            seen.append(time.process_time() - start)
            del made
    return [statistics.median(seen) for seen in times]


def _pipeline_dag(size: int) -> Any:
    from windsock import airflow_dag

    return airflow_dag(_pipeline(size), dag_id="chain")


def _pipeline(size: int) -> Any:
    """A chain as a DAG file would define it: decorated and wired afresh."""
    from windsock import pipeline, step

    @step
    def load() -> list[int]:
        return [1]

    @step
    def link(rows: list[int]) -> list[int]:
        return rows

    @pipeline
    def chain() -> None:
        rows = load()
        for _ in range(size - 1):
            rows = link(rows)

    return chain


def _spec_and_plan(size: int) -> Any:
    from windsock.provider.compiler.compile import compile_pipeline

    return compile_pipeline(_pipeline(size).spec)


def _operator_dag(size: int) -> Any:
    from airflow.sdk import DAG

    plain = _plain_operator()
    with DAG("chain", schedule=None, catchup=False) as dag:
        last = plain(task_id="load")
        for i in range(1, size):
            last = plain(task_id=f"link_{i}", value=last.output)
    return dag


def _plain_operator() -> Any:
    global _PLAIN  # noqa: PLW0603
    if _PLAIN is None:
        from airflow.sdk import BaseOperator

        class PlainOperator(BaseOperator):
            template_fields = ("value",)

            def __init__(self, *, value: Any = None, **kwargs: Any) -> None:
                super().__init__(**kwargs)
                self.value = value

            def execute(self, context: Any) -> Any:
                return self.value

        _PLAIN = PlainOperator
    return _PLAIN


_PLAIN: Any = None


def _taskflow_dag(size: int) -> Any:
    from airflow.sdk import DAG, task

    with DAG("chain", schedule=None, catchup=False) as dag:

        @task
        def load() -> list[int]:
            return [1]

        @task
        def link(rows: list[int]) -> list[int]:
            return rows

        rows = load()
        for _ in range(size - 1):
            rows = link(rows)
    return dag


def _serialized(size: int) -> dict[str, Any]:
    def bytes_of(dag: Any) -> float:
        from airflow.serialization.serialized_objects import DagSerialization

        return len(json.dumps(DagSerialization.to_dict(dag), separators=(",", ":"))) / size

    ours, taskflow = bytes_of(_pipeline_dag(size)), bytes_of(_taskflow_dag(size))
    return {
        "name": f"serialized DAG, a task ({size} steps)",
        "value": round(ours),
        "baseline": round(taskflow),
        "ratio": round(ours / taskflow, 2),
        "target": 600,
        "ok": ours <= 600,
        "unit": "B",
    }


if __name__ == "__main__":
    for row in run():
        print(row)
