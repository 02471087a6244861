from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone

import numpy as np
import pytest
from windsock.provider.cli import output
from windsock.provider.metadata import MetricPoint


class TestJson:
    def test_is_strict(self):
        data = {
            "nan": float("nan"),
            "inf": float("inf"),
            "at": datetime(2026, 1, 2, tzinfo=timezone.utc),
            "bytes": b"\x01",
        }
        assert json.loads(output.json_text(data)) == {
            "nan": None,
            "inf": None,
            "at": "2026-01-02T00:00:00Z",
            "bytes": "01",
        }

    def test_of_records_numbers_and_sets(self):
        point = MetricPoint(key="loss", value=0.5, step=1, at=datetime(2026, 1, 2, tzinfo=timezone.utc))
        loaded = json.loads(output.json_text([point, np.float32(0.5), np.int64(3), {1}]))
        assert loaded[0]["key"] == "loss"
        assert loaded[1:] == [0.5, 3, [1]]


class TestText:
    @pytest.mark.parametrize(
        ("value", "text"),
        [
            (None, "-"),
            ({}, "-"),
            (True, "yes"),
            (0.1 + 0.2, "0.3"),
            ({"a": 1, "b": [1, 2]}, "a=1, b=1, 2"),
            (datetime(2026, 1, 2, 3, 4, 5, tzinfo=timezone(timedelta(hours=1))), "2026-01-02 02:04:05Z"),
            (0, "0"),
            ("[red]not markup[/red]", "[red]not markup[/red]"),
        ],
    )
    def test_of_a_value(self, value, text):
        assert output.shown(value) == text
        assert output.plain(output.table([(value,)], "x")).splitlines()[1] == text

    @pytest.mark.parametrize(
        ("size", "text"), [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**50, "1024.0 TiB")]
    )
    def test_of_a_size(self, size, text):
        assert output.bytes_shown(size) == text

    def test_in_a_pipe_nothing_is_cut(self):
        long = "x" * 5000
        assert output.plain(output.table([(long, "end")], "a", "b")).splitlines()[1].split() == [long, "end"]

    def test_an_empty_table_says_so(self):
        assert output.plain(output.table([], "a", empty="None yet.")) == "None yet.\n"
