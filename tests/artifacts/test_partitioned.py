"""Dask and Spark frames as folders of Parquet: each partition a file, all of them there, read lazily.

Spark brings four hundred megabytes and needs Java: where it is not installed, its tests are skipped.
"""

from __future__ import annotations

import json
import shutil

import numpy as np
import pandas as pd
import pyarrow.dataset as ds
import pytest
from windsock.provider.artifacts.handle import Artifact
from windsock.provider.artifacts.materializers import partitioned
from windsock.provider.artifacts.materializers.base import LoadRequest
from windsock.provider.artifacts.materializers.choose import materializer_named
from windsock.provider.artifacts.saving import load, save
from windsock.provider.errors import ArtifactCorrupted, ArtifactNotFound, MaterializerNotFound


def _handle(stored, store) -> Artifact:
    return Artifact.bind({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)


class TestDask:
    dd = pytest.importorskip("dask.dataframe")

    @pytest.fixture
    def frame(self):
        return pd.DataFrame(
            {
                "n": np.arange(1000),
                "late": [None] * 600 + ["x", "y"] * 200,  # whole partitions without any
                "x": np.random.default_rng(0).random(1000),
                "at": pd.date_range("2026", periods=1000, tz="UTC"),
                "kind": pd.Categorical(["a", "b"] * 500),
            },
            index=pd.Index(np.arange(0, 2000, 2), name="key"),
        )

    def test_come_back_lazy_with_index_and_partitions(self, frame, round_trip):
        value = self.dd.from_pandas(frame, npartitions=4)
        loaded = round_trip(value)
        assert isinstance(loaded, self.dd.DataFrame)
        assert loaded.npartitions == 4
        pd.testing.assert_frame_equal(loaded.compute(), value.compute())

    def test_an_index_without_a_name(self, frame, store, round_trip):
        value = self.dd.from_pandas(frame.reset_index(drop=True), npartitions=3)
        pd.testing.assert_frame_equal(round_trip(value).compute(), value.compute())
        assert set(save(value, store).metadata["schema"]) == set(frame.columns)

    def test_each_partition_is_computed_once_and_counted_meanwhile(self, frame, store):
        seen = []

        def note(part):
            if len(part) > 1:  # not Dask's example
                seen.append(len(part))
            return part

        value = self.dd.from_pandas(frame, npartitions=4)
        metadata = save(value.map_partitions(note, meta=value._meta), store).metadata
        assert seen == [250] * 4
        assert (metadata["rows"], metadata["partitions"]) == (1000, 4)
        found, expected = metadata["statistics"]["columns"]["x"], frame["x"].describe()
        for key in ("count", "min", "max", "mean", "std"):
            assert found[key] == pytest.approx(expected[key])
        assert metadata["statistics"]["columns"]["late"]["nulls"] == 600
        assert metadata["preview"]["n"] == [0, 1, 2, 3, 4]
        json.dumps(metadata, allow_nan=False)

    def test_columns_and_other_tools(self, frame, store):
        handle = _handle(save(self.dd.from_pandas(frame, npartitions=2), store), store)
        assert list(handle.load(columns=["x"]).compute().columns) == ["x"]
        with pytest.raises(ArtifactNotFound, match="no column 'y'"):
            handle.load(columns=["y"])
        assert ds.dataset(handle.path()).to_table(columns=["n"]).num_rows == 1000

    def test_from_a_remote_store(self, frame, store):
        stored = save(self.dd.from_pandas(frame, npartitions=2), store)
        store.local_path = lambda uri: None
        loaded = load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)
        assert len(loaded) == 1000

    def test_a_partition_that_does_not_arrive_is_an_error(self, frame, store, monkeypatch):
        write = partitioned._write_part

        def elsewhere(part, meta, path):  # a worker with a disk of its own
            return write(part, meta, path if path.endswith("0.parquet") else str(store.local_path("x")) + ".parquet")

        monkeypatch.setattr(partitioned, "_write_part", elsewhere)
        store.local_path("x").parent.mkdir(parents=True, exist_ok=True)
        with pytest.raises(MaterializerNotFound, match="wrote 1000 rows, and 500 arrived"):
            save(self.dd.from_pandas(frame, npartitions=2), store)
        assert not list(store.keys("objects/"))

    def test_damage_is_found(self, frame, store):
        stored = save(self.dd.from_pandas(frame, npartitions=2), store)
        handle = _handle(stored, store)
        part = next(handle.path().glob("*.parquet"))
        data = bytearray(part.read_bytes())
        data[len(data) // 2] ^= 1
        part.chmod(0o644)
        part.write_bytes(data)
        with pytest.raises(ArtifactCorrupted, match="not what was stored"):
            handle.load()

    def test_what_is_no_parquet_is_refused(self, tmp_path):
        materializer = materializer_named("dask")
        with pytest.raises(ArtifactCorrupted, match="holds no Parquet"):
            materializer.load(tmp_path, LoadRequest("dask.dataframe.DataFrame"))
        (tmp_path / "part-00000.parquet").write_bytes(b"PAR1nothing")
        with pytest.raises(ArtifactCorrupted, match="not a readable Parquet file"):
            materializer.load(tmp_path, LoadRequest("dask.dataframe.DataFrame", columns=["a"]))


@pytest.mark.skipif(shutil.which("java") is None, reason="Spark needs Java")
class TestSpark:
    @pytest.fixture(scope="class")
    def spark(self):
        sql = pytest.importorskip("pyspark.sql")
        builder = sql.SparkSession.builder.master("local[2]").config("spark.ui.enabled", "false")
        session = builder.config("spark.sql.session.timeZone", "UTC").getOrCreate()
        session.sparkContext.setLogLevel("OFF")
        yield session
        session.stop()

    @pytest.fixture
    def frame(self, spark):
        frame = spark.range(1000).selectExpr(
            "id",
            "cast(id as double) / 2 as half",
            "if(id % 4 = 0, null, cast(id as string)) as text",
            "if(id % 2 = 0, cast('nan' as double), id) as odd",
            "cast(id as decimal(9, 1)) as exact",
            "timestamp_seconds(id) as at",
            "id > 5 as `late one`",
        )
        return frame.repartition(3, "id")

    def test_comes_back(self, frame, round_trip):
        loaded = round_trip(frame)
        assert loaded.dtypes == frame.dtypes
        found, expected = (sorted(map(str, f.drop("odd").collect())) for f in (loaded, frame))
        assert found == expected

    def test_is_counted_while_it_is_written(self, frame, store):
        metadata = save(frame, store).metadata
        columns = metadata["statistics"]["columns"]
        assert (metadata["rows"], metadata["partitions"]) == (1000, 3)
        assert (columns["text"]["count"], columns["text"]["nulls"]) == (750, 250)
        half = np.arange(1000) / 2
        assert columns["half"] == {
            "count": 1000,
            "nulls": 0,
            "min": 0.0,
            "max": 499.5,
            "mean": pytest.approx(half.mean()),
            "std": pytest.approx(half.std(ddof=1)),
        }
        assert (columns["odd"]["min"], columns["odd"]["max"]) == (1.0, 999.0)
        json.dumps(metadata, allow_nan=False)

    def test_columns_and_other_tools(self, frame, store):
        handle = _handle(save(frame, store), store)
        assert handle.load(columns=["half"]).columns == ["half"]
        names = sorted(path.name for path in handle.path().iterdir())
        assert names == [f"part-0000{i}.parquet" for i in range(3)]
        assert ds.dataset(handle.path()).count_rows() == 1000

    def test_rows_that_do_not_arrive_are_an_error(self, frame, store, monkeypatch):
        part = partitioned._part
        monkeypatch.setattr(
            partitioned, "_part", lambda path, number: part(path if number else path.parent, number + 90)
        )
        with pytest.raises(MaterializerNotFound, match="wrote 1000 rows"):
            save(frame, store)
