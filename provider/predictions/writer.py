"""The writer of the prediction log: appending costs a request about a microsecond, the rest happens beside it.

Rows wait in memory for at most ``flush_seconds``, then in the spool on local disk (where a crash of the process does
not lose them) for at most ``rotate_rows`` rows or ``rotate_seconds``, then they are a Parquet file of the log. A store
that does not answer keeps the spool growing and is tried again; serving never waits for it.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from .encoding import Block, Rows, encode
from .log import GRACE, Hour, Sink, close_hours
from .request_ids import sampled
from .schema import InputSchema, log_schema
from .spool import SUFFIX, Spool, publish, recover

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from pathlib import Path

logger = logging.getLogger(__name__)

MAX_WAITING = 1_000_000
"""Rows in memory beyond which new ones are dropped and counted: a full disk must not become a full memory."""


@dataclass(frozen=True)
class LogSettings:
    """How much is logged, and how soon it is visible.

    ``sample_rate``: share of predictions that are kept, chosen by their request id; errors are always kept.
    ``omit``: features that never reach the log, for example personal data.
    """

    sample_rate: float = 1.0
    rotate_rows: int = 131_072
    rotate_seconds: float = 60.0
    flush_seconds: float = 0.25
    omit: tuple[str, ...] = ()


class PredictionWriter:
    """Logs the predictions of one model version from one process.

    ``append`` and ``append_error`` are thread-safe and raise nothing. ``close`` makes everything visible; without it
    (a kill) the next writer on the same ``spool`` folder does, but for the last ``flush_seconds``.
    """

    def __init__(
        self,
        sink: Sink,
        schema: InputSchema,
        *,
        model: str,
        version: int,
        spool: Path,
        settings: LogSettings | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings or LogSettings()
        self.dropped = 0
        self._sink = sink
        self._model, self._version = model, version
        self._folder = spool
        self._clock = clock
        self._threshold = round(self.settings.sample_rate * 10_000)
        self._kept = [i for i, name in enumerate(schema.names) if name not in self.settings.omit]
        features = tuple(schema.features[i] for i in self._kept)
        self._schema = log_schema(InputSchema(features, outputs=schema.outputs))
        self._writer = uuid.uuid4().hex[:8]
        self._number = 0
        self._blocks: list[Block] = []
        self._waiting = 0
        self._hand_over = threading.Lock()
        self._io = threading.RLock()
        self._spool: Spool | None = None
        self._unpublished: list[Path] = []
        self._retry_at = 0.0
        self._hour: Hour | None = None
        self._swept = 0
        self._wake = threading.Event()
        self._stop = threading.Event()
        spool.mkdir(parents=True, exist_ok=True)
        self._thread = threading.Thread(target=self._run, name="prediction-log", daemon=True)
        self._thread.start()

    def append(
        self,
        ids: Sequence[bytes],
        rows: Rows,
        predictions: Sequence[Any],
        scores: Sequence[Any] | None,
        latencies: Sequence[float],
    ) -> None:
        """Log what the model answered; all sequences have one item for each row."""
        rate = self.settings.sample_rate
        if self._threshold < 10_000:
            keep = [i for i, item in enumerate(ids) if sampled(item, self._threshold)]
            if not keep:
                return
            if len(keep) < len(ids):
                ids = [ids[i] for i in keep]
                rows = rows[keep] if isinstance(rows, np.ndarray) else [rows[i] for i in keep]
                predictions = [predictions[i] for i in keep]
                scores = [scores[i] for i in keep] if scores is not None else None
                latencies = [latencies[i] for i in keep]
        self._hand(Block(self._clock(), ids, rows, predictions, scores, latencies, rate))

    def append_error(self, ids: Sequence[bytes], message: str, latency_s: float, rows: Rows | None = None) -> None:
        """Log a request that was not answered with a prediction; kept whatever the sample rate is."""
        self._hand(Block(self._clock(), ids, rows, None, None, [latency_s] * len(ids), 1.0, message[:1000]))

    def flush(self) -> None:
        """Write the rows in memory to the spool."""
        with self._io:
            self._drain()

    def rotate(self) -> None:
        """Make every row so far visible in the log. A store that fails is logged and tried again later."""
        with self._io:
            self._drain()
            self._end_spool()
            self._publish(force=True)

    def close(self) -> None:
        """Stop, with every row visible (or, if the store does not answer, safe in the spool). Idempotent."""
        self._stop.set()
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join()
        self.rotate()

    def _hand(self, block: Block) -> None:
        with self._hand_over:
            if self._waiting > MAX_WAITING:
                self.dropped += len(block.ids)
                return
            first = not self._blocks
            self._blocks.append(block)
            self._waiting += len(block.ids)
        if first:
            self._wake.set()

    def _run(self) -> None:
        try:
            recover(self._folder, self._sink)
        except Exception:
            logger.exception("a left-over prediction log could not be published; the next start tries again")
        while not self._stop.is_set():
            self._wake.wait(1.0)
            self._stop.wait(self.settings.flush_seconds)
            self._wake.clear()
            try:
                with self._io:
                    self._drain()
                    self._rotate_if_due()
                self._close_hour_if_over()
            except Exception:
                logger.exception("writing the prediction log failed")

    def _drain(self) -> None:
        with self._hand_over:
            blocks, self._blocks, self._waiting = self._blocks, [], 0
        start = 0
        while start < len(blocks):
            hour = Hour.at(self._model, self._version, blocks[start].at)
            end = start + 1
            while end < len(blocks) and Hour.at(self._model, self._version, blocks[end].at) == hour:
                end += 1
            self._write(hour, blocks[start:end])
            start = end

    def _write(self, hour: Hour, blocks: Sequence[Block]) -> None:
        try:
            arrays = [block for block in blocks if isinstance(block.rows, np.ndarray)]
            others = [block for block in blocks if not isinstance(block.rows, np.ndarray)]
            batches = [encode(part, self._schema, self._kept) for part in (arrays, others) if part]
            if self._spool is not None and self._spool.hour != hour:
                self._end_spool()
            if self._spool is None:
                self._number += 1
                path = self._folder / f"{self._writer}-{self._number:05d}{SUFFIX}"
                self._spool = Spool(path, hour, self._schema, self._clock())
            for batch in batches:
                self._spool.write(batch)
            self._hour = max(self._hour or hour, hour)
        except Exception:
            lost = sum(len(block.ids) for block in blocks)
            self.dropped += lost
            logger.exception("%d rows of the prediction log are lost", lost)

    def _rotate_if_due(self) -> None:
        spool = self._spool
        if spool is not None:
            age = self._clock() - spool.opened
            over = Hour.at(self._model, self._version, self._clock()) != spool.hour
            if over or spool.rows >= self.settings.rotate_rows or age >= self.settings.rotate_seconds:
                self._end_spool()
        self._publish()

    def _end_spool(self) -> None:
        if self._spool is not None:
            spool, self._spool = self._spool, None
            self._unpublished.append(spool.path)
            spool.close()

    def _publish(self, *, force: bool = False) -> None:
        if not self._unpublished or (not force and time.monotonic() < self._retry_at):
            return
        try:
            while self._unpublished:
                publish(self._unpublished[0], self._sink)
                self._unpublished.pop(0)
        except Exception:
            self._retry_at = time.monotonic() + 10.0
            logger.exception("the prediction log cannot be published; it is kept in %s", self._folder)

    def _close_hour_if_over(self) -> None:
        """Close what earlier writers left open, twice (at the start, and when a writer that was just being replaced
        has surely ended), and this writer's own hours as they pass."""
        now = self._clock()
        passed = self._hour is not None and now >= self._hour.end.timestamp() + GRACE.total_seconds()
        if self._swept and not passed:
            return
        version = self._version if self._swept > 1 else None
        close_hours(self._sink, self._model, version, now=_utc(now))
        self._swept += 1
        if passed:
            self._hour = None


def _utc(timestamp: float) -> Any:
    from datetime import datetime, timezone

    return datetime.fromtimestamp(timestamp, timezone.utc)
