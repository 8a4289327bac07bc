"""The mixture sequential test: its boundary, its tuning, its error over many looks."""

import math

import numpy as np
import pytest
from scipy import optimize

from drift.stats.mixture import boundary, mixture_look, tuned_rho


def test_the_boundary_is_that_of_a_gaussian_mixture_of_likelihood_ratios() -> None:
    # The mixture over theta ~ N(0, 1/rho) of exp(theta S - theta^2 I / 2) reaches 1/alpha exactly at the boundary.
    for information, rho, alpha in ((3.0, 1.0, 0.05), (50.0, 7.0, 0.01)):
        z = boundary(information, rho, alpha)
        grid = np.linspace(-40, 40, 400_001) / math.sqrt(rho)
        prior = np.exp(-rho * grid**2 / 2) * math.sqrt(rho / (2 * math.pi))
        likelihood = np.exp(grid * z * math.sqrt(information) - grid**2 * information / 2)
        assert np.trapezoid(prior * likelihood, grid) == pytest.approx(1 / alpha, rel=1e-6)


def test_tuning_makes_the_boundary_narrowest_where_it_was_asked_to() -> None:
    for information in (0.5, 40.0, 9000.0):
        best = optimize.minimize_scalar(
            lambda log_rho, i=information: boundary(i, math.exp(log_rho), 0.05), bounds=(-15, 15), method="bounded"
        )
        assert boundary(information, tuned_rho(information, 0.05), 0.05) == pytest.approx(best.fun, rel=1e-6)


def test_too_few_devices_or_no_error_give_no_test() -> None:
    common = {"rho": 1.0, "alpha": 0.05}
    assert mixture_look(1.0, 0.1, treated=7, control=40, **common) is None
    assert mixture_look(1.0, 0.0, treated=9, control=40, **common) is None
    assert mixture_look(math.nan, 0.1, treated=9, control=40, **common) is None
    look = mixture_look(1.0, 0.1, treated=8, control=8, **common)
    assert look is not None
    assert look.rejects
    assert look.lower > 0.0


def test_it_rejects_exactly_when_its_interval_leaves_zero_out() -> None:
    for theta in np.linspace(-0.5, 0.5, 41):
        look = mixture_look(float(theta), 0.1, rho=25.0, alpha=0.05, treated=20, control=20)
        assert look is not None
        assert look.rejects == (not look.lower < 0.0 < look.upper)


def test_over_a_hundred_looks_it_rejects_no_effect_in_at_most_alpha_of_the_runs() -> None:
    rng = np.random.default_rng(5)
    rejected = 0
    for _ in range(400):
        values = rng.standard_normal(100).cumsum()
        rejected += any(
            abs(values[t - 1] / math.sqrt(t)) > boundary(float(t), tuned_rho(30.0, 0.05), 0.05) for t in range(1, 101)
        )
    assert rejected / 400 <= 0.05 + 2 * math.sqrt(0.05 * 0.95 / 400)


def test_nonsense_is_refused() -> None:
    with pytest.raises(ValueError, match="information"):
        tuned_rho(0.0, 0.05)
    with pytest.raises(ValueError, match="alpha"):
        boundary(1.0, 1.0, 0.0)
    with pytest.raises(ValueError, match="rho"):
        boundary(1.0, 0.0, 0.05)
