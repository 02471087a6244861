"""Values come back as they were: types, dtypes, index, order, NaN."""

from __future__ import annotations

import dataclasses
import datetime as dt
import decimal
import json
import math
import subprocess
import sys
import threading
import uuid
from pathlib import Path

import numpy as np
import pytest
from windsock.provider.artifacts.handle import Artifact
from windsock.provider.artifacts.materializers import choose
from windsock.provider.artifacts.materializers.base import LoadRequest, Materializer
from windsock.provider.artifacts.materializers.choose import materializer_named, public_name, register_materializer
from windsock.provider.artifacts.saving import load, save
from windsock.provider.errors import ArtifactCorrupted, ArtifactNotFound, MaterializerNotFound


class TestPlainData:
    @pytest.mark.parametrize(
        "value",
        [
            None,
            True,
            0,
            -(2**70),
            1.5,
            math.inf,
            "",
            "größe\n\ud800",
            b"\x00\xff",
            bytearray(b"ab"),
            {},
            [],
            {"a": {"b": [1, 2.0, None, True, "x"]}},
            {"$float": "not a tag", "a": 1},
            {1: "int key", (1, 2): "tuple key", None: 0},
            (1, (2, [3])),
            {1, 2},
            frozenset({"a"}),
            1 + 2j,
            dt.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=dt.timezone.utc),
            [dt.date(2026, 1, 2), dt.time(1, 2), dt.timedelta(days=-1, microseconds=5)],
            decimal.Decimal("1.10"),
            uuid.UUID(int=5),
            {"path": Path("/tmp/x"), "bytes": b"\x01"},
        ],
        ids=repr,
    )
    def test_round_trip(self, value, round_trip):
        loaded = round_trip(value)
        assert loaded == value
        assert type(loaded) is type(value)

    def test_nan_and_infinity_are_standard_json(self, store):
        stored = save({"auc": math.nan, "loss": -math.inf}, store)
        text = store.get_bytes(stored.uri).decode()
        assert json.loads(text, parse_constant=pytest.fail) == {
            "auc": {"$float": "nan"},
            "loss": {"$float": "-inf"},
        }
        loaded = load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)
        assert math.isnan(loaded["auc"])
        assert loaded["loss"] == -math.inf

    def test_a_dict_of_metrics_is_a_readable_file(self, store):
        stored = save({"accuracy": np.float64(0.5), "n": np.int64(3), "ok": np.bool_(True)}, store)
        assert json.loads(store.get_bytes(stored.uri)) == {"accuracy": 0.5, "n": 3, "ok": True}
        assert stored.metadata["preview"]["n"] == 3

    def test_order_of_keys_is_kept_and_of_sets_does_not_matter(self, round_trip, store):
        assert list(round_trip({"b": 1, "a": 2})) == ["b", "a"]
        words = [f"word {i}" for i in range(100)]
        assert save(set(words), store).digest == save(set(words), store).digest


class TestPaths:
    def test_a_file_keeps_its_ending(self, tmp_path, store):
        file = tmp_path / "model.onnx"
        file.write_bytes(b"weights")
        stored = save(file, store)
        assert stored.uri.endswith(".onnx")
        assert (stored.type, stored.metadata["name"]) == ("pathlib.Path", "model.onnx")
        loaded = load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)
        assert loaded.read_bytes() == b"weights"
        assert file.exists()

    def test_text_declared_as_a_path_is_the_file(self, tmp_path, store):
        (tmp_path / "x.csv").write_text("a,b")
        stored = save(str(tmp_path / "x.csv"), store, declared_type="pathlib.Path")
        assert (stored.type, stored.size) == ("pathlib.Path", 3)

    def test_a_folder_with_a_link_to_itself(self, tmp_path, round_trip):
        folder = tmp_path / "folder"
        folder.mkdir()
        (folder / "a").write_text("a")
        (folder / "up").symlink_to(folder)
        (folder / "alias").symlink_to(folder / "a")
        assert sorted(p.name for p in round_trip(folder).rglob("*")) == ["a", "alias"]

    def test_a_missing_file_says_so(self, tmp_path, store):
        with pytest.raises(MaterializerNotFound, match="no such file"):
            save(tmp_path / "none", store)


