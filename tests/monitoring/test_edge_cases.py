"""Every edge case of the drift design with the answer that a practitioner expects. None may raise."""

from __future__ import annotations

import json
import math

import numpy as np
import pyarrow as pa
import pytest
from windsock.provider.monitoring.decision import compare
from windsock.provider.monitoring.profile import build_profile, profile_against

N = 10_000


def normal(seed, rows=N, mean=0.0, sd=1.0):
    return np.random.default_rng(seed).normal(mean, sd, rows)


def with_first(values, **replacements):
    """The values with some of the first ones replaced: ``count=value`` pairs as ``n100=nan``."""
    values = np.array(values)
    at = 0
    for count, value in replacements.items():
        values[at : at + int(count[1:])] = value
        at += int(count[1:])
    return values


def nulls(values, share, seed=99):
    return pa.array(values, mask=np.random.default_rng(seed).random(len(values)) < share)


def levels(seed, weights, rows=N, names="abcdefghijklmnopqrstuvwxyz"):
    weights = np.asarray(weights, float) / np.sum(weights)
    names = list(names) if len(weights) <= len(names) else [f"level {i}" for i in range(len(weights))]
    return [names[i] for i in np.random.default_rng(seed).choice(len(weights), rows, p=weights)]


def zero_inflated(seed, zeros):
    rng = np.random.default_rng(seed)
    return np.where(rng.random(N) < zeros, 0.0, rng.exponential(3.0, N))


def times(seed, day=0):
    base = np.datetime64("2026-01-01", "us") + np.timedelta64(day, "D")
    return pa.array(base + np.random.default_rng(seed).integers(0, 30 * 86_400_000_000, N).astype("timedelta64[us]"))


def pandas_column(values, dtype):
    pd = pytest.importorskip("pandas")
    return pd.DataFrame({"x": pd.array(values, dtype=dtype)})


FIVE = (30, 25, 20, 15, 10)
ZIPF50 = 1 / np.arange(1, 51)

