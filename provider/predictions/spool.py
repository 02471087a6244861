"""The spool: rows that were answered but are not yet Parquet, as one Arrow IPC stream on local disk.

A stream can be read up to the last whole batch, whatever killed the process that wrote it. Its schema's metadata say
which partition it belongs to, so that whoever finds it needs to know nothing else; a lock says whether its writer
still lives.
"""

from __future__ import annotations

import contextlib
import fcntl
import logging
import os
from datetime import datetime
from typing import TYPE_CHECKING

from ..faults import reach
from .log import SUCCESS, Hour, Sink, file_name, locate, mark_complete

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

logger = logging.getLogger(__name__)
SUFFIX = ".arrows"
ROW_GROUP = 131_072


class Spool:
    """One open stream, locked for the life of this process. Not thread-safe; its writer serialises."""

    def __init__(self, path: Path, hour: Hour, schema: pa.Schema, now: float) -> None:
        import pyarrow as pa

        self.path = path
        self.hour = hour
        self.opened = now
        self.rows = 0
        facts = {"model": hour.model, "version": str(hour.version), "hour": hour.start.isoformat()}
        # Locked before it has its name: whoever recovers streams must never find this one empty and unlocked.
        hidden = path.with_name(f".{path.name}.new")
        self._file = hidden.open("xb", buffering=0)
        fcntl.flock(self._file, fcntl.LOCK_EX)
        hidden.rename(path)
        self._stream = pa.ipc.new_stream(self._file, schema.with_metadata(facts))

    def write(self, batch: pa.RecordBatch) -> None:
        self._stream.write_batch(batch)
        self.rows += batch.num_rows
        reach("predictions.spool.written")

    def close(self) -> None:
        """End the stream; the file stays until it is published."""
        self._stream.close()
        self._file.close()


def publish(path: Path, sink: Sink) -> str | None:
    """Turn a closed or torn stream into a Parquet file of its partition, then remove it; returns the file's URI.

    Safe to repeat after a crash at any point: the name of the file follows from the name of the stream and its rows.
    Raises whatever the sink raises; the stream is still there then.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    batches = _batches(path)
    rows = sum(batch.num_rows for batch in batches)
    if rows == 0:
        path.unlink(missing_ok=True)
        return None
    schema = batches[0].schema
    facts = {key.decode(): value.decode() for key, value in (schema.metadata or {}).items()}
    hour = Hour(datetime.fromisoformat(facts["hour"]), facts["model"], int(facts["version"]))
    writer, _, number = path.name.removesuffix(SUFFIX).rpartition("-")
    parquet = path.with_suffix(".parquet.tmp")
    pq.write_table(
        pa.Table.from_batches(batches),
        parquet,
        compression="zstd",
        compression_level=1,
        row_group_size=ROW_GROUP,
        use_dictionary=[field.name for field in schema if pa.types.is_string(field.type)],
    )
    reach("predictions.publish.before_commit")
    uri = sink.commit(parquet, f"{hour.key}/{file_name(writer, int(number), rows)}")
    reach("predictions.publish.after_commit")
    parquet.unlink(missing_ok=True)
    path.unlink(missing_ok=True)
    _reopen_if_closed(sink, hour)
    return uri


def recover(folder: Path, sink: Sink) -> list[str]:
    """Publish the streams that dead writers left in ``folder``; those of living writers are left alone.

    Two processes may do this at once: the lock of a stream decides.
    """
    uris = []
    for path in sorted(folder.glob(f"*{SUFFIX}")):
        with contextlib.suppress(FileNotFoundError), path.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                continue
            if os.fstat(file.fileno()).st_nlink and (uri := publish(path, sink)):
                logger.info("recovered a prediction log that was left behind: %s", uri)
                uris.append(uri)
    return uris


def _batches(path: Path) -> list[pa.RecordBatch]:
    """The whole batches of a stream; a torn tail, or a torn head, is what its writer had not finished."""
    import pyarrow as pa

    batches: list[pa.RecordBatch] = []
    with path.open("rb") as file:
        try:
            with pa.ipc.open_stream(file) as stream:
                batches.extend(stream)
        except (pa.ArrowInvalid, OSError, EOFError) as error:
            logger.warning("prediction log %s ends early (%s); %d batches are whole", path.name, error, len(batches))
    return batches


def _reopen_if_closed(sink: Sink, hour: Hour) -> None:
    """Rows that arrive after their hour was closed: say so in its ``_SUCCESS``."""
    if datetime.now(hour.start.tzinfo) < hour.end:
        return
    names = {located[1] for path in sink.list(f"{hour.key}/") if (located := locate(path)) and located[0] == hour}
    if SUCCESS in names:
        mark_complete(sink, hour, names)
