"""``make bench``: every benchmark, as a table and as JSON.

Each row is a ratio of two things measured in the same run, in turn, because machines are noisy and an absolute time
says little about another machine. ``make bench ARGS="--quick drift compile"`` runs some, at a smaller size.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

AREAS = (
    "imports",
    "compile",
    "runtime",
    "tasks",
    "artifacts",
    "materializers",
    "stores",
    "metadata",
    "scale",
    "databases",
    "rest",
    "drift",
    "performance",
    "serving",
    "faults",
)


def main() -> int:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("areas", nargs="*", metavar="AREA", help=f"any of: {', '.join(AREAS)} (default: all)")
    parser.add_argument("--quick", action="store_true", help="smaller sizes: minutes instead of a quarter of an hour")
    parser.add_argument("--json", type=Path, default=Path(".bench/results.json"), help="where the JSON goes")
    arguments = parser.parse_args()
    if unknown := set(arguments.areas) - set(AREAS):
        parser.error(f"no such area: {', '.join(sorted(unknown))}")

    rows: list[dict[str, Any]] = []
    areas = arguments.areas or AREAS
    for area in areas:
        print(f"· {area}", file=sys.stderr, flush=True)
        found = _alone(area, arguments.quick) if len(areas) > 1 else _run(area, arguments.quick)
        for row in found:
            rows.append(row)
            _print(row)
    arguments.json.parent.mkdir(parents=True, exist_ok=True)
    machine = {"python": platform.python_version(), "machine": platform.machine(), "cores": os.cpu_count()}
    arguments.json.write_text(json.dumps({"machine": machine, "quick": arguments.quick, "rows": rows}, indent=1))
    missed = [row for row in rows if row.get("ok") is False]
    print(f"\n{len(rows)} figures, {len(missed)} below target; JSON in {arguments.json}")
    return 1 if missed else 0


def _run(area: str, quick: bool) -> list[dict[str, Any]]:
    return [{"area": area, **row} for row in importlib.import_module(f"benchmarks.{area}").run(quick)]


def _alone(area: str, quick: bool) -> list[dict[str, Any]]:
    """One area in a process of its own: what one leaves in memory would count for the children of the next."""
    with tempfile.TemporaryDirectory() as folder:
        results = Path(folder) / "results.json"
        command = [sys.executable, "-m", "benchmarks", area, "--json", str(results), *(["--quick"] if quick else [])]
        done = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, check=False)
        if not results.exists():
            raise SystemExit(f"The benchmark of {area} failed:\n{done.stderr[-2000:]}")
        rows: list[dict[str, Any]] = json.loads(results.read_text())["rows"]
        return rows


def _print(row: dict[str, Any]) -> None:
    mark = {True: "ok  ", False: "MISS", None: "    "}[row.get("ok")]
    figures = f"{_number(row.get('value'))} vs {_number(row.get('baseline'))} {row.get('unit', '')}"
    ratio = f"ratio {_number(row.get('ratio')):<8} {row.get('target', '')}"
    print(f"{mark} {row['area']:<10} {row['name']:<58} {figures:<34} {ratio}")


def _number(value: Any) -> str:
    return "–" if value is None else f"{value:.4g}" if isinstance(value, int | float) else str(value)


if __name__ == "__main__":
    sys.exit(main())
