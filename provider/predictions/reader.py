"""Reading the prediction log: which files cover a window, and which row a request id names."""

from __future__ import annotations

import uuid
from datetime import datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote

import numpy as np

from .log import FOLDER, Hour, is_data, locate, rows_in
from .request_ids import format_request_id, time_of
from .schema import RESERVED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping


def files(
    root: str,
    model: str,
    *,
    version: int | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> list[str]:
    """The Parquet files of a model that hold rows of ``start <= ts < end``, oldest first; opens none of them.

    Whole hours: a file of the first or last hour may also hold rows outside the window. ``root`` is the artifact
    store's root (or its ``predictions`` folder): a path or a URL. Local files come as paths, others as URLs.
    Times without a zone are UTC.
    """
    tree = _Tree(root, storage_options)
    return [path for _, path in sorted(_walk(tree, model, version, _utc(start), _utc(end)))]


def rows(paths: Iterable[str]) -> int:
    """How many rows those files hold, by their names."""
    return sum(rows_in(path.rpartition("/")[2]) for path in paths)


def find(
    root: str,
    request_id: str | uuid.UUID | bytes,
    *,
    model: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    filesystem: Any = None,
) -> dict[str, Any] | None:
    """The logged row of a request, with the model that answered it; None when the log has none.

    ``filesystem``: an open fsspec file system (a remote artifact store's own) instead of one made from the URL.

    ``{"request_id", "model", "version", "ts", "features": {…}, "prediction", "score", "latency_s", "sample_rate",
    "error", "file"}``. A request that was answered a moment ago is found after the next rotation. An id that
    Windsock gave is found in its own hour; any other id is looked for from the newest hour back, at about 2 ms for
    each file of 131,072 rows.
    """
    wanted = _id_bytes(request_id)
    tree = _Tree(root, storage_options, filesystem)
    models = [model] if model is not None else tree.values(FOLDER, "model_name")
    made = time_of(wanted)
    if made is not None:
        near = (made - timedelta(hours=1), made + timedelta(hours=2))
        for name in models:
            if row := _search(tree, wanted, _walk(tree, name, None, *near)):
                return row
    for name in models:
        if row := _search(tree, wanted, _walk(tree, name, None, None, None)):
            return row
    return None


class _Tree:
    """The folders of the log on one file system."""

    def __init__(self, root: str, storage_options: Mapping[str, Any] | None, filesystem: Any = None) -> None:
        from fsspec.core import url_to_fs

        root = root.rstrip("/").removesuffix(f"/{FOLDER}")
        if filesystem is not None:
            self.fs, self.root = filesystem, filesystem._strip_protocol(root)
        else:
            self.fs, self.root = url_to_fs(root, **(storage_options or {}))
        protocol = self.fs.protocol if isinstance(self.fs.protocol, str) else self.fs.protocol[0]
        self.scheme = "" if protocol in ("file", "local") else f"{protocol}://"

    def names(self, key: str) -> list[str]:
        try:
            listed = self.fs.ls(f"{self.root}/{key}", detail=False, refresh=True)
        except TypeError:
            listed = self.fs.ls(f"{self.root}/{key}", detail=False)
        except (FileNotFoundError, NotADirectoryError):
            return []
        return [str(path).rstrip("/").rpartition("/")[2] for path in listed]

    def values(self, key: str, column: str) -> list[str]:
        """The values of one level of partitions, sorted."""
        prefix = f"{column}="
        return sorted(unquote(name[len(prefix) :]) for name in self.names(key) if name.startswith(prefix))


def _walk(
    tree: _Tree, model: str, version: int | None, start: datetime | None, end: datetime | None
) -> Iterator[tuple[Hour, str]]:
    base = f"{FOLDER}/model_name={quote(model, safe='')}"
    versions = [str(version)] if version is not None else tree.values(base, "version")
    for number in versions:
        for date in tree.values(f"{base}/version={number}", "date"):
            if (start and date < f"{start:%Y-%m-%d}") or (end and date > f"{end:%Y-%m-%d}"):
                continue
            day = f"{base}/version={number}/date={date}"
            for hour in tree.values(day, "hour"):
                yield from _hour_files(tree, f"{day}/hour={hour}", start, end)


def _hour_files(tree: _Tree, key: str, start: datetime | None, end: datetime | None) -> Iterator[tuple[Hour, str]]:
    located = locate(f"{key}/x")
    if located is None:
        return
    hour = located[0]
    if (start and hour.end <= start) or (end and hour.start >= end):
        return
    for name in tree.names(key):
        if is_data(name):
            yield hour, f"{tree.scheme}{tree.root}/{key}/{name}"


def _search(tree: _Tree, wanted: bytes, found: Iterator[tuple[Hour, str]]) -> dict[str, Any] | None:
    for hour, path in sorted(found, reverse=True):
        if row := _find_in(tree, path, wanted):
            return {
                "request_id": format_request_id(wanted),
                "model": hour.model,
                "version": hour.version,
                **row,
                "file": path,
            }
    return None


def _find_in(tree: _Tree, path: str, wanted: bytes) -> dict[str, Any] | None:
    import pyarrow.parquet as pq

    with tree.fs.open(path.removeprefix(tree.scheme), "rb") as file, pq.ParquetFile(file) as parquet:
        for group in range(parquet.num_row_groups):
            ids = parquet.read_row_group(group, columns=["request_id"])["request_id"]
            index = _index(ids, wanted)
            if index is not None:
                row = parquet.read_row_group(group).slice(index, 1).to_pylist()[0]
                return _shape(row)
    return None


def _index(ids: Any, wanted: bytes) -> int | None:
    """Where an id stands in a chunked column of 16-byte values."""
    pair = np.frombuffer(wanted, dtype=np.uint64)
    start = 0
    for chunk in ids.chunks:
        values = np.frombuffer(chunk.buffers()[1], dtype=np.uint64).reshape(-1, 2)
        values = values[chunk.offset : chunk.offset + len(chunk)]
        found = np.flatnonzero((values[:, 0] == pair[0]) & (values[:, 1] == pair[1]))
        if len(found):
            return start + int(found[0])
        start += len(chunk)
    return None


def _shape(row: dict[str, Any]) -> dict[str, Any]:
    features = {name.removeprefix("feature."): value for name, value in row.items() if name not in RESERVED}
    own = {name: value for name, value in row.items() if name in RESERVED and name != "request_id"}
    return {"ts": own.pop("ts"), "features": features, **own}


def _id_bytes(request_id: str | uuid.UUID | bytes) -> bytes:
    if isinstance(request_id, bytes):
        return request_id
    if isinstance(request_id, uuid.UUID):
        return request_id.bytes
    from .request_ids import parse_request_id

    return parse_request_id(request_id)


def _utc(moment: datetime | None) -> datetime | None:
    if moment is None:
        return None
    return moment.replace(tzinfo=timezone.utc) if moment.tzinfo is None else moment.astimezone(timezone.utc)
