"""``windsock dataset``: append a file, look, compare, get."""

from __future__ import annotations

import pandas as pd
import pytest


@pytest.fixture
def sales(windsock, tmp_path):
    for number, amounts in enumerate(([1.0, 2.0], [3.0]), 1):
        pd.DataFrame({"day": [f"d{number}"] * len(amounts), "amount": amounts}).to_parquet(f"rows{number}.parquet")
        done = windsock("dataset", "append", "sales", f"rows{number}.parquet", "--partition-by", "day")
        assert done.code == 0, done.err
    return "sales"


class TestDatasets:
    def test_append_and_list(self, windsock, sales):
        assert "sales@2" in windsock("dataset", "list").out
        (found,) = windsock("dataset", "list", "--output", "json").json
        assert (found["version"], found["metadata"]["rows"]) == (2, 3)
        assert [v["version"] for v in windsock("dataset", "versions", "sales", "--output", "json").json] == [2, 1]
        shown = windsock("dataset", "show", "sales@1", "--output", "json").json
        assert (shown["rows"], [part["partition"] for part in shown["parts"]]) == (2, [{"day": "d1"}])

    def test_get_writes_a_file(self, windsock, sales, tmp_path):
        assert windsock("dataset", "get", "sales", "--to", "all.parquet").code == 0
        assert pd.read_parquet("all.parquet")["amount"].tolist() == [1.0, 2.0, 3.0]
        assert windsock("dataset", "get", "sales@1", "--to", "old.csv", "--column", "amount").code == 0
        assert (tmp_path / "old.csv").read_text().split() == ['"amount"', "1", "2"]
        assert windsock("dataset", "get", "sales", "--to", "all.parquet").code == 1
        assert windsock("dataset", "get", "sales", "--to", "all.xlsx").code == 2

    def test_diff(self, windsock, sales):
        found = windsock("dataset", "diff", "sales", "1", "--output", "json").json
        assert (found["rows_added"], found["rows_removed"], found["partitions"]) == (1, 0, [{"day": "d2"}])
        assert found["drift"]["status"] == "degenerate"  # three rows tell nothing
        assert "1 rows" in windsock("dataset", "diff", "sales", "1", "2", "--no-distribution").out

    def test_a_csv_file_that_does_not_fit(self, windsock, sales, tmp_path):
        (tmp_path / "wrong.csv").write_text("day,amount\nd3,lots\n")
        wrong = windsock("dataset", "append", "sales", "wrong.csv")
        assert wrong.code == 1
        assert 'DatasetMismatch: The rows do not fit data set "sales": "amount" is double' in wrong.err
        assert windsock("dataset", "show", "nowhere").code == 1
        assert "ArtifactNotFound" in windsock("dataset", "show", "sales@9").err
