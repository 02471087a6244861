"""Open data of any shape as chunks of columns: one column of one chunk at a time, never a whole table.

A *chunk* is a Parquet row group, a slice of a table in memory, or a batch of a stream. Reading column by column keeps
memory at one column chunk a thread, whatever the size of the data; ``pyarrow.dataset`` scanners need three times the
CPU and ten times the memory for the same work, and some conveniences of pyarrow (``to_numpy``) import pandas: neither
is used here.

What can be opened: Parquet and CSV files (``.csv``, ``.tsv``, also ``.gz`` and the like), folders of them (hive
folders too: keys such as ``date=2026-01-01`` say where rows lie and are not columns), URIs that fsspec knows, Arrow
tables, record batches and streams, and everything with ``__arrow_c_stream__`` (pandas, polars, DuckDB).
"""

from __future__ import annotations

import os
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import unquote

from ..errors import DataUnreadable, MissingExtra, did_you_mean

if TYPE_CHECKING:
    import pyarrow as pa

SLICE_ROWS = 262_144
"""Rows of a chunk where the data do not say: slices of a table, row groups of a spilled stream."""

_PARQUET = (".parquet", ".parq", ".pq")
_CSV = (".csv", ".tsv", ".csv.gz", ".tsv.gz", ".csv.zst", ".tsv.zst", ".csv.bz2", ".tsv.bz2")

Opener = Callable[[str], BinaryIO]


@dataclass(frozen=True)
class Chunk:
    """Some consecutive rows of a source; ``key`` is the source's own business."""

    rows: int
    key: Any = field(repr=False)


class Source(ABC):
    """Data to profile. ``read`` is called from several threads at once."""

    schema: dict[str, pa.DataType]
    """Name and type of every column; the first file's type where files differ."""
    rows: int | None
    """Number of rows, when it is known without reading."""
    origin: dict[str, Any]
    """What was opened: files with size and time, or the kind of object. Goes into the profile."""
    repeatable: bool = True
    """Chunks can be read twice and in any order."""

    @property
    def expected_rows(self) -> int | None:
        """About how many rows there are, for progress and for the size of blocks."""
        return self.rows

    @abstractmethod
    def chunks(self) -> Iterator[Chunk]:
        """The chunks in their order."""

    @abstractmethod
    def read(self, chunk: Chunk, column: str) -> Iterator[pa.Array]:
        """One column of one chunk, in pieces. A column that this chunk's file lacks comes as nulls."""

    def close(self) -> None:  # noqa: B027 - most sources hold nothing
        """Release files; the source is not used afterwards."""

    def __enter__(self) -> Source:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def open_data(
    data: Any,
    *,
    columns: Sequence[str] | None = None,
    types: Mapping[str, pa.DataType] | None = None,
    opener: Opener | None = None,
) -> Source:
    """Open ``data``: a path, URI or folder, a list of them, or a table.

    ``columns`` limits what is offered. ``types`` tells what a CSV's text means, where its own look is not enough
    (``"007"`` may be a code). ``opener`` opens a URI for reading, for object stores whose credentials live elsewhere.
    Raises ``DataUnreadable``, naming the file and why.
    """
    if isinstance(data, Source):
        return data
    if isinstance(data, (str, os.PathLike)):
        data = [data]
    source = _open_paths(data, types or {}, opener) if _are_paths(data) else _open_object(data)
    if columns is not None:
        require_columns(columns, source.schema, "The data have")
        source.schema = {name: kind for name, kind in source.schema.items() if name in set(columns)}
    return source


def require_columns(names: Iterable[str], known: Iterable[str], who: str) -> None:
    """A column that somebody asked for and that is not there must not pass for one that has not drifted."""
    there = list(known)
    for name in names:
        if name not in there:
            raise DataUnreadable(f'{who} no column "{name}".', hint=did_you_mean(name, there), column=name)


