"""What Windsock adds to the imports of a DAG file, byte-compiled, in fresh processes.

Baseline is what any DAG file pays: ``from airflow.sdk import DAG, BaseOperator, Param, TaskGroup``. The time is the
CPU time of the process between that and having ``windsock.step`` and ``windsock.airflow_dag``; the smallest of several
processes, because everything that disturbs makes it larger.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from typing import Any

TARGET_MS = 15.0
HEAVY = (
    *("alembic", "boto3", "fastapi", "great_expectations", "kubernetes", "matplotlib", "numpy", "pandas", "polars"),
    *("prometheus_client", "pyarrow", "scipy", "skops", "sklearn", "uvicorn"),
)

_CODE = """
import json, sys, time
start = time.process_time()
import airflow.sdk
from airflow.sdk import DAG, BaseOperator, Param, TaskGroup
base = time.process_time()
before = set(sys.modules)
import windsock
windsock.step
windsock.airflow_dag
end = time.process_time()
print(json.dumps({
    "airflow": (base - start) * 1000,
    "ours": (end - base) * 1000,
    "modules": len(set(sys.modules) - before),
    "heavy": sorted({name.split(".")[0] for name in set(sys.modules) - before} & set(%r)),
}))
"""


def run(quick: bool = False) -> list[dict[str, Any]]:
    """Rows of the table: the import over Airflow's own, and that nothing heavy comes with it."""
    _sample()  # writes the byte code
    samples = [_sample() for _ in range(3 if quick else 12)]
    ours = min(sample["ours"] for sample in samples)
    airflow = min(sample["airflow"] for sample in samples)
    heavy = sorted({name for sample in samples for name in sample["heavy"]})
    return [
        {
            "name": "import windsock.step and airflow_dag over airflow.sdk",
            "value": round(ours, 1),
            "baseline": round(airflow, 1),
            "ratio": round(ours / airflow, 4),
            "target": TARGET_MS,
            "ok": ours <= TARGET_MS,
            "unit": "ms",
        },
        {
            "name": f"heavy libraries imported with it{': ' + ', '.join(heavy) if heavy else ''}",
            "value": len(heavy),
            "baseline": None,
            "ratio": None,
            "target": 0,
            "ok": not heavy,
            "unit": "modules",
        },
    ]


def _sample() -> dict[str, Any]:
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryDirectory(prefix="windsock-bench-") as home:
        done = subprocess.run(
            [sys.executable, "-c", _CODE % (HEAVY,)],
            cwd=home,  # the working directory is on the path; this one has a compile.py, which is nobody's to import
            env={**environment, "AIRFLOW_HOME": home},
            capture_output=True,
            text=True,
            check=True,
        )
    sample: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return sample


if __name__ == "__main__":
    for row in run():
        print(row)
