"""One pass over the data: threads take (chunk, column) pairs, read one column of one chunk, count it, let it go.

Memory is threads x one column chunk, whatever the number of rows. The result does not depend on the number of threads.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataUnreadable
from .columns import CategoricalColumn, Column, NumericColumn, OpaqueColumn
from .kernels import integers, kind_of
from .layouts import layout_for, opaque, settle, with_range
from .profile import DriftProfile, Progress, edges_id
from .sources import Chunk, Opener, Source, open_data, require_columns, spill
from .tallies import Part, Tally, count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

    import pyarrow as pa

SAMPLED_CHUNKS = 16
SAMPLED_VALUES = 16_384
"""Values taken from each sampled chunk: 262,144 in all, so that an edge is within 0.15 % of its quantile."""
_BLOCKS = 40
_MIN_BLOCK = 500
_STREAM_BLOCK = 32_768


def learn(
    data: Any,
    *,
    columns: Iterable[str] | None = None,
    roles: Mapping[str, str] | None = None,
    threads: int | None = None,
    opener: Opener | None = None,
    progress: Progress | None = None,
) -> DriftProfile:
    """The profile of reference data: layouts from evenly spaced chunks, exact counts from one full pass."""
    with open_data(data, columns=None if columns is None else list(columns), opener=opener) as opened:
        source = spill(opened)
        with source:
            if columns is None:
                require_columns((roles or {}).values(), source.schema, "The data have")
            if source.rows == 0:
                raise DataUnreadable("The data have no rows, and a baseline needs some.", hint="Give other data.")
            layouts = _layouts(source, threads)
            tallies = scan(source, layouts, threads=threads, learning=True, progress=progress)
            done = {name: _settled(tally.done()) for name, tally in tallies.items()}
            return DriftProfile(
                edges_id(done, roles or {}), source.rows or 0, done, dict(roles or {}), source=source.origin
            )


def _settled(part: Part) -> Column:
    if isinstance(part.column, NumericColumn):
        return with_range(part.column)
    return settle(part.column, part.seen) if isinstance(part.column, CategoricalColumn) else part.column


def _layouts(source: Source, threads: int | None) -> dict[str, Column]:
    """The layout of every column, one column at a time: a wide table needs no more memory than a narrow one."""
    chunks = evenly(list(source.chunks()), SAMPLED_CHUNKS)
    layouts: dict[str, Column] = {}

    def sample(name: str) -> None:
        arrow = source.schema[name]
        kind = kind_of(arrow)
        if kind in ("other", "null"):
            layouts[name] = opaque(name, arrow)
            return
        pieces = (piece for chunk in chunks for piece in source.read(chunk, name))
        if kind not in ("text", "bool"):
            pieces = (_thinned(piece) for piece in pieces)
        layouts[name] = layout_for(name, arrow, list(pieces))

    in_threads(sample, list(source.schema), workers(threads))
    return {name: layouts[name] for name in source.schema}


def _thinned(array: pa.Array) -> pa.Array:
    """Every k-th value, copied, so that the chunk it came from is let go."""
    step = -(-len(array) // SAMPLED_VALUES)
    return array.take(integers(np.arange(0, len(array), max(step, 1))))


def follow(
    baseline: DriftProfile,
    data: Any,
    *,
    columns: Iterable[str] | None = None,
    threads: int | None = None,
    opener: Opener | None = None,
    progress: Progress | None = None,
) -> DriftProfile:
    """All of ``data`` against the baseline's layouts."""
    layouts = layouts_of(baseline, columns)
    with open_data(data, types=text_types(layouts), opener=opener) as source:
        tallies = scan(source, layouts, threads=threads, progress=progress)
        done = {name: tallies[name].done().column for name in layouts}
        return current_profile(baseline, source, done)


def current_profile(baseline: DriftProfile, source: Source, columns: Mapping[str, Column]) -> DriftProfile:
    rows = source.rows if source.rows is not None else max((c.rows for c in columns.values()), default=0)
    placed = {n: c if n in source.schema else OpaqueColumn(n, "absent", "absent", rows) for n, c in columns.items()}
    for name in baseline.roles.values():
        if name not in source.schema:
            # True values come later, or never, and data that no model has seen yet hold no predictions: neither is a
            # change of the data.
            placed.pop(name, None)
    extra = tuple(sorted(name for name in source.schema if name not in baseline.columns))
    return DriftProfile(
        baseline.edges_id,
        rows,
        placed,
        baseline.roles,
        extra,
        baseline.model_name,
        baseline.version,
        source=source.origin,
    )


