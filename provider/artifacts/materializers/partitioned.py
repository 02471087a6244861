"""Dask and Spark frames as a folder of Parquet files, one a partition, written by their own workers in parallel.

They come back as lazily as they were, and everything else that reads Parquet takes the folder's path. The files are
named by their number, so that equal partitions give an equal artifact.

The folder is written where the artifact store stages its files, so the workers must see it: they run on this machine,
or on others that share its file system. If they do not, the files are missing when they are counted, and saving fails
rather than storing a part. What it does not do: move data through the machine that the step runs on.
"""

from __future__ import annotations

from abc import abstractmethod
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...errors import ArtifactCorrupted, MaterializerNotFound
from .arrow import require_columns
from .base import LoadRequest, Materializer, require_library
from .plain import preview
from .statistics import merge_results, table_statistics

if TYPE_CHECKING:
    from collections.abc import Sequence

_NAMELESS_INDEX = "__index_level_"
_OBSERVED = 50
"""Columns of Spark whose statistics are computed."""
_SPARK_NUMBERS = ("tinyint", "smallint", "int", "bigint", "float", "double", "decimal")
_PREVIEW_ROWS = 5
_PREVIEW_COLUMNS = 50


class PartitionedMaterializer(Materializer):
    """What the two have in common: a folder of ``part-00000.parquet``, ``part-00001.parquet``…"""

    keeps_path = True

    @abstractmethod
    def read(self, files: list[str], columns: Sequence[str] | None) -> Any:
        """The lazy frame of these files."""

    def load(self, path: Path, request: LoadRequest) -> Any:
        files = _parts(path)
        if not files:
            raise ArtifactCorrupted(f"The folder {path} holds no Parquet file.")
        if request.columns is not None:
            require_columns(_schema(files[0]).names, request.columns)
        return self.read([str(file) for file in files], request.columns)

    def describe_parts(self, path: Path, rows: int, statistics: dict[str, Any]) -> dict[str, Any]:
        """Facts about a written folder whose rows were counted meanwhile."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        files = _parts(path)
        schema = _schema(files[0])
        names = [name for name in schema.names if not name.startswith(_NAMELESS_INDEX)]
        shown = names[:_PREVIEW_COLUMNS]
        columns = {name: found for name, found in statistics["columns"].items() if name in names}
        head: dict[str, Any] = {}
        for file in files:
            with pq.ParquetFile(file) as parquet, suppress(StopIteration):
                batch = next(parquet.iter_batches(_PREVIEW_ROWS, columns=shown))
                head = pa.Table.from_batches([batch]).to_pydict()
                break
        return {
            "rows": rows,
            "shape": [rows, len(names)],
            "partitions": len(files),
            "schema": {name: str(schema.field(name).type) for name in names},
            "preview": {name: preview(values) for name, values in head.items()},
            "statistics": {**statistics, "columns": columns},
        }


class DaskMaterializer(PartitionedMaterializer):
    """``dask.dataframe.DataFrame``; its index is kept, divisions are not."""

    name = "dask"
    extension = ".dask.parquet"

    def save(self, value: Any, path: Path) -> None:
        self.save_described(value, path)

    def save_described(self, value: Any, path: Path) -> dict[str, Any]:
        dask = require_library("dask", "a Dask frame")
        path.mkdir()
        write = dask.delayed(_write_part)
        parts = value.to_delayed()
        found = dask.compute(*(write(part, value._meta, str(_part(path, i))) for i, part in enumerate(parts)))
        statistics = merge_results(found)
        _require_all(path, len(parts), statistics["rows"], "Dask")
        return self.describe_parts(path, statistics["rows"], statistics)

    def read(self, files: list[str], columns: Sequence[str] | None) -> Any:
        frames = require_library("dask.dataframe", "a Dask frame")
        chosen = None if columns is None else list(columns)
        # A partition is a partition again, whatever its size.
        return frames.read_parquet(
            files, columns=chosen, engine="pyarrow", split_row_groups=False, aggregate_files=False
        )


class SparkMaterializer(PartitionedMaterializer):
    """``pyspark.sql.DataFrame``; read again by the active Spark session, or a new one."""

    name = "spark"
    extension = ".spark.parquet"

    def save(self, value: Any, path: Path) -> None:
        self.save_described(value, path)

    def save_described(self, value: Any, path: Path) -> dict[str, Any]:
        from pyspark.sql import Observation

        observation = Observation()
        observed = value.observe(observation, *_aggregates(value))
        observed.write.mode("error").parquet(path.absolute().as_uri())
        facts = observation.get  # counted by the workers while they wrote
        found = sorted(path.glob("part-*.parquet")) if path.is_dir() else []
        for number, file in enumerate(found):
            file.rename(_part(path, number))
        for rest in path.glob("*") if path.is_dir() else []:
            if rest.suffix == ".crc" or rest.name.startswith(("_", ".")):
                rest.unlink()
        _require_all(path, len(found), facts["rows"], "Spark")
        return self.describe_parts(path, facts["rows"], _observed(value, facts))

    def read(self, files: list[str], columns: Sequence[str] | None) -> Any:
        sql = require_library("pyspark.sql", "a Spark frame")
        session = sql.SparkSession.getActiveSession() or sql.SparkSession.builder.getOrCreate()
        frame = session.read.parquet(*(Path(file).absolute().as_uri() for file in files))
        return frame if columns is None else frame.select(*columns)


def _write_part(part: Any, meta: Any, path: str) -> dict[str, Any]:
    """Run by a worker: one partition as one file. Returns its statistics."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pa.Table.from_pandas(part, preserve_index=True)
    example = pa.Schema.from_pandas(meta, preserve_index=True)
    fields = []
    for field in table.schema:
        # Neither an empty example nor a partition of nulls knows what objects are.
        known = [t for t in (example.field(field.name).type, field.type) if not pa.types.is_null(t)]
        fields.append(pa.field(field.name, known[0] if known else pa.string()))
    table = table.cast(pa.schema(fields, metadata=table.schema.metadata))
    pq.write_table(table, path, compression="zstd", compression_level=1)
    return table_statistics(table)


