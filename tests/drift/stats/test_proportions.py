"""Proportions: published intervals and p-values, clustering, silence."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.stats.proportions import (
    reporting_rate,
    sample_ratio_p_value,
    share_error_floor,
    wilson,
    wilson_clustered,
)
from tests.drift.stats.oracles import oracle


@pytest.mark.parametrize("case", oracle("wilson")["cases"], ids=lambda c: f"{c['successes']} of {c['n']}")
def test_wilson_agrees_with_the_published_table(case: dict) -> None:
    got = wilson(case["successes"], case["n"])
    assert got.lower == pytest.approx(case["lower"], abs=5e-5)
    assert got.upper == pytest.approx(case["upper"], abs=5e-5)


def test_nothing_counted_is_nothing_known() -> None:
    got = wilson(0, 0)
    assert (got.lower, got.upper) == (0.0, 1.0)
    assert math.isnan(got.estimate)


@pytest.mark.parametrize(("successes", "n"), [(5, 4), (-1, 4), (0, -1)])
def test_impossible_counts_are_refused(successes: int, n: int) -> None:
    with pytest.raises(ValueError, match="successes must lie"):
        wilson(successes, n)
    with pytest.raises(ValueError, match="confidence"):
        wilson(1, 2, confidence=1.0)


@given(x=st.integers(0, 200), more=st.integers(0, 200))
def test_the_interval_holds_its_estimate_within_zero_and_one(x: int, more: int) -> None:
    got = wilson(x, x + more)
    if x + more:
        assert 0.0 <= got.lower <= got.estimate + 1e-12
        assert got.estimate - 1e-12 <= got.upper <= 1.0


def test_independent_inferences_need_no_correction_and_clustered_ones_do() -> None:
    rng = np.random.default_rng(1)
    n = np.full(60, 500)
    alike = wilson_clustered(rng.binomial(500, 0.9, 60), n)
    apart = wilson_clustered(rng.binomial(500, rng.beta(18, 2, 60)), n)
    assert alike.effective_n == pytest.approx(30_000, rel=0.35)
    assert apart.effective_n < 3_000


def test_one_device_counts_as_one_observation() -> None:
    assert wilson_clustered(np.array([95]), np.array([100])).effective_n == 1.0


def test_unanimous_devices_count_once_each() -> None:
    got = wilson_clustered(np.array([50, 50, 50]), np.array([50, 50, 50]))
    assert got.lower == pytest.approx(wilson(3, 3).lower)


def test_silent_devices_are_no_observations() -> None:
    assert wilson_clustered(np.array([0, 0]), np.array([0, 0])).upper == 1.0
    with pytest.raises(ValueError, match="disagree"):
        wilson_clustered(np.array([1]), np.array([1, 2]))


def test_the_clustered_interval_covers_when_devices_differ() -> None:
    rng = np.random.default_rng(2)
    covered = 0
    for _ in range(300):
        n = rng.integers(50, 400, 40)
        got = wilson_clustered(rng.binomial(n, rng.beta(45, 5, 40)), n)
        covered += got.lower <= 0.9 <= got.upper
    assert covered / 300 >= 0.95 - 3 * math.sqrt(0.95 * 0.05 / 300)


@pytest.mark.parametrize("case", oracle("fisher")["cases"], ids=lambda c: c["name"])
def test_reporting_uses_fishers_exact_test(case: dict) -> None:
    (a, b), (c, d) = case["table"]
    assert reporting_rate(a + b, a, c + d, c).p_value == pytest.approx(case["p_value"], abs=1e-6)


def test_equal_silence_is_in_order_and_more_of_it_among_the_treated_is_not() -> None:
    assert reporting_rate(20, 19, 80, 76).in_order
    assert reporting_rate(10, 9, 40, 40).in_order, "one silent device of ten is no sign"
    assert not reporting_rate(20, 14, 80, 78).in_order


def test_silence_that_no_test_can_weigh_still_holds_up() -> None:
    few = reporting_rate(6, 4, 6, 6)
    assert few.p_value > 0.05
    assert not few.in_order
    assert "may be the harmed ones" in few.reason


def test_nobody_reporting_is_never_good_news_whatever_the_control_does() -> None:
    assert not reporting_rate(10, 0, 40, 0).in_order
    assert not reporting_rate(10, 4, 40, 16).in_order
    assert not reporting_rate(0, 0, 0, 0).in_order


def test_more_devices_reporting_than_exist_are_refused() -> None:
    with pytest.raises(ValueError, match="cannot outnumber"):
        reporting_rate(5, 6, 5, 5)


def test_the_sample_ratio_is_a_binomial_test() -> None:
    assert sample_ratio_p_value(20, 80, 0.2) == pytest.approx(1.0)
    assert sample_ratio_p_value(10, 90, 0.2) < 0.02
    assert sample_ratio_p_value(0, 0, 0.2) == 1.0
    with pytest.raises(ValueError, match="planned_share"):
        sample_ratio_p_value(1, 1, 1.0)


def test_counting_leaves_room_for_about_one_event_where_none_was_seen() -> None:
    treated = np.array([True, True, False, False])
    floor = share_error_floor(np.zeros(4), np.array([1000, 1000, 1000, 1000]), treated)
    p = 1 / 4002
    assert floor == pytest.approx(math.sqrt(p * (1 - p) * (1 / 2000 + 1 / 2000)))
    assert share_error_floor(np.full(4, np.nan), np.full(4, 1000), treated) == math.inf


def test_more_retries_than_inferences_are_counted_as_poisson_events_and_no_error() -> None:
    """Two devices an arm, 10 inferences and 15 retries each: p = 61/42 per inference, 20 inferences an arm."""
    floor = share_error_floor(np.full(4, 1.5), np.full(4, 10), np.array([True, True, False, False]))
    assert floor == pytest.approx(np.sqrt(61 / 42 * (2 / 20)))
