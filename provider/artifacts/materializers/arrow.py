"""Tables as Arrow IPC files (Feather version 2): pandas, polars and pyarrow, rows and index kept.

One format for all three, so a pandas artifact is also readable by polars, DuckDB, R…; the file's schema says which
type it was. Small tables are stored as they are, others LZ4-compressed: on all cores, while the bytes already
compressed are hashed and written. The table itself is never copied, so saving needs hardly more memory than it has.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, BinaryIO

from ...errors import ArtifactCorrupted, ArtifactNotFound, MaterializerNotFound, MissingExtra, did_you_mean
from .base import BufferMaterializer, LoadRequest
from .plain import preview
from .statistics import Counting

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from io import BytesIO
    from pathlib import Path

    from ..digests import HashingFile

_BATCH_ROWS = 1 << 16
_SMALL = 1 << 19
"""Bytes of a file below which one thread does it all, through memory and without compression: handing buffers to
threads, and each buffer to a file in Python, would cost several times the work. By the size of the file as it would be
written uncompressed, which depends on the content alone: equal tables must give equal bytes."""
_PREVIEW_ROWS = 5
_PREVIEW_COLUMNS = 50
_KIND = b"windsock.type"
_READERS = 4
_GROUPS = 6
"""Groups of columns for each reading thread; one group a thread is in memory twice."""
_GROUPED_FROM = 64 << 20
"""Files bigger than this become a DataFrame in groups of columns."""


class ArrowMaterializer(BufferMaterializer):
    """``pyarrow.Table`` and ``RecordBatch``; the base of the others."""

    name = "arrow"
    extension = ".arrow"
    in_memory_below = _SMALL
    reads_files = True

    def to_table(self, value: Any) -> tuple[Any, str]:
        """The Arrow table and the recorded type."""
        import pyarrow as pa

        if isinstance(value, pa.RecordBatch):
            return pa.Table.from_batches([value]), "pyarrow.RecordBatch"
        return value, "pyarrow.Table"

    def write(self, value: Any, file: HashingFile | BytesIO) -> None:
        table, kind = self.to_table(value)
        table = table.replace_schema_metadata({**(table.schema.metadata or {}), _KIND: kind.encode()})
        facts = getattr(file, "facts", None)
        if facts is None:  # a table inside of something else
            self._write(table, kind, file)
            return
        counting = Counting(table)
        self._write(table, kind, file)
        facts.update(counting.result())

    @staticmethod
    def _write(table: Any, kind: str, file: HashingFile | BytesIO) -> None:
        import pyarrow as pa

        try:
            # A file is at least half as big as its table: what is missing is at most a bit for each value.
            if table.nbytes < 2 * _SMALL:
                small = pa.BufferOutputStream()
                _write_table(small, table, compression=None)
                written = small.getvalue()
                if written.size < _SMALL:
                    file.write(written)
                    return
            _write_table(pa.PythonFile(file, mode="w"), table, compression="lz4")
        except pa.ArrowInvalid as error:
            raise MaterializerNotFound(f"This {kind} cannot be written as Arrow: {error}.") from error

    def read(self, data: memoryview, request: LoadRequest) -> Any:
        import pyarrow as pa

        return read_table(pa.BufferReader(pa.py_buffer(data)), request.columns)

    def load(self, path: Path, request: LoadRequest) -> Any:
        import pyarrow as pa

        # Read, not mapped: mapped pages would count as this process's memory beside the table made of them.
        with pa.OSFile(str(path)) as source:
            return read_table(source, request.columns)

    def load_file(self, file: BinaryIO, request: LoadRequest) -> Any:
        import pyarrow as pa

        with pa.PythonFile(_Uncopied(file), mode="r") as source:
            return read_table(source, request.columns)

    def open(self, path: Path, request: LoadRequest) -> Any:
        """A lazy ``pyarrow.dataset.Dataset``: columns and rows are read when they are asked for."""
        import pyarrow.dataset as ds

        return ds.dataset(str(path), format="ipc")

    def describe(self, value: Any) -> dict[str, Any]:
        rows = {} if not value.num_columns else value.slice(0, _PREVIEW_ROWS).to_pydict()
        fields = [(field.name, str(field.type)) for field in value.schema]
        return _facts((value.num_rows, value.num_columns), fields, rows)


class PandasMaterializer(ArrowMaterializer):
    """``pandas.DataFrame``, ``Series`` and ``Index``: index, names, dtypes, categories and time zones are kept."""

    name = "pandas"

    def to_table(self, value: Any) -> tuple[Any, str]:
        import pandas as pd
        import pyarrow as pa

        kind = "pandas.DataFrame"
        if isinstance(value, pd.Series):
            kind = "pandas.Series" if value.name is not None else "pandas.Series?"
            value = value.to_frame()
        elif isinstance(value, pd.Index):
            kind, value = "pandas.Index", _one_column(value)
        elif not len(value.columns):
            kind, value = "pandas.DataFrame?", _one_column(value.index)
        else:
            _require_good_names(value.columns)
        try:
            return _from_numbers(value) if _only_numbers(value) else pa.Table.from_pandas(value), kind
        except (pa.ArrowInvalid, pa.ArrowTypeError, pa.ArrowNotImplementedError) as error:
            reason = "; ".join(str(part) for part in error.args)
            raise MaterializerNotFound(
                f"This {kind.rstrip('?')} cannot be stored as Arrow: {reason}.",
                hint="Give the column one type (astype), or allow pickle for this step: @step(pickle=True)",
            ) from error

    def describe(self, value: Any) -> dict[str, Any]:
        import pandas as pd

        if isinstance(value, pd.Index):
            return {"rows": len(value), "shape": [len(value)], "preview": preview(value[:_PREVIEW_ROWS].tolist())}
        frame = value.head(_PREVIEW_ROWS)
        if isinstance(value, pd.Series):
            frame = frame.to_frame()
        names = [str(name) for name in frame.columns]
        words = {dtype: str(dtype) for dtype in set(frame.dtypes)}
        fields = [(name, words[dtype]) for name, dtype in zip(names, frame.dtypes, strict=True)]
        shown = frame if len(names) <= _PREVIEW_COLUMNS else frame.iloc[:, :_PREVIEW_COLUMNS]
        if _only_numbers(shown):
            columns = [array.tolist() for array in _arrays(shown)]
        else:  # all columns at once: taking them one by one out of a wide frame costs more than writing it
            columns = shown.to_numpy(object).T.tolist()
        return _facts(value.shape, fields, dict(zip(names, columns, strict=False)))


class PolarsMaterializer(ArrowMaterializer):
    """``polars.DataFrame`` and ``Series``."""

    name = "polars"
    in_memory_below = 0
    reads_files = False

    def to_table(self, value: Any) -> tuple[Any, str]:
        import polars as pl

        if isinstance(value, pl.Series):
            return self.to_table(value.to_frame())[0], "polars.Series"
        bad = [name for name, dtype in value.schema.items() if dtype == pl.Object]
        if bad:
            raise MaterializerNotFound(
                f"The polars DataFrame has columns of Python objects: {', '.join(bad)}.",
                hint="Give them a type of polars, or allow pickle for this step: @step(pickle=True)",
                columns=bad,
            )
        return value.to_arrow(compat_level=pl.CompatLevel.newest()), "polars.DataFrame"

    def load(self, path: Path, request: LoadRequest) -> Any:
        try:
            import polars as pl
        except ImportError:
            raise MissingExtra(
                "This artifact is a polars DataFrame, which needs polars.",
                hint="Run: pip install 'airflow-provider-windsock[polars]'",
            ) from None
        columns = None if request.columns is None else list(request.columns)
        # Polars' own reader keeps Enum, Decimal and other types that Arrow does not name.
        frame = pl.read_ipc(path, columns=columns)
        return frame.to_series() if request.type == "polars.Series" else frame

    def open(self, path: Path, request: LoadRequest) -> Any:
        """A lazy ``polars.LazyFrame``."""
        import polars as pl

        return pl.scan_ipc(path)

    def describe(self, value: Any) -> dict[str, Any]:
        import polars as pl

        frame = value.to_frame() if isinstance(value, pl.Series) else value
        fields = [(name, str(dtype)) for name, dtype in frame.schema.items()]
        return _facts(value.shape, fields, frame.head(_PREVIEW_ROWS).to_dict(as_series=False))


class _Uncopied:
    """A file for Arrow whose ``read`` gives memory that was written once: Arrow takes any buffer, and copies bytes."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int) -> memoryview:
        import numpy as np

        memory = memoryview(np.empty(size, np.uint8))  # type: ignore[arg-type]
        return memory[: self._file.readinto(memory)]  # type: ignore[attr-defined]  # every raw file has it

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)