class TestArrays:
    @pytest.mark.parametrize(
        "array",
        [
            np.arange(12.0).reshape(3, 4),
            np.asfortranarray(np.arange(12.0).reshape(3, 4)),
            np.arange(24).reshape(4, 6)[::2, ::3],
            np.arange(24)[::-1],
            np.zeros((0, 3), np.float32),
            np.array(5),
            np.array(["2026-01-01", "NaT"], "M8[ns]"),
            np.array([1, 2], "m8[s]"),
            np.array(["a", "ünï"]),
            np.array([b"x", b"yz"]),
            np.array([True, False]),
            np.array([1 + 2j], np.complex64),
            np.array([1, 2], ">i4"),
            np.array([(1, 2.0), (3, 4.0)], dtype=[("a", "i4"), ("b", "f8")]),
            np.array(["a", None, 3.5, [1, 2]], dtype=object),
            np.array(["short", "longer text"], np.dtypes.StringDType()),
        ],
        ids=lambda a: f"{a.dtype}-{a.shape}",
    )
    def test_round_trip(self, array, round_trip):
        loaded = round_trip(array)
        assert (loaded.dtype, loaded.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(loaded, array)
        assert loaded.flags.writeable

    def test_a_big_array_is_mapped_and_its_own(self, store, round_trip):
        array = np.arange(9_000_000, dtype=np.float64)
        stored = save(array, store)
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        loaded = load(ref, store)
        loaded[:] = 0
        assert np.array_equal(load(ref, store), array), "writing to a loaded array never reaches the blob"
        assert save(array, store).digest == stored.digest

    def test_numpy_reads_the_file(self, store):
        array = np.random.default_rng(0).random((100, 3))
        path = store.local_path(save(array, store).uri)
        assert np.array_equal(np.load(path), array)

    @pytest.mark.parametrize("value", [np.float64(1.5), np.int8(-3), np.str_("x"), np.datetime64("2026-01-01")])
    def test_scalars(self, value, round_trip):
        loaded = round_trip(value)
        assert loaded == value
        assert type(loaded) is type(value)

    def test_metadata(self, store):
        stored = save(np.arange(10).reshape(2, 5), store)
        assert stored.metadata == {"shape": [2, 5], "dtype": "int64", "preview": [0, 1, 2, 3, 4]}


class TestTables:
    @pytest.fixture
    def frame(self):
        import pandas as pd

        return pd.DataFrame(
            {
                "float": [1.5, math.nan, -math.inf],
                "int": pd.array([1, None, 3], dtype="Int64"),
                "text": ["a", None, "ü"],
                "flag": [True, False, True],
                "when": pd.to_datetime(["2026-01-01", None, "2026-03-29"]).tz_localize("UTC").tz_convert("Asia/Tokyo"),
                "kind": pd.Categorical(["low", "high", None], categories=["low", "mid", "high"], ordered=True),
                "span": pd.to_timedelta([1, 2, None], unit="s"),
                "small": np.array([1, 2, 3], np.int8),
            },
            index=pd.MultiIndex.from_tuples([("x", 1), ("x", 2), ("y", 1)], names=["group", "n"]),
        )

    def test_a_frame(self, frame, round_trip):
        import pandas as pd

        pd.testing.assert_frame_equal(round_trip(frame), frame)

    def test_series_and_index(self, frame, round_trip):
        import pandas as pd

        for name in ("float", "kind", "small"):
            pd.testing.assert_series_equal(round_trip(frame[name]), frame[name])
        unnamed = pd.Series([1, 2], index=["a", "b"])
        pd.testing.assert_series_equal(round_trip(unnamed), unnamed)
        pd.testing.assert_index_equal(round_trip(frame.index), frame.index)
        pd.testing.assert_index_equal(round_trip(pd.RangeIndex(1, 9, 2)), pd.RangeIndex(1, 9, 2))

    def test_big_frames_are_read_in_groups_and_writable(self, store):
        import pandas as pd

        random = np.random.default_rng(0)
        frame = pd.DataFrame({f"f{i}": random.random(900_000) for i in range(12)})
        frame["text"] = pd.array(np.char.add("t", np.arange(900_000).astype(str)).tolist(), dtype="str")
        frame.index = pd.Index(np.arange(900_000) * 2, name="id")
        frame.attrs = {"source": "test"}
        stored = save(frame, store)
        assert stored.size > 64 << 20
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        loaded = load(ref, store)
        pd.testing.assert_frame_equal(loaded, frame)
        assert loaded.attrs == frame.attrs
        loaded.iloc[0, 0] = 5.0
        loaded["f3"] *= 2
        assert (loaded.iloc[0, 0], list(loaded.columns)) == (5.0, list(frame.columns))
        pd.testing.assert_frame_equal(load(ref, store, columns=["text", "f7"]), frame[["text", "f7"]])

    def test_names_that_are_not_text(self, round_trip, store):
        import pandas as pd

        numbers = pd.DataFrame([[1, 2], [3, 4]])
        pd.testing.assert_frame_equal(round_trip(numbers), numbers)
        levels = pd.DataFrame([[1, 2]], columns=pd.MultiIndex.from_tuples([("a", 1), ("a", 2)], names=["k", "n"]))
        pd.testing.assert_frame_equal(round_trip(levels), levels)
        unnamed = pd.Series([1, 2], name=("a", 1))
        pd.testing.assert_series_equal(round_trip(unnamed), unnamed)
        with pytest.raises(MaterializerNotFound, match="different types: 'a', 1"):
            save(pd.DataFrame({"a": [1], 1: [2]}), store)

    def test_without_rows_or_columns(self, round_trip):
        import pandas as pd

        for frame in (
            pd.DataFrame(),
            pd.DataFrame(index=pd.RangeIndex(3)),
            pd.DataFrame(index=["a", "b"]),
            pd.DataFrame({"a": pd.Series([], dtype="float64"), "c": pd.Categorical([], categories=["x"])}),
        ):
            loaded = round_trip(frame)
            assert loaded.shape == frame.shape
            assert loaded.index.equals(frame.index)
            assert list(loaded.dtypes) == list(frame.dtypes)

    def test_columns(self, frame, store):
        stored = save(frame, store)
        ref = {"uri": stored.uri, "digest": stored.digest, "type": stored.type}
        some = load(ref, store, columns=["text", "float"])
        assert list(some.columns) == ["text", "float"]
        assert some.index.equals(frame.index)
        with pytest.raises(ArtifactNotFound, match="no column 'flaot'") as caught:
            load(ref, store, columns=["flaot"])
        assert 'Did you mean "float"?' in caught.value.hint

    def test_what_arrow_cannot_hold_names_the_column(self, store):
        import pandas as pd

        with pytest.raises(MaterializerNotFound, match="mixed") as caught:
            save(pd.DataFrame({"mixed": [1, "a", object()]}), store)
        assert "@step(pickle=True)" in caught.value.hint
        with pytest.raises(MaterializerNotFound, match="same name: a"):
            save(pd.DataFrame([[1, 2]], columns=["a", "a"]), store)

    def test_polars(self, round_trip):
        import polars as pl

        frame = pl.DataFrame(
            {
                "a": [1, None],
                "text": ["x", "y"],
                "enum": pl.Series(["lo", "hi"], dtype=pl.Enum(["lo", "hi"])),
                "list": [[1, 2], []],
                "struct": [{"x": 1}, {"x": 2}],
                "when": [dt.datetime(2026, 1, 1), None],
            }
        )
        loaded = round_trip(frame)
        assert loaded.schema == frame.schema
        assert loaded.equals(frame)
        assert round_trip(frame["text"]).equals(frame["text"])

    def test_arrow(self, round_trip):
        import pyarrow as pa

        table = pa.table({"a": [1, 2], "n": [[{"x": 1}], None]})
        assert round_trip(table).drop_columns([]).to_pylist() == table.to_pylist()
        batch = table.to_batches()[0]
        assert isinstance(round_trip(batch), pa.RecordBatch)

    def test_metadata(self, frame, store):
        metadata = save(frame, store).metadata
        assert (metadata["rows"], metadata["shape"]) == (3, [3, 8])
        assert metadata["schema"]["kind"] == "category"
        assert metadata["preview"]["text"][0] == "a"
        json.dumps(metadata, allow_nan=False)


class TestRecords:
    def test_a_dataclass(self, store):
        from saver import SplitLike

        stored = save(SplitLike("a", parts=(1, 2)), store)
        loaded = load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)
        assert loaded == SplitLike("a", parts=(1, 2))

    def test_a_pydantic_model(self, store):
        from windsock.provider.artifacts.stores.local import LocalArtifactStoreConfig

        value = LocalArtifactStoreConfig(path=Path("/x"), fsync=True)
        stored = save(value, store)
        assert load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store) == value

    def test_one_that_cannot_be_found_again_is_refused(self, store):
        @dataclasses.dataclass
        class Local:
            x: int

        with pytest.raises(MaterializerNotFound, match="cannot be imported"):
            save(Local(1), store)


