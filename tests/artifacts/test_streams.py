"""Tables that need not fit into memory: written in batches, read lazily, some columns at a time."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest
from windsock.provider.artifacts.handle import Artifact
from windsock.provider.artifacts.materializers.base import LoadRequest
from windsock.provider.artifacts.materializers.choose import materializer_named
from windsock.provider.artifacts.materializers.statistics import BATCH
from windsock.provider.artifacts.saving import load, save
from windsock.provider.errors import ArtifactCorrupted, ArtifactNotFound, MaterializerNotFound


def _table(rows: int) -> pa.Table:
    return pa.table({"n": np.arange(rows), "half": np.arange(rows) / 2, "text": np.arange(rows).astype(str)})


@pytest.fixture
def handle(store):
    def handle(value):
        stored = save(value, store)
        return Artifact.bind({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)

    return handle


class TestLazyFrames:
    def test_come_back_lazy_and_equal(self, round_trip):
        frame = pl.DataFrame(
            {
                "n": range(100_000),
                "kind": pl.Series(["x", None, "z", "z"] * 25_000, dtype=pl.Categorical),
                "enum": pl.Series(["lo", "hi"] * 50_000, dtype=pl.Enum(["lo", "hi"])),
                "list": [[1], []] * 50_000,
            }
        )
        lazy = frame.lazy().filter(pl.col("n") % 3 == 0)
        loaded = round_trip(lazy)
        assert isinstance(loaded, pl.LazyFrame)
        assert loaded.collect_schema() == lazy.collect_schema()
        assert loaded.collect().equals(lazy.collect())

    def test_columns_and_a_typo(self, handle):
        stored = handle(pl.LazyFrame({"a": [1, 2], "b": ["x", "y"]}))
        assert stored.load(columns=["b"]).collect().to_dict(as_series=False) == {"b": ["x", "y"]}
        assert stored.open().select(pl.col("a").sum()).collect().item() == 3
        with pytest.raises(ArtifactNotFound, match="no column 'bb'") as caught:
            stored.load(columns=["bb"])
        assert 'Did you mean "b"?' in caught.value.hint

    def test_facts_without_collecting(self, store):
        metadata = save(pl.LazyFrame({"a": range(1000)}).with_columns(b=pl.col("a") * 2.0), store).metadata
        assert (metadata["rows"], metadata["schema"]) == (1000, {"a": "Int64", "b": "Float64"})
        assert metadata["preview"]["b"] == [0.0, 2.0, 4.0, 6.0, 8.0]
        assert metadata["statistics"]["columns"]["b"]["max"] == 1998.0

    def test_the_file_may_stay_after_the_call(self, store, tmp_path):
        """What was loaded from a remote store reads a copy, which must still be there."""
        stored = save(pl.LazyFrame({"a": [1, 2]}), store)
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        store.local_path = lambda uri: None  # as a remote one
        assert load(ref, store).collect().height == 2

    def test_objects_are_refused(self, store):
        with pytest.raises(MaterializerNotFound, match="Python objects: o"):
            save(pl.DataFrame({"o": [object()]}).lazy(), store)


class TestDatasets:
    def test_of_many_files(self, tmp_path, round_trip):
        table = _table(10_000)
        pq.write_to_dataset(
            table.append_column("part", pa.array([i % 3 for i in range(10_000)])), tmp_path / "in", ["part"]
        )
        dataset = ds.dataset(tmp_path / "in", partitioning="hive")
        loaded = round_trip(dataset)
        assert isinstance(loaded, ds.Dataset)
        assert loaded.schema == dataset.schema
        assert loaded.to_table().sort_by("n").equals(dataset.to_table().sort_by("n"))

    def test_equal_rows_give_equal_bytes_however_they_come(self, store):
        table = _table(3 * BATCH // 2)
        some = pa.Table.from_batches(table.to_batches(777))
        readers = [pa.RecordBatchReader.from_batches(t.schema, t.to_batches()) for t in (table, some)]
        digests = {save(value, store).digest for value in (ds.dataset(table), ds.dataset(some), *readers)}
        assert len(digests) == 1

    def test_columns_are_a_dataset_of_these_columns(self, handle):
        stored = handle(ds.dataset(_table(100)))
        assert stored.load(columns=["text"]).schema.names == ["text"]
        assert stored.open().to_table(columns=["n"], filter=ds.field("n") > 97).to_pydict() == {"n": [98, 99]}
        with pytest.raises(ArtifactNotFound, match="no column"):
            stored.load(columns=["nothing"])

    def test_without_rows(self, round_trip):
        assert round_trip(ds.dataset(_table(0))).to_table().equals(_table(0))

    def test_facts(self, store):
        metadata = save(ds.dataset(_table(100_000)), store).metadata
        assert (metadata["shape"], metadata["preview"]["text"][:2]) == ([100_000, 3], ["0", "1"])
        assert metadata["statistics"]["columns"]["half"]["mean"] == pytest.approx(24_999.75)

    def test_no_arrow_file_is_refused(self, tmp_path):
        (tmp_path / "x").write_bytes(b"ARROW1\x00\x00nothing")
        for name in ("arrow.dataset", "arrow.reader", "polars.lazy"):
            with pytest.raises(ArtifactCorrupted, match="not a readable Arrow file"):
                materializer_named(name).load(tmp_path / "x", LoadRequest("x"))


class TestReaders:
    def test_come_back_from_the_beginning(self, store):
        table = _table(1000)
        stored = save(pa.RecordBatchReader.from_batches(table.schema, table.to_batches(10)), store)
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        for _ in range(2):
            loaded = load(ref, store)
            assert isinstance(loaded, pa.RecordBatchReader)
            assert loaded.read_all().equals(table)
        assert load(ref, store, columns=["n"]).read_all().column_names == ["n"]

    def test_an_error_of_the_source_stores_nothing(self, store):
        def batches():
            yield _table(5).to_batches()[0]
            raise OSError("the source is gone")

        with pytest.raises(OSError, match="the source is gone"):
            save(pa.RecordBatchReader.from_batches(_table(0).schema, batches()), store)
        assert not list(store.keys("objects/"))

    def test_memory_is_bounded(self, tmp_path):
        code = f"""