def _write_table(sink: Any, table: Any, *, compression: str | None) -> None:
    import pyarrow as pa

    options = pa.ipc.IpcWriteOptions(
        compression=compression, use_threads=compression is not None, unify_dictionaries=True
    )
    with pa.ipc.new_file(sink, table.schema, options=options) as writer:
        writer.write_table(table, max_chunksize=_BATCH_ROWS)
        if not table.num_rows:  # no rows make no batch, and categories would be lost with it
            arrays = [c.chunk(0) if c.num_chunks else pa.array([], c.type) for c in table.columns]
            writer.write_batch(pa.RecordBatch.from_arrays(arrays, schema=table.schema))


def _facts(shape: Sequence[int], fields: list[tuple[str, str]], rows: dict[Any, Any]) -> dict[str, Any]:
    shown = {str(name): preview(values) for name, values in list(rows.items())[:_PREVIEW_COLUMNS]}
    return {"shape": [int(n) for n in shape], "rows": int(shape[0]), "schema": dict(fields), "preview": shown}


def read_table(source: Any, columns: Sequence[str] | None = None) -> Any:
    """The value of the recorded type from an Arrow file; ``columns`` picks some of a table, in that order."""
    import pyarrow as pa

    try:
        reader = pa.ipc.open_file(source, options=pa.ipc.IpcReadOptions(use_threads=source.size() >= _SMALL))
    except pa.ArrowInvalid as error:
        raise ArtifactCorrupted(f"The artifact is not a readable Arrow file: {error}.") from error
    schema = reader.schema
    kind = (schema.metadata or {}).get(_KIND, b"pyarrow.Table").decode()
    wanted = list(range(len(schema))) if columns is None else _positions(schema, columns)
    if kind == "pandas.DataFrame" and source.size() > _GROUPED_FROM and len(wanted) > 1:
        frame = _read_groups(source, schema, wanted)
        return frame if columns is None else frame[list(columns)]
    if columns is None:
        return _FROM_TABLE[kind](reader.read_all())
    table = _read_fields(source, wanted)
    return _FROM_TABLE[kind](table.select([*columns, *(n for n in table.column_names if n not in columns)]))


