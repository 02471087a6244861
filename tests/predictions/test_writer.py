"""The prediction log: what is written, when it is visible, and that nothing is lost on the way."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.parquet as pq
import pytest
from windsock.provider.predictions import log, reader
from windsock.provider.predictions.request_ids import format_request_id, new_request_id, row_ids, sampled
from windsock.provider.predictions.schema import InputSchema
from windsock.provider.predictions.sink import FsspecSink
from windsock.provider.predictions.spool import recover
from windsock.provider.predictions.writer import LogSettings, PredictionWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

SCHEMA = InputSchema.from_dict(
    {
        "features": [
            {"name": "age", "type": "int"},
            {"name": "score", "type": "float", "nullable": True},
            {"name": "plan", "type": "string"},
            {"name": "active", "type": "bool"},
        ],
        "outputs": {"task": "classification", "prediction": "int", "classes": [0, 1]},
    }
)
ROW = [41, 0.5, "basic", True]
NOON = datetime(2025, 11, 20, 12, 30, tzinfo=timezone.utc).timestamp()


def append(writer: PredictionWriter, rows: int, row: list[Any] = ROW) -> list[bytes]:
    ids = [new_request_id() for _ in range(rows)]
    writer.append(ids, [row] * rows, [1] * rows, [0.75] * rows, [0.002] * rows)
    return ids


def writer_on(folder: Path, **options: Any) -> PredictionWriter:
    given = {"model": "churn", "version": 3, "spool": folder / "spool", **options}
    return PredictionWriter(given.pop("sink", FsspecSink(folder)), SCHEMA, **given)


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Callable[..., PredictionWriter]]:
    made: list[PredictionWriter] = []

    def build(**options: Any) -> PredictionWriter:
        made.append(writer_on(tmp_path, **options))
        return made[-1]

    yield build
    for writer in made:
        writer.close()


def table(folder: Path) -> Any:
    import pyarrow as pa

    found = reader.files(str(folder), "churn")
    return pa.concat_tables([pq.ParquetFile(path).read() for path in found])


def eventually(condition: Callable[[], Any], seconds: float = 10.0) -> Any:
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)
    return value


class TestRows:
    def test_a_row_has_every_column_of_the_design(self, make: Any, tmp_path: Path) -> None:
        writer = make()
        (request_id,) = append(writer, 1)
        writer.close()
        (row,) = table(tmp_path).to_pylist()
        assert row.pop("request_id") == request_id
        assert abs(row.pop("ts").timestamp() - time.time()) < 60
        assert row.pop("latency_s") == pytest.approx(0.002)
        assert row == {
            "age": 41,
            "feature.score": 0.5,
            "plan": "basic",
            "active": True,
            "prediction": 1,
            "score": 0.75,
            "sample_rate": 1.0,
            "error": None,
        }

    def test_big_integers_are_exact_and_nan_is_null(self, make: Any, tmp_path: Path) -> None:
        writer = make()
        append(writer, 1, [2**53 + 1, float("nan"), "ü", False])
        writer.close()
        (row,) = table(tmp_path).to_pylist()
        assert (row["age"], row["feature.score"], row["plan"]) == (2**53 + 1, None, "ü")
        (path,) = reader.files(str(tmp_path), "churn")
        column = pq.ParquetFile(path).metadata.row_group(0).column(3)
        assert column.statistics.null_count == 1, "footers answer the missing-rate test"

    def test_it_is_zstd_with_typed_columns(self, make: Any, tmp_path: Path) -> None:
        writer = make()
        append(writer, 3)
        writer.close()
        (path,) = reader.files(str(tmp_path), "churn")
        metadata = pq.ParquetFile(path).metadata
        assert metadata.row_group(0).column(0).compression == "ZSTD"
        types = {field.name: str(field.type) for field in pq.ParquetFile(path).schema_arrow}
        assert types["request_id"] == "fixed_size_binary[16]"
        assert types["ts"] == "timestamp[us, tz=UTC]"
        assert (types["latency_s"], types["sample_rate"]) == ("float", "float")

    def test_arrays_and_errors_mix_with_rows(self, tmp_path: Path) -> None:
        names = [{"name": name, "type": "float", "nullable": True} for name in "abc"]
        outputs = {"task": "classification", "prediction": "string", "classes": ["x", "y", "z"]}
        schema = InputSchema.from_dict({"features": names, "outputs": outputs})
        writer = PredictionWriter(FsspecSink(tmp_path), schema, model="churn", version=1, spool=tmp_path / "s")
        matrix = np.array([[1.0, np.nan, 3.0], [4.0, 5.0, 6.0]])
        writer.append(row_ids(new_request_id(), 2), matrix, ["x", "z"], [[0.7, 0.2, 0.1], [0.0, 0.1, 0.9]], [0.1, 0.1])
        writer.append_error([new_request_id()], 'feature "a" is missing', 0.001)
        writer.close()
        rows = sorted(table(tmp_path).to_pylist(), key=lambda row: (row["error"] or "", row["a"] or 0))
        assert [(row["a"], row["b"], row["prediction"]) for row in rows] == [
            (1.0, None, "x"),
            (4.0, 5.0, "z"),
            (None, None, None),
        ]
        assert rows[1]["score"] == [0.0, 0.1, 0.9]
        assert rows[2]["error"] == 'feature "a" is missing'

    def test_omitted_features_never_reach_the_disk(self, make: Any, tmp_path: Path) -> None:
        writer = make(settings=LogSettings(omit=("plan", "age")))
        append(writer, 2, [41, 0.5, "a-very-private-plan", True])
        writer.flush()
        assert not [p for p in (tmp_path / "spool").iterdir() if b"a-very-private-plan" in p.read_bytes()]
        writer.close()
        assert {"plan", "age"}.isdisjoint(table(tmp_path).column_names)
        assert table(tmp_path)["active"].to_pylist() == [True, True]


class TestWeight:
    def test_writing_the_log_does_not_import_pandas(self, tmp_path: Path) -> None:
        from pathlib import Path as _Path

        code = f"""
