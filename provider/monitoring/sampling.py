"""``scan="auto"``: read evenly spaced chunks until no feature's decision can change any more.

At ten million rows eight row groups (two million rows) decide nearly everything; only columns near a threshold are
read further. A column's scatter between chunks, by the jackknife, says how near is near: dependence between
neighbouring rows is in it, where a formula for independent rows would not see it.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from .columns import OpaqueColumn
from .decision import effects_of
from .scan import current_profile, evenly, layouts_of, scan, text_types
from .sources import Source, open_data
from .tallies import Tally

if TYPE_CHECKING:
    from collections.abc import Iterable

    from .columns import Column
    from .policy import DriftPolicy
    from .profile import DriftProfile, Progress
    from .sources import Opener

AUTO_ROWS = 2_000_000
FIRST_CHUNKS = 8
STANDARD_ERRORS = 3.0


def follow_auto(
    baseline: DriftProfile,
    data: object,
    policy: DriftPolicy,
    *,
    columns: Iterable[str] | None = None,
    threads: int | None = None,
    opener: Opener | None = None,
    progress: Progress | None = None,
) -> DriftProfile:
    """The data's profile against the baseline, of as many chunks as the decision under ``policy`` needs.

    Up to two million rows, and streams, are read whole. A column's ``rows`` say how much of it was read.
    """
    layouts = layouts_of(baseline, columns)
    with open_data(data, types=text_types(layouts), opener=opener) as source:
        chunks = list(enumerate(source.chunks())) if source.repeatable else []
        if len(chunks) < 2 * FIRST_CHUNKS or (source.rows or 0) <= AUTO_ROWS:
            tallies = scan(source, layouts, threads=threads, chunks=chunks or None, progress=progress)
            return _profile(baseline, source, layouts, tallies)
        tallies = {}
        undecided, read, wanted = dict(layouts), set[int](), FIRST_CHUNKS
        while undecided and len(read) < len(chunks):
            fresh = [item for item in evenly(chunks, wanted) if item[0] not in read]
            for name in undecided:
                tallies.setdefault(name, Tally(layouts[name], keep=True))
            scan(source, undecided, threads=threads, chunks=fresh, tallies=tallies, progress=progress)
            read |= {index for index, _ in fresh}
            undecided = {n: c for n, c in undecided.items() if not decided(baseline.columns[n], tallies[n], policy)}
            wanted *= 2
        if progress is not None:
            progress(source.rows or 0, source.rows)
        return _profile(baseline, source, layouts, tallies)


def _profile(
    baseline: DriftProfile, source: Source, layouts: dict[str, Column], tallies: dict[str, Tally]
) -> DriftProfile:
    return current_profile(baseline, source, {name: tallies[name].done().column for name in layouts})


def decided(reference: Column, tally: Tally, policy: DriftPolicy) -> bool:
    """Whether every effect is more than three standard errors away from its thresholds (of drift and of warning)."""
    parts = list(tally.parts.values())
    if len(parts) < 2 or isinstance(reference, OpaqueColumn):
        return True
    whole = effects_of(reference, tally.done().column, policy)
    without = [effects_of(reference, column, policy) for column in leave_one_out(parts)]
    for test, (effect, tau) in whole.items():
        replicates = [found[test][0] for found in without if test in found]
        error = jackknife_error(replicates)
        if any(abs(effect - level) <= STANDARD_ERRORS * error for level in (tau, tau * policy.warn_at)):
            return False
    return True


def leave_one_out(parts: list[Column]) -> list[Column]:
    """The sum of all parts but one, for each: from sums of the front and of the back, so in 3k merges."""
    front: list[Column | None] = [None]
    for part in parts[:-1]:
        last = front[-1]
        front.append(part if last is None else last.merge(part))
    result: list[Column] = []
    back: Column | None = None
    for part, before in zip(reversed(parts), reversed(front), strict=True):
        both = before if back is None else back if before is None else before.merge(back)
        assert both is not None
        result.append(both)
        back = part if back is None else part.merge(back)
    return result[::-1]


def jackknife_error(replicates: list[float]) -> float:
    """Standard error from leave-one-out replicates, √((k - 1)/k · Σ(θᵢ - θ̄)²) (Efron 1982); 0 for fewer than two."""
    count = len(replicates)
    if count < 2:
        return 0.0
    mean = sum(replicates) / count
    return math.sqrt((count - 1) / count * sum((value - mean) ** 2 for value in replicates))