def _read_fields(source: Any, positions: list[int], *, use_threads: bool = True) -> Any:
    import pyarrow as pa

    options = pa.ipc.IpcReadOptions(included_fields=positions, use_threads=use_threads)
    return pa.ipc.open_file(source, options=options).read_all()


def _read_groups(source: Any, schema: Any, wanted: list[int]) -> Any:
    """A DataFrame, some groups of columns at a time: Arrow's copy of a group is gone before another one is read.

    A thread for each group, not for each buffer of one: while one waits for the disk or copies, others decompress.
    """
    import pandas as pd
    import pyarrow as pa

    index = [i for i in wanted if schema.names[i] in _index_names(schema)]
    columns = [i for i in wanted if i not in index]
    threads = min(_READERS, pa.cpu_count())
    size = max(1, -(-len(columns) // (_GROUPS * threads)))
    groups = [columns[start : start + size] for start in range(0, len(columns), size)]
    if not groups:
        return _to_pandas(_read_fields(source, wanted))
    groups[0] = sorted([*index, *groups[0]])

    def read(group: list[int]) -> Any:
        return _to_pandas(_read_fields(source, group, use_threads=False), use_threads=False)

    with ThreadPoolExecutor(threads, thread_name_prefix="windsock-read") as pool:
        frames = list(pool.map(read, groups))
    for frame in frames[1:]:
        frame.index = frames[0].index
    whole = pd.concat(frames, axis=1)
    whole.attrs = frames[0].attrs
    return whole


def _index_names(schema: Any) -> set[str]:
    """The fields that are the index of a DataFrame; a RangeIndex has none."""
    stored = (schema.pandas_metadata or {}).get("index_columns", []) if schema.metadata else []
    return {name for name in stored if isinstance(name, str)}


def _one_column(index: Any) -> Any:
    """A DataFrame with that index and one column of nothing: Arrow forgets the rows of a table without columns."""
    import numpy as np
    import pandas as pd

    return pd.DataFrame({"": np.zeros(len(index), np.int8)}, index=index)


def _require_good_names(columns: Any) -> None:
    """Refuse names that would come back changed. Raises ``MaterializerNotFound``."""
    if not columns.is_unique:
        twice = sorted({str(name) for name in columns[columns.duplicated()]})
        raise MaterializerNotFound(
            f"The DataFrame has several columns of the same name: {', '.join(twice)}.",
            hint="Give each column its own name: frame.columns = [...]",
            columns=twice,
        )
    if columns.inferred_type.startswith("mixed") and columns.nlevels == 1:
        raise MaterializerNotFound(
            f"The DataFrame's column names are of different types: {', '.join(repr(name) for name in columns[:20])}.",
            hint="Make them text: frame.columns = frame.columns.astype(str)",
        )


def _only_numbers(frame: Any) -> bool:
    """Wide rather than long, and nothing but numbers and booleans under plain names."""
    columns = frame.columns
    if columns.nlevels > 1 or columns.inferred_type != "string" or len(frame) > 100 * len(columns):
        return False
    return all(
        type(dtype).__module__.startswith("numpy") and dtype.kind in "biuf" and dtype.isnative
        for dtype in set(frame.dtypes)
    )


def _from_numbers(frame: Any) -> Any:
    """The same table as ``Table.from_pandas`` makes, to the byte, in two thirds of the time.

    PyArrow asks each column what it may be, which is nearly all that a table with few rows costs. Here it asks the
    first column only, and notes the index and whatever else it has to say of the frame.
    """
    import pyarrow as pa

    first = pa.Table.from_pandas(frame.iloc[:, :1])
    noted = json.loads(first.schema.metadata[b"pandas"])
    names = frame.columns.tolist()
    values = _arrays(frame)
    words = {dtype: dtype.name for dtype in {array.dtype for array in values}}
    noted["columns"][:1] = [
        {"name": n, "field_name": n, "pandas_type": words[v.dtype], "numpy_type": words[v.dtype], "metadata": None}
        for n, v in zip(names, values, strict=True)
    ]
    arrays = [pa.array(array, from_pandas=True) for array in values]
    metadata = {**first.schema.metadata, b"pandas": json.dumps(noted).encode()}
    return pa.table([*arrays, *first.columns[1:]], names=[*names, *first.column_names[1:]], metadata=metadata)


def _arrays(frame: Any) -> list[Any]:
    """The columns of a DataFrame of numbers as NumPy arrays.

    Whatever pandas offers in public makes a Series for each column, which costs more than writing the table.
    """
    quick = getattr(frame, "_iter_column_arrays", None)
    return [series.to_numpy() for _, series in frame.items()] if quick is None else [*quick()]


def require_columns(names: Sequence[str], columns: Sequence[str]) -> None:
    """Raise ``ArtifactNotFound`` naming the first of ``columns`` that a table with ``names`` does not have."""
    unknown = [name for name in columns if name not in names]
    if unknown:
        raise ArtifactNotFound(
            f"The table has no column {unknown[0]!r}.", hint=did_you_mean(str(unknown[0]), names), columns=unknown
        )


def _positions(schema: Any, columns: Sequence[str]) -> list[int]:
    """Positions of the wanted columns and of the pandas index. Raises ``ArtifactNotFound`` naming what is missing."""
    index = _index_names(schema)
    require_columns([name for name in schema.names if name not in index or name in columns], columns)
    return [i for i, name in enumerate(schema.names) if name in columns or name in index]


def _to_pandas(table: Any, *, use_threads: bool | None = None) -> Any:
    try:
        import pandas  # noqa: F401 - to_pandas would say it less clearly
    except ImportError:
        raise MissingExtra(
            "This artifact is a pandas object, which needs pandas.",
            hint="Run: pip install 'airflow-provider-windsock[pandas]'",
        ) from None
    if use_threads is None:
        use_threads = table.get_total_buffer_size() >= _SMALL
    frame: Any = table.to_pandas(use_threads=use_threads)
    return frame


def _series(table: Any, name: Any = ...) -> Any:
    series = _to_pandas(table).iloc[:, 0]
    if name is not ...:
        series.name = name
    return series


_FROM_TABLE: dict[str, Callable[[Any], Any]] = {
    "pyarrow.Table": lambda table: table,
    "pyarrow.RecordBatch": lambda table: table.combine_chunks().to_batches()[0],
    "pandas.DataFrame": _to_pandas,
    "pandas.DataFrame?": lambda table: _to_pandas(table)[[]],
    "pandas.Series": _series,
    "pandas.Series?": lambda table: _series(table, None),
    "pandas.Index": lambda table: _to_pandas(table).index,
    "polars.DataFrame": lambda table: _to_polars(table),  # noqa: PLW0108 - defined below
    "polars.Series": lambda table: _to_polars(table).to_series(),
}


def _to_polars(table: Any) -> Any:
    import polars as pl

    return pl.from_arrow(table)
