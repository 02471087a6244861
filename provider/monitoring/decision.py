"""From two profiles to a decision: which features drifted, how much, and in words why.

``compare`` is a pure function of the profiles and the policy; it takes a few milliseconds for 26 features.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import ProfileMismatch
from . import statistics as s
from .columns import Column, NumericColumn, OpaqueColumn
from .measures import Effect, Pair, describe
from .policy import DriftPolicy, tests
from .words import absent_words, effect_words, missing_words, movement_words

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from numpy.typing import NDArray

    from .profile import DriftProfile

STATUSES = ("degenerate", "ok", "warn", "drift")


@dataclass(frozen=True)
class TestResult:
    """One test of one feature. ``p`` and ``q`` are None where nothing hung on them."""

    __test__ = False  # pytest: this is no test class

    test: str
    effect: float
    threshold: float
    words: str
    p: float | None = None
    q: float | None = None

    @property
    def score(self) -> float:
        """Effect over threshold: 1 is drift, 2 is twice as much as tolerated."""
        return self.effect / self.threshold if self.threshold > 0 else (1.0 if self.effect > 0 else 0.0)


@dataclass(frozen=True)
class FeatureDrift:
    """The outcome for one feature.

    ``status``: ``ok``; ``warn``, from half of a threshold on; ``drift``, from the threshold on, with evidence;
    ``degenerate``, when it cannot be compared (absent, retyped, too few rows), which is never the same as *ok*.
    """

    name: str
    kind: str
    status: str
    reason: str
    metrics: Mapping[str, float] = field(default_factory=dict)
    tests: tuple[TestResult, ...] = ()
    score: float = 0.0
    """Largest effect over threshold among the tests with evidence: ranks features."""
    schema_change: bool = False
    importance: float = 1.0
    critical: bool = False
    role: str | None = None

    @property
    def largest(self) -> float:
        """Largest effect over threshold, evidence or not."""
        return max((test.score for test in self.tests), default=0.0)

    def to_dict(self) -> dict[str, Any]:
        extra: dict[str, Any] = {"role": self.role} if self.role else {}
        if self.critical:
            extra["critical"] = True
        return {
            "status": self.status,
            "metrics": dict(self.metrics),
            "thresholds": {test.test: test.threshold for test in self.tests},
            "reason": self.reason,
            "kind": self.kind,
            "score": round(self.score, 4),
            "schema_change": self.schema_change,
            **extra,
        }


@dataclass(frozen=True)
class DriftResult:
    """The outcome for a data set, with the profiles it came from (for the report's plots)."""

    drifted: bool
    alert: bool
    rows: int
    drift_share: float
    features: Mapping[str, FeatureDrift]
    reasons: tuple[str, ...]
    notes: tuple[str, ...]
    """What is worth knowing and no drift: new columns, int64 read as double, nothing compared."""
    edges_id: str
    reference: DriftProfile = field(repr=False)
    current: DriftProfile = field(repr=False)
    policy: DriftPolicy = field(repr=False)
    scanned_rows: int = 0
    created_at: datetime | None = None

    @property
    def status(self) -> str:
        """``drift``, ``warn``, ``ok``; ``degenerate`` if no feature could be compared."""
        if self.drifted:
            return "drift"
        found = {feature.status for feature in self.features.values()}
        if not found - {"degenerate"}:
            return "degenerate"
        return "warn" if "warn" in found else "ok"

    def ranked(self) -> list[FeatureDrift]:
        """Features, the worst first: drift, what cannot be compared, warnings, then the rest by score."""
        order = {"drift": 0, "degenerate": 1, "warn": 2, "ok": 3}
        return sorted(self.features.values(), key=lambda f: (order[f.status], -f.score, -f.largest, f.name))

    def to_dict(self) -> dict[str, Any]:
        """JSON: finite numbers only, schema-versioned."""
        window = self.current.window
        return {
            "schema": 1,
            "status": self.status,
            "drifted": self.drifted,
            "alert": self.alert,
            "rows": self.rows,
            "scanned_rows": self.scanned_rows,
            "reference_rows": self.reference.rows,
            "drift_share": round(self.drift_share, 4),
            "model_name": self.reference.model_name,
            "version": self.reference.version,
            "window": [t.isoformat() for t in window] if window else None,
            "edges_id": self.edges_id,
            "reasons": list(self.reasons),
            "notes": list(self.notes),
            "features": {name: feature.to_dict() for name, feature in self.features.items()},
        }

    def to_json(self) -> str:
        import orjson

        text: str = orjson.dumps(self.to_dict(), option=orjson.OPT_INDENT_2).decode()
        return text

    def to_html(self) -> str:
        """One self-contained page, at most 300 kB for 26 features."""
        from .report import render

        return render(self)


def compare(reference: DriftProfile, current: DriftProfile, *, policy: DriftPolicy | None = None) -> DriftResult:
    """Compare a window's profile with the reference it was counted against.

    Raises ``ProfileMismatch`` when it was counted against another.
    """
    policy = policy or DriftPolicy()
    if reference.edges_id != current.edges_id:
        raise ProfileMismatch(
            f"The current profile was made against edges {current.edges_id}, the reference has {reference.edges_id}.",
            hint="Profile the data against this baseline: profile_against(baseline, data).",
            edges=(reference.edges_id, current.edges_id),
        )
    roles = {name: role for role, name in reference.roles.items()}
    drafts: list[_Draft] = []
    for name in current.columns:
        rule = policy.rule(name)
        if name in reference.columns and not rule.ignore:
            drafts.append(_draft(reference.columns[name], current.columns[name], policy, roles.get(name)))
    _weigh(drafts, policy)
    features = {draft.feature.name: _judge(draft, policy) for draft in drafts}
    return _conclude(reference, current, policy, features)


@dataclass
class _Draft:
    feature: FeatureDrift
    effects: list[tuple[str, float, Effect]]
    pair: Pair | None
    p: list[float] = field(default_factory=list)
    q: list[float] = field(default_factory=list)


def _draft(reference: Column, current: Column, policy: DriftPolicy, role: str | None) -> _Draft:
    """Everything of one feature that does not depend on the others."""
    rule = policy.rule(reference.name)
    feature = FeatureDrift(
        reference.name, reference.kind, "ok", "", importance=rule.importance, critical=rule.critical, role=role
    )
    words, schema_change = absent_words(reference, current, policy.minimum_rows)
    if words:
        sizes: dict[str, float] = {"rows": current.rows, "reference_rows": reference.rows}
        feature = replace(feature, status="degenerate", reason=words, metrics=sizes, schema_change=schema_change)
        return _Draft(feature, [], None)
    pair = Pair(reference, current)
    effects = _effects(pair, policy)
    metrics = describe(pair)
    metrics |= {f"{test}_effect": _short(effect.value) for test, _, effect in effects if test not in metrics}
    return _Draft(replace(feature, metrics=metrics), effects, pair)


def _short(value: float) -> float:
    return float(f"{value:.6g}")


def effects_of(reference: Column, current: Column, policy: DriftPolicy) -> dict[str, tuple[float, float]]:
    """Effect and threshold of every test of one feature, without evidence: what ``scan="auto"`` looks at."""
    if absent_words(reference, current, policy.minimum_rows)[0] or isinstance(current, OpaqueColumn):
        return {}
    return {test: (effect.value, tau) for test, tau, effect in _effects(Pair(reference, current), policy)}


def _effects(pair: Pair, policy: DriftPolicy) -> list[tuple[str, float, Effect]]:
    name = pair.reference.name
    numeric = isinstance(pair.reference, NumericColumn)
    table = tests()
    enough = pair.n >= policy.minimum_rows and pair.m >= policy.minimum_rows
    found = []
    for test in policy.tests_of(name, numeric):
        if not enough and test not in ("missing", "infinite"):
            continue
        effect = table[test](pair)
        if effect is not None:
            found.append((test, policy.threshold(name, test, numeric), effect))
    return found


def _weigh(drafts: list[_Draft], policy: DriftPolicy) -> None:
    """p and q of all tests at once. Not computed when no effect reaches even a warning: nothing hangs on them then."""
    flat = [effect for draft in drafts for effect in draft.effects]
    if policy.alpha is None or not any(e.value >= tau * policy.warn_at and e.value > 0 for _, tau, e in flat):
        return
    p = _p_values([effect.evidence for _, _, effect in flat])
    q = s.benjamini_hochberg(p) if policy.correction else p
    at = 0
    for draft in drafts:
        end = at + len(draft.effects)
        draft.p, draft.q = p[at:end].tolist(), q[at:end].tolist()
        at = end


def _p_values(evidence: list[tuple[str, float, float]]) -> NDArray[np.float64]:
    kinds = np.array([kind for kind, _, _ in evidence])
    first = np.array([a for _, a, _ in evidence], float)
    second = np.array([b for _, _, b in evidence], float)
    p = first.copy()
    square, distance = kinds == "chi_square", kinds == "kolmogorov"
    if square.any():
        p[square] = s.chi_square_p(first[square], second[square])
    if distance.any():
        # nm/(n+m) rows: as if both samples had twice that many.
        p[distance] = s.kolmogorov_p(first[distance], 2 * second[distance], 2 * second[distance])
    found: NDArray[np.float64] = p.clip(0.0, 1.0)
    return found


def _judge(draft: _Draft, policy: DriftPolicy) -> FeatureDrift:
    feature = draft.feature
    if feature.status == "degenerate" or draft.pair is None:
        return feature
    weighed = bool(draft.q)
    results, sure = [], []
    for i, (test, tau, effect) in enumerate(draft.effects):
        p, q = (draft.p[i], draft.q[i]) if weighed else (None, None)
        result = TestResult(test, effect.value, tau, effect.words, p, q)
        results.append(result)
        if effect.value > 0 and (policy.alpha is None or (q is not None and q < policy.alpha)):
            sure.append(result)
    score = max((r.score for r in sure), default=0.0)
    status = "drift" if score >= 1 else "warn" if score >= policy.warn_at else "ok"
    metrics = dict(feature.metrics)
    if weighed and draft.p:
        metrics |= {"p_value": _short(min(draft.p)), "q_value": _short(min(draft.q))}
    if results:
        metrics["score"] = _short(score if sure else 0.0)
    reason = _reason(draft.pair, status, results, sure, policy)
    return replace(feature, status=status, reason=reason, metrics=metrics, tests=tuple(results), score=score)


def _reason(pair: Pair, status: str, results: list[TestResult], sure: list[TestResult], policy: DriftPolicy) -> str:
    if status == "ok":
        largest = max(results, key=lambda r: r.score, default=None)
        if largest is None:
            return "nothing to compare: no values in either"
        unsure = " (could be chance)" if largest.score >= 1 else ""
        return f"largest effect: {effect_words(largest.test, largest.words, largest.effect, largest.threshold)}{unsure}"
    telling = sorted((r for r in sure if r.score >= policy.warn_at), key=lambda r: -r.score)
    limit = 1.0 if status == "drift" else policy.warn_at
    telling = [r for r in telling if r.score >= limit][:3]
    parts = [
        missing_words(pair, r.effect, r.threshold)
        if r.test == "missing"
        else effect_words(r.test, r.words, r.effect, r.threshold)
        for r in telling
    ]
    movement = movement_words(pair, {r.test for r in telling})
    return "; ".join([*([movement] if movement else []), *parts])


def _conclude(
    reference: DriftProfile, current: DriftProfile, policy: DriftPolicy, features: dict[str, FeatureDrift]
) -> DriftResult:
    plain = [f for f in features.values() if f.role is None]
    weight = sum(f.importance for f in plain)
    drifted = [f for f in plain if f.status == "drift"]
    share = sum(f.importance for f in drifted) / weight if weight else 0.0
    reasons = []
    changed = [f for f in features.values() if f.schema_change]
    if drifted and share > policy.share:
        worst = sorted(drifted, key=lambda f: -f.score)
        named = ", ".join(f.name for f in worst[:5]) + (", …" if len(worst) > 5 else "")
        reasons.append(f"{len(drifted)} of {len(plain)} features drifted (share {share:.2f}): {named}")
    urgent = [f"critical feature {f.name} drifted: {f.reason}" for f in drifted if f.critical]
    urgent += [f"the {f.role} drifted: {f.reason}" for f in features.values() if f.role and f.status == "drift"]
    urgent += [f"schema changed: {f.name}: {f.reason}" for f in changed]
    reasons += urgent
    return DriftResult(
        drifted=bool(reasons),
        alert=bool(urgent) or (share > 0 and share >= policy.alert_share),
        rows=current.rows,
        drift_share=share,
        features=features,
        reasons=tuple(reasons),
        notes=tuple(_notes(reference, current, features)),
        edges_id=reference.edges_id,
        reference=reference,
        current=current,
        policy=policy,
        scanned_rows=max((c.rows for c in current.columns.values()), default=0),
    )


def _notes(reference: DriftProfile, current: DriftProfile, features: Mapping[str, FeatureDrift]) -> list[str]:
    notes = []
    if not current.rows:
        notes.append("the data have no rows: nothing was compared")
    if current.extra:
        listed = ", ".join(current.extra[:10]) + (", …" if len(current.extra) > 10 else "")
        are = "column is" if len(current.extra) == 1 else "columns are"
        notes.append(f"{len(current.extra)} {are} not in the baseline, hence not compared: {listed}")
    for name in features:
        before, now = reference.columns[name], current.columns[name]
        if not isinstance(now, OpaqueColumn) and now.rows and before.arrow_type != now.arrow_type:
            notes.append(f'"{name}" is {now.arrow_type}, in the baseline {before.arrow_type}: compared all the same')
    few = [f.name for f in features.values() if f.status == "degenerate" and not f.schema_change]
    if few and current.rows:
        notes.append(f"{len(few)} features could not be compared: {', '.join(few[:10])}")
    return notes
