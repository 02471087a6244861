"""What the runtime costs, against plain Python doing and keeping the same."""

from __future__ import annotations

import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windsock.provider.pipelines.pipeline import pipeline
from windsock.provider.pipelines.step import step
from windsock.provider.runtime.context import context
from windsock.provider.settings import Settings
from windsock.provider.stack import Stack

if TYPE_CHECKING:
    from collections.abc import Callable


def _load() -> Any:
    from sklearn.datasets import load_breast_cancer

    return load_breast_cancer(as_frame=True).frame


def _train(rows: Any, rounds: int) -> Any:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), LogisticRegression(max_iter=rounds)).fit(
        rows.drop(columns="target"), rows["target"]
    )


def _evaluate(model: Any, rows: Any) -> dict[str, float]:
    return {"accuracy": float(model.score(rows.drop(columns="target"), rows["target"]))}


@step
def load() -> Any:
    return _load()


@step
def train(rows: Any, rounds: int = 500) -> Any:
    return _train(rows, rounds)


@step
def evaluate(model: Any, rows: Any) -> dict[str, float]:
    return _evaluate(model, rows)


@step
def add_one(x: int) -> int:
    return x + 1


@step
def log_thousand() -> int:
    current = context()
    for i in range(1000):
        current.log_metric("loss", 1.0 / (i + 1), step=i)
    return 1


@step
def log_none() -> int:
    return 1


@pipeline(name="bench_three")
def three(rounds: int = 500) -> None:
    rows = load()
    evaluate(train(rows, rounds), rows)


def _chain(length: int) -> Any:
    def wire(start: int = 0) -> None:
        x: Any = start
        for _ in range(length):
            x = add_one(x)

    return pipeline(name=f"bench_chain_{length}")(wire)


def _single(which: Any) -> Any:
    def wire() -> None:
        which()

    return pipeline(name=f"bench_{which.name}")(wire)


def plain(folder: Path, rounds: int = 500) -> None:
    """What a careful person would write: three functions, each result kept with joblib, each input read from there."""
    import joblib

    joblib.dump(_load(), folder / "rows.joblib")
    joblib.dump(_train(joblib.load(folder / "rows.joblib"), rounds), folder / "model.joblib")
    metrics = _evaluate(joblib.load(folder / "model.joblib"), joblib.load(folder / "rows.joblib"))
    joblib.dump(metrics, folder / "metrics.joblib")


def plain_in_memory(folder: Path, rounds: int = 500) -> None:
    """The same, but nothing is read back: a result that is kept goes on in memory."""
    import joblib

    rows = _load()
    joblib.dump(rows, folder / "rows.joblib")
    model = _train(rows, rounds)
    joblib.dump(model, folder / "model.joblib")
    joblib.dump(_evaluate(model, rows), folder / "metrics.joblib")


def _times(work: Callable[[int], Any], times: int) -> list[float]:
    seconds = []
    for i in range(times):
        started = time.perf_counter()
        work(i)
        seconds.append(time.perf_counter() - started)
    return seconds


def _row(name: str, value: float, baseline: float | None, target: float, unit: str = "ms") -> dict[str, Any]:
    ratio = None if baseline is None else value / baseline
    judged = ratio if unit == "x" else value
    return {
        "name": name,
        "value": value,
        "baseline": baseline,
        "ratio": ratio,
        "target": target,
        "ok": (judged if judged is not None else value) <= target,
        "unit": unit,
    }


def run(quick: bool) -> list[dict[str, Any]]:
    logging.getLogger("windsock").setLevel(logging.ERROR)
    times = 7 if quick else 25
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        stacks = {cache: _stack(home, cache) for cache in ("on", "off")}
        rows = [*_three_steps(home, stacks["on"], times), *_per_step(stacks, times), *_metrics(stacks["off"], times)]
        stacks["on"].metadata.close()
    return [*rows, _imports(3 if quick else 7)]


