"""``DriftPolicy``: what counts as drift. A frozen value, with the defaults of the design and textbook presets."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from ..errors import ConfigurationError, did_you_mean
from .measures import CATEGORICAL_ONLY, NUMERIC_ONLY, TESTS, DriftTest

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

QUALITY = ("missing", "infinite", "out_of_range", "unseen", "vanished")
"""Checks of the data's quality: they run besides the tests of the distribution."""

THRESHOLDS: Mapping[str, float] = MappingProxyType(
    {
        "ks": 0.05,
        "psi": 0.1,
        "tv": 0.1,
        "tv.categorical": 0.05,
        "spread": 0.182,
        "js": 0.1,
        "wasserstein": 0.1,
        "chi_square": 0.0,
        "psi_textbook": 0.25,
        "missing": 0.02,
        "infinite": 0.01,
        "out_of_range": 0.01,
        "unseen": 0.01,
        "vanished": 0.01,
    }
)
"""Smallest effect that counts. For a normal feature KS 0.05 is a shift of the mean by 0.125 standard deviations; a
spread of 0.182 is a ratio of 1.2. ``name.categorical`` and ``name.numerical`` go before ``name``."""


@dataclass(frozen=True)
class FeatureRule:
    """What one feature has of its own: thresholds by test, its weight, whether its drift alone is an alert."""

    thresholds: Mapping[str, float] = field(default_factory=dict)
    tests: Sequence[str] | None = None
    importance: float = 1.0
    critical: bool = False
    ignore: bool = False


@dataclass(frozen=True)
class DriftPolicy:
    """When a feature, and when a data set, has drifted.

    A feature drifts if a test's effect reaches its threshold *and* its q-value (Benjamini-Hochberg over all tests of
    all features) is below ``alpha``: the floor keeps a million rows from alarming on nothing, the p-value keeps thirty
    rows from doing so. From ``warn_at`` of the threshold on it is a warning. ``alpha=None`` decides on effects alone.

    The data set has drifted if the share of drifted features, weighted by importance, is above ``share`` (default: any
    is), a critical feature or the prediction has, or the schema changed. It is an *alert* from ``alert_share`` on, and
    in the other cases named.
    """

    numerical: Sequence[str] = ("ks", "psi", "tv", "spread")
    categorical: Sequence[str] = ("tv", "psi")
    quality: Sequence[str] = QUALITY
    thresholds: Mapping[str, float] = field(default_factory=dict)
    alpha: float | None = 0.01
    correction: bool = True
    """Control the false discovery rate over all tests; False compares each p-value by itself."""
    warn_at: float = 0.5
    minimum_rows: int = 50
    share: float = 0.0
    alert_share: float = 0.2
    features: Mapping[str, FeatureRule] = field(default_factory=dict)

    def __post_init__(self) -> None:
        known = set(tests())
        asked = [*self.numerical, *self.categorical, *self.quality]
        asked += [name.split(".")[0] for name in self.thresholds]
        for rule in self.features.values():
            asked += [*(rule.tests or ()), *(name.split(".")[0] for name in rule.thresholds)]
        for name in asked:
            if name not in known:
                raise ConfigurationError(f'There is no drift test "{name}".', hint=did_you_mean(name, known), test=name)

    def rule(self, feature: str) -> FeatureRule:
        return self.features.get(feature, _NO_RULE)

    def tests_of(self, feature: str, numeric: bool) -> list[str]:
        """The tests of one feature, in order, without those that its kind does not have."""
        chosen = self.rule(feature).tests
        if chosen is None:
            chosen = self.numerical if numeric else self.categorical
        other = CATEGORICAL_ONLY if numeric else NUMERIC_ONLY
        return [name for name in dict.fromkeys((*chosen, *self.quality)) if name not in other]

    def threshold(self, feature: str, test: str, numeric: bool) -> float:
        kind = f"{test}.{'numerical' if numeric else 'categorical'}"
        for table in (self.rule(feature).thresholds, self.thresholds, THRESHOLDS):
            for name in (kind, test):
                if name in table:
                    return float(table[name])
        return 0.1

    @classmethod
    def preset(cls, method: str, *, quality: Sequence[str] = QUALITY) -> DriftPolicy:
        """A textbook rule, for shops whose policy is written in its terms: ``psi ks js wasserstein chi_square``.

        ``psi``: warning from 0.1, drift from 0.25, on reference deciles. ``ks``: p < 0.05 (categories by χ²).
        ``chi_square``: p < 0.05 on the same bins. ``js``, ``wasserstein``: distance of 0.1 or more. Known to alarm on
        nothing at large n (``ks``, ``chi_square``) or at small n (the others): the default is better. ``quality=()``
        leaves out what the textbook does not look at.
        """
        if method not in _PRESETS:
            raise ConfigurationError(f'There is no preset "{method}".', hint=did_you_mean(method, _PRESETS))
        return replace(_PRESETS[method], quality=tuple(quality))


_NO_RULE = FeatureRule()


def tests() -> Mapping[str, DriftTest]:
    """All drift tests: built in, and those of other packages (entry points ``windsock.drift_test``)."""
    global _found  # noqa: PLW0603 - entry points are read once a process
    if _found is None:
        from importlib.metadata import entry_points

        added = {point.name: point.load() for point in entry_points(group="windsock.drift_test")}
        _found = {**added, **TESTS}
    return _found


_found: dict[str, DriftTest] | None = None


def _single(numerical: str, categorical: str, threshold: float, **options: object) -> DriftPolicy:
    return DriftPolicy(
        numerical=(numerical,),
        categorical=(categorical,),
        thresholds={numerical: threshold, categorical: threshold},
        **options,  # type: ignore[arg-type]
    )


_PRESETS = {
    "psi": _single("psi_textbook", "psi_textbook", 0.25, alpha=None, warn_at=0.4),
    "ks": _single("ks", "chi_square", 0.0, alpha=0.05, correction=False),
    "chi_square": _single("chi_square", "chi_square", 0.0, alpha=0.05, correction=False),
    "js": _single("js", "js", 0.1, alpha=None),
    "wasserstein": _single("wasserstein", "js", 0.1, alpha=None),
}