def is_index(name: str) -> bool:
    """Whether it is the index of a pandas frame, which pandas writes as a column: it numbers rows and says nothing."""
    return name.startswith("__index_level_")


def _are_paths(data: Any) -> bool:
    return isinstance(data, (list, tuple)) and all(isinstance(item, (str, os.PathLike)) for item in data)


# Tables and streams ---------------------------------------------------------------------------------------------------


def _open_object(data: Any) -> Source:
    import pyarrow as pa

    if isinstance(data, pa.RecordBatch):
        data = pa.Table.from_batches([data])
    if isinstance(data, pa.Table):
        return TableSource(data)
    if isinstance(data, pa.RecordBatchReader):
        return StreamSource(data)
    if not hasattr(data, "__arrow_c_stream__"):
        raise DataUnreadable(
            f"A {type(data).__module__}.{type(data).__qualname__} is no data that can be profiled.",
            hint="Give Parquet or CSV paths, an Arrow table, or what has __arrow_c_stream__ (pandas, polars, DuckDB).",
        )
    kind = f"{type(data).__module__}.{type(data).__qualname__}"
    try:
        reader = pa.RecordBatchReader.from_stream(data)
        # A frame lies in memory already; a DuckDB relation may be larger than memory.
        streams = kind.startswith(("duckdb", "_duckdb"))
        return StreamSource(reader) if streams else TableSource(reader.read_all(), kind)
    except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
        if not hasattr(data, "items"):
            raise DataUnreadable(f"The {kind} cannot be read as Arrow: {error}") from error
        return TableSource(_columnwise(data), kind)


def _columnwise(frame: Any) -> pa.Table:
    """A frame whose columns Arrow refuses as a whole, column by column; mixed values become text."""
    import pyarrow as pa

    arrays: dict[str, Any] = {}
    for name, column in frame.items():
        try:
            arrays[str(name)] = pa.array(column, from_pandas=True)
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError):
            missing = (None if value is None or value != value else str(value) for value in column)  # noqa: PLR0124
            arrays[str(name)] = pa.array(missing, pa.string())
    return pa.table(arrays)


class TableSource(Source):
    """An Arrow table in memory, in slices."""

    def __init__(self, table: pa.Table, kind: str = "pyarrow.Table") -> None:
        keep = [i for i, name in enumerate(table.column_names) if not is_index(name)]
        self._table = table.select(keep)
        self.schema = {f.name: f.type for f in self._table.schema}
        self.rows = table.num_rows
        self.origin = {"type": kind}

    def chunks(self) -> Iterator[Chunk]:
        total = self._table.num_rows
        for start in range(0, total, SLICE_ROWS):
            yield Chunk(min(SLICE_ROWS, total - start), start)

    def read(self, chunk: Chunk, column: str) -> Iterator[pa.Array]:
        yield from self._table.column(column).slice(chunk.key, chunk.rows).chunks


class StreamSource(Source):
    """An Arrow stream: every batch once, in order. Columns of one batch are in memory together."""

    repeatable = False

    def __init__(self, reader: pa.RecordBatchReader, kind: str = "pyarrow.RecordBatchReader") -> None:
        self._reader = reader
        self.schema = {f.name: f.type for f in reader.schema}
        self.rows = None
        self.origin = {"type": kind}

    def chunks(self) -> Iterator[Chunk]:
        for batch in self._reader:
            yield Chunk(batch.num_rows, batch)

    def read(self, chunk: Chunk, column: str) -> Iterator[pa.Array]:
        yield chunk.key.column(column)


def spill(source: Source) -> Source:
    """A source that can be read twice: the stream itself is written to a temporary Parquet file first.

    Exact and of flat memory, where a quantile sketch would be neither exact nor built in.
    """
    if source.repeatable:
        return source
    import pyarrow as pa

    def batches() -> Iterator[pa.RecordBatch]:
        for chunk in source.chunks():
            yield chunk.key

    return spilled(pa.schema(list(source.schema.items())), batches(), source.origin)


