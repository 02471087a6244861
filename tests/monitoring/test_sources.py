"""Opening data: every shape gives the same profile, and what cannot be read is named with the reason."""

from __future__ import annotations

import gzip

import numpy as np
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet as pq
import pytest
from windsock.provider.errors import DataUnreadable
from windsock.provider.monitoring.profile import build_profile, profile_against
from windsock.provider.monitoring.sources import open_data


def table(seed=0, rows=5000):
    rng = np.random.default_rng(seed)
    return pa.table(
        {
            "amount": pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.02),
            "count": rng.integers(0, 9, rows),
            "city": rng.choice(["Bern", "Basel", "Chur"], rows),
        }
    )


def counts(profile):
    return {name: (column.counts.tolist(), column.missing) for name, column in profile.columns.items()}


@pytest.fixture(scope="module")
def expected():
    return counts(build_profile(table()))


class TestEveryShapeGivesTheSameCounts:
    def test_parquet_file_and_path_forms(self, tmp_path, expected):
        path = tmp_path / "a.parquet"
        pq.write_table(table(), path)
        for form in (path, str(path), [path], f"file://{path}"):
            assert counts(build_profile(form)) == expected

    def test_folder_of_parts(self, tmp_path, expected):
        for i in range(5):
            pq.write_table(table().slice(i * 1000, 1000), tmp_path / f"part-{i}.parquet")
        (tmp_path / "_SUCCESS").touch()
        (tmp_path / ".part-5.parquet.crc").write_text("x")
        assert counts(build_profile(tmp_path)) == expected

    def test_hive_folder(self, tmp_path, expected):
        for i in range(5):
            folder = tmp_path / f"date=2026-01-0{i + 1}" / "hour=3"
            folder.mkdir(parents=True)
            pq.write_table(table().slice(i * 1000, 1000), folder / "x.parquet")
        profile = build_profile(tmp_path)
        assert counts(profile) == expected
        assert "date" not in profile.columns

    def test_csv(self, tmp_path, expected):
        pa.csv.write_csv(table(), tmp_path / "a.csv")
        assert counts(build_profile(tmp_path / "a.csv")) == expected

    def test_compressed_csv(self, tmp_path, expected):
        pa.csv.write_csv(table(), tmp_path / "a.csv")
        (tmp_path / "b.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
        assert counts(build_profile(tmp_path / "b.csv.gz")) == expected

    def test_large_csv_is_spilled(self, tmp_path, expected, monkeypatch):
        monkeypatch.setattr("windsock.provider.monitoring.csv_files._BIG_CSV", 1000)
        pa.csv.write_csv(table(), tmp_path / "a.csv")
        with open_data(tmp_path / "a.csv") as source:
            assert type(source).__name__ == "ParquetSource"
            assert source.origin["type"] == "csv"
        assert counts(build_profile(tmp_path / "a.csv")) == expected

    def test_arrow_stream_that_can_be_read_once(self, expected):
        reader = table().to_reader(max_chunksize=700)
        assert counts(build_profile(reader)) == expected

    def test_stream_against_a_baseline(self):
        baseline = build_profile(table())
        current = profile_against(baseline, table().to_reader(max_chunksize=700))
        assert counts(current) == counts(baseline)
        assert current.rows == 5000

    def test_pandas(self, expected):
        pytest.importorskip("pandas")
        assert counts(build_profile(table().to_pandas())) == expected

    def test_polars_with_its_own_string_types(self, expected):
        polars = pytest.importorskip("polars")
        frame = polars.from_arrow(table())
        assert counts(build_profile(frame)) == expected
        coded = frame.with_columns(polars.col("city").cast(polars.Categorical))
        assert counts(build_profile(coded)) == expected

    def test_record_batch(self, expected):
        assert counts(build_profile(table().to_batches()[0])) == expected

    def test_one_huge_row_group(self, tmp_path, monkeypatch, expected):
        monkeypatch.setattr("windsock.provider.monitoring.sources.SLICE_ROWS", 500)
        pq.write_table(table(), tmp_path / "a.parquet", row_group_size=5000)
        assert counts(build_profile(tmp_path / "a.parquet")) == expected

    def test_uri_of_another_file_system(self, expected):
        import fsspec

        fs = fsspec.filesystem("memory")
        with fs.open("/bucket/data/a.parquet", "wb") as file:
            pq.write_table(table(), file)
        assert counts(build_profile("memory://bucket/data/a.parquet")) == expected
        assert counts(build_profile("memory://bucket/data")) == expected


class TestColumnsOfFiles:
    def test_dotted_names_and_nested_neighbours(self, tmp_path):
        data = pa.table({"a.b": [1.0] * 100, "s": [{"b": 2.0}] * 100, "t": ["x"] * 100})
        pq.write_table(data, tmp_path / "a.parquet")
        columns = build_profile(tmp_path / "a.parquet").columns
        assert columns["a.b"].maximum == 1.0
        assert columns["s"].kind == "other"
        assert columns["t"].levels == ("x",)

    def test_a_file_without_a_column_counts_as_missing_there(self, tmp_path):
        pq.write_table(pa.table({"a": [1.0] * 60, "b": [2.0] * 60}), tmp_path / "1.parquet")
        pq.write_table(pa.table({"a": [1.0] * 40}), tmp_path / "2.parquet")
        columns = build_profile(tmp_path).columns
        assert (columns["b"].rows, columns["b"].nulls) == (100, 40)

    def test_only_the_columns_asked_for(self):
        assert list(build_profile(table(), columns=["city"]).columns) == ["city"]


class TestCsvTypes:
    def test_a_later_block_that_does_not_fit_the_first_ones_type(self, tmp_path):
        rows = ["x,y"] + [f"{i},{i}" for i in range(800_000)] + ["1.5,word"] * 10
        (tmp_path / "a.csv").write_text("\n".join(rows))
        columns = build_profile(tmp_path / "a.csv").columns
        assert columns["x"].kind == "float"
        assert columns["x"].rows == 800_010
        assert columns["y"].kind == "text"

    def test_codes_stay_text_when_the_baseline_says_so(self, tmp_path):
        baseline = build_profile(pa.table({"code": ["007", "008"] * 50}))
        (tmp_path / "a.csv").write_text("code\n" + "007\n008\n" * 50)
        current = profile_against(baseline, tmp_path / "a.csv")
        assert current.columns["code"].counts.tolist() == baseline.columns["code"].counts.tolist()

    def test_empty_fields_are_missing(self, tmp_path):
        (tmp_path / "a.csv").write_text("a,b\n" + ",\n1,x\n" * 50)
        columns = build_profile(tmp_path / "a.csv").columns
        assert columns["a"].missing == columns["b"].missing == 50

    def test_several_files(self, tmp_path):
        (tmp_path / "1.csv").write_text("a,b\n" + "1,x\n" * 60)
        (tmp_path / "2.csv").write_text("b,a\n" + "y,2\n" * 40)
        columns = build_profile(tmp_path).columns
        assert columns["a"].rows == 100
        assert set(columns["b"].levels) == {"x", "y"}


class TestUnreadable:
    def test_absent_file(self, tmp_path):
        with pytest.raises(DataUnreadable, match=r"nothing\.parquet does not exist"):
            build_profile(tmp_path / "nothing.parquet")

    def test_empty_folder(self, tmp_path):
        with pytest.raises(DataUnreadable, match="no Parquet or CSV file"):
            build_profile(tmp_path)

    def test_no_paths(self):
        with pytest.raises(DataUnreadable, match="empty list"):
            build_profile([])

    def test_file_that_is_no_parquet(self, tmp_path):
        (tmp_path / "a.parquet").write_bytes(b"hello, world" * 10)
        with pytest.raises(DataUnreadable, match=r"a\.parquet cannot be read as Parquet"):
            build_profile(tmp_path / "a.parquet")

    def test_truncated_parquet(self, tmp_path):
        pq.write_table(table(), tmp_path / "a.parquet")
        data = (tmp_path / "a.parquet").read_bytes()
        (tmp_path / "a.parquet").write_bytes(data[: len(data) // 2])
        with pytest.raises(DataUnreadable, match=r"a\.parquet"):
            build_profile(tmp_path / "a.parquet")

    def test_corrupt_page_names_the_column(self, tmp_path):
        path = tmp_path / "a.parquet"
        pq.write_table(table(), path, compression="zstd", use_dictionary=False)
        meta = pq.ParquetFile(path).metadata.row_group(0).column(0)
        data = bytearray(path.read_bytes())
        start = meta.data_page_offset + 60
        data[start : start + 4000] = b"\xff" * 4000
        path.write_bytes(bytes(data))
        with pytest.raises(DataUnreadable, match='column "amount"'):
            build_profile(path)

    def test_ragged_csv(self, tmp_path):
        (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2,3\n")
        with pytest.raises(DataUnreadable, match=r"a\.csv cannot be read as CSV"):
            build_profile(tmp_path / "a.csv")

    def test_empty_csv(self, tmp_path):
        (tmp_path / "a.csv").write_text("")
        with pytest.raises(DataUnreadable, match=r"a\.csv"):
            build_profile(tmp_path / "a.csv")

    def test_mixed_kinds(self, tmp_path):
        pq.write_table(table(), tmp_path / "a.parquet")
        (tmp_path / "b.csv").write_text("a\n1\n")
        with pytest.raises(DataUnreadable, match="mixed"):
            build_profile(tmp_path)

    def test_an_object_that_is_no_data(self):
        with pytest.raises(DataUnreadable, match=r"builtins\.dict is no data"):
            build_profile({"a": 1})


class TestProgress:
    def test_counts_up_to_all_rows(self, tmp_path):
        pq.write_table(table(), tmp_path / "a.parquet", row_group_size=1000)
        seen = []
        build_profile(tmp_path / "a.parquet", progress=lambda done, total: seen.append((done, total)))
        assert seen[-1] == (5000, 5000)
        assert [done for done, _ in seen] == sorted(done for done, _ in seen)