def _aggregates(frame: Any) -> list[Any]:
    """What Spark counts while it writes: rows, and of each column what there is, limits, mean and deviation."""
    from pyspark.sql import functions as f

    found = [f.count(f.lit(1)).alias("rows")]
    for i, (name, kind) in enumerate(frame.dtypes[:_OBSERVED]):
        column = f.col("`" + name.replace("`", "``") + "`")
        found.append(f.count(column).alias(f"{i}.count"))
        if kind.partition("(")[0] in _SPARK_NUMBERS:
            number = column.cast("double")
            number = f.when(~f.isnan(number), number)
            found += [f.avg(number).alias(f"{i}.mean"), f.stddev(number).alias(f"{i}.std")]
            column = f.when(~f.isnan(column), column) if kind in ("double", "float") else column
        if kind.partition("(")[0] in (*_SPARK_NUMBERS, "date", "timestamp"):
            found += [f.min(column).alias(f"{i}.min"), f.max(column).alias(f"{i}.max")]
    return found


def _observed(frame: Any, facts: dict[str, Any]) -> dict[str, Any]:
    columns: dict[str, Any] = {}
    for i, name in enumerate(frame.columns[:_OBSERVED]):
        count = facts[f"{i}.count"]
        more = {key: preview(facts.get(f"{i}.{key}")) for key in ("min", "max", "mean", "std")}
        known = {key: value for key, value in more.items() if value is not None}
        columns[name] = {"count": count, "nulls": facts["rows"] - count, **known}
    return {"rows": facts["rows"], "columns": columns}


def _part(path: Path, number: int) -> Path:
    return path / f"part-{number:05d}.parquet"


def _parts(path: Path) -> list[Path]:
    return sorted(path.glob("part-*.parquet"))


def _require_all(path: Path, files: int, rows: int, library: str) -> None:
    """Raise ``MaterializerNotFound`` unless all that the workers wrote is here."""
    import pyarrow.parquet as pq

    found = _parts(path)
    here = sum(pq.read_metadata(file).num_rows for file in found)
    if not found or len(found) != files or here != rows:
        raise MaterializerNotFound(
            f"{library}'s workers wrote {rows} rows, and {here} arrived at {path}: they do not share this disk.",
            hint="Put the artifact store on a file system that the workers share (artifact_store: {path: …}), or let "
            "them write to a bucket and return its URI as text.",
            rows=rows,
            arrived=here,
        )


def _schema(file: Path) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        return pq.read_schema(file)
    except (pa.ArrowInvalid, OSError) as error:
        raise ArtifactCorrupted(f"The artifact is not a readable Parquet file: {error}.") from error