CASES = {
    # numbers
    "shift0.5_plus_one_outlier_1e12": (normal(1), with_first(normal(2, mean=0.5), n1=1e12), "drift"),
    "no_shift_plus_one_outlier_1e12": (normal(1), with_first(normal(2), n1=1e12), "no"),
    "outlier_1e12_in_both_shift0.5": (
        with_first(normal(1), n1=1e12),
        with_first(normal(2, mean=0.5), n1=1e12),
        "drift",
    ),
    "t3_scale1.25": (
        np.random.default_rng(1).standard_t(3, N),
        1.25 * np.random.default_rng(2).standard_t(3, N),
        "drift",
    ),
    "lognormal3_shift0.3log": (np.exp(normal(1, sd=3)), np.exp(normal(2, mean=0.3 * 3, sd=3)), "drift"),
    "small_scale_sd1e-6_shift1sd": (normal(1, sd=1e-6), normal(2, mean=1e-6, sd=1e-6), "drift"),
    "big_offset_1.7e9_shift1sd": (normal(1, mean=1.7e9), normal(2, mean=1.7e9 + 1), "drift"),
    "big_offset_1.7e9_null": (normal(1, mean=1.7e9), normal(2, mean=1.7e9), "no"),
    "zero_inflated_95_to_85": (zero_inflated(1, 0.95), zero_inflated(2, 0.85), "drift"),
    "zero_inflated_null": (zero_inflated(1, 0.95), zero_inflated(2, 0.95), "no"),
    "missing_1_to_6pct": (nulls(normal(1), 0.01), nulls(normal(2), 0.06), "drift"),
    "missing_1_to_20pct": (nulls(normal(1), 0.01), nulls(normal(2), 0.20), "drift"),
    "missing_0_to_0.2pct": (normal(1), nulls(normal(2), 0.002), "no"),
    "nan_is_missing_1_to_6pct": (with_first(normal(1), n100=math.nan), with_first(normal(2), n600=math.nan), "drift"),
    # categories
    "cat_null": (levels(1, FIVE), levels(2, FIVE), "no"),
    "cat_new_category_0.5pct": (levels(1, FIVE), [*levels(2, FIVE, N - 50), *["new"] * 50], "either"),
    "cat_new_category_3pct": (levels(1, FIVE), [*levels(2, FIVE, N - 300), *["new"] * 300], "drift"),
    "cat_one_vanished": (levels(1, FIVE), levels(2, FIVE[:4]), "drift"),
    "cat_one_of_50_vanished": (levels(1, np.ones(50)), levels(2, [*np.ones(49), 0]), "drift"),
    "cat_freq_5pt_move": (levels(1, FIVE), levels(2, (36, 19, 20, 15, 10)), "drift"),
    "cat_missing_0_to_20pct": (levels(1, FIVE), nulls(levels(2, FIVE), 0.2), "drift"),
    "cat_1000_levels_null": (levels(1, np.ones(1000)), levels(2, np.ones(1000)), "no"),
    "cat_10000_levels_null": (levels(1, np.ones(10_000), 30_000), levels(2, np.ones(10_000), 30_000), "no"),
    "every_value_distinct": ([f"id {i}" for i in range(N)], [f"id {i}" for i in range(N, 2 * N)], "either"),
    # constants
    "constant_same": (np.full(N, 5.0), np.full(N, 5.0), "no"),
    "constant_changed": (np.full(N, 5.0), np.full(N, 6.0), "drift"),
    "constant_to_varying": (np.full(N, 5.0), normal(2, mean=5.0), "drift"),
    "varying_to_constant": (normal(1), np.zeros(N), "drift"),
    "cat_constant_same": (["a"] * N, ["a"] * N, "no"),
    "cat_constant_same_sizes_differ": (["a"] * N, ["a"] * 700, "no"),
    "cat_constant_changed": (["a"] * N, ["b"] * N, "drift"),
    # nothing but missing values
    "allnan_cur": (normal(1), np.full(N, math.nan), "drift"),
    "allnan_ref": (np.full(N, math.nan), normal(2), "drift"),
    "allnan_both": (np.full(N, math.nan), np.full(N, math.nan), "no"),
    "allnull_typeless_both": (pa.nulls(N), pa.nulls(N), "either"),
    "allnull_typeless_cur": (normal(1), pa.nulls(N), "drift"),
    # infinity
    "cur_1pct_inf": (normal(1), with_first(normal(2), n100=math.inf), "either"),
    "cur_10pct_inf": (normal(1), with_first(normal(2), n1000=math.inf), "drift"),
    "ref_and_cur_5_inf": (with_first(normal(1), n5=math.inf), with_first(normal(2), n5=math.inf), "no"),
    "inf_and_nan_together": (
        with_first(normal(1), n5=-math.inf),
        with_first(normal(2), n5=-math.inf, n6=math.nan),
        "no",
    ),
    # integers beyond 2**53
    "int64_near_2^62_shift": (
        2**62 + np.random.default_rng(1).integers(0, 1000, N),
        2**62 + 200 + np.random.default_rng(2).integers(0, 1000, N),
        "drift",
    ),
    "int64_near_2^62_null": (
        2**62 + np.random.default_rng(1).integers(0, 1000, N),
        2**62 + np.random.default_rng(2).integers(0, 1000, N),
        "no",
    ),
    "uint64_above_2^63_null": (
        np.uint64(2**63 + 7) + np.random.default_rng(1).integers(0, 1000, N).astype(np.uint64),
        np.uint64(2**63 + 7) + np.random.default_rng(2).integers(0, 1000, N).astype(np.uint64),
        "no",
    ),
    "uint64_above_2^63_shift": (
        np.uint64(2**63 + 7) + np.random.default_rng(1).integers(0, 1000, N).astype(np.uint64),
        np.uint64(2**63 + 407) + np.random.default_rng(2).integers(0, 1000, N).astype(np.uint64),
        "drift",
    ),
    "int64_min_to_max": (
        np.random.default_rng(1).integers(-(2**63), 2**63 - 1, N),
        np.random.default_rng(2).integers(-(2**63), 2**63 - 1, N),
        "no",
    ),
    # times, booleans, types
    "datetime_null": (times(1), times(2), "no"),
    "datetime_shift": (times(1), times(2, day=10), "drift"),
    "bool_50_to_60": (np.arange(N) % 10 < 5, np.arange(N) % 10 < 6, "drift"),
    "bool_null": (normal(1) > 0, normal(2) > 0, "no"),
    "int_vs_float_null": (np.round(normal(1, sd=50)).astype(np.int64), np.round(normal(2, sd=50)), "no"),
    "int_vs_numeric_string": (np.arange(N) % 100, [str(i % 100) for i in range(N)], "degenerate"),
    "float32_vs_float64_null": (normal(1).astype(np.float32), normal(2), "no"),
    "decimal_null": (
        pa.array(np.round(normal(1), 2)).cast(pa.decimal128(12, 2)),
        pa.array(np.round(normal(2), 2)).cast(pa.decimal128(12, 2)),
        "no",
    ),
    "dictionary_vs_string_null": (levels(1, FIVE), pa.array(levels(2, FIVE)).dictionary_encode(), "no"),
    # sizes
    "cur_empty": (normal(1), np.empty(0), "degenerate"),
    "cur_5_rows": (normal(1), normal(2, 5), "no"),
    "cur_30_rows": (normal(1), normal(2, 30), "no"),
    "cur_30_rows_cat50": (levels(1, ZIPF50), levels(2, ZIPF50, 30), "no"),
    "cur_300_rows_cat50": (levels(1, ZIPF50), levels(2, ZIPF50, 300), "no"),
    "ref1e6_cur500_null": (normal(1, 1_000_000), normal(2, 500), "no"),
    # what cannot be compared
    "nested_lists": (pa.array([[1, 2]] * N), pa.array([[1, 2]] * N), "degenerate"),
    "structs": (pa.array([{"a": 1}] * N), pa.array([{"a": 2}] * N), "degenerate"),
    "binary": (pa.array([b"ab"] * N), pa.array([b"cd"] * N), "degenerate"),
}