def spilled(schema: pa.Schema, batches: Iterable[pa.RecordBatch], origin: dict[str, Any]) -> Source:
    import pyarrow.parquet as pq

    folder = tempfile.TemporaryDirectory(prefix="windsock-drift-")
    path = Path(folder.name) / "spill.parquet"
    try:
        with pq.ParquetWriter(path, schema, compression="lz4") as writer:
            for batch in batches:
                writer.write_batch(batch, row_group_size=SLICE_ROWS)
        source = ParquetSource([str(path)])
    except BaseException:
        folder.cleanup()
        raise
    source.origin = origin
    source.holds(folder)
    return source


# Files ----------------------------------------------------------------------------------------------------------------


def _open_paths(paths: Sequence[Any], types: Mapping[str, pa.DataType], opener: Opener | None) -> Source:
    files = [file for path in paths for file in _files(_plain(path))]
    if not files:
        raise DataUnreadable(
            f"No data in {', '.join(map(str, paths)) or 'an empty list of paths'}: no Parquet or CSV file was found.",
            hint="Give files that end in .parquet or .csv, or a folder of them.",
        )
    kinds = {_kind(file) for file in files}
    if len(kinds) > 1:
        raise DataUnreadable(
            f"{len(files)} files are Parquet and CSV mixed; one check reads one of the two.",
            hint="Name the files of one kind, for example folder/*.parquet",
            files=files[:20],
        )
    if kinds == {"csv"}:
        from .csv_files import open_csv

        return open_csv(files, types, opener)
    return ParquetSource(files, opener)


def _plain(path: Any) -> str:
    text: str = os.fspath(path)
    return unquote(text[len("file://") :]) if text.startswith("file://") else text


def _kind(file: str) -> str:
    return "csv" if file.lower().endswith(_CSV) else "parquet"


def _files(path: str) -> list[str]:
    """The data files at a path, sorted: the file itself, or a folder's, hidden ones (``_`` and ``.``) left out."""
    if "://" in path:
        return _remote_files(path)
    place = Path(path)
    if place.is_dir():
        found: list[str] = []
        for folder, folders, names in os.walk(place):
            folders[:] = sorted(name for name in folders if not name.startswith((".", "_")))
            found += [
                str(Path(folder) / name)
                for name in sorted(names)
                if not name.startswith((".", "_")) and name.lower().endswith(_PARQUET + _CSV)
            ]
        return found
    if not place.exists():
        raise DataUnreadable(f"{path} does not exist.", hint="Check the path, or list the folder.", path=path)
    return [path]


def _remote_files(uri: str) -> list[str]:
    if uri.lower().endswith(_PARQUET + _CSV):
        return [uri]
    fs, place = _filesystem(uri)
    scheme = uri.split("://", 1)[0]
    try:
        names = sorted(fs.find(place))
    except OSError as error:
        raise DataUnreadable(f"{uri} cannot be listed: {error}", path=uri) from error
    hidden = [any(part.startswith((".", "_")) for part in n[len(place) :].split("/")) for n in names]
    return [
        f"{scheme}://{n}"
        for n, skip in zip(names, hidden, strict=True)
        if not skip and n.lower().endswith(_PARQUET + _CSV)
    ]


def _filesystem(uri: str) -> tuple[Any, str]:
    import fsspec

    try:
        fs, place = fsspec.core.url_to_fs(uri)
    except (ImportError, ValueError) as error:
        raise MissingExtra(
            f"{uri} needs a file system that is not installed: {error}",
            hint="Run: pip install 'airflow-provider-windsock[amazon]'  (or google, azure)",
        ) from error
    return fs, place


def open_binary(file: str, opener: Opener | None) -> Any:
    """What pyarrow reads from: the path itself when it is local (it then maps errors and sizes itself)."""
    if opener is not None:
        return opener(file)
    if "://" not in file:
        return file
    fs, place = _filesystem(file)
    return fs.open(place, "rb")


