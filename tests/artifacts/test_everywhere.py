"""Each family of types comes back from a store that is encrypted, and from one that is not on this machine."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pytest
from stores_lab import context
from windsock.provider.artifacts.handle import Artifact
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.stores.local import LocalArtifactStore
from windsock.provider.errors import ArtifactCorrupted
from windsock.provider.security.keys import new_key

KEY = new_key()
FRAME = pd.DataFrame({"n": np.arange(500), "text": ["a", "b"] * 250})


def _lazy(_: Path):
    return pl.from_pandas(FRAME).lazy(), lambda found: found.collect().to_pandas()


def _dataset(_: Path):
    return ds.dataset(pa.Table.from_pandas(FRAME)), lambda found: found.to_table().to_pandas()


def _reader(_: Path):
    table = pa.Table.from_pandas(FRAME)
    return pa.RecordBatchReader.from_batches(table.schema, table.to_batches()), lambda found: found.read_pandas()


def _dask(_: Path):
    frames = pytest.importorskip("dask.dataframe")
    return frames.from_pandas(FRAME, npartitions=2), lambda found: found.compute()


def _both(_: Path):
    value = {"lazy": pl.from_pandas(FRAME).lazy(), "rows": 500}
    return value, lambda found: found["lazy"].collect().to_pandas()


def _folder(folder: Path):
    (folder / "in").mkdir()
    FRAME.to_csv(folder / "in" / "data.csv", index=False)
    return folder / "in", lambda found: pd.read_csv(found / "data.csv")


def _booster(_: Path):
    xgboost = pytest.importorskip("xgboost")
    model = xgboost.XGBRegressor(n_estimators=2).fit(FRAME[["n"]], FRAME["n"])
    expected = model.predict(FRAME[["n"]])
    return model, lambda found: FRAME if np.array_equal(found.predict(FRAME[["n"]]), expected) else None


def _image(_: Path):
    image = pytest.importorskip("PIL.Image")
    picture = image.new("RGB", (20, 20), (1, 2, 3))
    return picture, lambda found: FRAME if found.tobytes() == picture.tobytes() else None


FAMILIES = {f.__name__[1:]: f for f in (_lazy, _dataset, _reader, _dask, _both, _folder, _booster, _image)}


@pytest.fixture(params=["encrypted", "elsewhere"])
def store(request, tmp_path):
    options = {"path": str(tmp_path / "artifacts")}
    if request.param == "encrypted":
        options["encryption"] = {"key": "keys"}
    secret = {"conn_type": "generic", "password": KEY}
    made = LocalArtifactStore.from_mapping(options, context(tmp_path / "home", keys=secret))
    if request.param == "elsewhere":
        made.local_path = lambda uri: None
    return made


@pytest.mark.parametrize("family", FAMILIES)
class TestEveryFamily:
    def test_comes_back(self, family, store, tmp_path):
        value, read = FAMILIES[family](tmp_path)
        stored = save(value, store)
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        for found in (load(ref, store), Artifact.bind(ref, store).open()):
            pd.testing.assert_frame_equal(read(found), FRAME, check_dtype=False)

    def test_damage_is_found(self, family, store, tmp_path):
        value, read = FAMILIES[family](tmp_path)
        stored = save(value, store)
        parts = [path for path in (tmp_path / "artifacts" / "objects").rglob("*") if path.is_file()]
        part = max(parts, key=lambda path: path.stat().st_size)
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 1
        part.chmod(0o644)
        part.write_bytes(data)
        with pytest.raises(ArtifactCorrupted):
            read(load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store))