def outcome(reference, current):
    baseline = build_profile(reference)
    result = compare(baseline, profile_against(baseline, current))
    return result, result.features["x"]


def frame(values):
    return values if hasattr(values, "columns") else pa.table({"x": values})


def check(result, feature, expected):
    assert feature.reason
    answers = {
        "drift": feature.status == "drift" and result.drifted,
        "no": feature.status != "drift" and not result.drifted,
        "degenerate": feature.status == "degenerate",
        "either": True,
    }
    assert answers[expected], (feature.status, feature.reason, dict(feature.metrics))
    document = json.loads(result.to_json())  # would fail for a NaN, which orjson writes as null: looked for below
    assert all(math.isfinite(value) for value in document["features"]["x"]["metrics"].values())
    assert "x" in result.to_html()


class TestEdgeCases:
    @pytest.mark.parametrize("name", CASES)
    def test_answer_is_the_expected_one(self, name):
        reference, current, expected = CASES[name]
        check(*outcome(frame(reference), frame(current)), expected)

    @pytest.mark.parametrize("name", CASES)
    def test_and_from_parquet_files_too(self, name, tmp_path):
        import pyarrow.parquet as pq

        reference, current, expected = CASES[name]
        paths = []
        for which, values in (("reference", reference), ("current", current)):
            paths.append(tmp_path / f"{which}.parquet")
            pq.write_table(frame(values), paths[-1], row_group_size=3000)
        check(*outcome([paths[0]], [paths[1]]), expected)


class TestPandas:
    def test_nullable_int64(self):
        values = [None if i % 50 == 0 else i % 97 for i in range(N)]
        reference, current = (pandas_column(v, "Int64") for v in (values, values[::-1]))
        check(*outcome(reference, current), "no")

    def test_category_against_strings(self):
        check(*outcome(pandas_column(levels(1, FIVE), "str"), pandas_column(levels(2, FIVE), "category")), "no")

    def test_category_of_numbers_against_plain_numbers(self):
        reference = pandas_column([i % 7 for i in range(N)], "category")
        check(*outcome(reference, pandas_column([(3 * i) % 7 for i in range(N)], "int64")), "no")

    def test_mixed_types_in_one_column_are_drift(self):
        pd = pytest.importorskip("pandas")
        mixed = [value if i % 2 else i % 3 for i, value in enumerate(levels(2, FIVE))]
        current = pd.DataFrame({"x": pd.Series(mixed, dtype=object)})
        check(*outcome(pandas_column(levels(1, FIVE), "str"), current), "drift")

    def test_index_is_no_feature(self):
        pd = pytest.importorskip("pandas")
        reference = pd.DataFrame({"x": normal(1)}, index=[f"row {i}" for i in range(N)])
        assert list(build_profile(reference).columns) == ["x"]


class TestColumnsThatComeAndGo:
    def test_column_missing_in_current_is_degenerate_and_a_schema_change(self):
        baseline = build_profile(pa.table({"x": normal(1), "y": normal(2)}))
        result = compare(baseline, profile_against(baseline, pa.table({"y": normal(3)})))
        assert result.features["x"].status == "degenerate"
        assert result.features["y"].status == "ok"
        assert result.drifted
        assert result.alert
        assert result.reasons == ("schema changed: x: the column is absent",)

    def test_type_change_says_from_what_to_what(self):
        _, feature = outcome(pa.table({"x": [1] * N}), pa.table({"x": ["1"] * N}))
        assert feature.reason == "the type changed from int64 to string"
        assert feature.schema_change

    def test_new_column_is_noted_and_no_drift(self):
        baseline = build_profile(pa.table({"x": normal(1)}))
        result = compare(baseline, profile_against(baseline, pa.table({"x": normal(2), "z": normal(3)})))
        assert not result.drifted
        assert any("not in the baseline" in note and "z" in note for note in result.notes)

    def test_numeric_type_change_is_noted_and_no_drift(self):
        result, _ = outcome(pa.table({"x": np.arange(N) % 100}), pa.table({"x": np.arange(N) % 100 * 1.0}))
        assert not result.drifted
        assert result.notes == ('"x" is double, in the baseline int64: compared all the same',)

    def test_empty_window_says_so(self):
        result, feature = outcome(pa.table({"x": normal(1)}), pa.table({"x": pa.array([], pa.float64())}))
        assert result.status == "degenerate"
        assert feature.reason == "no rows"
        assert "no rows" in result.notes[0]
