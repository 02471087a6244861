"""Inline SVG of one feature's distribution, reference against current: no script, a text alternative, few bytes.

Colours are CSS classes, so that the page decides on light and dark. The reference is a filled area, the current data
an outline: they can be told apart without colour.
"""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from html import escape
from typing import TYPE_CHECKING, Any

import numpy as np

from . import statistics as s
from .columns import CategoricalColumn, NumericColumn
from .measures import Scale
from .words import cut, number, percent

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from .columns import Column

BARS = 40
LEVELS = 8
OTHERS = "(all others)"
_W, _H, _BASE = 360, 110, 92


def chart(reference: Column, current: Column) -> str:
    """The SVG of a feature, or nothing where there is nothing to draw."""
    if isinstance(reference, NumericColumn) and isinstance(current, NumericColumn):
        return _numeric(reference, current) if reference.present and len(reference.edges) > 1 else ""
    if isinstance(reference, CategoricalColumn) and isinstance(current, CategoricalColumn):
        return _categorical(reference, current) if reference.present else ""
    return ""


# Numbers --------------------------------------------------------------------------------------------------------------


def _numeric(reference: NumericColumn, current: NumericColumn) -> str:
    scale = Scale.of(reference)
    low, high = _range(reference, current, scale)
    marks = np.linspace(low, high, BARS + 1)
    areas = [_masses(column, scale, marks) for column in (reference, current)]
    top = max(float(max(area.max(initial=0.0) for area in areas)), 1e-12)
    paths = [_steps(area / top) for area in areas]
    below, above = (float(current.counts[i]) / max(current.present, 1) for i in (0, -1))
    outside = _outside(below, above)
    ticks = "".join(
        f'<text x="{x}" y="106" text-anchor="{anchor}">{escape(_value(reference, at))}</text>'
        for x, anchor, at in ((2, "start", low), (_W / 2, "middle", (low + high) / 2), (_W - 2, "end", high))
    )
    words = (
        f"Histogram of {reference.name}. Reference mean {_value(reference, reference.mean_offset)}, "
        f"current mean {_value(reference, current.mean_offset) if current.present else 'none'}."
    )
    return (
        f'<svg viewBox="0 0 {_W} {_H}" role="img" aria-label="{escape(words)}">'
        f'<path class="ref" d="{paths[0]}"/><path class="cur" d="{paths[1]}"/>'
        f'<path class="axis" d="M0 {_BASE}H{_W}"/>{outside}{ticks}</svg>'
    )


def _range(reference: NumericColumn, current: NumericColumn, scale: Scale) -> tuple[float, float]:
    """Where nearly all rows of either lie: a far outlier must not squeeze the rest into one bar."""
    ends = []
    for column in (reference, current):
        if column.present:
            below = np.cumsum(s.shares(column.counts))[:-1]
            ends.append(np.interp((0.01, 0.99), below, scale.edges))
    low, high = min(e[0] for e in ends), max(e[1] for e in ends)
    inner = scale.positions[[0, -1]]  # the tails beyond the outermost quantiles have no known shape
    room = 0.4 * (inner[1] - inner[0])
    if room > 0:
        low, high = max(low, inner[0] - room), min(high, inner[1] + room)
    if high <= low:
        low, high = float(scale.edges[0]), float(scale.edges[-1])
    pad = (high - low) / 8 or 0.5
    return float(low - pad), float(high + pad)


def _masses(column: NumericColumn, scale: Scale, marks: NDArray[Any]) -> NDArray[np.float64]:
    """Share of the rows in each bar, from the cumulative counts at the edges; rows out of range are not drawn."""
    below = np.cumsum(s.shares(column.counts))[:-1] if column.present else np.zeros(len(scale.edges))
    masses: NDArray[np.float64] = np.diff(np.interp(marks, scale.edges, below))
    return masses


def _steps(heights: NDArray[np.float64]) -> str:
    width = _W / len(heights)
    tops = [_BASE - 84 * float(h) for h in heights]
    moves = "".join(f"V{_n(top)}H{_n((i + 1) * width)}" for i, top in enumerate(tops))
    return f"M0 {_BASE}{moves}V{_BASE}"


def _outside(below: float, above: float) -> str:
    parts = []
    if below >= 0.0005:
        parts.append(f'<text class="out" x="2" y="11">◂ {percent(below)} below</text>')
    if above >= 0.0005:
        parts.append(f'<text class="out" x="{_W - 2}" y="11" text-anchor="end">{percent(above)} above ▸</text>')
    return "".join(parts)


