"""True values that come later, by request id: ``{artifact store root}/labels/model_name=…/date=…/part-*.parquet``.

``date`` is the day on which they arrived, so that a file never changes and whoever looks for labels of a window need
not look before it. A value may be corrected: of several for one request the last that arrived counts. Labels are of a
model and not of a version, since whoever reports them cannot know which version answered.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
import uuid
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import date, datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

from ..errors import DataUnreadable
from ..faults import reach
from .request_ids import parse_request_id

if TYPE_CHECKING:
    import pyarrow as pa

    from .log import Sink

logger = logging.getLogger(__name__)

FOLDER = "labels"
SUFFIX = ".jsonl"
ROTATE_SECONDS = 30.0
ROTATE_ROWS = 100_000


def record_labels(sink: Sink, model: str, labels: Any, *, at: datetime | None = None, name: str | None = None) -> int:
    """Store true values; returns how many.

    ``labels``: anything Arrow reads as a table (pandas, polars, Arrow) or a list of mappings, with the columns
    ``request_id`` (text, UUID or 16 bytes), ``label`` and, if known, ``label_ts`` (when the truth was known; default:
    now). ``at`` and ``name`` together make storing idempotent: the same file. Raises ``DataUnreadable``.
    """
    now = at or datetime.now(timezone.utc)
    table = label_table(labels, now)
    if table.num_rows:
        _commit(sink, table, model, now, name or uuid.uuid4().hex[:12])
    return int(table.num_rows)


def label_files(sink: Sink, model: str, *, since: datetime | None = None) -> list[str]:
    """The label files of a model that arrived on or after the day of ``since``, in the order in which they arrived."""
    first = since.astimezone(timezone.utc).date() if since else date.min
    found = []
    for path in sink.list(_prefix(model) + "/"):
        folder, _, file = path.rpartition("/")
        day = unquote(folder.rpartition("date=")[2])
        if file.endswith(".parquet") and file[0] not in "._" and date.fromisoformat(day) >= first:
            found.append((day, file, path))
    return [path for *_, path in sorted(found)]


def label_table(labels: Any, now: datetime) -> pa.Table:
    """Labels as a table with the columns of the log. Raises ``DataUnreadable``."""
    import pyarrow as pa

    given = _arrow(labels)
    missing = {"request_id", "label"} - set(given.column_names)
    if missing:
        raise DataUnreadable(
            f"The labels have no column {', '.join(sorted(missing))}; they have {', '.join(given.column_names)}.",
            hint="Name the columns request_id, label and, if known, label_ts.",
        )
    ids = [_id(value) for value in given["request_id"].to_pylist()]
    column = given["label"].combine_chunks()
    numeric = pa.types.is_integer(column.type) or pa.types.is_floating(column.type) or pa.types.is_boolean(column.type)
    kind = pa.float64() if numeric else pa.string()
    try:
        values = (
            column.cast(pa.int8()).cast(kind) if pa.types.is_boolean(column.type) else column.cast(kind, safe=False)
        )
        stamp = pa.timestamp("us", "UTC")
        times = given["label_ts"].cast(stamp) if "label_ts" in given.column_names else pa.array([now] * len(ids), stamp)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataUnreadable(f"The labels cannot be stored: {error}.", hint="Give numbers or texts.") from None
    table = pa.table({"request_id": pa.array(ids, pa.binary(16)), "label": values, "label_ts": times})
    return table.filter(pa.compute.is_valid(table["label"])) if table["label"].null_count else table


def _arrow(labels: Any) -> pa.Table:
    import pyarrow as pa
    import pyarrow.compute

    try:
        if isinstance(labels, pa.Table):
            return labels
        if hasattr(labels, "__arrow_c_stream__"):
            return pa.table(labels)
        if isinstance(labels, Mapping):
            return pa.table(dict(labels))
        rows = [dict(row) for row in labels]
        for row in rows:
            if isinstance(row.get("request_id"), uuid.UUID):
                row["request_id"] = row["request_id"].bytes
        return pa.Table.from_pylist(rows) if rows else pa.table({"request_id": pa.array([], pa.string()), "label": []})
    except (pa.ArrowInvalid, pa.ArrowTypeError, TypeError, ValueError) as error:
        raise DataUnreadable(
            f"The labels are no table: {error}.", hint="Give a table, or a list of {'request_id': …, 'label': …}."
        ) from None


def _id(value: Any) -> bytes:
    if isinstance(value, bytes) and len(value) == 16:
        return value
    if isinstance(value, str) and value:
        return parse_request_id(value)
    raise DataUnreadable(f"{value!r} is no request id.", hint="Give the request_id of the server's answer.")


def _prefix(model: str) -> str:
    return f"{FOLDER}/model_name={quote(model, safe='')}"


def _commit(sink: Sink, table: pa.Table, model: str, arrived: datetime, name: str) -> str:
    """The file's name begins with the time of its arrival: names sort in the order in which files arrived."""
    import tempfile

    import pyarrow.parquet as pq

    with tempfile.TemporaryDirectory(prefix="windsock-labels-") as place:
        path = Path(place) / "labels.parquet"
        pq.write_table(table, path, compression="zstd", row_group_size=131_072)
        moment = round(arrived.timestamp() * 1e6)
        folder = f"{_prefix(model)}/date={arrived.astimezone(timezone.utc):%Y-%m-%d}"
        return sink.commit(path, f"{folder}/part-{moment:018d}-{name}-{table.num_rows}.parquet")