def _three_steps(home: Path, stack: Stack, times: int) -> list[dict[str, Any]]:
    done = subprocess.run(
        [sys.executable, __file__, "--three", str(home / "three"), str(2 * times)],
        env={**os.environ, **dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1")},
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    three.run(stack=stack)
    cached = min(_times(lambda _: three.run(stack=stack), times)) * 1e3
    return [
        *(
            _ratio_row(f"three steps over {name}, {clock}", found[clock]["steps"], found[clock][name])
            for name in ("joblib dumps and loads", "joblib dumps")
            for clock in ("wall", "processor")
        ),
        _ratio_row(
            "… one parameter changed, step cache on, wall", found["wall"]["cache"], found["wall"]["joblib dumps"]
        ),
        _row("three steps, all cached", cached, statistics.median(found["wall"]["joblib dumps and loads"]), 30),
    ]


def _ratio_row(name: str, ours: list[float], base: list[float]) -> dict[str, Any]:
    """Judged by the median of the ratios of neighbours in time: both of a pair saw the same machine."""
    ratio = statistics.median(o / b for o, b in zip(ours, base, strict=True))
    row = _row(name, statistics.median(ours), statistics.median(base), 1.5, "x")
    return {**row, "ratio": ratio, "ok": ratio <= 1.5}


def _three_in_turns(home: Path, times: int) -> dict[str, dict[str, list[float]]]:
    """Milliseconds of the pipeline and of plain Python, by clock and by what ran.

    In turns, so that all see the same machine; a new parameter each time, as a developer's loop has. In a process with
    one BLAS thread: all do the same arithmetic, and a second thread measures who else is using the machine.
    """
    home.mkdir(parents=True, exist_ok=True)
    off, on = _stack(home, "off"), _stack(home, "on")
    work: dict[str, Callable[[int], Any]] = {
        "joblib dumps": lambda rounds: plain_in_memory(home, rounds),
        "joblib dumps and loads": lambda rounds: plain(home, rounds),
        "steps": lambda rounds: three.run(stack=off, rounds=rounds),
        "cache": lambda rounds: three.run(stack=on, rounds=rounds),
    }
    found: dict[str, dict[str, list[float]]] = {"wall": {n: [] for n in work}, "processor": {n: [] for n in work}}
    for turn in range(times + 2):  # the first two warm up
        for name, run_once in work.items():
            wall, processor = time.perf_counter(), time.process_time()
            run_once(500 + turn)
            if turn > 1:
                found["processor"][name].append((time.process_time() - processor) * 1e3)
                found["wall"][name].append((time.perf_counter() - wall) * 1e3)
    return found


def _stack(home: Path, cache: str) -> Stack:
    environ = {"WINDSOCK_HOME": str(home), "WINDSOCK_STEP_CACHE": cache}
    return Stack.load("local", settings=Settings.load(environ=environ))


def _per_step(stacks: dict[str, Stack], times: int) -> list[dict[str, Any]]:
    base = min(_times(_json_step, times)) * 1e3
    ran, fixed = _chains(stacks["off"], times)
    cached, _ = _chains(stacks["on"], times)
    return [
        _row("every further step", ran, base, 2.0),
        _row("a run, fixed", fixed, None, 10.0),
        _row("every further cached step", cached, base, 1.0),
    ]


def _chains(stack: Stack, times: int) -> tuple[float, float]:
    """Milliseconds of each further step, and of a run without its steps.

    The fastest of several: what is asked is the cost of the code, and other processes only ever add to it.
    """
    short, long = _chain(1), _chain(21)
    seconds: dict[Any, list[float]] = {short: [], long: []}
    for _ in range(4 * times + 2):  # in turns; the first two warm up
        for chain in (short, long):
            started = time.perf_counter()
            chain.run(stack=stack)
            seconds[chain].append(time.perf_counter() - started)
    one, many = (min(seconds[chain][2:]) * 1e3 for chain in (short, long))
    each = (many - one) / 20
    return each, one - each


def _json_step(i: int) -> None:
    """The baseline of a trivial step: a file and a row."""
    import sqlite3

    with tempfile.NamedTemporaryFile("w") as file:
        json.dump(i, file)
        file.flush()
        connection = sqlite3.connect(f"{file.name}.db")
        connection.execute("pragma journal_mode=wal")
        connection.execute("create table if not exists step (i)")
        connection.execute("insert into step values (?)", (i,))
        connection.commit()
        connection.close()
    for path in Path(file.name).parent.glob(Path(file.name).name + ".db*"):
        path.unlink()


def _metrics(stack: Stack, times: int) -> list[dict[str, Any]]:
    with_metrics, without = _single(log_thousand), _single(log_none)
    for each in (with_metrics, without):
        each.run(stack=stack)
    logged = min(_times(lambda _: with_metrics.run(stack=stack), times))
    bare = min(_times(lambda _: without.run(stack=stack), times))
    return [_row("1,000 metrics logged and recorded", (logged - bare) * 1e3, None, 20.0)]


def _imports(times: int) -> dict[str, Any]:
    """What a task process pays to import all that a step with an artifact and a record needs, over Airflow's SDK."""
    code = (
        "import time, airflow.sdk, sqlalchemy, pydantic\nstarted = time.process_time()\n"
        "from windsock.provider.runtime import execution, recorder, runner, invocation\n"
        "from windsock.provider.artifacts import saving\nfrom windsock.provider.metadata import runs\n"
        "from windsock.provider.stack import Stack\nprint(time.process_time() - started)"
    )
    seconds = [
        float(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout)
        for _ in range(times)
    ]
    return _row("import of the runtime in a task", min(seconds) * 1e3, None, 50.0)


if __name__ == "__main__" and "--three" in sys.argv:
    print(json.dumps(_three_in_turns(Path(sys.argv[2]), int(sys.argv[3]))))
elif __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(json.dumps(row))
