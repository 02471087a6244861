"""Artifacts: saving and loading big values against the fastest raw way, digest and atomic commit included.

Baselines write and read the same data without a digest: ``feather.write_feather`` with LZ4, ``np.save``, ``joblib``.
Both sides take turns in one process, files are removed between turns, nobody syncs. ``ratio`` is speed: baseline time
over ours, so 1 is equal and bigger is better. "Encrypted" compares with the same raw way, which encrypts nothing.
Memory is the peak of a subprocess, with the data, above the bare interpreter, relative to the size of the data.
``WINDSOCK_BENCH_FOLDER`` says on which disk to run.
"""

from __future__ import annotations

import gc
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.stores.local import LocalArtifactStore, LocalArtifactStoreConfig
from windsock.provider.component import ComponentContext
from windsock.provider.security.credentials import EnvironmentCredentials
from windsock.provider.security.keys import new_key
from windsock.provider.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Callable

    from windsock.provider.artifacts.encrypted import EncryptedArtifactStore

TURNS = 5


def run(quick: bool) -> list[dict[str, Any]]:
    scale = 8 if quick else 1
    rows = []
    with tempfile.TemporaryDirectory(dir=os.environ.get("WINDSOCK_BENCH_FOLDER")) as name:
        folder = Path(name)
        rows += _table(folder, 4_300_000 // scale)
        rows += _array(folder, 125_000_000 // scale)
        rows += _forest(folder, 20 if quick else 185)
        rows += _small(folder)
        for kind, size in (("table", 4_300_000 // scale), ("array", 125_000_000 // scale)):
            for encrypted in (False, True):
                for action in ("save", "load"):
                    rows.append(_peak(folder, kind, size, action, encrypted=encrypted))
    return rows


def _store(folder: Path) -> LocalArtifactStore:
    return LocalArtifactStore(LocalArtifactStoreConfig(path=folder / "artifacts"))


def _encrypted_store(folder: Path) -> EncryptedArtifactStore:
    """The same, encrypted under a key that all processes of the benchmark share."""
    key = folder / "key"
    if not key.exists():
        key.write_text(new_key())
    connection = json.dumps({"conn_type": "generic", "password": key.read_text()})
    settings = Settings.load({"home": str(folder)}, environ={})
    context = ComponentContext(settings, EnvironmentCredentials({"AIRFLOW_CONN_KEYS": connection}))
    options = {"path": folder / "encrypted", "encryption": {"key": "keys"}}
    return cast("EncryptedArtifactStore", LocalArtifactStore.from_mapping(options, context))


def make_table(rows: int) -> Any:
    """20 float64, 3 text and 2 categorical columns; about 230 bytes a row."""
    import numpy as np
    import pandas as pd
    import pyarrow as pa

    random = np.random.default_rng(7)
    words = pa.array([f"customer-{i:06d}" for i in range(5000)], pa.large_string())
    columns: dict[str, Any] = {f"float_{i}": random.normal(size=rows) for i in range(20)}
    for i in range(3):
        columns[f"text_{i}"] = pd.array(words.take(pa.array(random.integers(0, 5000, rows))), dtype="str")
    for i in range(2):
        columns[f"category_{i}"] = pd.Categorical.from_codes(random.integers(0, 50, rows), [f"c{k}" for k in range(50)])
    return pd.DataFrame(columns)


def _table(folder: Path, rows: int) -> list[dict[str, Any]]:
    from pyarrow import feather

    frame = make_table(rows)
    raw = folder / "raw.arrow"
    label = f"{frame.memory_usage(deep=True).sum() / 1e6:.0f} MB table"
    return _save_and_load(
        folder,
        label,
        frame,
        raw,
        lambda: feather.write_feather(frame, raw, compression="lz4"),
        lambda: feather.read_feather(raw),
        0.8,
    )


def _array(folder: Path, items: int) -> list[dict[str, Any]]:
    import numpy as np

    array = np.random.default_rng(7).random(items)
    raw = folder / "raw.npy"
    label = f"{array.nbytes / 1e6:.0f} MB array"
    return _save_and_load(folder, label, array, raw, lambda: np.save(raw, array), lambda: np.load(raw), 0.8, use=np.sum)


def _forest(folder: Path, trees: int) -> list[dict[str, Any]]:
    import joblib
    import numpy as np
    from sklearn.ensemble import RandomForestClassifier

    random = np.random.default_rng(7)
    x, y = random.random((20_000, 20)), random.integers(0, 2, 20_000)
    model = RandomForestClassifier(trees, n_jobs=-1, random_state=0).fit(x, y)
    raw = folder / "raw.joblib"
    joblib.dump(model, raw)
    label = f"{raw.stat().st_size / 1e6:.0f} MB random forest"
    return _save_and_load(
        folder, label, model, raw, lambda: joblib.dump(model, raw), lambda: joblib.load(raw), round(1 / 1.3, 3)
    )


def _save_and_load(
    folder: Path,
    label: str,
    value: Any,
    raw: Path,
    raw_save: Callable[[], Any],
    raw_load: Callable[[], Any],
    target: float,
    use: Callable[[Any], Any] | None = None,
) -> list[dict[str, Any]]:
    """``use`` runs on both sides after loading, so that what is only mapped is paid for, too."""
    touch = use or (lambda value: value)
    rows = []
    for encrypted in (False, True):
        store: Any = _encrypted_store(folder) if encrypted else _store(folder)
        stored = save(value, store)
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        blob = (store.inner if encrypted else store).local_path(stored.uri)
        assert blob is not None
        saving = _alternate(raw_save, partial(save, value, store), lambda: raw.unlink(missing_ok=True), blob.unlink)
        loading = _alternate(lambda: touch(raw_load()), lambda: touch(load(ref, store)))  # noqa: B023 - called here
        blob.unlink()
        raw.unlink()
        how = "encrypted" if encrypted else "with digest"
        asked = min(target, 0.6) if encrypted else target
        rows += [
            _speed(f"{label}: save {how}", *saving, asked),
            _speed(
                f"{label}: load{' encrypted' if encrypted else ''}, verify{', use' if use else ''}", *loading, asked
            ),
        ]
    return rows


def _small(folder: Path) -> list[dict[str, Any]]:
    """What a step with a small result pays, against writing the same JSON and renaming it."""
    store = _store(folder)

    def ours() -> None:
        for i in range(200):
            save({"accuracy": time.perf_counter() + i}, store)

    def raw() -> None:
        for i in range(200):
            path = folder / f"{i}.tmp"
            path.write_text(json.dumps({"accuracy": time.perf_counter() + i}))
            path.rename(folder / f"{i}.json")

    baseline, value = _alternate(raw, ours)
    return [
        {
            "name": "a dict of metrics: save",
            "value": value / 200 * 1000,
            "baseline": baseline / 200 * 1000,
            "ratio": value / baseline,
            "target": "<= 0.5 ms",
            "ok": value / 200 * 1000 <= 0.5,
            "unit": "ms",
        }
    ]


def _alternate(
    baseline: Callable[[], Any],
    ours: Callable[[], Any],
    before_baseline: Callable[[], Any] = lambda: None,
    before_ours: Callable[[], Any] = lambda: None,
) -> tuple[float, float]:
    """Median seconds of both, taking turns; the first turn of each is not counted."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(TURNS + 1):
        for seconds, prepare, action in ((times[0], before_baseline, baseline), (times[1], before_ours, ours)):
            prepare()
            gc.collect()
            began = time.perf_counter()
            result = action()
            if turn:
                seconds.append(time.perf_counter() - began)
            del result
    return statistics.median(times[0]), statistics.median(times[1])


def _speed(name: str, baseline: float, value: float, target: float) -> dict[str, Any]:
    ratio = baseline / value
    return {
        "name": name,
        "value": value,
        "baseline": baseline,
        "ratio": ratio,
        "target": f">= {target}",
        "ok": ratio >= target,
        "unit": "s",
    }


def _peak(folder: Path, kind: str, size: int, action: str, *, encrypted: bool = False) -> dict[str, Any]:
    """Peak memory of saving (data included) or of loading, by a subprocess of its own, over the size of the data."""
    how = ["encrypted"] if encrypted else []
    command = [sys.executable, "-m", "benchmarks.artifacts", *how, kind, str(size), str(folder), action]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    if action == "load":
        subprocess.run([*command[:-1], "save"], check=True, capture_output=True, env=environment)
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    data, peak = (int(part) for part in done.stdout.split())
    return {
        "name": f"{data / 1e6:.0f} MB {kind}: peak memory to {action}{' encrypted' if encrypted else ''}",
        "value": peak / 1e6,
        "baseline": data / 1e6,
        "ratio": peak / data,
        "target": "<= 1.3",
        "ok": peak / data <= 1.3,
        "unit": "MB",
    }


def _resident(field: str) -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    raise RuntimeError(field)


def _measure(kind: str, size: int, folder: Path, action: str, *, encrypted: bool) -> None:
    """Run in the subprocess: prints the size of the data and the peak with the data, above the bare interpreter."""
    import numpy as np

    store = _encrypted_store(folder) if encrypted else _store(folder)
    note = folder / f"{kind}{encrypted}.json"
    warm: Any = make_table(1000) if kind == "table" else np.zeros(1000)
    stored = save(warm, store)  # imports and thread pools are not what is measured
    load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)
    bare = _resident("VmRSS")
    if action == "save":
        value: Any = make_table(size) if kind == "table" else np.random.default_rng(7).random(size)
        data = int(value.memory_usage(deep=True).sum()) if kind == "table" else value.nbytes
        gc.collect()
        Path("/proc/self/clear_refs").write_text("5")  # forget the peak of making the data
        stored = save(value, store)
        note.write_text(json.dumps({"uri": stored.uri, "digest": stored.digest, "type": stored.type, "data": data}))
    else:
        ref = json.loads(note.read_text())
        data = ref["data"]
        value = load(ref, store)
    print(data, _resident("VmHWM") - bare)


if __name__ == "__main__":
    _measure(sys.argv[-4], int(sys.argv[-3]), Path(sys.argv[-2]), sys.argv[-1], encrypted=sys.argv[1] == "encrypted")
