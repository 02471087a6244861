"""CSV files as a source: parsed once, with types that hold for every row, in memory that stays flat."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import DataUnreadable
from .sources import TableSource, first_line, open_binary, spilled

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import pyarrow as pa

    from .sources import Opener, Source

_BIG_CSV = 64 * 2**20
"""Larger files are written to a temporary Parquet file while they are parsed."""


def open_csv(files: Sequence[str], types: Mapping[str, pa.DataType], opener: Opener | None) -> Source:
    """Parse once. Small files stay in memory; large ones are spilled to Parquet, so that memory stays flat."""
    import pyarrow as pa

    origin = {"type": "csv", "files": [_csv_facts(f) for f in files[:1000]], "file_count": len(files)}
    known = dict(types)
    small = all("://" not in f for f in files) and sum(Path(f).stat().st_size for f in files) <= _BIG_CSV
    while True:
        try:
            batches = _csv_batches(files, known, opener)
            first = next(batches, None)
            if first is None:
                what = f"{', '.join(files[:3])}: there is a header and no row."
                raise DataUnreadable(what, hint="Give files with rows.", path=files[0])
            batches = _chain(first, batches)
            if not small:
                return spilled(first.schema, batches, origin)
            table = pa.Table.from_batches(list(batches))
            source = TableSource(table, "csv")
            source.origin = origin
            return source
        except _Retype as retype:
            known[retype.column] = retype.to


def _chain(first: pa.RecordBatch, rest: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    yield first
    yield from rest


def _csv_facts(file: str) -> dict[str, Any]:
    return {"path": file} | ({"size": Path(file).stat().st_size} if "://" not in file else {})


class _Retype(Exception):
    """A column's type, guessed from the first block, does not hold: read again with a wider one."""

    def __init__(self, column: str, to: pa.DataType) -> None:
        super().__init__(column)
        self.column, self.to = column, to


def _csv_batches(
    files: Sequence[str], known: Mapping[str, pa.DataType], opener: Opener | None
) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    from pyarrow import csv

    schema: pa.Schema | None = None
    for file in files:
        options = csv.ParseOptions(delimiter="\t" if ".tsv" in file.lower() else ",", newlines_in_values=True)
        column_types = known if schema is None else {f.name: f.type for f in schema}
        convert = csv.ConvertOptions(
            column_types=column_types, strings_can_be_null=True, quoted_strings_can_be_null=False
        )
        raw = open_binary(file, opener)
        stream = pa.input_stream(raw, compression="detect") if isinstance(raw, str) else raw
        try:
            reader = csv.open_csv(stream, csv.ReadOptions(block_size=8 * 2**20), options, convert)
            if schema is None:
                schema = reader.schema
            for batch in reader:
                yield _aligned(batch, schema)
        except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
            raise _retype(error, schema, _header(file, opener, options)) or DataUnreadable(
                f"{file} cannot be read as CSV: {first_line(error)}",
                hint="Is it UTF-8 text with a header, its values separated by commas (.tsv: by tabs)?",
                path=file,
            ) from error


def _header(file: str, opener: Opener | None, options: Any) -> list[str]:
    """The header of a CSV file, or nothing when not even that can be read."""
    import csv
    import io

    import pyarrow as pa

    raw = open_binary(file, opener)
    try:
        with pa.input_stream(raw, compression="detect") if isinstance(raw, str) else raw as stream:
            text = stream.read(1 << 20).decode("utf-8-sig", "replace")
    except (pa.ArrowException, OSError):
        return []
    return next(csv.reader(io.StringIO(text), delimiter=options.delimiter), [])


def _retype(error: BaseException, schema: pa.Schema | None, names: list[str]) -> _Retype | None:
    """``In CSV column #3: CSV conversion error to int64: invalid value 'x'`` → read column 3 as something wider."""
    import re

    import pyarrow as pa

    found = re.search(r"In CSV column #(\d+).*?conversion error to (\w+)", str(error))
    if not found or int(found[1]) >= len(names):
        return None
    was = found[2]
    if was == "string":
        return None
    return _Retype(names[int(found[1])], pa.float64() if was.startswith(("int", "null")) else pa.string())


def _aligned(batch: pa.RecordBatch, schema: pa.Schema) -> pa.RecordBatch:
    import pyarrow as pa

    if batch.schema.names == schema.names and all(
        a == b for a, b in zip(batch.schema.types, schema.types, strict=True)
    ):
        return batch
    arrays = []
    for column in schema:
        if column.name not in batch.schema.names:
            arrays.append(pa.nulls(batch.num_rows, column.type))
            continue
        try:
            arrays.append(batch.column(column.name).cast(column.type))
        except pa.ArrowException:
            raise _Retype(column.name, pa.string()) from None
    return pa.RecordBatch.from_arrays(arrays, schema=schema)