import sys
sys.path[:0] = [{str(_Path(__file__).parent)!r}]
from pathlib import Path
from windsock.provider.predictions.request_ids import new_request_id
from windsock.provider.predictions.schema import InputSchema
from windsock.provider.predictions.sink import FsspecSink
from windsock.provider.predictions.writer import PredictionWriter
folder = Path({str(tmp_path)!r})
types = ("float", "int", "bool", "string")
schema = InputSchema.from_dict({{"features": [{{"name": kind, "type": kind}} for kind in types],
    "outputs": {{"prediction": "string", "classes": ["a", "b", "c"]}}}})
writer = PredictionWriter(FsspecSink(folder), schema, model="churn", version=1, spool=folder / "spool")
rows = [[1.0, 2, True, "x"], [None, None, None, None]]
writer.append([new_request_id(), new_request_id()], rows, ["a", None], [[0.1, 0.2, 0.7], None], [0.1, 0.1])
writer.close()
assert "pandas" not in sys.modules
"""
        subprocess.run([sys.executable, "-c", code], check=True)
        rows = sorted(table(tmp_path).to_pylist(), key=lambda row: row["int"] is None)
        assert [rows[0][kind] for kind in ("float", "int", "bool", "string")] == [1.0, 2, True, "x"]
        assert rows[0]["score"] == [0.1, 0.2, 0.7]
        assert [rows[1][kind] for kind in ("float", "int", "bool", "string", "prediction", "score")] == [None] * 6


class TestSampling:
    def test_it_is_a_function_of_the_id_and_the_rate_is_stored(self, make: Any, tmp_path: Path) -> None:
        writer = make(settings=LogSettings(sample_rate=0.2))
        ids = [id_ for _ in range(50) for id_ in append(writer, 100)]
        writer.append_error([new_request_id()], "the model failed", 0.1)
        writer.close()
        rows = table(tmp_path)
        kept = {row["request_id"] for row in rows.to_pylist() if row["error"] is None}
        assert kept == {id_ for id_ in ids if sampled(id_, 2000)}
        assert 800 < len(kept) < 1200
        assert {round(row["sample_rate"], 3) for row in rows.to_pylist() if row["error"] is None} == {0.2}
        assert [row["sample_rate"] for row in rows.to_pylist() if row["error"]] == [1.0], "errors are always kept"

    def test_derived_row_ids_are_stable_and_distinct(self) -> None:
        request = new_request_id()
        ids = row_ids(request, 1000)
        assert ids[0] == request
        assert len(set(ids)) == 1000
        assert ids == row_ids(request, 1000)
        assert uuid.UUID(bytes=ids[7]).version == 8
        assert uuid.UUID(bytes=request).version == 7


class TestRotation:
    def test_by_rows(self, make: Any, tmp_path: Path) -> None:
        writer = make(settings=LogSettings(rotate_rows=10, rotate_seconds=3600, flush_seconds=0.01))
        append(writer, 12)
        (path,) = eventually(lambda: reader.files(str(tmp_path), "churn"))
        assert reader.rows([path]) == pq.ParquetFile(path).metadata.num_rows == 12

    def test_by_time(self, make: Any, tmp_path: Path) -> None:
        writer = make(settings=LogSettings(rotate_seconds=0.2, flush_seconds=0.01))
        append(writer, 1)
        eventually(lambda: reader.files(str(tmp_path), "churn"))
        assert list((tmp_path / "spool").iterdir()) == []

    def test_a_file_holds_one_hour(self, make: Any, tmp_path: Path) -> None:
        clock = [NOON]
        writer = make(clock=lambda: clock[0])
        for hour in range(3):
            clock[0] = NOON + hour * 3600
            append(writer, hour + 1)
        writer.close()
        found = reader.files(str(tmp_path), "churn")
        assert [log.locate(path)[0].start.hour for path in found] == [12, 13, 14]  # type: ignore[index]
        assert [log.rows_in(path) for path in found] == [1, 2, 3]

    def test_nothing_but_whole_files_is_ever_visible(self, make: Any, tmp_path: Path) -> None:
        writer = make(settings=LogSettings(rotate_rows=50, flush_seconds=0.001))
        seen, appended, until = 0, 0, time.monotonic() + 1.0
        while time.monotonic() < until:
            append(writer, 25)
            appended += 25
            for path in reader.files(str(tmp_path), "churn"):
                seen += pq.ParquetFile(path).metadata.num_rows > 0
        writer.close()
        assert seen > 0
        assert table(tmp_path).num_rows == appended


class TestClosedHours:
    def test_success_names_the_files(self, make: Any, tmp_path: Path) -> None:
        clock = [NOON]
        writer = make(clock=lambda: clock[0], settings=LogSettings(rotate_seconds=0.01, flush_seconds=0.01))
        append(writer, 4)
        writer.flush()
        clock[0] += 1
        folder = tmp_path / "predictions/model_name=churn/version=3/date=2025-11-20/hour=12"
        eventually(lambda: reader.files(str(tmp_path), "churn"))
        assert not (folder / "_SUCCESS").exists()
        clock[0] = NOON + 1801 + log.GRACE.total_seconds()
        eventually((folder / "_SUCCESS").exists)
        content = json.loads((folder / "_SUCCESS").read_text())
        assert content["rows"] == 4
        assert [folder / name for name in content["files"]] == [
            path for path in folder.iterdir() if path.suffix == ".parquet"
        ]

    def test_the_next_writer_of_another_version_closes_what_was_left_open(self, make: Any, tmp_path: Path) -> None:
        stopped = make(clock=lambda: NOON)
        append(stopped, 1)
        stopped.close()
        other = make(version=4, clock=lambda: NOON + 7200, settings=LogSettings(flush_seconds=0.01))
        append(other, 1)
        eventually(lambda: list(tmp_path.glob("predictions/*/version=3/*/hour=12/_SUCCESS")))
        assert not list(tmp_path.glob("predictions/*/version=4/*/*/_SUCCESS"))

    def test_a_model_whose_name_begins_alike_is_left_alone(self, tmp_path: Path) -> None:
        for model in ("churn", "churn2"):
            writer = writer_on(tmp_path, model=model, clock=lambda: NOON)
            append(writer, 1)
            writer.close()
        late = datetime.fromtimestamp(NOON, timezone.utc) + timedelta(hours=2)
        closed = log.close_hours(FsspecSink(tmp_path), "churn", now=late)
        assert [hour.model for hour in closed] == ["churn"]
        assert log.close_hours(FsspecSink(tmp_path), "churn", now=late) == []

    def test_rows_that_come_late_are_added_to_it(self, tmp_path: Path) -> None:
        for number in (1, 2):
            writer = writer_on(tmp_path, clock=lambda: NOON)
            append(writer, number)
            writer.close()
            late = datetime.fromtimestamp(NOON, timezone.utc) + timedelta(hours=2)
            log.close_hours(FsspecSink(tmp_path), "churn", now=late)
        (success,) = tmp_path.glob("predictions/*/*/*/*/_SUCCESS")
        assert json.loads(success.read_text())["rows"] == 3


_CHILD = """
import os, sys, time
from pathlib import Path
sys.path[:0] = {path!r}
from test_writer import append, writer_on, LogSettings
folder = Path({folder!r})
writer = writer_on(folder, settings=LogSettings(rotate_rows={rotate}, rotate_seconds=3600, flush_seconds=0.01))
while not (folder / "stop").exists():
    ids = append(writer, 20)
    writer.flush()
    with (folder / "acknowledged").open("ab") as file:
        file.write(b"".join(ids))
