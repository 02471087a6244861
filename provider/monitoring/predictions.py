"""The prediction log of a window as a source: only answered requests, and only those of the window.

A refused request has no features, so its row would look like missing values; the files of a window hold whole hours,
so the first and the last may hold rows outside it.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from .kernels import numbers
from .sources import Chunk, Opener, ParquetSource, Source

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    import pyarrow as pa
    from numpy.typing import NDArray

TIME, ERROR = "ts", "error"


class PredictionSource(Source):
    """Rows of prediction log files with ``start <= ts < end`` and no error."""

    def __init__(
        self, files: Sequence[str], start: datetime | None, end: datetime | None, opener: Opener | None = None
    ) -> None:
        self._files = ParquetSource(files, opener)
        self._bounds = tuple(None if t is None else round(t.timestamp() * 1e6) for t in (start, end))
        self._local = threading.local()
        self.schema = dict(self._files.schema)
        self.rows = None  # known after the filter
        self.origin = {**self._files.origin, "type": "predictions"}

    @property
    def expected_rows(self) -> int | None:
        return self._files.rows

    def chunks(self) -> Iterator[Chunk]:
        return self._files.chunks()

    def read(self, chunk: Chunk, column: str) -> Iterator[pa.Array]:
        wanted = self._wanted(chunk)
        at = 0
        for piece in self._files.read(chunk, column):
            mask = wanted[at : at + len(piece)]
            at += len(piece)
            yield piece if mask.all() else piece.filter(_boolean(mask))

    def close(self) -> None:
        self._files.close()

    def _wanted(self, chunk: Chunk) -> NDArray[np.bool_]:
        """Which rows of the chunk count; remembered for the chunk's next column."""
        if getattr(self._local, "key", None) != chunk.key:
            self._local.mask, self._local.key = self._mask(chunk), chunk.key
        mask: NDArray[np.bool_] = self._local.mask
        return mask

    def _mask(self, chunk: Chunk) -> NDArray[np.bool_]:
        mask = np.ones(chunk.rows, bool)
        if ERROR in self.schema:
            mask &= np.concatenate([_nulls(piece) for piece in self._files.read(chunk, ERROR)])
        start, end = self._bounds
        if TIME in self.schema and (start is not None or end is not None):
            times = np.concatenate([numbers(piece, np.int64) for piece in self._files.read(chunk, TIME)])
            mask &= (times >= start) if start is not None else True
            mask &= (times < end) if end is not None else True
        return mask


def _nulls(array: Any) -> NDArray[np.bool_]:
    if array.null_count == len(array):
        return np.ones(len(array), bool)
    indices = array.indices if hasattr(array, "indices") else array
    if not indices.null_count:
        return np.zeros(len(array), bool)
    bits = np.frombuffer(indices.buffers()[0], np.uint8)
    first = indices.offset
    absent: NDArray[np.bool_] = np.unpackbits(bits, count=first + len(array), bitorder="little")[first:] == 0
    return absent


def _boolean(mask: NDArray[np.bool_]) -> pa.Array:
    import pyarrow as pa

    bits = np.packbits(mask, bitorder="little")
    return pa.Array.from_buffers(pa.bool_(), len(mask), [None, pa.py_buffer(bits)])
