"""The HTML report: one self-contained page that says first what happened, then where, then what to do.

No script, no web request, no font: it opens from an artifact store, a mail or a CI job alike. At most 300 kB for 26
features; data sets with hundreds of features get charts for the first hundred of the ranking.
"""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from .charts import chart, missing_bars
from .columns import CategoricalColumn, NumericColumn
from .report_style import CSS
from .words import cut, number, percent

if TYPE_CHECKING:
    from .decision import DriftResult, FeatureDrift

CHARTS = 100


def render(result: DriftResult) -> str:
    """The page as text."""
    ranked = result.ranked()
    title = f"Drift report{_of(result)}"
    loud = [f for f in ranked if f.status != "ok"]
    quiet = [f for f in ranked if f.status == "ok"]
    cards = {f.name: _card(result, f) for f in ranked[:CHARTS]}
    sections = [
        _head(result, title, ranked),
        _next_steps(result, ranked),
        _table(result, ranked),
    ]
    if loud:
        sections.append("<h2>Where to look</h2>" + _KEY + _grid(cards, loud))
    if quiet:
        opened = "" if loud else " open"
        summary = f"{_count(len(quiet), 'feature')} without drift"
        sections.append(
            f"<h2>The rest</h2><details{opened}><summary>{summary}</summary>{_KEY}{_grid(cards, quiet)}</details>"
        )
    sections.append(_foot(result))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{CSS}</style></head><body><main>{''.join(sections)}</main></body></html>\n"
    )


_KEY = '<p class="key"><span>reference</span><span class="now">current</span></p>'


def _of(result: DriftResult) -> str:
    name, version = result.reference.model_name, result.reference.version
    if name is None:
        return ""
    return f" · {name}" + (f" version {version}" if version is not None else "")


def _count(count: int, noun: str) -> str:
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


# What happened --------------------------------------------------------------------------------------------------------


def summary_of(result: DriftResult) -> str:
    """One sentence: the first thing to read, and the subject of an alert."""
    plain = [f for f in result.features.values() if f.role is None]
    drifted = sorted((f for f in plain if f.status == "drift"), key=lambda f: -f.score)
    changed = [f for f in result.features.values() if f.schema_change]
    answers = [f for f in result.features.values() if f.role and f.status == "drift"]
    if result.status == "degenerate":
        return "Nothing could be compared, so this says nothing about drift."
    parts = []
    if drifted:
        parts.append(f"{len(drifted)} of {_count(len(plain), 'feature')} drifted, {drifted[0].name} most of all")
    parts += [f"the model's {f.role} drifted" for f in answers]
    if changed:
        parts.append(
            f"the schema changed ({', '.join(f.name for f in changed[:3])}{', …' if len(changed) > 3 else ''})"
        )
    if not parts:
        warned = sum(f.status == "warn" for f in result.features.values())
        return f"No drift, {_count(warned, 'warning')}." if warned else "No drift."
    text = "; ".join(parts)
    return text[0].upper() + text[1:] + "."


def _head(result: DriftResult, title: str, ranked: list[FeatureDrift]) -> str:
    worst = next((f for f in ranked if f.status == "drift"), None)
    detail = f'<p class="soft">{escape(worst.name)}: {escape(worst.reason)}</p>' if worst else ""
    label = {"drift": "alert" if result.alert else "drift", "degenerate": "not comparable"}.get(
        result.status, result.status
    )
    facts = [("Rows", f"{result.rows:,}"), ("Reference rows", f"{result.reference.rows:,}")]
    if result.scanned_rows < result.rows:
        facts.insert(1, ("Rows read", f"{result.scanned_rows:,}"))
    if result.current.window:
        start, end = (t.strftime("%Y-%m-%d %H:%M") for t in result.current.window)
        facts.append(("Window (UTC)", f"{start} – {end}"))
    facts.append(("Drifted share", percent(result.drift_share)))
    listed = "".join(f"<div><dt>{name}</dt><dd>{escape(value)}</dd></div>" for name, value in facts)
    return (
        f'<h1>{escape(title)}</h1><span class="pill {result.status}">{label}</span>'
        f'<p class="lead">{escape(summary_of(result))}</p>{detail}<dl class="facts">{listed}</dl>'
    )


def next_steps(result: DriftResult) -> list[str]:
    """What to do, the most urgent first: an upstream fault is mended, not learned by retraining on it."""
    features = result.features.values()
    drifted = [f for f in features if f.status == "drift"]
    steps = []
    if changed := [f.name for f in features if f.schema_change]:
        steps.append(f"Fix the schema first: {_names(changed)}. A producer upstream renamed, dropped or retyped it.")
    tests = {f.name: {t.test for t in f.tests if t.score >= 1} for f in drifted}
    if faulty := [name for name, found in tests.items() if found & {"missing", "infinite"}]:
        steps.append(
            f"Look at the pipeline that fills {_names(faulty)}: values went missing or infinite. Do not retrain on it."
        )
    if new := [name for name, found in tests.items() if found & {"unseen", "vanished"}]:
        steps.append(f"Check the values of {_names(new)}: new or vanished categories may be a renamed code.")
    if outside := [name for name, found in tests.items() if "out_of_range" in found]:
        steps.append(
            f"Check the unit and the source of {_names(outside)}: values lie beyond anything the model was trained on."
        )
    shifted = [name for name, found in tests.items() if found - {"missing", "infinite", "unseen", "vanished"}]
    if shifted:
        steps.append(
            f"If the shift of {_names(shifted)} is real, check the model's performance on recent labels and retrain "
            "with this window."
        )
    if any(f.role for f in drifted):
        steps.append("The predictions moved: compare with the previous version, and be ready to roll back.")
    if few := [f.name for f in features if f.status == "degenerate" and not f.schema_change]:
        steps.append(f"Not comparable: {_names(few)}. Widen the window, or exclude what cannot be compared.")
    if not steps and result.status == "warn":
        steps.append("Nothing yet; watch the warnings in the next windows.")
    return steps or ["Nothing to do."]


