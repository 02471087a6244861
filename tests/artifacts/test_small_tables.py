"""Small tables go through memory on one thread, big ones stream: what is stored and what comes back is the same."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from windsock.provider.artifacts.materializers import arrow
from windsock.provider.artifacts.materializers.arrow import ArrowMaterializer, PandasMaterializer
from windsock.provider.artifacts.saving import load, save
from windsock.provider.artifacts.store import ArtifactStore
from windsock.provider.errors import ArtifactCorrupted


def _frame(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(7)
    return pd.DataFrame(
        {
            "x": random.normal(size=rows),
            "count": random.integers(0, 9, rows),
            "half": random.normal(size=rows).astype("float32"),
            "yes": random.random(rows) > 0.5,
            "at": pd.date_range("2026-01-01", periods=rows, freq="min", tz="Europe/Berlin"),
            "kind": pd.Categorical(random.choice(["a", "b"], rows)),
            "note": random.choice(["long", "short", None], rows),
            "maybe": pd.array(random.choice([1, 2, None], rows), dtype="Int64"),
        }
    )


def _ref(saved: Any) -> dict[str, Any]:
    return {"uri": saved.uri, "digest": saved.digest, "type": saved.type}


class TestSmallAndBig:
    @pytest.mark.parametrize("megabytes", [0.1, 0.4, 0.5, 0.6, 0.9, 1.5])
    def test_equal_tables_give_equal_bytes_however_they_lie_in_memory(self, megabytes: float) -> None:
        rows = int(megabytes * 2**20 / 9)
        whole = pa.table({"x": np.arange(4.0 * rows), "yes": [True, None] * 2 * rows})
        part = whole.slice(rows, rows)
        copy = pa.table({name: pa.array(part[name].to_pylist(), part[name].type) for name in part.column_names})
        assert part.equals(copy)
        assert _written(part) == _written(copy)

    def test_small_ones_are_not_compressed_and_big_ones_are(self) -> None:
        small, big = (_written(pa.table({"x": np.zeros(rows)})) for rows in (1_000, 1_000_000))
        assert len(small) > 8_000
        assert len(big) < 800_000

    @pytest.mark.parametrize("value", [pd.Series(np.arange(9.0), name="x"), pd.DataFrame({"x": np.arange(9.0)})])
    def test_one_column_can_be_changed_too(self, value: Any, store: ArtifactStore) -> None:
        saved = save(value, store)
        found = load(_ref(saved), store)
        found.iloc[0] = -1.0
        found += 1
        assert load(_ref(saved), store).equals(value)

    @pytest.mark.parametrize("rows", [500, 40_000])
    def test_both_come_back_and_can_be_changed(self, rows: int, store: ArtifactStore) -> None:
        frame = _frame(rows)
        saved = save(frame, store)
        assert (saved.size < arrow._SMALL) is (rows == 500)
        found = load(_ref(saved), store)
        pd.testing.assert_frame_equal(found, frame)
        found.loc[0, ["x", "count", "yes"]] = [1.5, 3, True]
        found["at"] += pd.Timedelta(days=1)
        pd.testing.assert_frame_equal(load(_ref(saved), store), frame)

    @pytest.mark.parametrize("rows", [500, 40_000])
    def test_damage_is_found_before_anything_is_read(self, rows: int, store: ArtifactStore) -> None:
        saved = save(_frame(rows), store)
        path = store.local_path(saved.uri)
        assert path is not None
        _damage(path)
        with pytest.raises(ArtifactCorrupted):
            load(_ref(saved), store)


def _damage(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o644)
    path.write_bytes(data)


def _written(table: pa.Table) -> bytes:
    file = io.BytesIO()
    ArrowMaterializer().write(table, file)
    return file.getvalue()


_INDEXES = {
    "default": None,
    "range": pd.RangeIndex(5, 45, 4, name="r"),
    "text": pd.Index(list("abcdefghij")),
    "levels": pd.MultiIndex.from_product([[1, 2], list("abcde")], names=["a", "b"]),
    "taken name": pd.Index(range(10, 0, -1), name="c0"),
    "times": pd.date_range("2026", periods=10, tz="Europe/Berlin", freq="h"),
}
_DTYPES = ("float64", "float32", "float16", "int64", "int8", "uint16", "uint64", "bool")


class TestNumbersOnly:
    @pytest.mark.parametrize("index", _INDEXES)
    @pytest.mark.parametrize("columns", [1, 2, 9])
    @pytest.mark.parametrize("name", [None, "columns"])
    def test_the_shortcut_makes_what_pyarrow_makes(self, index: str, columns: int, name: str | None) -> None:
        random = np.random.default_rng(1)
        frame = pd.DataFrame(
            {f"c{i}": (random.random(10) * 50).astype(_DTYPES[i % len(_DTYPES)]) for i in range(columns)},
            index=_INDEXES[index],
        )
        frame.iloc[3, 0] = np.nan
        frame.columns.name = name
        frame.attrs["source"] = "a test"
        assert arrow._only_numbers(frame)
        expected = pa.Table.from_pandas(frame)
        assert arrow._from_numbers(frame).equals(expected, check_metadata=True)

    @pytest.mark.parametrize(
        "frame",
        [
            pd.DataFrame({"a": ["x"]}),
            pd.DataFrame({1: [1.0]}),
            pd.DataFrame({"a": pd.array([1], dtype="Int64")}),
            pd.DataFrame({"a": pd.array([1.0], dtype="double[pyarrow]")}),
            pd.DataFrame({"a": np.array([1.0], dtype=">f8")}),
            pd.DataFrame({"a": pd.Categorical([1])}),
            pd.DataFrame({"a": pd.arrays.SparseArray([1.0])}),
            pd.DataFrame({"a": [1j]}),
            pd.DataFrame({("a", "b"): [1.0]}),
            pd.DataFrame({"a": [1.0] * 101}),
        ],
        ids=lambda frame: str(frame.dtypes.iloc[0]) + str(frame.shape),
    )
    def test_nothing_else_takes_it(self, frame: pd.DataFrame) -> None:
        assert not arrow._only_numbers(frame)


class TestPreview:
    def test_it_shows_each_column_as_the_column_itself_would(self) -> None:
        frame = _frame(20)
        shown = PandasMaterializer().describe(frame)["preview"]
        assert shown == {name: arrow.preview(column.head(5).tolist()) for name, column in frame.items()}

    def test_a_wide_table_shows_its_first_columns(self) -> None:
        facts = PandasMaterializer().describe(pd.DataFrame(np.eye(60), columns=[f"c{i}" for i in range(60)]))
        assert list(facts["preview"]) == [f"c{i}" for i in range(50)]
        assert len(facts["schema"]) == 60
