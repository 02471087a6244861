"""The words of a decision: what happened to a feature, for a reader who was not there."""

from __future__ import annotations

from typing import Any

from .columns import CategoricalColumn, Column, NumericColumn, OpaqueColumn
from .measures import Pair, mean_shift, spread_ratio

_SHARES = {"missing", "infinite", "out_of_range", "unseen", "vanished"}


def number(value: float) -> str:
    """Three significant digits, without an exponent for ordinary sizes: 0.0795, 12.3, 1.2e+12."""
    return f"{value:.3g}"


def percent(share: float) -> str:
    """``3.1 %``, with enough digits to tell a small share from none."""
    value = 100 * share
    return f"{value:.0f} %" if value >= 99.5 or value == 0 else f"{value:.2g} %" if value < 10 else f"{value:.1f} %"


def absent_words(reference: Column, current: Column, minimum: int) -> tuple[str, bool]:  # noqa: PLR0911
    """Why two columns cannot be compared, or nothing; and whether that is a change of the schema."""
    if isinstance(current, OpaqueColumn):
        if current.kind == "absent":
            return ("the column is absent", True) if current.rows else ("no rows", False)
        if current.kind == "retyped":
            return f"the type changed from {reference.arrow_type} to {current.arrow_type}", True
    if isinstance(reference, OpaqueColumn):
        if reference.kind == "other":
            return f"{reference.arrow_type} columns are not compared", False
        if reference.kind == "null" and current.missing < current.rows:
            return (
                f"every value was missing in the baseline; {percent(1 - current.missing / current.rows)} are there now",
                True,
            )
        return "every value is missing, then and now", False
    if not current.rows:
        return "no rows", False
    if not reference.rows:
        return "the baseline has no rows", False
    if current.rows < minimum or reference.rows < minimum:
        which = (
            f"only {current.rows} rows" if current.rows < minimum else f"the baseline has only {reference.rows} rows"
        )
        return f"{which}; {minimum} are needed to tell drift from chance", False
    return "", False


def effect_words(test: str, words: str, effect: float, threshold: float) -> str:
    """``KS 0.0795 ≥ 0.05``, ``missing changed by 5 points ≥ 2``, ``unseen 3.1 % < 1 %``."""
    sign = "≥" if effect >= threshold else "<"
    if test == "missing":
        return f"missing changed by {number(100 * effect)} points {sign} {number(100 * threshold)}"
    if test in _SHARES:
        return f"{words} {percent(effect)} {sign} {percent(threshold)}"
    return f"{words} {number(effect)} {sign} {number(threshold)}"


def movement_words(pair: Pair, telling: set[str]) -> str:
    """What moved, in the feature's own terms: the mean, the spread, a level's share."""
    if not telling - {"missing"}:
        return ""
    numeric = isinstance(pair.reference, NumericColumn)
    return ", ".join(_numeric_movement(pair) if numeric else _categorical_movement(pair))


def missing_words(pair: Pair, effect: float, threshold: float) -> str:
    """``missing 1 % → 6 %, 5 points ≥ 2``."""
    before, now = (c.missing / c.rows if c.rows else 0.0 for c in (pair.reference, pair.current))
    sign = "≥" if effect >= threshold else "<"
    points = f"{number(100 * effect)} points {sign} {number(100 * threshold)}"
    return f"missing {percent(before)} → {percent(now)}, {points}"


def _numeric_movement(pair: Pair) -> list[str]:
    parts = []
    shift = mean_shift(pair)
    if shift is not None and abs(shift) >= 0.05:
        parts.append(f"mean moved by {shift:+.2f} sd")
    ratio = spread_ratio(pair)
    if ratio is not None and not 0.9 < ratio < 1.1:
        parts.append(f"spread \u00d7 {ratio:.2f}")
    return parts


def _categorical_movement(pair: Pair) -> list[str]:
    reference: CategoricalColumn = pair.reference
    parts = []
    if pair.current.unseen:
        names = ", ".join(f'"{cut(name)}"' for name in list(pair.current.examples)[:3])
        parts.append(f"{percent(pair.current.unseen / pair.m)} unseen before ({names})")
    named = len(reference.levels)
    change = pair.q[:named] - pair.p[:named]
    if named and abs(change).max() >= 0.005:
        at = int(abs(change).argmax())
        parts.append(f'"{cut(reference.levels[at])}" {percent(float(pair.p[at]))} → {percent(float(pair.q[at]))}')
    return parts


def cut(text: Any, longest: int = 40) -> str:
    words = str(text)
    return words if len(words) <= longest else words[: longest - 1] + "…"