def _names(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")


def _next_steps(result: DriftResult, ranked: list[FeatureDrift]) -> str:
    del ranked
    items = "".join(f"<li>{escape(step)}</li>" for step in next_steps(result))
    notes = "".join(f"<li>{escape(note)}</li>" for note in result.notes)
    more = f'<p class="soft">Also noted</p><ul class="todo soft">{notes}</ul>' if notes else ""
    return f'<h2>What to do next</h2><div class="panel"><ol class="todo">{items}</ol>{more}</div>'


# Where ----------------------------------------------------------------------------------------------------------------


def _table(result: DriftResult, ranked: list[FeatureDrift]) -> str:
    rows = "".join(_row(feature, i < CHARTS) for i, feature in enumerate(ranked))
    head = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (
            ("Feature", ""),
            ("Status", ""),
            ("Effect / threshold", ""),
            ("Why", ""),
            ("Missing", ' class="r"'),
            ("Rows", ' class="r"'),
        )
    )
    del result
    return (
        '<h2>Features, the most drifted first</h2><div class="panel scroll" tabindex="0" role="region" '
        f'aria-label="Ranked features"><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>'
    )


def _row(feature: FeatureDrift, linked: bool) -> str:
    name = escape(cut(feature.name, 60))
    name = f'<a href="#{_anchor(feature.name)}">{name}</a>' if linked else name
    role = f' <span class="soft">({feature.role})</span>' if feature.role else ""
    m = feature.metrics
    missing = "–"
    if m.get("missing") or m.get("reference_missing"):
        missing = f"{percent(m.get('reference_missing', 0.0))} → {percent(m.get('missing', 0.0))}"
    score = max((t.score for t in feature.tests), default=0.0)
    hot = " hot" if feature.status in ("drift", "warn") else ""
    bar = (
        f'<span class="bar{hot}" role="img" aria-label="{number(score)} of the threshold">'
        f'<i style="width:{min(100, 50 * score):.0f}%"></i><b></b></span>'
        if feature.tests
        else ""
    )
    return (
        f'<tr><td>{name}{role}</td><td><span class="pill {feature.status}">{feature.status}</span></td><td>{bar}</td>'
        f'<td>{escape(feature.reason)}</td><td class="r num">{missing}</td>'
        f'<td class="r num">{int(m.get("rows", 0)):,}</td></tr>'
    )


def _anchor(name: str) -> str:
    return "f-" + "".join(c if c.isalnum() else f"-{ord(c):x}" for c in name)


def _grid(cards: dict[str, str], features: list[FeatureDrift]) -> str:
    return f'<div class="grid">{"".join(cards[f.name] for f in features if f.name in cards)}</div>'


def _card(result: DriftResult, feature: FeatureDrift) -> str:
    reference, current = result.reference.columns[feature.name], result.current.columns[feature.name]
    facts: list[str] = []
    m = feature.metrics
    if isinstance(reference, NumericColumn) and isinstance(current, NumericColumn) and "mean_shift" in m:
        shift = m["mean_shift"]
        facts.append(f"mean {shift:+.3f} sd" if abs(shift) >= 0.0005 else "same mean")
    for key, label in (("ks", "KS"), ("tv", "TV"), ("psi", "PSI"), ("wasserstein", "W1/sd")):
        if key in m:
            facts.append(f"{label} {number(m[key])}")
    if isinstance(reference, CategoricalColumn) and isinstance(current, CategoricalColumn):
        facts.append(f"{reference.distinct:,} → {current.distinct:,} levels")
    if m.get("design_effect", 1.0) >= 1.5:
        facts.append(f"rows are clustered (design effect {number(m['design_effect'])})")
    if "missing" in m and (m["missing"] or m.get("reference_missing")):
        facts.append(f"missing {percent(m.get('reference_missing', 0.0))} → {percent(m['missing'])}")
    facts.append(f"n = {int(m.get('reference_rows', 0)):,} / {int(m.get('rows', 0)):,}")
    drawn = chart(reference, current) + missing_bars(m.get("reference_missing", 0.0), m.get("missing", 0.0))
    return (
        f'<section class="card" id="{_anchor(feature.name)}"><header><h3>{escape(cut(feature.name, 60))}</h3>'
        f'<span class="pill {feature.status}">{feature.status}</span></header><p>{escape(feature.reason)}</p>{drawn}'
        f'<p class="small">{escape(" · ".join(facts))}</p></section>'
    )


def _foot(result: DriftResult) -> str:
    policy = result.policy
    alpha = "effects alone decide" if policy.alpha is None else f"false discovery rate {number(policy.alpha)}"
    tests = f"{', '.join(policy.numerical)} for numbers, {', '.join(policy.categorical)} for categories"
    quality = ", ".join(policy.quality)
    return (
        '<footer class="soft"><p>A feature drifts when an effect reaches its threshold (the mark in the bar) and '
        f"chance is ruled out ({alpha}). Tests: {escape(tests)}; besides: {escape(quality) or 'none'}. "
        "KS and TV (total variation) go from 0 to 1; PSI and the distances are on the reference's quantile bins; sd is "
        "the reference's standard deviation.</p>"
        f"<p>Edges {result.edges_id} · made by Windsock</p></footer>"
    )
