"""When to retrain: two of three windows, a cool-down, and no old news."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

import pytest
from windsock.provider.metadata.drift import DriftReport
from windsock.provider.monitoring.retraining import RetrainingPolicy

DAY = datetime(2026, 1, 1, tzinfo=timezone.utc)


def report(day, drifted, *, version=1, share=0.5, number=None, reasons=("age moved",)):
    end = DAY + timedelta(days=day + 1)
    return DriftReport(
        id=number or day + 1,
        model="churn",
        version=version,
        window_start=end - timedelta(days=1),
        window_end=end,
        rows=1000,
        drifted=drifted,
        drift_share=share if drifted else 0.0,
        features={"age": {"status": "drift" if drifted else "ok"}},
        reasons=list(reasons),
        created_at=end,
    )


def decide(pattern, policy=None, **options):
    reports = [report(day, mark == "x") for day, mark in enumerate(pattern)]
    return (policy or RetrainingPolicy()).decide(reports, now=DAY + timedelta(days=10), **options)


class TestWindows:
    @pytest.mark.parametrize(
        ("pattern", "retrain"),
        [
            ("", False),
            ("x", False),
            ("xx", True),
            ("x.x", True),
            (".xx", True),
            ("x..", False),
            ("xx..", False),
            ("xxx..x", False),
        ],
    )
    def test_two_of_the_last_three(self, pattern, retrain):
        assert decide(pattern).retrain is retrain

    def test_order_of_the_reports_does_not_matter(self):
        reports = [report(2, True), report(0, False), report(1, True)]
        assert RetrainingPolicy().decide(reports, now=DAY).reports == (2, 3)

    def test_a_window_checked_twice_counts_once(self):
        reports = [report(0, True), report(0, True, number=9)]
        assert not RetrainingPolicy().decide(reports, now=DAY).retrain

    def test_small_shares_do_not_count(self):
        reports = [report(day, True, share=0.1) for day in range(3)]
        assert not RetrainingPolicy(share=0.2).decide(reports, now=DAY).retrain

    def test_reports_of_the_old_version_do_not_count(self):
        reports = [report(0, True), report(1, True), report(2, False, version=2)]
        decision = RetrainingPolicy().decide(reports, now=DAY)
        assert not decision.retrain
        assert decision.reason == "0 of the last 1 windows drifted, 2 are needed"

    def test_nonsense_is_refused(self):
        with pytest.raises(ValueError, match="needed is 4"):
            RetrainingPolicy(needed=4)


class TestCooldown:
    def test_holds_back_and_says_how_long(self):
        decision = decide("xx", last_retraining=DAY + timedelta(days=9, hours=6))
        assert not decision.retrain
        assert "6.0 h of cool-down left" in decision.reason

    def test_is_over_after_a_day(self):
        assert decide("xx", last_retraining=DAY + timedelta(days=9)).retrain


class TestReason:
    def test_conf_says_why_and_from_what(self):
        conf = decide("xx").conf()
        assert conf == {
            "trigger": "drift",
            "reason": "churn version 1: 2 of the last 2 windows drifted: age moved",
            "reports": [1, 2],
            "features": ["age"],
        }
