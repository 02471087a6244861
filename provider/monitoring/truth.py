"""The predictions of a window beside the truth about them: read the log, join the labels, count.

Three columns of the log (request id, prediction, score) and those asked for as slices are read, one at a time; of the
inputs nothing else is touched. Only counts leave this module.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import DataUnreadable
from ..predictions.joining import ids_of, match_ids
from .outcomes import Outcomes, count_classes, count_values
from .predictions import PredictionSource
from .sources import ParquetSource, require_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa
    from numpy.typing import NDArray

    from .sources import Opener, Source

LEVELS = 20
"""Values of a sliced category that are told apart, the most frequent ones; the others are one slice."""
_OTHERS = "others"


@dataclass(frozen=True)
class Truth:
    """What came of a window's predictions, in all and by slice.

    ``slices``: column -> value (or range) -> outcomes. ``delay``: of the rows whose true value is known, how many
    seconds passed until it was, at the 95th percentile; None without any.
    """

    outcomes: Outcomes
    slices: Mapping[str, Mapping[str, Outcomes]] = field(default_factory=dict)
    delay: float | None = None


def read_truth(
    files: Sequence[str],
    labels: Sequence[str],
    *,
    classes: Sequence[Any] | None,
    start: datetime | None = None,
    end: datetime | None = None,
    slices: Sequence[str] = (),
    opener: Opener | None = None,
) -> Truth:
    """Count what came of the answered predictions of ``start <= ts < end``.

    ``files``: the prediction log's; ``labels``: the label log's, in the order of their arrival. ``classes``: of a
    classifier, in the order of the model's scores; None for a regressor. Raises ``DataUnreadable``.
    """
    with PredictionSource(files, start, end, opener) as source:
        require_columns(slices, source.schema, "The prediction log has")
        ids = ids_of(_column(source, "request_id"))
        found = _labels(labels, opener)
        rows, which = match_ids(ids, found.ids)
        count = _counter(source, found, rows, which, classes)
        times = _numbers(_column(source, "ts"), np.int64)
        delay = found.times[which] - times[rows]
        return Truth(
            count(None),
            {name: _slices(_column(source, name), count) for name in slices},
            float(np.quantile(delay, 0.95)) / 1e6 if len(delay) else None,
        )


def _counter(
    source: Source,
    found: _Labels,
    rows: NDArray[np.intp],
    which: NDArray[np.intp],
    classes: Sequence[Any] | None,
) -> Callable[[NDArray[np.bool_] | None], Outcomes]:
    """A function that counts some of the rows, or all."""
    predicted = _column(source, "prediction")
    if classes is None:
        answers = _numbers(predicted, np.float64)
        true = np.full(len(answers), np.nan)
        true[rows] = found.numbers()[which]
        return lambda some: count_values(answers, true) if some is None else count_values(answers[some], true[some])
    places = class_places(predicted, classes)
    truth = np.full(len(places), -1, np.int64)
    truth[rows] = found.places(classes)[which]
    scores = _scores(_column(source, "score"), places, len(classes)) if "score" in source.schema else None
    if scores is not None and np.isnan(scores).all():
        scores = None

    def count(some: NDArray[np.bool_] | None) -> Outcomes:
        if some is None:
            return count_classes(places, scores, truth, classes)
        return count_classes(places[some], None if scores is None else scores[some], truth[some], classes)

    return count


def _slices(column: pa.ChunkedArray, count: Callable[[NDArray[np.bool_] | None], Outcomes]) -> dict[str, Outcomes]:
    import pyarrow as pa
    import pyarrow.types as t

    kind = column.type.value_type if t.is_dictionary(column.type) else column.type
    if t.is_floating(kind) or (t.is_integer(kind) and column.length() > 0 and len(column.unique()) > LEVELS):
        values = _numbers(column, np.float64)
        known = values[np.isfinite(values)]
        cuts = np.unique(np.quantile(known, [0.25, 0.5, 0.75])) if len(known) else np.empty(0)
        place = np.searchsorted(cuts, values, "left")
        names = _ranges(cuts)
        found = {name: count((place == i) & np.isfinite(values)) for i, name in enumerate(names)}
        if len(known) < len(values):
            found["missing"] = count(~np.isfinite(values))
        return found
    text = column.cast(pa.string()) if not t.is_dictionary(column.type) else column.cast(kind).cast(pa.string())
    encoded = text.combine_chunks().dictionary_encode()
    codes = _numbers(encoded.indices, np.int64, missing=-1)
    sizes = np.bincount(codes[codes >= 0], minlength=len(encoded.dictionary))
    frequent = np.argsort(-sizes, kind="stable")[:LEVELS]
    found = {str(encoded.dictionary[int(code)]): count(codes == code) for code in frequent if sizes[code]}
    rest = (codes >= 0) & ~np.isin(codes, frequent)
    if rest.any():
        found[_OTHERS] = count(rest)
    if (codes < 0).any():
        found["missing"] = count(codes < 0)
    return found


def _ranges(cuts: NDArray[np.float64]) -> list[str]:
    if not len(cuts):
        return ["all"]
    names = [f"≤ {cuts[0]:g}"]
    names += [f"{low:g} to {high:g}" for low, high in itertools.pairwise(cuts)]
    return [*names, f"> {cuts[-1]:g}"]


@dataclass(frozen=True)
class _Labels:
    """All labels, in the order of their arrival. Of some files the values are text, of others numbers."""

    ids: NDArray[np.uint64]
    values: list[pa.Array]
    times: NDArray[np.int64]

    def numbers(self) -> NDArray[np.float64]:
        """Values as numbers, NaN for those that are none."""
        parts = [np.empty(0)]
        for array in self.values:
            if str(array.type) == "double":
                parts.append(_numbers(array, np.float64))
            else:
                parts.append(np.array([_number(text) for text in array.to_pylist()], float))
        return np.concatenate(parts)

    def places(self, classes: Sequence[Any]) -> NDArray[np.int64]:
        """Values as places in ``classes``, -1 for those that are no class."""
        return np.concatenate([np.empty(0, np.int64), *(class_places(array, classes) for array in self.values)])


def _labels(files: Sequence[str], opener: Opener | None) -> _Labels:
    ids: list[NDArray[np.uint64]] = [np.empty((0, 2), np.uint64)]
    values: list[pa.Array] = []
    times: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for file in files:
        with ParquetSource([file], opener) as source:
            ids.append(ids_of(_column(source, "request_id")))
            values += _column(source, "label").chunks
            times.append(_numbers(_column(source, "label_ts"), np.int64))
    return _Labels(np.concatenate(ids), values, np.concatenate(times))


def _column(source: Any, name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    pieces = [piece for chunk in source.chunks() for piece in source.read(chunk, name)]
    kind = source.schema[name]
    return pa.chunked_array([piece if piece.type == kind else piece.cast(kind) for piece in pieces], kind)


def _numbers(column: Any, kind: Any, missing: Any = None) -> NDArray[Any]:
    """Values of a column as NumPy numbers; nulls become ``missing``, or NaN in floats."""
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.types as t

    if t.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us", column.type.tz)).cast(pa.int64())
    if t.is_boolean(column.type):
        column = column.cast(pa.int8())
    if t.is_string(column.type) or t.is_large_string(column.type) or t.is_dictionary(column.type):
        raise DataUnreadable("The prediction log has texts where numbers belong.")
    column = column.cast(pa.float64() if kind is np.float64 else pa.int64(), safe=False)
    if column.null_count:
        filler = missing if missing is not None else (float("nan") if kind is np.float64 else 0)
        column = pc.if_else(pc.is_valid(column), column, pa.scalar(filler, column.type))
    chunks = column.chunks if hasattr(column, "chunks") else [column]
    return np.concatenate([np.empty(0, kind), *(np.from_dlpack(chunk) for chunk in chunks if len(chunk))])


def class_places(column: Any, classes: Sequence[Any]) -> NDArray[np.int64]:
    """Where each value of a column stands in ``classes``; -1 for a null and for what is no class.

    A class is recognised by its number (``1``, ``1.0`` and ``True`` are one) or by its text.
    """
    import pyarrow as pa
    import pyarrow.types as t

    if hasattr(column, "chunks"):
        return np.concatenate([np.empty(0, np.int64), *(class_places(chunk, classes) for chunk in column.chunks)])
    if t.is_dictionary(column.type):
        of_values = class_places(column.dictionary, classes)
        codes = _numbers(column.indices, np.int64, missing=-1)
        return np.where(codes < 0, -1, np.append(of_values, -1)[codes])
    if not len(column):
        return np.empty(0, np.int64)
    if t.is_string(column.type) or t.is_large_string(column.type):
        encoded = column.dictionary_encode()
        known = {_text(value): place for place, value in enumerate(classes)}
        table = [known.get(_text(text), -1) for text in encoded.dictionary.to_pylist()]
        codes = _numbers(encoded.indices, np.int64, missing=-1)
        return np.where(codes < 0, -1, np.array([*table, -1], np.int64)[codes])
    values = _numbers(column.cast(pa.int8()) if t.is_boolean(column.type) else column, np.float64)
    places = np.full(len(values), -1, np.int64)
    for place, value in enumerate(classes):
        number = _number(value)
        if np.isfinite(number):
            places[values == number] = place
    return places


def _text(value: Any) -> str:
    """The text of a class: numbers as numbers are, so that "1", 1 and 1.0 are one class."""
    number = _number(value)
    return str(value) if not np.isfinite(number) else f"{number:g}"


def _number(value: Any) -> float:
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return float(value.lower() == "true")
    try:
        return float(value)
    except (TypeError, ValueError):
        return float("nan")


def _scores(column: pa.ChunkedArray, places: NDArray[np.int64], classes: int) -> NDArray[np.float64] | None:
    """Binary: the score itself. More classes: of each row's list, the probability of what was predicted."""
    import pyarrow.types as t

    if not (t.is_list(column.type) or t.is_large_list(column.type) or t.is_fixed_size_list(column.type)):
        return _numbers(column, np.float64)
    array = column.combine_chunks()
    flat = _numbers(array.flatten(), np.float64)
    if array.null_count or len(flat) != len(array) * classes:
        return None
    picked: NDArray[np.float64] = flat.reshape(-1, classes)[np.arange(len(array)), np.maximum(places, 0)]
    return picked