def _value(column: NumericColumn, offset: float) -> str:
    """A position, given relative to the centre, in the column's own terms."""
    if column.kind == "time":
        return _moment(column, round(column.centre + offset))
    value = column.centre + offset
    spread = Scale.of(column).sd
    if spread > 0 and abs(value) > 1e4 * spread:
        return f"{value:,.0f}" if spread >= 1 else repr(float(f"{value:.12g}"))
    return number(value)


def _moment(column: NumericColumn, microseconds: int) -> str:
    if not column.arrow_type.startswith(("timestamp", "date")):
        return str(timedelta(microseconds=microseconds))
    try:
        moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=microseconds)
    except OverflowError:
        return number(microseconds)
    days = Scale.of(column).sd > 2 * 86_400e6
    return moment.strftime("%Y-%m-%d" if days else "%m-%d %H:%M")


# Categories -----------------------------------------------------------------------------------------------------------


def _categorical(reference: CategoricalColumn, current: CategoricalColumn) -> str:
    rows = bars_of(reference, current)
    top = max((max(p, q) for name, p, q in rows if name != OTHERS), default=1.0) or 1.0
    height = 20 * len(rows)
    parts = []
    for i, (name, p, q) in enumerate(rows):
        y = 20 * i
        parts.append(
            f'<text x="118" y="{y + 13}" text-anchor="end">{escape(cut(name, 18))}</text>'
            f"{_pair(p / top, q / top, y) if name != OTHERS else ''}"
            f'<text x="{_W}" y="{y + 13}" text-anchor="end">{percent(p)} → {percent(q)}</text>'
        )
    words = f"Levels of {reference.name}, reference to current: " + ", ".join(
        f"{name} {percent(p)} to {percent(q)}" for name, p, q in rows[:4]
    )
    label = escape(words)
    return f'<svg viewBox="0 0 {_W} {height}" role="img" aria-label="{label}">{"".join(parts)}</svg>'


def _pair(p: float, q: float, y: int) -> str:
    """Two bars of one line: the reference behind, the current data in front."""
    return (
        f'<rect class="ref" x="124" y="{y + 2}" height="14" width="{_n(130 * p)}"/>'
        f'<rect class="cur" x="124" y="{y + 5}" height="8" width="{_n(130 * q)}"/>'
    )


def missing_bars(before: float, now: float) -> str:
    """One line for the missing values, drawn where their share moved visibly."""
    if abs(before - now) < 0.005:
        return ""
    top = max(before, now)
    label = f"Missing: {percent(before)} to {percent(now)}"
    return (
        f'<svg viewBox="0 0 {_W} 20" role="img" aria-label="{label}">'
        f'<text x="118" y="13" text-anchor="end">missing</text>{_pair(before / top, now / top, 0)}'
        f'<text x="{_W}" y="13" text-anchor="end">{percent(before)} → {percent(now)}</text></svg>'
    )


def bars_of(reference: CategoricalColumn, current: CategoricalColumn) -> list[tuple[str, float, float]]:
    """The levels that moved most and the largest ones, then all others, then unseen: name, reference, current share."""
    p, q = s.shares(reference.counts), s.shares(current.counts)
    named = len(reference.levels)
    moved = np.argsort(-abs(q[:named] - p[:named]), kind="stable")[: LEVELS // 2]
    largest = np.argsort(-np.maximum(p[:named], q[:named]), kind="stable")
    chosen = list(dict.fromkeys([*moved.tolist(), *largest.tolist()]))[:LEVELS]
    chosen.sort(key=lambda i: -max(p[i], q[i]))
    rows = [(reference.levels[i], float(p[i]), float(q[i])) for i in chosen]
    new = current.unseen / current.present if current.present else 0.0
    others = [float(x.sum() - x[chosen].sum() - gone) for x, gone in ((p, 0.0), (q, new))]
    if max(others) > 1e-9 and (named > len(chosen) or reference.buckets):
        rows.append((OTHERS, max(others[0], 0.0), max(others[1], 0.0)))
    if current.unseen:
        rows.append(("(unseen before)", 0.0, new))
    return rows


def _n(value: float) -> str:
    return f"{value:.1f}".removesuffix(".0")
