"""The built-in step that predicts whole files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import ConfigurationError
from ..pipelines.step import step

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pandas as pd
    import pyarrow as pa

    from ..metadata.models import ModelVersion
    from ..predictions.schema import InputSchema


@step(cache=False, compute="local")
def predict_batch(
    model: str,
    data: str,
    output: str,
    *,
    alias: str = "production",
    version: int | None = None,
    batch_rows: int = 65_536,
) -> dict[str, Any]:
    """Predict every row of the Parquet and CSV files of ``data``; returns model, version, rows, files and output.

    Each input file becomes one Parquet file of ``output``: its columns, and ``prediction``, ``score`` (probability of
    the positive class, two classes only), ``model_version``. Files are read ``batch_rows`` rows at a time, so memory
    does not grow with them; each appears under its name when it is complete, so a retry overwrites what was half done.
    Raises ``ModelNotFound``, ``AliasNotFound``, ``DataUnreadable``, ``ConfigurationError`` (a feature is missing).
    """
    from ..artifacts.saving import load
    from ..runtime.context import context
    from .tables import table_files

    current = context()
    registered = current.stack.model_registry.get(model, version=version, alias=None if version is not None else alias)
    schema = _schema(registered)
    estimator = load(registered.artifact, current.artifact_store)
    current.log_param("model_version", registered.version)
    files, folder = table_files(data), Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    rows = 0
    for file in current.progress(files, description=f"predicting with {model} version {registered.version}"):
        rows += _predict_file(file, folder / f"{file.stem}.parquet", estimator, schema, registered.version, batch_rows)
    current.log_metrics({"rows": rows, "files": len(files)})
    return {"model": model, "version": registered.version, "rows": rows, "files": len(files), "output": str(folder)}


def _schema(version: ModelVersion) -> InputSchema:
    from ..predictions.schema import InputSchema

    if version.input_schema is None:
        raise ConfigurationError(
            f'Model "{version.model}" version {version.version} was registered without an input schema.',
            hint="Register it with its training rows: register_model(model, name=…, baseline=train_rows)",
        )
    return InputSchema.from_dict(version.input_schema)


def _predict_file(  # noqa: PLR0917 - a private helper, called once
    source: Path, target: Path, estimator: Any, schema: InputSchema, version: int, batch_rows: int
) -> int:
    import pyarrow as pa
    import pyarrow.parquet as pq

    from ..registry.baseline import output_table

    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    writer: pq.ParquetWriter | None = None
    rows = 0
    try:
        for frame in _batches(source, batch_rows):
            if missing := [name for name in schema.names if name not in frame.columns]:
                raise ConfigurationError(
                    f"{source} has no column {', '.join(map(repr, missing[:5]))}, which the model needs."
                )
            answers = output_table(estimator, frame, schema)
            table = _joined(pa.Table.from_pandas(frame, preserve_index=False), answers, version)
            writer = writer or pq.ParquetWriter(temporary, table.schema, compression="zstd", compression_level=1)
            writer.write_table(table)
            rows += len(frame)
        if writer is not None:
            writer.close()
            temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _joined(table: pa.Table, answers: pa.Table, version: int) -> pa.Table:
    import pyarrow as pa

    for name in answers.column_names:
        table = table.append_column(name, answers[name])
    return table.append_column("model_version", pa.array([version] * len(table), pa.int32()))


def _batches(source: Path, batch_rows: int) -> Iterator[pd.DataFrame]:
    if source.suffix == ".csv":
        import pandas as pd

        yield from pd.read_csv(source, chunksize=batch_rows)
        return
    import pyarrow.parquet as pq

    with pq.ParquetFile(source) as file:
        for batch in file.iter_batches(batch_size=batch_rows):
            yield batch.to_pandas()