class LabelWriter:
    """Takes single labels, as a server's ``POST /feedback`` does, and writes a file of them every half minute.

    A label is on this machine's disk before :meth:`append` returns, and in the store at the latest when the next
    writer on the same folder starts: a label that was acknowledged is not lost by a kill.
    """

    def __init__(self, sink: Sink, model: str, spool: Path, *, rotate_seconds: float = ROTATE_SECONDS) -> None:
        self._sink, self._model, self._folder = sink, model, spool
        self._rotate = rotate_seconds
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._file: Any = None
        self._rows = 0
        spool.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="label-log", daemon=True)
        self._thread.start()

    def append(self, labels: Iterable[tuple[bytes, Any]]) -> int:
        """Keep ``(request id, value)`` pairs; how many. Raises ``OSError`` when the disk does not take them."""
        now = time.time()
        lines = [json.dumps([request_id.hex(), value, now]) for request_id, value in labels]
        with self._lock:
            if self._file is None:
                path = self._folder / f"{time.time_ns()}-{uuid.uuid4().hex[:8]}{SUFFIX}"
                # Locked before it has its name: another writer must never find it empty and unlocked.
                hidden = path.with_name(f".{path.name}.new")
                self._file = hidden.open("x", encoding="utf-8")
                _lock_file(self._file)
                hidden.rename(path)
            self._file.write("".join(line + "\n" for line in lines))
            self._file.flush()
            os.fsync(self._file.fileno())
            self._rows += len(lines)
            reach("labels.spool.written")
        return len(lines)

    def close(self) -> None:
        """Make everything visible."""
        self._stop.set()
        self._thread.join()
        self.rotate()

    def rotate(self) -> None:
        """Write what waits as a file of the store; what the store does not take waits for the next time."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file, self._rows = None, 0
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                with suppress(FileNotFoundError):  # another writer was faster
                    publish_labels(path, self._sink, self._model)
            except Exception as error:  # noqa: BLE001 - the spool keeps them; serving goes on
                logger.warning("labels wait on this machine, the store does not take them: %s", error)

    def _run(self) -> None:
        self.rotate()  # what a killed writer left
        began = time.monotonic()
        while not self._stop.wait(min(1.0, self._rotate)):
            if self._rows >= ROTATE_ROWS or time.monotonic() - began >= self._rotate:
                began = time.monotonic()
                self.rotate()


def publish_labels(path: Path, sink: Sink, model: str) -> str | None:
    """Turn a spool file into a file of the log and remove it; None if its writer still lives.

    Safe to repeat after a kill at any point: the file's name follows from the spool's.
    """
    with path.open("r", encoding="utf-8") as file:
        if not _lock_file(file) or not os.fstat(file.fileno()).st_nlink:  # a living writer's, or done by another
            return None
        rows = [json.loads(line) for line in file if line.endswith("]\n")]  # a torn last line was never acknowledged
        uri = None
        if rows:
            arrived = datetime.fromtimestamp(rows[0][2], timezone.utc)
            for numeric in (True, False):
                part = [row for row in rows if isinstance(row[1], (bool, int, float)) == numeric]
                if part:
                    table = label_table(_columns(part), arrived)
                    name = f"{path.stem}{'' if numeric else '-text'}"
                    uri = _commit(sink, table, model, arrived, name)
        reach("labels.published")
        path.unlink(missing_ok=True)
    return uri


def _columns(rows: list[list[Any]]) -> dict[str, list[Any]]:
    return {
        "request_id": [bytes.fromhex(row[0]) for row in rows],
        "label": [float(row[1]) if isinstance(row[1], (bool, int, float)) else row[1] for row in rows],
        "label_ts": [datetime.fromtimestamp(row[2], timezone.utc) for row in rows],
    }


def _lock_file(file: Any) -> bool:
    """Lock it for the life of this process; False if another process has it."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
