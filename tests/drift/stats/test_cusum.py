"""The daily CUSUM: a published run, its simulated limit, and drift it must and must not see."""

import math

import numpy as np
import pytest

from drift.stats.cusum import (
    CAVEAT,
    Cusum,
    autoregression,
    correlation_bound,
    cusum_path,
    daily_changes,
    lag_one_correlation,
    run_cusum,
    shift,
    simulated_limit,
)
from tests.drift.stats.oracles import oracle


def test_the_path_agrees_with_the_published_run() -> None:
    case = oracle("cusum")
    z = (np.array(case["observations"]) - case["target"]) / case["sigma"]
    assert cusum_path(z, reference=case["reference"]) == pytest.approx(case["upper"], abs=0.011)


def test_a_missing_day_leaves_the_sum_where_it_was() -> None:
    assert cusum_path(np.array([1.5, np.nan, 1.5])).tolist() == [1.0, 1.0, 2.0]


def test_every_device_is_its_own_control() -> None:
    # A hot device that joins on the last day must not look like drift; nor a cold one that leaves.
    values = np.array([[10.0] * 8, [50.0] * 7 + [np.nan], [np.nan] * 7 + [90.0]])
    change = daily_changes(values, 7)
    assert change == pytest.approx(np.zeros(8))


def test_a_day_without_devices_is_missing_and_a_short_baseline_refused() -> None:
    values = np.ones((3, 10))
    values[:, 8] = np.nan
    assert np.isnan(daily_changes(values, 7)[8])
    with pytest.raises(ValueError, match="baseline_days"):
        daily_changes(values, 6)


def test_the_correlation_of_a_short_series_is_corrected_for_its_length() -> None:
    rng = np.random.default_rng(1)
    found = [lag_one_correlation(row) for row in autoregression(rng, 800, 28, 0.5)]
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)
    assert lag_one_correlation(np.ones(20)) == 0.0
    assert lag_one_correlation(np.array([1.0, 2.0])) == 0.0


def test_a_short_or_correlated_baseline_needs_a_higher_limit() -> None:
    def limit(days: int, correlation: float) -> float:
        return simulated_limit(
            days, 30, correlation, alpha=0.05, rng=np.random.default_rng(2), simulations=2000
        )  # fmt: skip

    assert limit(14, 0.0) > limit(90, 0.0)
    assert limit(28, 0.6) > limit(28, 0.0)


@pytest.mark.parametrize("correlation", [0.0, 0.6])
def test_without_drift_it_alarms_in_at_most_alpha_of_the_fleets_over_its_horizon(correlation) -> None:
    """Two weeks of baseline and thirty days watched, with no word to the method about how days resemble each other."""
    alarms, fleets, alpha = 0, 150, 0.05
    for seed in range(fleets):
        rng = np.random.default_rng([4, seed])
        common = 0.01 * autoregression(rng, 1, 44, correlation)[0]
        values = rng.normal(3.0, 0.1, (12, 1)) + common + rng.normal(0.0, 0.02, (12, 44))
        alarms += run_cusum(values, baseline_days=14, harm=1, alpha=alpha, rng=rng).alarm_day is not None
    assert alarms / fleets <= alpha + 2 * math.sqrt(alpha * (1 - alpha) / fleets)


def test_how_high_a_correlation_may_be_depends_on_how_long_it_was_watched() -> None:
    assert correlation_bound(0.0, 14) == pytest.approx(math.tanh(2 / math.sqrt(11)))
    assert correlation_bound(0.3, 103) == pytest.approx(math.tanh(math.atanh(0.3) + 0.2))
    assert correlation_bound(0.9, 14) == correlation_bound(0.2, 3) == 0.95


def test_the_interval_of_the_last_days_holds_the_truth_though_days_resemble_each_other() -> None:
    inside, fleets = 0, 300
    for seed in range(fleets):
        rng = np.random.default_rng([8, seed])
        change = autoregression(rng, 1, 40, 0.6)[0]
        r = lag_one_correlation(change[:14])
        run = Cusum(np.zeros(26), 1.0, None, None, 0.0, 1.0, r, correlation_bound(r, 14), change)
        found = shift(run, 14, 7)
        inside += found.lower <= 0.0 <= found.upper
    assert inside / fleets >= 0.95 - 2 * math.sqrt(0.95 * 0.05 / fleets)


def test_slow_drift_is_found_with_its_beginning_and_its_caveat() -> None:
    rng = np.random.default_rng(5)
    drift = np.r_[np.zeros(38), 0.002 * np.arange(1, 31)]
    values = rng.normal(3.0, 0.1, (30, 1)) + drift + rng.normal(0.0, 0.02, (30, 68))
    found = run_cusum(values, baseline_days=28, harm=1, alpha=0.05, rng=rng)
    assert found.alarm_day is not None
    assert found.started_day is not None
    assert 5 <= found.started_day <= found.alarm_day < 25
    assert found.caveat == CAVEAT
    assert run_cusum(values, baseline_days=28, harm=-1, alpha=0.05, rng=rng).alarm_day is None


def test_a_baseline_without_variance_can_say_nothing() -> None:
    values = np.r_["1", np.ones((5, 10)), 9 * np.ones((5, 3))]
    found = run_cusum(values, baseline_days=10, harm=1, alpha=0.05, rng=np.random.default_rng(1))
    assert found.limit == math.inf
    assert found.alarm_day is None


def test_nonsense_is_refused() -> None:
    rng = np.random.default_rng(1)
    with pytest.raises(ValueError, match="harm"):
        run_cusum(np.ones((2, 9)), baseline_days=7, harm=0, alpha=0.05, rng=rng)
    with pytest.raises(ValueError, match="no day after"):
        run_cusum(np.ones((2, 7)), baseline_days=7, harm=1, alpha=0.05, rng=rng)
    with pytest.raises(ValueError, match="alpha"):
        simulated_limit(10, 10, 0.0, alpha=0.0, rng=rng)
    with pytest.raises(ValueError, match="correlation"):
        simulated_limit(10, 10, 1.0, alpha=0.05, rng=rng)
