"""The common scale of statistics: increasing, exact in the middle, without ties at the top."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from drift.stats.family import permutation_scale


def test_a_gaussian_statistic_is_its_own_score() -> None:
    values = stats.norm.ppf((np.arange(10_000) + 0.5) / 10_000)
    scale = permutation_scale(values)
    for value in (0.5, 1.0, 2.0, 3.0, 4.5):
        assert scale.score(np.array([value]))[0] == pytest.approx(value, abs=0.05)
        assert scale.value(value) == pytest.approx(value, abs=0.05)


def test_heavy_and_light_tails_meet_on_one_scale() -> None:
    rng = np.random.default_rng(1)
    for draw in (rng.standard_t(4, 10_000), rng.standard_normal(10_000), rng.chisquare(5, 10_000)):
        scores = permutation_scale(draw).score(draw)
        for tail in (0.1, 0.05, 0.01):
            assert (scores >= stats.norm.isf(tail)).mean() == pytest.approx(tail, rel=0.1)


@given(seed=st.integers(0, 2**31), count=st.integers(100, 3000), decimals=st.integers(0, 8))
def test_the_scale_never_turns_an_order_around(seed: int, count: int, decimals: int) -> None:
    values = np.round(np.random.default_rng(seed).standard_t(3, count), decimals)
    scale = permutation_scale(values)
    ordered = np.sort(np.r_[values, values.max() + 1.0, values.max() + 2.0])
    scores = scale.score(ordered)
    assert (np.diff(scores[np.isfinite(scores)]) >= -1e-12).all()
    assert np.isneginf(scores[: np.isneginf(scores).sum()]).all(), "only the lowest values may have no score"


@given(seed=st.integers(0, 2**31))
def test_the_scale_depends_on_the_permutations_as_a_set_only(seed: int) -> None:
    rng = np.random.default_rng(seed)
    values = rng.standard_normal(500)
    shuffled = rng.permutation(values)
    grid = np.linspace(-1, 5, 13)
    assert (permutation_scale(values).score(grid) == permutation_scale(shuffled).score(grid)).all()


def test_a_statistic_that_never_varies_carries_no_evidence() -> None:
    for constant in (0.0, 3.0):
        scale = permutation_scale(np.full(500, constant))
        assert np.isneginf(scale.score(np.array([constant, 99.0]))).all()
        assert scale.value(2.0) == np.inf
    assert np.isneginf(permutation_scale(np.full(500, np.nan)).score(np.array([1.0]))).all()


def test_the_only_assignment_that_shows_a_difference_stands_out() -> None:
    values = np.zeros(1000)
    values[0] = 1e12
    scores = permutation_scale(values).score(values)
    assert scores[0] > 1e6
    assert (scores[1:] <= 0).all()


def test_ties_in_all_but_the_last_bits_stay_ties() -> None:
    rng = np.random.default_rng(6)
    few = rng.choice([0.0, 0.7, 1.4, 2.1], 2000) + rng.normal(0, 1e-15, 2000)
    scale = permutation_scale(few)
    assert scale.slope < 10.0
    assert len(np.unique(np.round(scale.score(few), 6))) <= 4
    assert scale.score(np.array([2.1 + 1e-14]))[0] == pytest.approx(scale.score(np.array([2.1]))[0])


def test_no_statistic_scores_below_everything() -> None:
    scale = permutation_scale(np.r_[np.nan, np.random.default_rng(2).standard_normal(400)])
    assert np.isneginf(scale.score(np.array([np.nan]))[0])
