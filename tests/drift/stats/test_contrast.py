"""The stratified contrast: known cases, invariances, missing devices and degenerate strata."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from drift.stats.contrast import stratified_contrast, total


def one_stratum(treated: list[float], control: list[float]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    differences = np.array([*treated, *control])[:, None]
    assignment = np.r_[np.ones(len(treated)), np.zeros(len(control))][None, :]
    return assignment, np.zeros(len(differences), dtype=int), differences


def test_with_one_stratum_it_is_welchs_t() -> None:
    rng = np.random.default_rng(1)
    treated, control = rng.normal(0.02, 0.03, 9), rng.normal(0.0, 0.01, 31)
    got = stratified_contrast(*one_stratum(list(treated), list(control)))
    expected = stats.ttest_ind(treated, control, equal_var=False)
    assert got.statistic[0, 0] == pytest.approx(expected.statistic, rel=1e-12)
    assert got.theta[0, 0] == pytest.approx(treated.mean() - control.mean(), rel=1e-12)


def test_strata_are_weighted_by_their_harmonic_size_and_share_one_variance_per_arm() -> None:
    rng = np.random.default_rng(2)
    strata = np.repeat([0, 1], [20, 10])
    z = np.r_[np.ones(5), np.zeros(15), np.ones(4), np.zeros(6)]
    d = rng.normal(0, 1, 30) + 5.0 * strata
    got = stratified_contrast(z[None, :], strata, d[:, None])
    weights, differences, spread_t, spread_c = [], [], [], []
    squares = {0: 0.0, 1: 0.0}
    for h in (0, 1):
        t, c = d[(strata == h) & (z == 1)], d[(strata == h) & (z == 0)]
        weights.append(len(t) * len(c) / (len(t) + len(c)))
        differences.append(t.mean() - c.mean())
        squares[1] += ((t - t.mean()) ** 2).sum()
        squares[0] += ((c - c.mean()) ** 2).sum()
        spread_t.append(weights[-1] ** 2 / len(t))
        spread_c.append(weights[-1] ** 2 / len(c))
    theta = np.dot(weights, differences) / sum(weights)
    variance = squares[1] / (9 - 2) * sum(spread_t) + squares[0] / (21 - 2) * sum(spread_c)
    assert got.theta[0, 0] == pytest.approx(theta, rel=1e-12)
    assert got.standard_error[0, 0] == pytest.approx(np.sqrt(variance) / sum(weights), rel=1e-12)


@given(seed=st.integers(0, 2**31), missing=st.floats(0.0, 0.4), columns=st.integers(1, 3))
def test_thousands_at_once_are_the_same_as_one_by_one(seed: int, missing: float, columns: int) -> None:
    rng = np.random.default_rng(seed)
    strata = np.repeat([0, 1, 2], [8, 12, 6])
    z = (rng.random((7, 26)) < 0.5).astype(float)
    d = rng.normal(0, 1, (26, columns))
    d[rng.random(d.shape) < missing] = np.nan
    together = stratified_contrast(z, strata, d)
    for row in range(7):
        for column in range(columns):
            alone = stratified_contrast(z[row : row + 1], strata, d[:, column : column + 1])
            for name in ("theta", "standard_error", "statistic"):
                values = np.broadcast_to(getattr(together, name), (7, columns))
                assert values[row, column] == pytest.approx(
                    getattr(alone, name)[0, 0], rel=1e-9, abs=1e-12, nan_ok=True
                )


@given(seed=st.integers(0, 2**31), shift=st.floats(-1e3, 1e3), factor=st.floats(1e-3, 1e3))
def test_common_shifts_of_a_stratum_do_not_matter_and_units_do_not_change_the_statistic(
    seed: int, shift: float, factor: float
) -> None:
    rng = np.random.default_rng(seed)
    strata = np.repeat([0, 1], 12)
    z = np.tile([1.0, 0.0, 0.0], 8)[None, :]
    d = rng.normal(0, 1, (24, 1))
    plain = stratified_contrast(z, strata, d)
    moved = stratified_contrast(z, strata, factor * (d + shift * strata[:, None]))
    assert moved.theta[0, 0] == pytest.approx(factor * plain.theta[0, 0], rel=1e-6, abs=1e-9 * factor)
    assert moved.statistic[0, 0] == pytest.approx(plain.statistic[0, 0], rel=1e-6, abs=1e-9)


def test_a_missing_device_is_left_out_as_if_it_had_never_been_there() -> None:
    z, strata, d = one_stratum([1.0, 2.0, 3.0, np.nan], [0.0, 0.5, 1.0, np.nan])
    less = stratified_contrast(*one_stratum([1.0, 2.0, 3.0], [0.0, 0.5, 1.0]))
    assert stratified_contrast(z, strata, d).statistic[0, 0] == pytest.approx(less.statistic[0, 0], rel=1e-12)


def test_a_stratum_with_one_arm_only_compares_nothing() -> None:
    strata = np.r_[np.zeros(6, dtype=int), np.ones(5, dtype=int)]
    z = np.r_[1.0, 1.0, 1.0, 0.0, 0.0, 0.0, np.ones(5)][None, :]
    d = np.r_[1.0, 2.0, 3.0, 0.0, 0.5, 1.0, 900.0, -900.0, 50.0, 60.0, 70.0][:, None]
    alone = stratified_contrast(z[:, :6], strata[:6], d[:6])
    both = stratified_contrast(z, strata, d)
    assert both.theta[0, 0] == alone.theta[0, 0]
    assert both.standard_error[0, 0] == alone.standard_error[0, 0]


def test_one_device_per_arm_has_no_statistic() -> None:
    got = stratified_contrast(*one_stratum([1.0], [0.0]))
    assert np.isnan(got.statistic[0, 0])
    assert np.isnan(got.standard_error[0, 0])


def test_no_device_with_a_value_has_no_contrast() -> None:
    got = stratified_contrast(*one_stratum([np.nan] * 6, [np.nan] * 6))
    assert np.isnan(got.statistic[0, 0])
    assert np.isnan(got.theta[0, 0])


def test_all_ties_are_no_difference_whatever_their_level() -> None:
    for level in (0.0, 0.1, 512.3):
        got = stratified_contrast(*one_stratum([level] * 7, [level] * 9))
        assert got.theta[0, 0] == 0.0
        assert got.statistic[0, 0] == 0.0
        assert got.standard_error[0, 0] == 0.0


def test_a_difference_without_any_variance_outranks_everything_and_stays_finite() -> None:
    got = stratified_contrast(*one_stratum([0.01] * 6, [0.0] * 6))
    assert 1e6 < got.statistic[0, 0] < np.inf


def test_a_contrast_of_no_stratum_is_refused() -> None:
    with pytest.raises(ValueError, match="at least one stratum"):
        total([])
