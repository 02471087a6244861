"""Statistics of a table's columns say what is in it, whatever the types, nulls and sizes; and cost next to nothing."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from windsock.provider.artifacts.materializers import statistics
from windsock.provider.artifacts.materializers.statistics import (
    BATCH,
    COLUMNS,
    Statistics,
    merge_results,
    table_statistics,
)
from windsock.provider.artifacts.saving import save

_FACTS = ["count", "mean", "std", "min", "max"]


def _of(frame: pd.DataFrame) -> dict:
    return table_statistics(pa.Table.from_pandas(frame, preserve_index=False))


def _numbers(rows: int) -> pd.DataFrame:
    random = np.random.default_rng(5)
    frame = pd.DataFrame({f"at 1e{i}": random.normal(10.0**i, 1, rows) for i in range(10)})
    frame.iloc[:: max(2, rows // 1000), 3:] = np.nan
    frame["whole"] = random.integers(-5, 2**40, rows)
    frame["small"] = random.integers(0, 255, rows).astype(np.uint8)
    frame["single"] = random.random(rows).astype(np.float32)
    frame["maybe"] = pd.array(np.where(random.random(rows) > 0.5, 3, None), dtype="Int64")
    return frame


class TestNumbers:
    @pytest.mark.parametrize("rows", [2, 50, 5_000, 9_000, 150_000])
    def test_are_those_of_pandas(self, rows: int) -> None:
        frame = _numbers(rows)
        found, expected = _of(frame), frame.describe()
        assert found["rows"] == rows
        assert "sampled" not in found
        for name in frame:
            facts = found["columns"][name]
            assert facts["nulls"] == frame[name].isna().sum()
            for key in _FACTS:
                if pd.notna(expected[name][key]):
                    assert facts[key] == pytest.approx(float(expected[name][key]), rel=1e-6), (name, key)

    def test_a_sample_still_has_exact_counts_and_limits(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(statistics, "_VALUES", 1 << 18)
        frame = _numbers(400_000)
        frame.iloc[200_001, 0] = -1e9  # in no batch that is summed up, perhaps
        frame.iloc[300_001, 1] = np.nan
        found, expected = _of(frame), frame.describe()
        assert 0 < found["sampled"] < 400_000
        for name in frame:
            facts = found["columns"][name]
            assert facts["count"] == expected[name]["count"]
            assert facts["min"] == pytest.approx(float(expected[name]["min"]))
            assert facts["max"] == pytest.approx(float(expected[name]["max"]))
        assert found["columns"]["at 1e9"]["mean"] == pytest.approx(1e9, abs=0.1)
        assert found["columns"]["at 1e9"]["std"] == pytest.approx(1.0, rel=0.05)

    @pytest.mark.parametrize("rows", [9, 20_000])
    def test_what_is_no_number_is_counted_and_left_out(self, rows: int) -> None:
        frame = pd.DataFrame({"x": np.arange(float(rows))})
        frame.iloc[[0, 1, 2], 0] = [np.inf, -np.inf, np.nan]
        facts = _of(frame)["columns"]["x"]
        assert (facts["nulls"], facts["not_finite"]) == (1, 2)
        assert (facts["min"], facts["max"], facts["mean"]) == (3.0, rows - 1, (rows + 2) / 2)
        assert sum(facts["histogram"]) <= rows

    def test_histograms_show_the_shape(self) -> None:
        values = np.concatenate([np.zeros(30_000), np.full(10_000, 20.0)])
        facts = _of(pd.DataFrame({"x": np.random.default_rng(0).permutation(values)}))["columns"]["x"]
        first, *middle, last = facts["histogram"]
        assert first == pytest.approx(3 * last, rel=0.3)
        assert not any(middle)

    def test_big_integers_are_not_made_up(self) -> None:
        facts = _of(pd.DataFrame({"id": np.array([2**63 + 1, 2**64 - 1], np.uint64)}))["columns"]["id"]
        assert facts["max"] == pytest.approx(2.0**64)
        assert type(facts["max"]) is float


class TestOtherTypes:
    def test_times_categories_text_and_nested(self) -> None:
        frame = pd.DataFrame(
            {
                "at": pd.to_datetime(["2026-03-29 01:30", None, "1969-01-01 00:00"])
                .tz_localize("UTC")
                .tz_convert("Asia/Tokyo"),
                "kind": pd.Categorical(["low", "high", None], categories=["low", "mid", "high"]),
                "text": ["a", None, "ü"],
                "yes": [True, False, True],
                "list": [[1], [], None],
                "nothing": [None, None, None],
            }
        )
        table = pa.Table.from_pandas(frame).append_column("day", pa.array([1, None, 3], pa.date32()))
        found = table_statistics(table)
        columns = found["columns"]
        assert (columns["at"]["min"], columns["at"]["max"]) == ("1969-01-01T00:00:00", "2026-03-29T01:30:00")
        assert (columns["day"]["min"], columns["day"]["max"]) == ("1970-01-02", "1970-01-04")
        assert columns["kind"] == {"count": 2, "nulls": 1, "categories": 3}
        assert columns["text"] == {"count": 2, "nulls": 1}
        assert (columns["yes"]["min"], columns["yes"]["mean"]) == (0, pytest.approx(2 / 3))
        assert columns["nothing"] == {"count": 0, "nulls": 3}
        json.dumps(found, allow_nan=False)

    def test_without_rows_or_columns(self) -> None:
        assert table_statistics(pa.table({}))["columns"] == {}
        empty = pa.table({"x": pa.array([], pa.float64()), "c": pa.array([], pa.dictionary(pa.int8(), pa.string()))})
        assert table_statistics(empty)["columns"]["x"] == {"count": 0, "nulls": 0}

    def test_wide_tables_do_not_fill_the_database(self) -> None:
        found = _of(pd.DataFrame(np.zeros((3, 5 * COLUMNS)), columns=[f"c{i}" for i in range(5 * COLUMNS)]))
        assert len(found["columns"]) == COLUMNS
        assert len(json.dumps(found)) < 30_000


class TestParts:
    def test_merged_are_those_of_the_whole(self) -> None:
        frame = _numbers(10_000)
        parts = [_of(frame[:10]), _of(frame[10:11]), _of(frame[11:7_000]), _of(frame[7_000:])]
        found, expected = merge_results(parts), _of(frame)
        for name in frame:
            for key in (*_FACTS, "nulls"):
                if key in expected["columns"][name]:
                    assert found["columns"][name][key] == pytest.approx(expected["columns"][name][key]), (name, key)

    def test_a_stream_counts_as_the_table_does(self) -> None:
        table = pa.Table.from_pandas(_numbers(3 * BATCH + 100), preserve_index=False)
        stream = Statistics(table.schema)
        for batch in table.to_batches(BATCH):
            stream.add(batch)
        found, expected = stream.result()["columns"], table_statistics(table)["columns"]
        for name, facts in expected.items():
            assert all(found[name][key] == pytest.approx(facts[key]) for key in _FACTS)


class TestSaving:
    @pytest.mark.parametrize("rows", [100, 100_000])
    def test_stores_them_beside_every_kind_of_table(self, rows: int, store) -> None:
        import polars as pl

        frame = pd.DataFrame({"x": np.arange(float(rows)), "y": np.arange(rows)})
        for value in (frame, pl.from_pandas(frame), pa.Table.from_pandas(frame)):
            facts = save(value, store).metadata["statistics"]
            assert (facts["rows"], facts["columns"]["y"]["max"]) == (rows, rows - 1)

    def test_never_keep_a_table_from_being_stored(self, store, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(table: pa.Table) -> dict:
            raise MemoryError

        monkeypatch.setattr(statistics, "table_statistics", fail)
        for rows in (10, 600_000):
            metadata = save(pa.table({"x": np.arange(rows), "y": np.arange(rows)}), store).metadata
            assert "statistics" not in metadata
            assert metadata["rows"] == rows
