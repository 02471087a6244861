"""True values: stored once, in order, and not lost by a kill."""

from __future__ import annotations

import os
import signal
import uuid
from datetime import datetime, timedelta, timezone
from pathlib import Path

import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from windsock.provider.errors import DataUnreadable
from windsock.provider.predictions.labels import LabelWriter, label_files, record_labels
from windsock.provider.predictions.request_ids import format_request_id, new_request_id
from windsock.provider.predictions.sink import FsspecSink

NOON = datetime(2026, 5, 1, 12, tzinfo=timezone.utc)


def stored(sink: FsspecSink, model: str = "churn") -> list[tuple[bytes, object]]:
    rows = []
    for path in label_files(sink, model):
        rows += [(row["request_id"], row["label"]) for row in pq.read_table(path).to_pylist()]
    return rows


@pytest.fixture
def sink(tmp_path: Path) -> FsspecSink:
    return FsspecSink(tmp_path / "store")


class TestRecording:
    def test_tables_of_any_library_and_plain_rows(self, sink: FsspecSink) -> None:
        ids = [new_request_id() for _ in range(2)]
        texts = [format_request_id(one) for one in ids]
        for labels in (
            [{"request_id": texts[0], "label": 1}, {"request_id": texts[1], "label": 0}],
            pd.DataFrame({"request_id": texts, "label": [1, 0]}),
            pl.DataFrame({"request_id": texts, "label": [True, False]}),
            pa.table({"request_id": pa.array(ids, pa.binary(16)), "label": [1.0, 0.0]}),
            [{"request_id": uuid.UUID(bytes=ids[0]), "label": 1}, {"request_id": uuid.UUID(bytes=ids[1]), "label": 0}],
        ):
            assert record_labels(sink, "churn", labels, at=NOON, name="same") == 2
            assert stored(sink) == [(ids[0], 1.0), (ids[1], 0.0)]

    def test_texts_nulls_and_times(self, sink: FsspecSink) -> None:
        at = NOON - timedelta(days=2)
        ids = [format_request_id(new_request_id()) for _ in range(3)]
        table = pa.table({"request_id": ids, "label": ["yes", None, "no"], "label_ts": pa.array([at] * 3)})
        assert record_labels(sink, "churn", table, at=NOON) == 2
        (file,) = label_files(sink, "churn")
        assert "/labels/model_name=churn/date=2026-05-01/" in file
        assert pq.read_table(file)["label_ts"].to_pylist() == [at, at]
        assert [label for _, label in stored(sink)] == ["yes", "no"]

    def test_files_come_in_the_order_in_which_they_arrived(self, sink: FsspecSink) -> None:
        for days in (2, 0, 1):
            rows = [{"request_id": "a", "label": float(days)}]
            record_labels(sink, "churn", rows, at=NOON + timedelta(days=days), name=f"n{days}")
        assert [label for _, label in stored(sink)] == [0.0, 1.0, 2.0]
        since = label_files(sink, "churn", since=NOON + timedelta(days=1))
        assert [file.split("date=")[1][:10] for file in since] == ["2026-05-02", "2026-05-03"]
        assert label_files(sink, "other") == []

    def test_so_do_those_of_one_day(self, sink: FsspecSink) -> None:
        for minutes in range(12):
            record_labels(sink, "churn", [{"request_id": "a", "label": minutes}], at=NOON + timedelta(minutes=minutes))
        assert [label for _, label in stored(sink)] == [float(minutes) for minutes in range(12)]

    def test_what_is_no_label_says_so(self, sink: FsspecSink) -> None:
        for labels, said in (
            (pd.DataFrame({"id": [1], "label": [1]}), "no column request_id"),
            ([{"request_id": 7, "label": 1}], "no request id"),
            ([{"request_id": "a", "label": {"b": 1}}], "cannot be stored"),
            (42, "no table"),
        ):
            with pytest.raises(DataUnreadable, match=said):
                record_labels(sink, "churn", labels)
        assert record_labels(sink, "churn", []) == 0
        assert stored(sink) == []


class TestWriter:
    def test_labels_are_in_the_store_after_a_rotation(self, sink: FsspecSink, tmp_path: Path) -> None:
        writer = LabelWriter(sink, "churn", tmp_path / "spool")
        ids = [new_request_id() for _ in range(3)]
        assert writer.append([(ids[0], 1), (ids[1], "late")]) == 2
        assert stored(sink) == []
        writer.rotate()
        writer.append([(ids[2], False)])
        writer.close()
        assert sorted(stored(sink), key=str) == sorted([(ids[0], 1.0), (ids[1], "late"), (ids[2], 0.0)], key=str)
        assert list((tmp_path / "spool").iterdir()) == []

    def test_a_killed_writer_loses_nothing_that_was_acknowledged(self, sink: FsspecSink, tmp_path: Path) -> None:
        ids = [new_request_id() for _ in range(50)]
        child = os.fork()
        if not child:
            writer = LabelWriter(sink, "churn", tmp_path / "spool", rotate_seconds=600)
            for one in ids:
                writer.append([(one, 1)])
            os.kill(os.getpid(), signal.SIGKILL)
        os.waitpid(child, 0)
        (left,) = (tmp_path / "spool").iterdir()
        with left.open("a") as file:
            file.write('["torn')  # what a kill in the middle of a write leaves
        LabelWriter(sink, "churn", tmp_path / "spool").close()
        assert stored(sink) == [(one, 1.0) for one in ids]

    def test_two_writers_on_one_folder_leave_each_others_files(self, sink: FsspecSink, tmp_path: Path) -> None:
        """A server that takes over while the other still drains."""
        old, new = (LabelWriter(sink, "churn", tmp_path / "spool", rotate_seconds=600) for _ in range(2))
        first, second = new_request_id(), new_request_id()
        old.append([(first, 1)])
        new.append([(second, 0)])
        new.rotate()
        assert stored(sink) == [(second, 0.0)]
        old.close()
        new.close()
        assert sorted(stored(sink)) == sorted([(first, 1.0), (second, 0.0)])

    def test_a_store_that_does_not_answer_is_tried_again(self, tmp_path: Path) -> None:
        (tmp_path / "blocked").write_text("a file where the store's folder belongs")
        sink = FsspecSink(tmp_path / "blocked")
        writer = LabelWriter(sink, "churn", tmp_path / "spool", rotate_seconds=600)
        one = new_request_id()
        writer.append([(one, 1)])
        writer.rotate()
        (tmp_path / "blocked").unlink()
        writer.close()
        assert stored(sink) == [(one, 1.0)]
