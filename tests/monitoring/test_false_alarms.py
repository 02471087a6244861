"""What nothing must not do, and what a real shift must: false alarms on null data, power at 0.2 standard deviations."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from windsock.provider.monitoring.decision import compare
from windsock.provider.monitoring.policy import DriftPolicy
from windsock.provider.monitoring.profile import build_profile, profile_against

COLUMNS = 100


def text(weights):
    weights = np.asarray(weights, float)
    weights /= weights.sum()
    names = np.array([f"level {i}" for i in range(len(weights))])

    def draw(rng, rows):
        codes = np.searchsorted(np.cumsum(weights), rng.random(rows)).clip(max=len(weights) - 1).astype(np.int32)
        return pa.DictionaryArray.from_arrays(codes, names)

    return draw


FAMILIES = {
    "normal": lambda rng, rows: rng.normal(size=rows),
    "lognormal": lambda rng, rows: rng.lognormal(0, 2, rows),
    "t3": lambda rng, rows: rng.standard_t(3, rows),
    "poisson": lambda rng, rows: rng.poisson(1.0, rows),
    "zero inflated": lambda rng, rows: np.where(rng.random(rows) < 0.9, 0.0, rng.exponential(1.0, rows)),
    "zipf 50 levels": text(1 / np.arange(1, 51)),
    "1000 levels": text(np.ones(1000)),
    "missing": lambda rng, rows: pa.array(rng.normal(size=rows), mask=rng.random(rows) < 0.1),
}


def table(draw, seed, rows):
    rng = np.random.default_rng(seed)
    return pa.table({f"x{i}": draw(rng, rows) for i in range(COLUMNS)})


def alarms(draw, rows, reference_rows, seed):
    baseline = build_profile(table(draw, seed, reference_rows))
    return compare(baseline, profile_against(baseline, table(draw, seed + 1, rows)))


def clustered(rng, rows, sd, blocks=40):
    """Rows in blocks of a common random shift: hours, customers."""
    return rng.normal(size=rows) + np.repeat(rng.normal(0, sd, blocks), -(-rows // blocks))[:rows]


class TestFalseAlarms:
    @pytest.mark.parametrize("rows", [100, 1000])
    @pytest.mark.parametrize("family", FAMILIES)
    def test_null_data_sets_of_100_columns(self, family, rows):
        result = alarms(FAMILIES[family], rows, 5000, seed=len(family) + rows)
        assert not result.drifted, result.reasons

    @pytest.mark.parametrize("sd", [0.05, 0.1])
    def test_block_effects(self, sd):
        result = alarms(lambda rng, rows: clustered(rng, rows, sd), 20_000, 20_000, seed=5)
        assert not result.drifted, result.reasons

    @pytest.mark.slow
    def test_at_most_one_data_set_in_a_hundred(self):
        found = []
        for repetition in range(2):
            for number, (family, draw) in enumerate(FAMILIES.items()):
                for rows in (300, 1000, 10_000, 50_000):
                    seed = 10_000 * repetition + 100 * number + rows
                    result = alarms(draw, rows, max(rows, 2000), seed)
                    found += [(family, rows, result.reasons)] if result.drifted else []
            for sd in (0.05, 0.1, 0.2):
                result = alarms(lambda rng, rows, sd=sd: clustered(rng, rows, sd), 40_000, 40_000, seed=repetition)
                found += [("blocks", sd, result.reasons)] if result.drifted else []
        assert len(found) <= 1, found

    @pytest.mark.slow
    def test_a_million_rows_do_not_alarm_on_a_two_hundredth_of_a_deviation(self):
        rng = np.random.default_rng(1)
        baseline = build_profile(pa.table({"x": rng.normal(size=1_000_000)}))
        result = compare(baseline, profile_against(baseline, pa.table({"x": rng.normal(0.005, 1, 1_000_000)})))
        assert result.status == "ok"

    def test_textbook_ks_does_alarm_on_nothing_of_importance(self):
        """Why the default is not the textbook: the same data, p < 0.05."""
        rng = np.random.default_rng(1)
        baseline = build_profile(pa.table({"x": rng.normal(size=300_000)}))
        current = profile_against(baseline, pa.table({"x": rng.normal(0.015, 1, 300_000)}))
        assert compare(baseline, current, policy=DriftPolicy.preset("ks")).drifted
        assert not compare(baseline, current).drifted


class TestPower:
    @pytest.mark.parametrize("rows", [10_000])
    def test_shift_of_a_fifth_of_a_deviation(self, rows):
        rng = np.random.default_rng(2)
        baseline = build_profile(pa.table({f"x{i}": rng.normal(size=rows) for i in range(COLUMNS)}))
        shifted = pa.table({f"x{i}": rng.normal(0.2, 1, rows) for i in range(COLUMNS)})
        result = compare(baseline, profile_against(baseline, shifted))
        assert sum(f.status == "drift" for f in result.features.values()) >= 0.95 * COLUMNS

    @pytest.mark.slow
    @pytest.mark.parametrize("sd", [0.0, 0.05, 0.1])
    def test_the_same_under_block_effects(self, sd):
        rng = np.random.default_rng(3)
        rows = 40_000
        baseline = build_profile(pa.table({f"x{i}": clustered(rng, rows, sd) for i in range(COLUMNS)}))
        shifted = pa.table({f"x{i}": clustered(rng, rows, sd) + 0.2 for i in range(COLUMNS)})
        result = compare(baseline, profile_against(baseline, shifted))
        assert sum(f.status == "drift" for f in result.features.values()) >= 0.95 * COLUMNS

    def test_sorted_files_hide_no_drift(self):
        """Rows in the order of the feature itself look totally dependent; the drift is there all the same."""
        rng = np.random.default_rng(6)
        baseline = build_profile(pa.table({"x": np.sort(rng.normal(size=20_000))}))
        for current in (rng.normal(0.4, 1, 20_000), np.sort(rng.normal(0.4, 1, 20_000))):
            assert compare(baseline, profile_against(baseline, pa.table({"x": current}))).drifted
        same = pa.table({"x": np.sort(rng.normal(size=20_000))})
        assert not compare(baseline, profile_against(baseline, same)).drifted

    def test_missing_from_one_to_six_percent(self):
        rng = np.random.default_rng(4)

        def some(share):
            return pa.table(
                {f"x{i}": pa.array(rng.normal(size=5000), mask=rng.random(5000) < share) for i in range(COLUMNS)}
            )

        baseline = build_profile(some(0.01))
        result = compare(baseline, profile_against(baseline, some(0.06)))
        assert sum(f.status == "drift" for f in result.features.values()) >= 0.95 * COLUMNS

    def test_binned_ks_is_within_two_thousandths_of_the_exact_one(self):
        import scipy.stats

        rng = np.random.default_rng(5)
        for draw in (rng.standard_normal, lambda n: rng.lognormal(0, 1, n), lambda n: rng.standard_t(3, n)):
            reference, current = draw(50_000), draw(50_000) * 1.1 + 0.05
            baseline = build_profile(pa.table({"x": reference}))
            result = compare(baseline, profile_against(baseline, pa.table({"x": current})))
            exact = scipy.stats.ks_2samp(reference, current, method="asymp").statistic
            assert result.features["x"].metrics["ks"] == pytest.approx(exact, abs=0.002)
