"""The statistics against scipy, and against what their formulas promise."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.spatial.distance
import scipy.stats
from windsock.provider.monitoring import statistics as s
from windsock.provider.monitoring.kernels import block_sums


def counts(seed, cells=10, rows=5000):
    rng = np.random.default_rng(seed)
    return rng.multinomial(rows, rng.dirichlet(np.ones(cells) * 3))


PAIRS = [(counts(seed, cells), counts(seed + 100, cells)) for seed in range(10) for cells in (2, 10, 128)]


@pytest.mark.parametrize(("r", "c"), PAIRS)
class TestEqualToScipyOnTheSameBins:
    def test_psi_is_the_symmetric_kullback_leibler_divergence(self, r, c):
        p, q = (r + 0.5) / (r + 0.5).sum(), (c + 0.5) / (c + 0.5).sum()
        assert s.psi(r, c) == pytest.approx(scipy.stats.entropy(p, q) + scipy.stats.entropy(q, p), abs=1e-9)

    def test_jensen_shannon(self, r, c):
        assert s.jensen_shannon(r, c) == pytest.approx(scipy.spatial.distance.jensenshannon(r, c, base=2), abs=1e-9)

    def test_wasserstein(self, r, c):
        positions = np.sort(np.random.default_rng(1).normal(size=len(r)))
        expected = scipy.stats.wasserstein_distance(positions, positions, r, c)
        assert s.wasserstein(r, c, positions) == pytest.approx(expected, abs=1e-9)

    def test_kolmogorov_smirnov(self, r, c):
        samples = [np.repeat(np.arange(len(x)), x) for x in (r, c)]
        assert s.kolmogorov_smirnov(r, c) == pytest.approx(scipy.stats.ks_2samp(*samples).statistic, abs=1e-9)

    def test_chi_square(self, r, c):
        expected = scipy.stats.chi2_contingency(np.array([r, c])[:, (r + c) > 0], correction=False)
        statistic, freedom = s.chi_square(r, c)
        assert statistic == pytest.approx(expected.statistic, rel=1e-9)
        assert freedom == expected.dof
        assert float(s.chi_square_p(statistic, freedom)) == pytest.approx(expected.pvalue, rel=1e-9)


class TestEvidence:
    def test_benjamini_hochberg_is_scipys(self):
        p = np.random.default_rng(0).random(200) ** 3
        assert s.benjamini_hochberg(p) == pytest.approx(scipy.stats.false_discovery_control(p), abs=1e-12)

    def test_benjamini_hochberg_of_nothing(self):
        assert len(s.benjamini_hochberg([])) == 0

    def test_kolmogorov_p_is_close_to_the_exact_one(self):
        a, b = np.random.default_rng(1).normal(size=(2, 800))
        exact = scipy.stats.ks_2samp(a, b, method="exact")
        assert float(s.kolmogorov_p(exact.statistic, 800, 800)) == pytest.approx(exact.pvalue, abs=0.02)

    def test_chi_square_p_is_uniform_when_nothing_changed(self):
        rng = np.random.default_rng(3)
        p = [
            float(
                s.chi_square_p(
                    *s.chi_square(rng.multinomial(4000, np.ones(10) / 10), rng.multinomial(900, np.ones(10) / 10))
                )
            )
            for _ in range(1000)
        ]
        assert scipy.stats.kstest(p, "uniform").pvalue > 0.001

    def test_out_of_range_p_matches_simulation(self):
        rng = np.random.default_rng(4)
        outside = []
        for _ in range(4000):
            reference, current = rng.random(100), rng.random(50)
            outside.append(((current < reference.min()) | (current > reference.max())).sum())
        for k in (1, 2, 4):
            assert s.outside_p(k, 100, 50) == pytest.approx(np.mean(np.array(outside) >= k), abs=0.025)

    def test_proportions_is_the_two_by_two_chi_square(self):
        table = [[30, 970], [60, 940]]
        assert s.proportions(30, 1000, 60, 1000) == pytest.approx(
            scipy.stats.chi2_contingency(table, correction=False).statistic
        )

    @pytest.mark.parametrize("rows", [100, 1000])
    def test_expected_values_are_the_means_when_nothing_changed(self, rows):
        rng = np.random.default_rng(5)
        p = np.ones(10) / 10
        pairs = [(rng.multinomial(rows, p), rng.multinomial(rows, p)) for _ in range(2000)]
        assert np.mean([s.psi(r, c) for r, c in pairs]) == pytest.approx(s.psi_expected(10, rows, rows), rel=0.1)
        assert np.mean([s.total_variation(r, c) for r, c in pairs]) == pytest.approx(
            np.mean([s.tv_expected(r, c) for r, c in pairs]), rel=0.05
        )


class TestPool:
    def test_small_cells_become_one_and_no_row_is_lost(self):
        r, c = np.array([100, 3, 2, 1, 50]), np.array([90, 1, 4, 2, 60])
        pooled = s.pool(r, c)
        assert [x.tolist() for x in pooled] == [[100, 50, 6], [90, 60, 7]]

    def test_a_pool_that_is_still_small_joins_the_smallest_cell(self):
        r, c = s.pool(np.array([100, 1, 50]), np.array([100, 1, 50]))
        assert (r.tolist(), c.tolist()) == ([100, 51], [100, 51])

    def test_nothing_at_all(self):
        r, c = s.pool(np.zeros(3, int), np.zeros(3, int))
        assert len(r) == len(c) == 0


EDGES = np.linspace(-1.5, 1.5, 9)


def sums_of(values, block, edges=EDGES):
    total = np.zeros((len(edges) + 2, 3), np.int64)
    for start in range(0, len(values), block):
        piece = values[start : start + block]
        total += block_sums(np.bincount(np.searchsorted(edges, piece), minlength=len(edges) + 1), len(piece))
    return total


class TestDesignEffect:
    def test_is_about_one_for_independent_rows(self):
        values = np.random.default_rng(1).normal(size=80_000)
        found = s.design_effect(sums_of(values, 2000))
        assert 1.0 <= found.groups < 1.35
        assert (found.block, found.blocks) == (2000, 40)

    def test_is_as_measured_for_block_effects_of_a_tenth_sd(self):
        rng = np.random.default_rng(2)
        effects = []
        for _ in range(20):
            shift = np.repeat(rng.normal(0, 0.1, 40), 2000)
            effects.append(s.design_effect(sums_of(rng.normal(size=80_000) + shift, 2000)).groups)
        assert np.mean(effects) == pytest.approx(3.1, abs=0.5)

    def test_one_block_tells_nothing(self):
        assert s.design_effect(sums_of(np.random.default_rng(1).normal(size=500), 2000)).groups == 1.0


class TestNothing:
    def test_empty_counts_are_no_difference(self):
        empty = np.zeros(4, int)
        assert s.kolmogorov_smirnov(empty, empty) == 0
        assert s.chi_square(empty, empty) == (0.0, 0)
        assert s.total_variation(empty, empty) == 0

    def test_scipy_is_not_imported_by_the_module(self):
        code = (
            "import sys, windsock.provider.monitoring.decision; print(*(m in sys.modules for m in ('scipy', 'pandas')))"
        )
        out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        assert out.stdout.split() == ["False", "False"]