import resource, sys
import numpy as np, pyarrow as pa
from pathlib import Path
from windsock.provider.artifacts.saving import save
from windsock.provider.artifacts.stores.local import LocalArtifactStore, LocalArtifactStoreConfig
store = LocalArtifactStore(LocalArtifactStoreConfig(path=Path({str(tmp_path)!r})))
rows, batches = 100_000, int(sys.argv[1])
schema = pa.schema([(f"c{{i}}", pa.float64()) for i in range(10)])
def source():
    for seed in range(batches):
        data = np.random.default_rng(seed).random(rows)
        yield pa.RecordBatch.from_arrays([pa.array(data + i) for i in range(10)], schema=schema)
stored = save(pa.RecordBatchReader.from_batches(schema, source()), store)
assert stored.metadata["rows"] == rows * batches
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)
"""

        def peak(batches: int) -> int:
            done = subprocess.run(
                [sys.executable, "-c", code, str(batches)], capture_output=True, text=True, check=True
            )
            return int(done.stdout)

        few, many = peak(4), peak(40)  # 32 and 320 megabytes
        assert many - few < 120


class TestPaths:
    def test_a_file_opens_as_a_file(self, handle, tmp_path):
        path = tmp_path / "notes.txt"
        path.write_text("first\nsecond\n")
        with handle(path).open() as opened:
            assert opened.read(5) == b"first"

    def test_the_beginning_of_a_text_is_shown_and_binary_is_not(self, store, tmp_path):
        shown = {}
        for name, data in {
            "a.csv": "größe,b\n1,2\n".encode(),
            "b.bin": bytes(range(256)),
            "c.txt": b"line\n" * 1000,
        }.items():
            (tmp_path / name).write_bytes(data)
            shown[name] = save(tmp_path / name, store).metadata.get("preview")
        assert shown["a.csv"] == "größe,b\n1,2\n"
        assert shown["b.bin"] is None
        assert shown["c.txt"] == "line\n" * 100

    def test_a_folder_says_what_is_in_it(self, store, tmp_path):
        (tmp_path / "in" / "deep").mkdir(parents=True)
        (tmp_path / "in" / "deep" / "x.bin").write_bytes(b"12345")
        metadata = save(tmp_path / "in", store).metadata
        assert (metadata["files"], metadata["preview"]) == (1, {"deep/x.bin": 5})


class TestPictures:
    @pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK", "F", "I", "I;16"])
    def test_images_pixel_by_pixel(self, mode, round_trip):
        image = pytest.importorskip("PIL.Image")
        pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
        picture = image.fromarray(pixels)
        if mode == "I;16":
            picture = image.fromarray(np.arange(2400, dtype=np.uint16).reshape(40, 60))
        elif mode == "LA":
            picture = picture.convert("L").convert("LA")
        else:
            picture = picture.convert(mode)
        loaded = round_trip(picture)
        assert (loaded.mode, loaded.size, loaded.tobytes()) == (mode, picture.size, picture.tobytes())

    def test_what_belongs_to_an_image_is_kept(self, round_trip):
        image = pytest.importorskip("PIL.Image")
        picture = image.new("P", (9, 9))
        picture.putpalette([1, 2, 3, 4, 5, 6])
        picture.info.update(transparency=1, dpi=(72, 72))
        exif = picture.getexif()
        exif[0x010E] = "a test"
        loaded = round_trip(picture)
        assert loaded.getpalette()[:6] == [1, 2, 3, 4, 5, 6]
        assert loaded.info["transparency"] == 1
        assert loaded.getexif()[0x010E] == "a test"

    def test_what_would_be_lost_is_refused(self, store):
        image = pytest.importorskip("PIL.Image")
        with pytest.raises(MaterializerNotFound, match="mode YCbCr"):
            save(image.new("YCbCr", (9, 9)), store)

    def test_depths_that_are_no_numbers_and_no_pixels(self, store, round_trip):
        image = pytest.importorskip("PIL.Image")
        depths = np.array([[np.nan, np.inf], [1.0, -2.0]], np.float32)
        assert np.array_equal(np.asarray(round_trip(image.fromarray(depths))), depths, equal_nan=True)
        with pytest.raises(MaterializerNotFound, match="no pixels"):
            save(image.new("RGB", (0, 5)), store)

    def test_a_bomb_is_refused(self, monkeypatch, tmp_path):
        image = pytest.importorskip("PIL.Image")
        image.new("1", (3000, 3000)).save(tmp_path / "x.png")
        data = memoryview((tmp_path / "x.png").read_bytes())
        monkeypatch.setattr(image, "MAX_IMAGE_PIXELS", 1000)
        with pytest.raises(ArtifactCorrupted, match="decompression bomb"):
            materializer_named("image").read(data, LoadRequest("PIL.Image.Image"))
        with pytest.raises(MaterializerNotFound, match="3000 × 3000 pixels"):
            materializer_named("image").write(image.new("1", (3000, 3000)), None)

    @pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n", b"GIF89a" + bytes(50), b"%!PS-Adobe-3.0 EPSF-3.0\n"])
    def test_other_formats_and_damage_are_refused(self, data):
        pytest.importorskip("PIL.Image")
        with pytest.raises(ArtifactCorrupted, match="not a readable image"):
            materializer_named("image").read(memoryview(data), LoadRequest("PIL.Image.Image"))

    @pytest.mark.parametrize("shape", [(200, 90), (30, 40, 1), (30, 40, 3), (64, 64, 4)])
    def test_arrays_of_pixels_stay_arrays_and_show_a_picture(self, shape, store, round_trip):
        image = pytest.importorskip("PIL.Image")
        import base64
        import io

        pixels = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
        assert np.array_equal(round_trip(pixels), pixels)
        head, data = save(pixels, store).metadata["thumbnail"].split(",")
        assert head == "data:image/png;base64"
        shown = np.asarray(image.open(io.BytesIO(base64.b64decode(data))))
        step = -(-max(shape[:2]) // 64)
        assert np.array_equal(shown, pixels[::step, ::step].squeeze())

    def test_other_arrays_show_none(self, store):
        for array in (np.zeros((30, 30)), np.zeros((3, 30), np.uint8), np.zeros((30, 30, 7), np.uint8)):
            assert "thumbnail" not in save(array, store).metadata