class TestContainersOfBigThings:
    def test_a_dict_of_a_model_and_a_table(self, round_trip):
        import pandas as pd
        from sklearn.linear_model import LinearRegression

        frame = pd.DataFrame({"a": [1.0, 2, 3]})
        value = {"model": LinearRegression().fit(frame, [1, 2, 3]), "data": [frame, np.arange(3)], "n": (1, math.nan)}
        loaded = round_trip(value)
        assert np.allclose(loaded["model"].coef_, value["model"].coef_)
        pd.testing.assert_frame_equal(loaded["data"][0], frame)
        assert np.array_equal(loaded["data"][1], np.arange(3))
        assert math.isnan(loaded["n"][1])

    def test_the_unknown_thing_inside_is_named_with_its_place(self, store):
        with pytest.raises(MaterializerNotFound, match=r"value\['a'\]\[1\] of the value is a _thread.lock"):
            save({"a": [1, threading.Lock()]}, store)


class TestFigures:
    def test_png_and_svg(self, store):
        matplotlib = pytest.importorskip("matplotlib")
        matplotlib.use("Agg")
        from matplotlib.figure import Figure

        figure = Figure()
        figure.subplots().plot([1, 2])
        stored = save(figure, store)
        loaded = load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)
        assert loaded.png.startswith(b"\x89PNG")
        assert "<svg" in loaded.svg


