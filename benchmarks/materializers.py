"""Types beyond tables and arrays: what their formats, digests, previews and statistics cost beside the library alone.

Both sides take turns in one process, files are removed between turns. ``ratio`` is speed: the library's own time over
ours, so 1 is equal and bigger is better. The baseline of statistics is the same saving without them.
"""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from windsock.provider.artifacts.materializers import arrow
from windsock.provider.artifacts.saving import save
from windsock.provider.artifacts.stores.local import LocalArtifactStore, LocalArtifactStoreConfig

from .artifacts import _alternate, _speed, make_table

if TYPE_CHECKING:
    from collections.abc import Callable


class _Nothing:
    def __init__(self, table: Any) -> None:
        pass

    def result(self) -> dict[str, Any]:
        return {}


def run(quick: bool) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [
            *_statistics(folder, [1_000, 50_000] if quick else [1_000, 50_000, 1_000_000]),
            _lazy(folder, 500_000 if quick else 4_000_000),
            _stream(folder, 500_000 if quick else 4_000_000),
            _folder(folder, 100 if quick else 1_000),
            _booster(folder, 50 if quick else 500),
        ]


def _statistics(folder: Path, sizes: list[int]) -> list[dict[str, Any]]:
    store, clear = _store(folder)
    counting = arrow.Counting

    def saving(counter: Any, value: Any, times: int) -> None:
        arrow.Counting = counter
        for _ in range(times):
            save(value, store)
            clear()

    found = []
    for rows in sizes:
        frame, times = make_table(rows), max(1, 50_000 // rows)
        try:
            measured = _alternate(lambda: saving(_Nothing, frame, times), lambda: saving(counting, frame, times))  # noqa: B023
        finally:
            arrow.Counting = counting
        found.append(_speed(f"{rows} rows, 25 columns: save with statistics", *measured, 0.9))
    return found


def _lazy(folder: Path, rows: int) -> dict[str, Any]:
    import numpy as np
    import polars as pl

    random = np.random.default_rng(0)
    source, raw = folder / "source.parquet", folder / "raw.arrow"
    pl.DataFrame({f"x{i}": random.random(rows) for i in range(5)}).write_parquet(source)
    lazy = pl.scan_parquet(source).filter(pl.col("x0") > 0.1).with_columns(y=pl.col("x1") * 2)
    return _compare(folder, f"LazyFrame of {rows} rows: save", lazy, lambda: lazy.sink_ipc(raw), 0.5)


def _stream(folder: Path, rows: int) -> dict[str, Any]:
    import pyarrow as pa
    import pyarrow.dataset as ds

    source = folder / "source.parquet"

    def raw() -> None:
        dataset = ds.dataset(source)
        options = pa.ipc.IpcWriteOptions(compression="lz4")
        with pa.ipc.new_file(str(folder / "raw.arrow"), dataset.schema, options=options) as writer:
            for batch in dataset.to_batches(batch_size=1 << 16):
                writer.write_batch(batch)

    return _compare(folder, f"pyarrow Dataset of {rows} rows: save", ds.dataset(source), raw, 0.6)


def _folder(folder: Path, files: int) -> dict[str, Any]:
    source = folder / "in"
    source.mkdir()
    for i in range(files):
        (source / f"{i}.bin").write_bytes(i.to_bytes(4, "big") * 25_000)
    copy = folder / "copy"

    def raw() -> None:
        shutil.rmtree(copy, ignore_errors=True)
        shutil.copytree(source, copy)

    return _compare(folder, f"folder of {files} files of 100 kB: save", source, raw, 0.3)


def _booster(folder: Path, rounds: int) -> dict[str, Any]:
    import numpy as np
    import xgboost

    random = np.random.default_rng(0)
    x = random.random((5_000, 30))
    model = xgboost.XGBRegressor(n_estimators=rounds, max_depth=8).fit(x, x[:, 0] + random.random(5_000))
    raw = folder / "raw.ubj"
    return _compare(folder, f"XGBoost model of {rounds} trees: save", model, lambda: model.save_model(raw), 0.2)


def _compare(folder: Path, name: str, value: Any, raw: Callable[[], Any], target: float) -> dict[str, Any]:
    store, clear = _store(folder)
    return _speed(name, *_alternate(raw, lambda: save(value, store), before_ours=clear), target)


def _store(folder: Path) -> tuple[LocalArtifactStore, Callable[[], None]]:
    root = folder / "artifacts"
    return LocalArtifactStore(LocalArtifactStoreConfig(path=root)), lambda: shutil.rmtree(
        root / "objects", ignore_errors=True
    )