"""


class TestCrash:
    def child(self, folder: Path, rotate: int, **environ: str) -> subprocess.Popen[bytes]:
        import os
        from pathlib import Path as _Path

        code = _CHILD.format(path=[str(_Path(__file__).parent)], folder=str(folder), rotate=rotate)
        return subprocess.Popen([sys.executable, "-c", code], env={**os.environ, **environ})

    def check_nothing_lost(self, folder: Path) -> None:
        acknowledged = (folder / "acknowledged").read_bytes()
        ids = {acknowledged[i : i + 16] for i in range(0, len(acknowledged) - len(acknowledged) % 16, 16)}
        found = table(folder)["request_id"].to_pylist()
        assert len(found) == len(set(found)), "a row is there twice"
        assert ids <= set(found)
        assert list((folder / "spool").iterdir()) == []

    def test_a_killed_writer_loses_no_flushed_row(self, tmp_path: Path) -> None:
        child = self.child(tmp_path, 1_000_000)
        eventually((tmp_path / "acknowledged").exists, 60)
        time.sleep(0.3)
        child.send_signal(signal.SIGKILL)
        child.wait()
        assert reader.files(str(tmp_path), "churn") == []
        writer_on(tmp_path).close()
        self.check_nothing_lost(tmp_path)

    @pytest.mark.parametrize(
        "point",
        ["predictions.publish.before_commit@2", "predictions.publish.after_commit@2", "predictions.spool.written@30"],
    )
    def test_killed_at_each_point_of_a_rotation(self, tmp_path: Path, point: str) -> None:
        child = self.child(tmp_path, 200, WINDSOCK_FAULT_POINT=point)
        assert child.wait(90) == -signal.SIGKILL
        recover(tmp_path / "spool", FsspecSink(tmp_path))
        self.check_nothing_lost(tmp_path)

    def test_a_torn_stream_gives_its_whole_batches(self, tmp_path: Path) -> None:
        writer = writer_on(tmp_path)
        for _ in range(5):
            append(writer, 10)
            writer.flush()
        (stream,) = (tmp_path / "spool").glob("*.arrows")
        torn = tmp_path / "other" / stream.name
        torn.parent.mkdir()
        torn.write_bytes(stream.read_bytes()[:-100])
        recover(torn.parent, FsspecSink(tmp_path))
        assert table(tmp_path).num_rows == 40
        writer.close()

    def test_a_living_writers_stream_is_left_alone(self, make: Any, tmp_path: Path) -> None:
        writer = make()
        append(writer, 5)
        writer.flush()
        assert recover(tmp_path / "spool", FsspecSink(tmp_path)) == []
        append(writer, 5)
        writer.close()
        assert table(tmp_path).num_rows == 10


class TestStoreOutage:
    class Flaky(FsspecSink):
        down = True

        def commit(self, source: Path, key: str) -> str:
            if self.down:
                raise OSError("the store is down")
            return super().commit(source, key)

    def test_rows_wait_in_the_spool_until_it_is_back(self, make: Any, tmp_path: Path) -> None:
        sink = self.Flaky(tmp_path)
        writer = make(sink=sink)
        append(writer, 3)
        writer.rotate()
        append(writer, 4)
        writer.rotate()
        assert reader.files(str(tmp_path), "churn") == []
        assert len(list((tmp_path / "spool").glob("*.arrows"))) == 2
        sink.down = False
        writer.rotate()
        assert table(tmp_path).num_rows == 7
        assert writer.dropped == 0

    def test_a_writer_that_ends_during_the_outage_leaves_them_to_the_next(self, tmp_path: Path) -> None:
        writer = writer_on(tmp_path, sink=self.Flaky(tmp_path))
        append(writer, 3)
        writer.close()
        writer_on(tmp_path).close()
        eventually(lambda: reader.files(str(tmp_path), "churn"))
        assert table(tmp_path).num_rows == 3


class TestReader:
    @pytest.fixture
    def ids(self, tmp_path: Path) -> dict[int, list[bytes]]:
        """Version 1 at 12:30 and 13:30, version 2 at 14:30 and on the next day."""
        found = {}
        for offset, version in ((0, 1), (1, 1), (2, 2), (24, 2)):
            writer = writer_on(tmp_path, version=version, clock=lambda at=NOON + offset * 3600: at)
            found[offset] = append(writer, 3)
            writer.close()
        return found

    @pytest.mark.usefixtures("ids")
    def test_windows_prune_partitions(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(pq, "ParquetFile", None)  # opening a file would fail
        noon = datetime.fromtimestamp(NOON, timezone.utc)

        def hours(**window: Any) -> list[int]:
            located = [log.locate(path) for path in reader.files(f"file://{tmp_path}", "churn", **window)]
            return [item[0].start.hour for item in located if item]

        assert hours() == [12, 13, 14, 12]
        assert hours(version=2) == [14, 12]
        assert hours(start=noon + timedelta(hours=1)) == [13, 14, 12]
        assert hours(end=noon.replace(minute=0) + timedelta(hours=1)) == [12]
        assert hours(start=noon + timedelta(minutes=31), end=noon + timedelta(hours=10)) == [13, 14]
        assert hours(start=datetime(2025, 11, 21)) == [12], "a time without a zone is UTC"
        assert hours(start=noon + timedelta(days=9)) == []
        assert reader.files(str(tmp_path), "nobody") == []

    def test_a_request_is_found_wherever_it_is(self, tmp_path: Path, ids: dict[int, list[bytes]]) -> None:
        for offset, version in ((0, 1), (2, 2), (24, 2)):
            row = reader.find(str(tmp_path / "predictions"), format_request_id(ids[offset][1]))
            assert row is not None
            assert (row["model"], row["version"], row["prediction"]) == ("churn", version, 1)
            assert row["features"] == {"age": 41, "score": 0.5, "plan": "basic", "active": True}
        assert reader.find(str(tmp_path), uuid.uuid4()) is None
        assert reader.find(str(tmp_path), ids[0][0], model="other") is None


class TestObjectStore:
    def test_the_log_on_s3(self, moto_server: str, tmp_path: Path) -> None:
        import s3fs

        client = {"region_name": "us-east-1"}
        options = {
            "key": "k",
            "secret": "s",
            "endpoint_url": moto_server,
            "client_kwargs": client,
        }
        bucket = f"predictions-{uuid.uuid4().hex[:8]}"
        s3fs.S3FileSystem(**options).call_s3("create_bucket", Bucket=bucket)
        root = f"s3://{bucket}/prefix"
        writer = writer_on(tmp_path, sink=FsspecSink(root, options), clock=lambda: NOON)
        ids = append(writer, 5)
        writer.close()
        (path,) = reader.files(root, "churn", storage_options=options)
        assert path.startswith(f"{root}/predictions/model_name=churn/version=3/")
        row = reader.find(root, ids[3], storage_options=options)
        assert row is not None
        assert row["features"]["age"] == 41
        late = datetime.fromtimestamp(NOON, timezone.utc) + timedelta(hours=2)
        assert len(log.close_hours(FsspecSink(root, options), "churn", now=late)) == 1
        assert log.close_hours(FsspecSink(root, options), "churn", now=late) == []
