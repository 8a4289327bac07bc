"""Shape statistics and effect sizes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from drift.stats import shape
from drift.stats.assignments import draw_assignments


def one_stratum(differences: np.ndarray, treated: np.ndarray, count: int = 400) -> shape.ShapeMoments:
    z = draw_assignments(treated, np.array(["a"] * len(treated)), count=count, seed=1)
    return shape.shape_moments(z, differences)


def test_shares_need_enough_values() -> None:
    counts = np.array([[3, 1], [300, 100], [0, 0]])
    got = shape.shares(counts, 200)
    assert np.isnan(got[0]).all()
    assert got[1].tolist() == [0.75, 0.25]
    assert np.isnan(got[2]).all()
    assert shape.cumulative_shares(counts, 200)[1].tolist() == [0.75, 1.0]


def test_rare_classes_are_pooled_over_all_periods_and_nothing_is_lost() -> None:
    before, since = np.array([[900, 95, 5, 0]]), np.array([[880, 100, 8, 2]])
    pooled, labels = shape.pool_rare([before, since], ["cat", "dog", "owl", "yak"])
    assert labels == ["cat", "dog", "(rare)"]
    assert pooled[0].tolist() == [[900, 95, 5]]
    assert pooled[1].tolist() == [[880, 100, 10]]
    same, kept = shape.pool_rare([np.array([[50, 50]])], ["cat", "dog"])
    assert kept == ["cat", "dog"]
    assert same[0].tolist() == [[50, 50]]


def test_the_distance_is_the_studentised_length_of_the_contrast() -> None:
    rng = np.random.default_rng(1)
    d = rng.normal(0, 1, (20, 5))
    treated = np.arange(20) < 8
    moments = one_stratum(d, treated, count=3)
    t, c = d[:8], d[8:]
    theta = t.mean(axis=0) - c.mean(axis=0)
    variance = (t.var(axis=0, ddof=1) / 8 + c.var(axis=0, ddof=1) / 12).sum()
    assert moments.distance()[0] == pytest.approx(np.sqrt((theta**2).sum() / variance), rel=1e-10)
    assert moments.theta() == pytest.approx(theta, rel=1e-10)


@given(seed=st.integers(0, 2**31), absent=st.integers(0, 6))
def test_absent_devices_are_as_if_they_had_never_been_there(seed: int, absent: int) -> None:
    rng = np.random.default_rng(seed)
    d = rng.normal(0, 1, (18, 4))
    treated = rng.permutation(np.arange(18) < 7)
    gone = rng.permutation(18)[:absent]
    holes = d.copy()
    holes[gone] = np.nan
    keep = np.setdiff1d(np.arange(18), gone)
    z = treated.astype(float)[None, :]
    with_holes = shape.shape_moments(z, holes).distance()
    without = shape.shape_moments(z[:, keep], d[keep]).distance()
    assert with_holes == pytest.approx(without, rel=1e-12, nan_ok=True)


def test_a_bimodal_shift_with_the_same_mean_is_seen_where_a_test_of_means_sees_nothing() -> None:
    rng = np.random.default_rng(4)
    treated = np.arange(30) < 10
    spread = np.where(treated, 0.16, 0.05)[:, None]
    before, since = rng.normal(0.6, 0.05, (30, 2000)), 0.6 + rng.choice([-1, 1], (30, 2000)) * spread * 0.7
    since = np.where(treated[:, None], since + rng.normal(0, 0.03, since.shape), rng.normal(0.6, 0.05, since.shape))

    def cdf(values: np.ndarray) -> np.ndarray:
        bins = np.clip((values * 50).astype(int), 0, 49)
        counts = np.stack([np.bincount(row, minlength=50) for row in bins])
        return shape.cumulative_shares(counts, 200)

    distances = one_stratum(cdf(since) - cdf(before), treated).distance()
    assert distances[0] > np.quantile(distances[1:], 0.999)
    means = since.mean(axis=1) - before.mean(axis=1)
    assert stats.ttest_ind(means[treated], means[~treated]).pvalue > 0.05


def test_no_device_or_a_single_one_has_no_distance() -> None:
    treated = np.array([True, False, False])
    nothing = shape.shape_moments(treated.astype(float)[None, :], np.full((3, 4), np.nan))
    assert np.isnan(nothing.distance()).all()
    assert np.isnan(nothing.theta()).all()
    alone = shape.shape_moments(treated.astype(float)[None, :], np.eye(3, 4))
    assert np.isnan(alone.distance()).all()


def test_identical_devices_are_at_no_distance() -> None:
    treated = np.arange(12) < 6
    assert (one_stratum(np.tile([0.1, 0.2, 0.0], (12, 1)), treated).distance() == 0.0).all()


def test_effect_sizes_agree_with_scipy_on_whole_distributions() -> None:
    rng = np.random.default_rng(5)
    first, second = rng.multinomial(5000, np.full(50, 0.02)), rng.multinomial(5000, rng.dirichlet(np.full(50, 5.0)))
    theta = np.cumsum(second / second.sum()) - np.cumsum(first / first.sum())
    size = shape.ordered_effect_size(theta)
    assert size.wasserstein == pytest.approx(shape.wasserstein_between(first, second), rel=1e-9)
    centres = (np.arange(50) + 0.5) / 50
    drawn = [np.repeat(centres, counts) for counts in (first, second)]
    assert size.ks == pytest.approx(stats.ks_2samp(*drawn).statistic, rel=1e-9)
    assert size.total_variation == pytest.approx(np.abs(second - first).sum() / 5000 / 2, rel=1e-9)


def test_classes_have_a_total_variation_and_no_order() -> None:
    size = shape.class_effect_size(np.array([0.1, -0.04, -0.06]))
    assert size.total_variation == pytest.approx(0.1)
    assert size.ks is None
    assert size.wasserstein is None


def test_the_distance_to_nothing_is_unknown() -> None:
    assert np.isnan(shape.wasserstein_between(np.zeros(5), np.ones(5)))