def layouts_of(baseline: DriftProfile, columns: Iterable[str] | None) -> dict[str, Column]:
    """The baseline's layouts with nothing counted."""
    wanted = None if columns is None else set(columns)
    require_columns(wanted or (), baseline.columns, "The baseline has")
    return {
        name: column if isinstance(column, OpaqueColumn) else column.empty(column.arrow_type)
        for name, column in baseline.columns.items()
        if wanted is None or name in wanted
    }


def text_types(layouts: Mapping[str, Column]) -> dict[str, pa.DataType]:
    """What a CSV must read as text, because the baseline did: ``007`` is a code there."""
    import pyarrow as pa

    return {name: pa.string() for name, column in layouts.items() if column.kind == "text"}


# The pass -------------------------------------------------------------------------------------------------------------


def scan(
    source: Source,
    layouts: Mapping[str, Column],
    *,
    threads: int | None = None,
    learning: bool = False,
    keep: bool = False,
    chunks: Iterable[tuple[int, Chunk]] | None = None,
    tallies: dict[str, Tally] | None = None,
    progress: Progress | None = None,
) -> dict[str, Tally]:
    """Count ``chunks`` (all, when not given) of the columns in ``layouts``; adds to ``tallies`` when given."""
    tallies = tallies if tallies is not None else {name: Tally(layout, keep) for name, layout in layouts.items()}
    names = [name for name in layouts if name in source.schema]
    size = block_rows(source.expected_rows)
    lock = threading.Lock()
    report = _Reporter(progress, source.expected_rows, len(names))

    def one(task: tuple[int, Chunk, str]) -> None:
        index, chunk, name = task
        part = count(layouts[name], source.read(chunk, name), block_rows=size, learn=learning)
        with lock:
            tallies[name].put(index, part)
            report.column_done(chunk.rows)

    numbered = enumerate(source.chunks()) if chunks is None else iter(chunks)
    tasks = ((index, chunk, name) for index, chunk in numbered for name in names)
    in_threads(one, tasks, workers(threads))
    return tallies


def block_rows(rows: int | None) -> int:
    """Rows of a statistical block: about forty blocks, so that the design effect is neither noisy nor blind."""
    return _STREAM_BLOCK if rows is None else max(_MIN_BLOCK, -(-rows // _BLOCKS))


class _Reporter:
    """Rows done, in whole chunks' worth of columns."""

    def __init__(self, progress: Progress | None, total: int | None, columns: int) -> None:
        self._progress, self._total, self._columns, self._cells = progress, total, max(columns, 1), 0

    def column_done(self, rows: int) -> None:
        self._cells += rows
        if self._progress is not None:
            self._progress(self._cells // self._columns, self._total)


def workers(threads: int | None) -> int:
    if threads is not None:
        return max(1, threads)
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(usable, 8)


def in_threads(work: Callable[[Any], None], tasks: Iterable[Any], threads: int) -> None:
    """Run ``work`` over ``tasks``; the first exception stops all threads and is raised here."""
    queue: Iterator[Any] = iter(tasks)
    lock = threading.Lock()
    failures: list[BaseException] = []

    def run() -> None:
        try:
            while not failures:
                with lock:
                    task = next(queue, _END)
                if task is _END:
                    return
                work(task)
        except BaseException as error:  # noqa: BLE001 - handed to the caller's thread
            failures.append(error)

    helpers = [threading.Thread(target=run, name="windsock-drift", daemon=True) for _ in range(threads - 1)]
    for helper in helpers:
        helper.start()
    run()
    for helper in helpers:
        helper.join()
    if failures:
        raise failures[0]


_END = object()


def evenly(items: list[Any], wanted: int) -> list[Any]:
    """Up to ``wanted`` items, evenly spaced, the first and the last among them."""
    if len(items) <= wanted:
        return items
    return [items[round(i * (len(items) - 1) / (wanted - 1))] for i in range(wanted)]
