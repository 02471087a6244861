"""Tables that need not fit into memory: polars LazyFrames, pyarrow Datasets and RecordBatchReaders.

They are written batch by batch as one Arrow IPC file, and come back as lazy as they were: nothing is read until it is
used, and then only the columns that are asked for. The file is what any other table is stored as, so polars, pandas,
DuckDB or R read it by its path. What it does not do: keep the plan. A LazyFrame is run once, when it is stored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, MaterializerNotFound
from .arrow import require_columns
from .base import LoadRequest, Materializer, StreamMaterializer, require_library
from .plain import preview
from .statistics import BATCH, Statistics, table_statistics

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from ..digests import HashingFile

_PREVIEW_ROWS = 5
_PREVIEW_COLUMNS = 50
_AHEAD = 2
"""Batches that are read before they are asked for."""


class DatasetMaterializer(StreamMaterializer):
    """``pyarrow.dataset.Dataset``, of any number of files in any format. Comes back as a Dataset of one file."""

    name = "arrow.dataset"
    extension = ".dataset.arrow"
    keeps_path = True

    def batches(self, value: Any) -> tuple[Any, Iterable[Any]]:
        """Schema and batches, one pass."""
        return value.schema, value.to_batches(batch_size=BATCH, batch_readahead=_AHEAD, fragment_readahead=1)

    def write(self, value: Any, file: HashingFile) -> None:
        import pyarrow as pa

        schema, batches = self.batches(value)
        statistics = Statistics(schema)
        head: dict[str, Any] = {}
        options = pa.ipc.IpcWriteOptions(compression="lz4", emit_dictionary_deltas=True)
        try:
            with pa.ipc.new_file(pa.PythonFile(file, mode="w"), schema, options=options) as writer:
                for batch in _even(schema, batches):
                    if not head:
                        head = batch.slice(0, _PREVIEW_ROWS).select(schema.names[:_PREVIEW_COLUMNS]).to_pydict()
                    statistics.add(batch)
                    writer.write_batch(batch)
        except pa.ArrowInvalid as error:
            raise MaterializerNotFound(
                f"This {type(value).__name__} cannot be written as Arrow: {error}.",
                hint="If its categories differ from batch to batch, cast that column to text.",
            ) from error
        file.facts.update(
            {
                "rows": statistics.rows,
                "shape": [statistics.rows, len(schema)],
                "schema": {field.name: str(field.type) for field in schema},
                "preview": {name: preview(values) for name, values in head.items()},
                "statistics": statistics.result(),
            }
        )

    def load(self, path: Path, request: LoadRequest) -> Any:
        import pyarrow as pa
        import pyarrow.dataset as ds

        schema = _schema(path)
        if request.columns is None:
            return ds.dataset(str(path), format="ipc", schema=schema)
        require_columns(schema.names, request.columns)
        # A dataset of that schema reads these columns only.
        chosen = pa.schema([schema.field(name) for name in request.columns])
        return ds.dataset(str(path), format="ipc", schema=chosen)


class ReaderMaterializer(DatasetMaterializer):
    """``pyarrow.RecordBatchReader``: it is used up by storing it. Comes back as a reader from the beginning."""

    name = "arrow.reader"
    extension = ".reader.arrow"

    def batches(self, value: Any) -> tuple[Any, Iterable[Any]]:
        return value.schema, value

    def load(self, path: Path, request: LoadRequest) -> Any:
        dataset = super().load(path, request)
        return dataset.scanner(batch_size=BATCH, batch_readahead=_AHEAD, fragment_readahead=1).to_reader()


class LazyFrameMaterializer(Materializer):
    """``polars.LazyFrame``, run by the streaming engine into an uncompressed file, which polars maps when it reads."""

    name = "polars.lazy"
    extension = ".lazy.arrow"
    keeps_path = True

    def save(self, value: Any, path: Path) -> None:
        import polars as pl

        bad = [name for name, dtype in value.collect_schema().items() if dtype == pl.Object]
        if bad:
            raise MaterializerNotFound(
                f"The polars LazyFrame has columns of Python objects: {', '.join(bad)}.",
                hint="Give them a type of polars.",
                columns=bad,
            )
        value.sink_ipc(path, compression="uncompressed", maintain_order=True)

    def load(self, path: Path, request: LoadRequest) -> Any:
        polars = require_library("polars", "a polars LazyFrame")
        try:
            frame = polars.scan_ipc(path)
            names = frame.collect_schema()
        except (polars.exceptions.PolarsError, OSError) as error:
            raise ArtifactCorrupted(f"The artifact is not a readable Arrow file: {error}.") from error
        if request.columns is None:
            return frame
        require_columns(names.names(), request.columns)
        return frame.select(list(request.columns))

    def save_described(self, value: Any, path: Path) -> dict[str, Any]:
        self.save(value, path)
        import polars as pl
        import pyarrow as pa

        frame = pl.scan_ipc(path)
        schema = frame.collect_schema()
        head = frame.select(schema.names()[:_PREVIEW_COLUMNS]).head(_PREVIEW_ROWS).collect()
        with pa.memory_map(str(path)) as source:
            table = pa.ipc.open_file(source).read_all()
            statistics = table_statistics(table)
        return {
            "rows": table.num_rows,
            "shape": [table.num_rows, len(schema)],
            "schema": {name: str(dtype) for name, dtype in schema.items()},
            "preview": {name: preview(values) for name, values in head.to_dict(as_series=False).items()},
            "statistics": statistics,
        }


def _even(schema: Any, batches: Iterable[Any]) -> Iterator[Any]:
    """The same rows in batches of ``BATCH``: equal data must give equal bytes, however it came."""
    import pyarrow as pa

    waiting: list[Any] = []
    rows = 0
    for batch in batches:
        waiting.append(batch)
        rows += batch.num_rows
        while rows >= BATCH:
            table = pa.Table.from_batches(waiting, schema)
            yield from _compact(table.slice(0, BATCH))
            waiting = table.slice(BATCH).to_batches()
            rows -= BATCH
    if rows:
        yield from _compact(pa.Table.from_batches(waiting, schema))


def _compact(table: Any) -> list[Any]:
    """The rows as one batch with memory of its own: of a part of text, Arrow writes some bytes of what comes next."""
    import pyarrow as pa

    batches = [batch for batch in table.to_batches() if batch.num_rows]
    if len(batches) == 1:
        batches = [batches[0].slice(0, 1), batches[0].slice(1)]
    found: list[Any] = pa.Table.from_batches(batches, table.schema).combine_chunks().to_batches()
    return found


def _schema(path: Path) -> Any:
    import pyarrow as pa

    try:
        with pa.memory_map(str(path)) as source:
            return pa.ipc.open_file(source).schema
    except pa.ArrowInvalid as error:
        raise ArtifactCorrupted(f"The artifact is not a readable Arrow file: {error}.") from error
