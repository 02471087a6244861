"""The HTML report: self-contained, small, escaped, and it opens in a browser in light and dark."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser

import numpy as np
import pyarrow as pa
import pytest
from windsock.provider.monitoring.decision import compare
from windsock.provider.monitoring.profile import build_profile, profile_against
from windsock.provider.monitoring.report import next_steps, summary_of

N = 5000


def data(seed, shift=0.0, features=26):
    rng = np.random.default_rng(seed)
    columns = {f"f{i}": rng.normal(shift if i == 3 else 0, 1, N) for i in range(features - 2)}
    columns["when"] = pa.array(rng.integers(0, 10**12, N)).cast(pa.timestamp("ms"))
    columns["<script>alert(1)</script>"] = rng.choice(["a&b", "<i>", "plain"], N)
    return pa.table(columns)


@pytest.fixture(scope="module")
def drifted():
    baseline = build_profile(data(0), model_name="churn", version=3)
    return compare(baseline, profile_against(baseline, data(1, 0.5)))


@pytest.fixture(scope="module")
def still():
    baseline = build_profile(data(0))
    return compare(baseline, profile_against(baseline, data(1)))


class Checker(HTMLParser):
    """Balanced tags, and what the page refers to."""

    VOID = frozenset({"meta", "br", "path", "rect", "link", "img"})

    def __init__(self):
        super().__init__()
        self.open, self.ids, self.links, self.labels = [], set(), [], []

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found["id"]} if "id" in found else set()
        self.links += [found[key] for key in ("href", "src") if key in found]
        if tag == "svg":
            assert found["role"] == "img"
            self.labels.append(found["aria-label"])
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in self.VOID:
            assert self.open.pop() == tag


def checked(page):
    checker = Checker()
    checker.feed(page)
    assert checker.open == []
    return checker


class TestPage:
    def test_is_small_and_asks_for_nothing(self, drifted):
        page = drifted.to_html()
        assert len(page.encode()) <= 300_000
        checker = checked(page)
        assert all(link.startswith("#") for link in checker.links)
        assert not re.search(r"@import|url\(|<script", page)

    def test_links_lead_to_their_features(self, drifted):
        checker = checked(drifted.to_html())
        assert {link[1:] for link in checker.links} == checker.ids

    def test_every_chart_has_a_text_alternative(self, drifted):
        labels = checked(drifted.to_html()).labels
        assert len(labels) >= 26
        assert any("Reference mean" in label for label in labels)

    def test_names_are_escaped(self, drifted):
        page = drifted.to_html()
        assert "<script>alert" not in page
        assert "&lt;script&gt;alert" in page

    def test_summary_comes_first_and_the_drifted_feature_leads(self, drifted):
        page = drifted.to_html()
        assert "1 of 26 features drifted, f3 most of all." in page
        assert page.index("1 of 26 features") < page.index("<table>")
        assert page.index('href="#f-f3"') < page.index('href="#f-f0"')
        assert "churn version 3" in page

    def test_follows_the_readers_colour_scheme(self, drifted):
        assert "prefers-color-scheme:dark" in drifted.to_html()


class TestWords:
    def test_no_drift(self, still):
        assert summary_of(still) == "No drift."
        assert next_steps(still) == ["Nothing to do."]

    def test_missing_values_are_a_fault_to_mend_not_to_learn(self):
        rng = np.random.default_rng(1)
        baseline = build_profile(pa.table({"x": rng.normal(size=N)}))
        current = pa.table({"x": pa.array(rng.normal(size=N), mask=rng.random(N) < 0.3)})
        result = compare(baseline, profile_against(baseline, current))
        assert "Do not retrain" in next_steps(result)[0]
        assert ">missing<" in result.to_html()

    def test_schema_change_comes_first(self, drifted):
        baseline = build_profile(data(0))
        result = compare(baseline, profile_against(baseline, data(1, 0.5).drop_columns(["f1"])))
        assert next_steps(result)[0].startswith("Fix the schema first: f1")
        assert "the schema changed (f1)" in summary_of(result)

    def test_nothing_compared(self):
        baseline = build_profile(data(0))
        result = compare(baseline, profile_against(baseline, data(1).slice(0, 0)))
        assert summary_of(result) == "Nothing could be compared, so this says nothing about drift."
        checked(result.to_html())

    def test_five_hundred_features_stay_readable(self):
        rng = np.random.default_rng(2)
        table = pa.table({f"x{i}": rng.normal(size=200) for i in range(500)})
        baseline = build_profile(table)
        page = compare(baseline, profile_against(baseline, table)).to_html()
        assert page.count("<svg") == 100
        assert len(page) < 700_000


@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
class TestBrowser:
    @pytest.mark.parametrize("scheme", ["light", "dark"])
    def test_text_is_readable_and_nothing_overflows(self, drifted, tmp_path, scheme):
        playwright = pytest.importorskip("playwright.sync_api")
        (tmp_path / "report.html").write_text(drifted.to_html())
        with playwright.sync_playwright() as p:
            browser = p.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
            page = browser.new_page(color_scheme=scheme, viewport={"width": 390, "height": 800})
            errors = []
            page.on("console", lambda message: errors.append(message.text))
            page.goto(f"file://{tmp_path}/report.html")
            assert page.evaluate("document.documentElement.scrollWidth") <= 390
            for selector in ("body", ".pill.drift", ".pill.ok", "svg text", ".soft"):
                assert page.evaluate(CONTRAST, selector) >= 4.5, (selector, scheme)
            assert errors == []
            browser.close()


FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
CONTRAST = """selector => {
  const element = document.querySelector(selector), style = getComputedStyle(element);
  const parse = text => (text.match(/[\\d.]+/g) || []).map(Number);
  const linear = v => (v /= 255) <= .03928 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4;
  const light = c => { const [r, g, b] = c.slice(0, 3).map(linear);
                       return .2126 * r + .7152 * g + .0722 * b; };
  let back = element;
  while (back && (parse(getComputedStyle(back).backgroundColor)[3] === 0)) back = back.parentElement;
  const ink = light(parse(element instanceof SVGElement ? style.fill : style.color));
  const paper = light(parse(getComputedStyle(back || document.body).backgroundColor));
  return (Math.max(ink, paper) + .05) / (Math.min(ink, paper) + .05);
}"""
