"""The ``drift_detector`` component of a stack: what looks at data and says whether they drifted.

``statistical`` is Windsock's own. Another engine is a subclass with three methods; the baseline is its own bytes.
"""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from pydantic import Field, field_validator

from ..component import CheckResult, Component, ComponentConfig

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

    from .decision import DriftResult
    from .policy import DriftPolicy
    from .profile import DriftProfile, Progress


class DriftDetector(Component):
    """Makes baselines of reference data and compares later data with them.

    Both methods are pure in their data: thread-safe, idempotent, no state. They raise ``DataUnreadable`` for data that
    cannot be read and ``ProfileMismatch`` for bytes that are no baseline of theirs. ``data`` is whatever
    ``sources.open_data`` opens: paths, folders, Arrow tables and streams, frames.
    """

    kind: ClassVar[str] = "drift_detector"

    @abstractmethod
    def baseline(self, data: Any, *, target: str | None = None, prediction: str | None = None) -> bytes:
        """What must be known of reference data to compare others with them; small, and the same for the same data."""

    @abstractmethod
    def detect(
        self,
        baseline: bytes,
        data: Any,
        *,
        columns: Iterable[str] | None = None,
        window: tuple[datetime, datetime] | None = None,
        progress: Progress | None = None,
    ) -> DriftResult:
        """Compare data with a baseline. ``columns`` limits what is compared."""

    @abstractmethod
    def columns(self, baseline: bytes) -> dict[str, str | None]:
        """The columns of a baseline with their role: None for a feature, or ``target``, ``prediction``, ``score``."""


class TestChoice(ComponentConfig):
    """Tests by the kind of feature: ``ks psi tv spread wasserstein js chi_square``."""

    __test__ = False

    numerical: tuple[str, ...] = ("ks", "psi", "tv", "spread")
    categorical: tuple[str, ...] = ("tv", "psi")

    @field_validator("numerical", "categorical", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class FeatureConfig(ComponentConfig):
    """What one feature has of its own."""

    threshold: float | None = None
    thresholds: dict[str, float] = Field(default_factory=dict)
    tests: tuple[str, ...] | None = None
    importance: float = Field(default=1.0, ge=0)
    critical: bool = False
    ignore: bool = False


class StatisticalConfig(ComponentConfig):
    """``drift_detector: {flavor: statistical, tests: {numerical: wasserstein, categorical: psi}, threshold: 0.1}``."""

    method: str | None = None
    """A textbook preset instead of ``tests``: ``psi ks js wasserstein chi_square``."""
    tests: TestChoice = TestChoice()
    threshold: float | None = Field(default=None, ge=0)
    """Of every test of the distribution; default: each test's own."""
    thresholds: dict[str, float] = Field(default_factory=dict)
    alpha: float | None = Field(default=0.01, gt=0, lt=1)
    minimum_rows: int = Field(default=50, ge=2)
    share: float = Field(default=0.0, ge=0, le=1)
    alert_share: float = Field(default=0.2, ge=0, le=1)
    features: dict[str, FeatureConfig] = Field(default_factory=dict)
    scan: Literal["auto", "full"] = "auto"
    threads: int | None = Field(default=None, ge=1)


class StatisticalDriftDetector(DriftDetector):
    """Effect sizes with a floor, evidence with a controlled false discovery rate, in one pass over the data."""

    Config: ClassVar[type[ComponentConfig]] = StatisticalConfig

    @property
    def policy(self) -> DriftPolicy:
        """The policy that the configuration describes. Raises ``ConfigurationError`` for an unknown test."""
        from dataclasses import replace

        from .policy import DriftPolicy, FeatureRule

        config: StatisticalConfig = self.config
        chosen = {*config.tests.numerical, *config.tests.categorical}
        overall = {} if config.threshold is None else dict.fromkeys(sorted(chosen), config.threshold)
        rules = {
            name: FeatureRule(
                thresholds=(
                    {} if own.threshold is None else dict.fromkeys(sorted({*chosen, *(own.tests or ())}), own.threshold)
                )
                | own.thresholds,
                tests=own.tests,
                importance=own.importance,
                critical=own.critical,
                ignore=own.ignore,
            )
            for name, own in config.features.items()
        }
        common: dict[str, Any] = {
            "minimum_rows": config.minimum_rows,
            "share": config.share,
            "alert_share": config.alert_share,
            "features": rules,
        }
        if config.method is not None:
            preset = DriftPolicy.preset(config.method)
            return replace(preset, thresholds={**preset.thresholds, **config.thresholds}, **common)
        return DriftPolicy(
            numerical=config.tests.numerical,
            categorical=config.tests.categorical,
            thresholds=overall | config.thresholds,
            alpha=config.alpha,
            **common,
        )

    def baseline(self, data: Any, *, target: str | None = None, prediction: str | None = None) -> bytes:
        from .profile import build_profile

        return build_profile(data, target=target, prediction=prediction, threads=self.config.threads).to_bytes()

    def detect(
        self,
        baseline: bytes,
        data: Any,
        *,
        columns: Iterable[str] | None = None,
        window: tuple[datetime, datetime] | None = None,
        progress: Progress | None = None,
    ) -> DriftResult:
        from .checks import check_against

        return check_against(
            data,
            baseline,
            policy=self.policy,
            scan=self.config.scan,
            columns=columns,
            window=window,
            threads=self.config.threads,
            progress=progress,
        )

    def columns(self, baseline: bytes) -> dict[str, str | None]:
        from .profile import DriftProfile

        profile: DriftProfile = DriftProfile.from_bytes(baseline)
        roles = {name: role for role, name in profile.roles.items()}
        return {name: roles.get(name) for name in profile.columns}

    def check(self) -> CheckResult:
        """Profile a few numbers, shift them, and see that the shift is found."""
        import time

        import numpy as np
        import pyarrow as pa

        from ..errors import WindsockError

        began = time.perf_counter()
        # In a mixed order: sorted rows are not independent, and a shift of such data may be chance.
        values = np.random.default_rng(0).permutation(1000).astype(float)
        still, moved = (pa.table({"x": pa.array(values + shift)}) for shift in (0.0, 500.0))
        try:
            baseline = self.baseline(still)
            right = not self.detect(baseline, still).drifted and self.detect(baseline, moved).drifted
        except WindsockError as error:
            return CheckResult(ok=False, detail=error.message, hint=error.hint)
        milliseconds = (time.perf_counter() - began) * 1000
        if right:
            return CheckResult(ok=True, detail=f"found a planted shift and nothing else, {milliseconds:.0f} ms")
        return CheckResult(
            ok=False,
            detail="a shift by half the range is not told from no shift",
            hint="Lower the thresholds in the stack's drift_detector.",
        )
