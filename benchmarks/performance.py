"""Labels joined to the prediction log and counted, against decoding the same columns: a process of its own each."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

WORK = Path(".bench/performance")
ROW_GROUP = 131_072


def run(quick: bool) -> list[dict[str, Any]]:
    """``quick``: one million predictions; otherwise ten. Nine of ten have a label."""
    rows = 1_000_000 if quick else 10_000_000
    log, labels = write_data(WORK / f"{rows}", rows)
    decode = _child("decode", log, labels)
    found = _child("join", log, labels)
    name = f"{rows // 1_000_000}M predictions, {rows * 9 // 10_000_000 or 0.9:g}M labels"
    assert found["labelled"] == rows * 9 // 10
    budget = 5.0 * rows / 10_000_000 + 0.7
    return [
        _row(f"{name}: join and count, whole process", found["cpu"], decode["cpu"], budget, "CPU s"),
        _row(f"{name}: peak memory", found["peak"], decode["peak"], 1000.0, "MB"),
    ]


def write_data(folder: Path, rows: int) -> tuple[Path, Path]:
    """A prediction log and a label log, unless they are there; labels arrive in another order."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    log, labels = folder / "log.parquet", folder / "labels.parquet"
    if labels.exists():
        return log, labels
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(0)
    ids = pa.Array.from_buffers(pa.binary(16), rows, [None, pa.py_buffer(random.bytes(16 * rows))])
    scores = random.random(rows)
    times = pa.array(1_700_000_000_000_000 + np.arange(rows)).cast(pa.timestamp("us", "UTC"))
    columns = {"request_id": ids, "ts": times, "prediction": (scores > 0.5).astype(np.int64), "score": scores}
    table = pa.table({**columns, "error": pa.nulls(rows, pa.string())})
    pq.write_table(table, log, compression="zstd", compression_level=1, row_group_size=ROW_GROUP)
    some = pa.array(random.permutation(rows)[: rows * 9 // 10])
    truth = (random.random(len(some)) < 0.5).astype(float)
    table = pa.table({"request_id": ids.take(some), "label": truth, "label_ts": times.take(some)})
    pq.write_table(table, labels, compression="zstd", row_group_size=ROW_GROUP)
    return log, labels


def child_join(log: str, labels: str) -> dict[str, Any]:
    from windsock.provider.monitoring.truth import read_truth

    return {"labelled": read_truth([log], [labels], classes=[0, 1]).outcomes.labelled}


def child_decode(log: str, labels: str) -> dict[str, Any]:
    import pyarrow.parquet as pq

    for path in (log, labels):
        file = pq.ParquetFile(path, pre_buffer=False)
        for group in range(file.num_row_groups):
            file.read_row_group(group, use_threads=False)
    return {}


def _child(name: str, *paths: Path) -> dict[str, Any]:
    command = [sys.executable, str(Path(__file__).resolve()), name, *map(str, paths)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env={**os.environ})
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def _row(name: str, value: float, baseline: float, budget: float, unit: str) -> dict[str, Any]:
    return {
        "name": name,
        "value": value,
        "baseline": baseline,
        "ratio": value / baseline,
        "target": f"≤ {budget:g} {unit}",
        "ok": value <= budget,
        "unit": unit,
    }


def _peak() -> float:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM"):
            return int(line.split()[1]) / 1024
    raise RuntimeError("VmHWM")


if __name__ == "__main__":
    children = {"join": child_join, "decode": child_decode}
    answer = children[sys.argv[1]](*sys.argv[2:])
    print(json.dumps(answer | {"cpu": time.process_time(), "peak": _peak()}))
