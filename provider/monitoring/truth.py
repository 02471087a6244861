"""The predictions of a window beside the truth about them: read the log, join the labels, count.

Three columns of the log (request id, prediction, score) and those asked for as slices are read, one at a time; of the
inputs nothing else is touched. Only counts leave this module.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from ..errors import DataUnreadable
from ..predictions.joining import ids_of, match_ids
from .outcomes import Outcomes, count_binned, count_values, score_bins
from .predictions import PredictionSource
from .sources import ParquetSource, require_columns

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    import pyarrow as pa
    from numpy.typing import NDArray

    from .sources import Opener, Source

LEVELS = 20
"""Values of a sliced category that are told apart, the most frequent ones; the others are one slice."""
_OTHERS = "others"
_DELAYS = 100_000


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
        found = _labels(labels, classes, opener)
        rows, which = match_ids(_ids(source), found.ids)
        delay = _delay(source, found, rows, which)
        count = _counter(source, found.values[which], rows, classes)
        del rows, which
        return Truth(count(None), {name: _slices(_column(source, name), count) for name in slices}, delay)


def _counter(
    source: Source, found: NDArray[Any], rows: NDArray[np.intp], classes: Sequence[Any] | None
) -> Callable[[NDArray[np.bool_] | None], Outcomes]:
    """A function that counts some of the rows, or all. ``found``: the true values of ``rows``."""
    if classes is None:
        answers = np.concatenate([np.empty(0), *(_numbers(p, np.float64) for p in _pieces(source, "prediction"))])
        true = np.full(len(answers), np.nan)
        true[rows] = found
        return lambda some: count_values(answers, true) if some is None else count_values(answers[some], true[some])
    nothing = np.empty(0, np.int16)
    places = np.concatenate([nothing, *(class_places(piece, classes) for piece in _pieces(source, "prediction"))])
    truth = np.full(len(places), -1, np.int16)
    truth[rows] = found
    bins = _score_bins(source, places, len(classes))

    def count(some: NDArray[np.bool_] | None) -> Outcomes:
        if some is None:
            return count_binned(places, bins, truth, classes)
        return count_binned(places[some], None if bins is None else bins[some], truth[some], classes)

    return count


def _delay(source: Source, found: _Labels, rows: NDArray[np.intp], which: NDArray[np.intp]) -> float | None:
    """Seconds until the truth was known, at the 95th percentile, of up to about a hundred thousand rows."""
    step = -(-len(rows) // _DELAYS)
    if not step:
        return None
    rows, which = rows[::step], which[::step]
    order = np.argsort(rows)
    rows, known = rows[order], found.times[which[order]]
    at = begin = 0
    asked = np.empty(len(rows), np.int64)
    for piece in _pieces(source, "ts"):
        end = int(np.searchsorted(rows, at + len(piece)))
        asked[begin:end] = _numbers(piece, np.int64)[rows[begin:end] - at]
        at, begin = at + len(piece), end
    return float(np.quantile(known - asked, 0.95)) / 1e6


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


class _Labels(NamedTuple):
    """All labels, in the order of their arrival."""

    ids: NDArray[np.uint64]
    values: NDArray[Any]
    """Places in the classes, -1 for what is no class; or numbers, NaN for what is none."""
    times: NDArray[np.int64]


def _labels(files: Sequence[str], classes: Sequence[Any] | None, opener: Opener | None) -> _Labels:
    ids: list[NDArray[np.uint64]] = [np.empty((0, 2), np.uint64)]
    values: list[NDArray[Any]] = [np.empty(0, np.float64 if classes is None else np.int16)]
    times: list[NDArray[np.int64]] = [np.empty(0, np.int64)]
    for file in files:
        with ParquetSource([file], opener) as source:
            ids.append(_ids(source))
            times += [_numbers(piece, np.int64) for piece in _pieces(source, "label_ts")]
            pieces = _pieces(source, "label")
            values += [_as_numbers(piece) if classes is None else class_places(piece, classes) for piece in pieces]
    return _Labels(ids[1] if len(ids) == 2 else np.concatenate(ids), np.concatenate(values), np.concatenate(times))


def _as_numbers(array: pa.Array) -> NDArray[np.float64]:
    if str(array.type) == "double":
        return _numbers(array, np.float64)
    return np.array([_number(text) for text in array.to_pylist()], float)


def _ids(source: Source) -> NDArray[np.uint64]:
    """All request ids, filled into one array: a second copy of ten million would be 160 MB."""
    ids = np.empty((source.expected_rows or 0, 2), np.uint64)
    at = 0
    for piece in _pieces(source, "request_id"):
        ids[at : at + len(piece)] = ids_of(piece)
        at += len(piece)
    return ids[:at]


def _pieces(source: Source, name: str) -> Iterator[pa.Array]:
    for chunk in source.chunks():
        yield from source.read(chunk, name)


def _column(source: Any, name: str) -> pa.ChunkedArray:
    import pyarrow as pa

    pieces = list(_pieces(source, name))
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


def class_places(column: Any, classes: Sequence[Any]) -> NDArray[np.int16]:
    """Where each value of a column stands in ``classes``; -1 for a null and for what is no class.

    A class is recognised by its number (``1``, ``1.0`` and ``True`` are one) or by its text.
    """
    import pyarrow as pa
    import pyarrow.types as t

    if t.is_dictionary(column.type):
        of_values = class_places(column.dictionary, classes)
        codes = _numbers(column.indices, np.int64, missing=-1)
        of_rows: NDArray[np.int16] = np.append(of_values, np.int16(-1))[codes]
        return of_rows
    if not len(column):
        return np.empty(0, np.int16)
    if t.is_string(column.type) or t.is_large_string(column.type):
        encoded = column.dictionary_encode()
        known = {_text(value): place for place, value in enumerate(classes)}
        table = [known.get(_text(text), -1) for text in encoded.dictionary.to_pylist()]
        codes = _numbers(encoded.indices, np.int64, missing=-1)
        found: NDArray[np.int16] = np.array([*table, -1], np.int16)[codes]
        return found
    values = _numbers(column.cast(pa.int8()) if t.is_boolean(column.type) else column, np.float64)
    places = np.full(len(values), -1, np.int16)
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


def _score_bins(source: Source, places: NDArray[np.int16], classes: int) -> NDArray[np.int16] | None:
    """Binary: of the score itself. More classes: of each row's list, of the probability of what was predicted."""
    if "score" not in source.schema:
        return None
    found: list[NDArray[np.int16]] = [np.empty(0, np.int16)]
    at = 0
    for piece in _pieces(source, "score"):
        found.append(score_bins(_scores(piece, places[at : at + len(piece)], classes)))
        at += len(piece)
    bins = np.concatenate(found)
    return bins if (bins >= 0).any() else None


def _scores(array: pa.Array, places: NDArray[np.int16], classes: int) -> NDArray[np.float64]:
    import pyarrow.types as t

    if not (t.is_list(array.type) or t.is_large_list(array.type) or t.is_fixed_size_list(array.type)):
        return _numbers(array, np.float64)
    flat = _numbers(array.flatten(), np.float64)
    if array.null_count or len(flat) != len(array) * classes:
        return np.full(len(array), np.nan)
    picked: NDArray[np.float64] = flat.reshape(-1, classes)[np.arange(len(array)), np.maximum(places, 0)]
    return picked
