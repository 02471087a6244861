"""``RetrainingPolicy``: from recorded drift reports to the decision to retrain. A pure function; it starts nothing."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class Report(Protocol):
    """What is needed of a ``metadata.drift.DriftReport``."""

    @property
    def id(self) -> int: ...
    @property
    def model(self) -> str: ...
    @property
    def version(self) -> int: ...
    @property
    def window_start(self) -> datetime | None: ...
    @property
    def window_end(self) -> datetime | None: ...
    @property
    def created_at(self) -> datetime: ...
    @property
    def drifted(self) -> bool: ...
    @property
    def drift_share(self) -> float: ...
    @property
    def features(self) -> Mapping[str, Any]: ...
    @property
    def reasons(self) -> Sequence[Any]: ...


@dataclass(frozen=True)
class RetrainingDecision:
    """Whether to retrain, and why, in words and as JSON for the conf of the run that is started."""

    retrain: bool
    reason: str
    reports: tuple[int, ...] = ()
    """The reports that speak for it, oldest first."""
    features: tuple[str, ...] = ()

    def conf(self) -> dict[str, Any]:
        """What goes into the run: ``{"trigger": "drift", "reason", "reports", "features"}``."""
        return {
            "trigger": "drift",
            "reason": self.reason,
            "reports": list(self.reports),
            "features": list(self.features),
        }


@dataclass(frozen=True)
class RetrainingPolicy:
    """Retrain when ``needed`` of the last ``windows`` windows drifted, and not again within ``cooldown``.

    One bad window is a bad window; a drift that stays is worth a model. A window counts as drifted if its report says
    so and at least ``share`` of its features did. Reports of older model versions do not count: the new model has
    learned that drift already.
    """

    needed: int = 2
    windows: int = 3
    cooldown: timedelta = timedelta(hours=24)
    share: float = 0.0

    def __post_init__(self) -> None:
        if not 1 <= self.needed <= self.windows:
            raise ValueError(f"needed is {self.needed}; it must be from 1 to windows, which is {self.windows}")

    def decide(
        self, reports: Iterable[Report], *, now: datetime, last_retraining: datetime | None = None
    ) -> RetrainingDecision:
        """Decide from the reports of one model or deployment, in any order."""
        last = self.considered(reports)
        drifted = [report for report in last if report.drifted and report.drift_share >= self.share]
        counted = f"{len(drifted)} of the last {len(last)} windows drifted"
        if len(drifted) < self.needed:
            return RetrainingDecision(False, f"{counted}, {self.needed} are needed")
        if last_retraining is not None and now - last_retraining < self.cooldown:
            left = self.cooldown - (now - last_retraining)
            return RetrainingDecision(
                False, f"{counted}, but the last retraining is recent: {_hours(left)} of cool-down left"
            )
        features = sorted({n for r in drifted for n, f in r.features.items() if f.get("status") == "drift"})
        newest = drifted[-1]
        why = "; ".join(str(reason) for reason in list(newest.reasons)[:3])
        return RetrainingDecision(
            True,
            f"{newest.model} version {newest.version}: {counted}" + (f": {why}" if why else ""),
            tuple(report.id for report in drifted),
            tuple(features),
        )

    def considered(self, reports: Iterable[Report]) -> list[Report]:
        """The last windows of the newest version, oldest first; of a window checked twice the later report."""
        known = list(reports)
        if not known:
            return []
        version = max(report.version for report in known)
        by_window: dict[Any, Report] = {}
        for report in sorted(known, key=lambda r: r.id):
            if report.version == version:
                window = (report.window_start, report.window_end)
                by_window[window if any(window) else report.id] = report
        ordered = sorted(by_window.values(), key=lambda r: (r.window_end or r.created_at, r.id))
        return ordered[-self.windows :]


def _hours(left: timedelta) -> str:
    hours = left.total_seconds() / 3600
    return f"{hours:.1f} h" if hours >= 1 else f"{hours * 60:.0f} min"