class Celsius:
    def __init__(self, degrees):
        self.degrees = degrees


class Kelvin(Celsius):
    pass


class CelsiusMaterializer(Materializer):
    name = "test.celsius"
    extension = ".celsius"

    def save(self, value, path):
        path.write_text(f"{type(value).__name__} {value.degrees}")

    def load(self, path, request: LoadRequest):
        kind, degrees = path.read_text().split()
        return {"Celsius": Celsius, "Kelvin": Kelvin}[kind](float(degrees))


class TestOwnMaterializers:
    @pytest.fixture(autouse=True)
    def registered(self):
        register_materializer(Celsius, CelsiusMaterializer)
        yield
        choose._registered.clear()

    def test_stores_the_type_and_its_subclasses(self, round_trip):
        assert round_trip(Celsius(3.5)).degrees == 3.5
        assert type(round_trip(Kelvin(3.5))) is Kelvin

    def test_inside_a_container(self, round_trip):
        assert round_trip({"now": Celsius(1.0)})["now"].degrees == 1.0

    def test_one_that_is_gone_says_which(self, store):
        stored = save(Celsius(1), store)
        choose._registered.clear()
        with pytest.raises(MaterializerNotFound, match="No materializer is known here"):
            load({"uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)

    def test_unknown_types_say_what_to_do(self, store):
        class Odd(dict):
            pass

        with pytest.raises(MaterializerNotFound, match="Odd") as caught:
            save(Odd(), store)
        for advice in ("builtins.dict", "register_materializer", "@step(pickle=True)"):
            assert advice in caught.value.hint


class TestChoosing:
    def test_endings_are_those_of_the_classes(self):
        for extension, name in choose._ENDINGS.items():
            assert materializer_named(name).extension == extension or extension == ".image.tif"
        assert {materializer_named(name).name for name in choose._CLASSES} == set(choose._CLASSES)

    def test_public_names(self):
        import pandas as pd
        from sklearn.ensemble import RandomForestClassifier

        assert public_name(pd.DataFrame) == "pandas.DataFrame"
        assert public_name(RandomForestClassifier) == "sklearn.ensemble.RandomForestClassifier"
        assert public_name(type(Path())) == "pathlib.Path"
        assert public_name(dict) == "builtins.dict"

    def test_saving_plain_data_imports_nothing_heavy(self, tmp_path):
        code = f"""
import sys
from windsock.provider.artifacts.saving import save, load
from windsock.provider.artifacts.stores.local import LocalArtifactStore, LocalArtifactStoreConfig
from pathlib import Path
store = LocalArtifactStore(LocalArtifactStoreConfig(path=Path({str(tmp_path)!r})))
stored = save({{"a": [1, 2.5]}}, store)
assert load({{"uri": stored.uri, "digest": stored.digest, "type": stored.type}}, store) == {{"a": [1, 2.5]}}
heavy = {{"numpy", "pandas", "pyarrow", "sklearn", "scipy", "polars", "matplotlib", "fsspec", "s3fs", "airflow"}}
print(sorted(heavy & set(sys.modules)))
"""
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "[]"


class TestHandle:
    @pytest.fixture
    def bind(self, store):
        def bind(value):
            stored = save(value, store)
            facts = {"artifact": "churn.train", "version": 3}
            return Artifact.bind({**facts, "uri": stored.uri, "digest": stored.digest, "type": stored.type}, store)

        return bind

    def test_says_what_it_is_without_reading(self, bind, store):
        handle = bind({"a": 1})
        store.delete(handle.uri)
        assert (handle.name, handle.version, handle.type) == ("churn.train", 3, "builtins.dict")
        assert repr(handle) == "<Artifact churn.train version 3, builtins.dict>"
        assert not handle.available()

    def test_opens_lazily(self, bind):
        import pandas as pd

        array = bind(np.arange(5)).open()
        assert isinstance(array, np.memmap)
        data = bind(pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6]})).open()
        assert data.to_table(columns=["b"]).to_pydict() == {"b": [4, 5, 6]}
        assert bind([1]).open() == [1]

    def test_path_is_verified(self, bind, store):
        handle = bind(b"content")
        assert handle.path().read_bytes() == b"content"
        store.write(store.key_of(handle.uri), b"changed", overwrite=True)
        with pytest.raises(ArtifactCorrupted):
            handle.path()

    def test_pickles_as_its_reference(self, bind):
        import pickle

        handle = bind([1])
        assert pickle.loads(pickle.dumps(handle)) == handle