class ParquetSource(Source):
    """Parquet files: a chunk is a row group. Each thread has its own open file; footers are read once, at the start."""

    def __init__(self, files: Sequence[str], opener: Opener | None = None) -> None:
        self._opener = opener
        self._local = threading.local()
        self._held: list[Any] = []
        self.schema = {}
        self._groups: list[tuple[str, int, int]] = []
        facts = []
        for file in files:
            reader = self._footer(file)
            for arrow in reader.schema_arrow:
                if is_index(arrow.name):
                    continue
                known = self.schema.get(arrow.name)
                # A file whose column holds only nulls may have no type of its own.
                if known is None or (str(known) == "null" and arrow.type != known):
                    self.schema[arrow.name] = arrow.type
            meta = reader.metadata
            self._groups += [(file, i, meta.row_group(i).num_rows) for i in range(meta.num_row_groups)]
            facts.append(_file_facts(file, meta.num_rows))
        self._meta = reader.metadata if len(files) == 1 else None
        self.rows = sum(rows for _, _, rows in self._groups)
        self.origin = {"type": "parquet", "files": facts[:1000], "file_count": len(files)}

    def holds(self, resource: Any) -> None:
        """Clean ``resource`` up with the source (a temporary folder)."""
        self._held.append(resource)

    def chunks(self) -> Iterator[Chunk]:
        for file, group, rows in self._groups:
            if rows:
                yield Chunk(rows, (file, group))

    def read(self, chunk: Chunk, column: str) -> Iterator[pa.Array]:
        import pyarrow as pa

        file, group = chunk.key
        try:
            reader, places = self._thread_reader(file)
            place = places.get(column)
            if place is None:
                yield pa.nulls(chunk.rows)
            elif chunk.rows <= 4 * SLICE_ROWS:
                table = reader.reader.read_row_group(group, column_indices=[place], use_threads=False)
                yield from table.column(0).chunks
            else:
                for batch in reader.iter_batches(SLICE_ROWS, row_groups=[group], columns=[column], use_threads=False):
                    yield batch.column(0)
        except (pa.ArrowException, OSError) as error:
            raise DataUnreadable(
                f'{file} cannot be read: row group {group}, column "{column}": {first_line(error)}', path=file
            ) from error

    def close(self) -> None:
        self._local = threading.local()
        for resource in self._held:
            resource.cleanup()
        self._held = []

    def _footer(self, file: str) -> Any:
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            return pq.ParquetFile(open_binary(file, self._opener), pre_buffer=False)
        except (pa.ArrowException, OSError) as error:
            raise DataUnreadable(
                f"{file} cannot be read as Parquet: {first_line(error)}",
                hint="Is it complete, and does it end in .csv if it is text?",
                path=file,
            ) from error

    def _thread_reader(self, file: str) -> tuple[Any, dict[str, int]]:
        """This thread's open file and the leaf index of every flat column in it."""
        import pyarrow.parquet as pq

        if getattr(self._local, "file", None) != file:
            texts = [name for name, kind in self.schema.items() if str(kind) in ("string", "large_string")]
            reader = pq.ParquetFile(
                open_binary(file, self._opener), metadata=self._meta, read_dictionary=texts, pre_buffer=False
            )
            leaves = reader.schema
            flat = set(reader.schema_arrow.names)
            places = {leaves.column(i).path: i for i in range(len(leaves)) if leaves.column(i).path in flat}
            self._local.file, self._local.reader, self._local.places = file, reader, places
        return self._local.reader, self._local.places


def _file_facts(file: str, rows: int) -> dict[str, Any]:
    facts: dict[str, Any] = {"path": file, "rows": rows}
    if "://" not in file:
        stat = Path(file).stat()
        facts |= {"size": stat.st_size, "modified": stat.st_mtime_ns // 1_000_000}
    return facts


def first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
