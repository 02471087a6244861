"""Where the prediction log lies: hive partitions of Parquet files, one folder for each hour of a model version.

::

    {artifact store root}/predictions/model_name=churn/version=3/date=2026-11-20/hour=21/
        part-5f0c91ab-00001-131072.parquet      writer, number, rows
        _SUCCESS                                 the hour is over and complete

Names that begin with ``_`` or ``.`` are not data, which Spark, DuckDB, Polars and Arrow know too. The number of rows
stands in the name of a file, so that counting opens nothing.
"""

from __future__ import annotations

import json
import re
import time
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

FOLDER = "predictions"
SUCCESS = "_SUCCESS"
GRACE = timedelta(minutes=2)
"""How long after its end an hour stays open: every live writer has rotated by then."""

_PARTITION = re.compile(
    r"(?P<key>predictions/model_name=(?P<model>[^/]+)/version=(?P<version>\d+)"
    r"/date=(?P<date>\d{4}-\d\d-\d\d)/hour=(?P<hour>\d\d))/(?P<file>[^/]+)$"
)


class Sink(Protocol):
    """Where finished files go. An artifact store is one, with its own credentials; :class:`FsspecSink` is another.

    Keys are relative to the store's root and begin with ``predictions/``.
    """

    def commit(self, source: Path, key: str) -> str:
        """Make a copy of a local file visible under ``key``, whole or not at all. Idempotent."""
        ...

    def put_bytes(self, key: str, data: bytes, *, overwrite: bool = False) -> str: ...

    def list(self, prefix: str) -> Iterator[str]:
        """Everything under the folder ``prefix``, as URIs or paths."""
        ...


@dataclass(frozen=True, order=True)
class Hour:
    """One partition: an hour of a model version. ``start`` is in UTC."""

    start: datetime
    model: str
    version: int

    @classmethod
    def at(cls, model: str, version: int, timestamp: float) -> Hour:
        moment = datetime.fromtimestamp(timestamp - timestamp % 3600, timezone.utc)
        return cls(moment, model, version)

    @property
    def key(self) -> str:
        return (
            f"{FOLDER}/model_name={quote(self.model, safe='')}/version={self.version}"
            f"/date={self.start:%Y-%m-%d}/hour={self.start:%H}"
        )

    @property
    def end(self) -> datetime:
        return self.start + timedelta(hours=1)


def locate(path: str) -> tuple[Hour, str] | None:
    """The partition and the file name that a path or URI of the log stands for; None for anything else."""
    found = _PARTITION.search(path)
    if found is None:
        return None
    start = datetime.strptime(f"{found['date']} {found['hour']}", "%Y-%m-%d %H").replace(tzinfo=timezone.utc)
    return Hour(start, unquote(found["model"]), int(found["version"])), found["file"]


def file_name(writer: str, number: int, rows: int) -> str:
    return f"part-{writer}-{number:05d}-{rows}.parquet"


def is_data(name: str) -> bool:
    return name.endswith(".parquet") and name[0] not in "._"


def rows_in(name: str) -> int:
    """The rows that a file of the log says in its name; 0 for a foreign name."""
    tail = name.removesuffix(".parquet").rpartition("-")[2]
    return int(tail) if tail.isdigit() else 0


def mark_complete(sink: Sink, hour: Hour, names: Iterable[str]) -> None:
    """Write ``_SUCCESS`` with the files of the hour; written again when a crashed writer's rows arrive late."""
    files = sorted(name for name in names if is_data(name))
    content = {"files": files, "rows": sum(map(rows_in, files)), "closed_at": time.time()}
    sink.put_bytes(f"{hour.key}/{SUCCESS}", json.dumps(content).encode(), overwrite=True)


def close_hours(
    sink: Sink, model: str, version: int | None = None, *, now: datetime | None = None, grace: timedelta = GRACE
) -> list[Hour]:
    """Mark every hour of a model that is over and was not marked yet; returns those.

    Idempotent. Any process may do it, because a writer that was stopped in the middle of an hour cannot.
    """
    moment = now or datetime.now(timezone.utc)
    prefix = f"{FOLDER}/model_name={quote(model, safe='')}" + (f"/version={version}/" if version is not None else "/")
    files: dict[Hour, set[str]] = {}
    for path in sink.list(prefix):
        if located := locate(path):
            files.setdefault(located[0], set()).add(located[1])
    closed = [hour for hour in sorted(files) if SUCCESS not in files[hour] and hour.end + grace <= moment]
    for hour in closed:
        mark_complete(sink, hour, files[hour])
    return closed
