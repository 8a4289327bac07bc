"""Creep over releases: steps, sums by device, and what too few devices leave open."""

import math

import numpy as np
import pytest
from scipy import stats

from drift.stats.creep import Step, creep, measure_step

NAN = float("nan")


def changes(seed: int, n: int = 12, mean: float = 0.0, error: float = 0.01) -> dict[int, float]:
    """One difference per device, by id, with exactly this mean and this standard error of it."""
    drawn = np.random.default_rng(seed).normal(size=n)
    drawn = (drawn - drawn.mean()) / drawn.std(ddof=1) * error * math.sqrt(n) + mean
    return dict(enumerate(drawn.tolist()))


def step(release: str, theta: float, error: float, *, first: int = 0) -> Step:
    """A step of twelve devices, numbered from `first`."""
    moved = changes(first, mean=theta, error=error)
    return measure_step(release, {first + device: change for device, change in moved.items()}, harm=1)


def test_four_small_steps_are_one_large_one() -> None:
    """On devices of their own the errors of steps are independent: their variances add up."""
    found = creep([step(f"4.{i}", math.log(1.02), 0.004, first=100 * i) for i in range(4)])
    assert math.expm1(found.theta) == pytest.approx(1.02**4 - 1)
    assert found.standard_error == pytest.approx(0.008)
    assert found.upper - found.theta == pytest.approx(stats.t.ppf(0.975, 11) * 0.008)
    assert found.beyond(math.log(1.05))


def test_steps_of_the_same_devices_have_the_interval_of_their_sums_per_device() -> None:
    """Whatever the steps have in common: it is that of scipy for one sum per device."""
    steps = [changes(seed, mean=0.01) for seed in (1, 2, 3)]
    steps[2] = {device: steps[0][device] - 0.5 * steps[1][device] for device in steps[0]}
    sums = np.array([sum(one[device] for one in steps) for device in range(12)])
    found = creep([measure_step(str(number), one, harm=1) for number, one in enumerate(steps)])
    reference = stats.ttest_1samp(sums, 0.0).confidence_interval(0.95)
    assert (found.lower, found.upper) == pytest.approx((reference.low, reference.high), rel=1e-9)
    assert found.standard_error == pytest.approx(stats.sem(sums), rel=1e-9)


def test_devices_that_take_every_update_hard_widen_the_sum_and_weeks_that_two_steps_share_narrow_it() -> None:
    once = measure_step("4.1", changes(4), harm=1)
    again = measure_step("4.2", changes(4), harm=1)
    undone = measure_step("4.2", {device: -change for device, change in changes(4).items()}, harm=1)
    assert creep([once, again]).standard_error == pytest.approx(2 * once.standard_error)
    assert creep([once, undone]).standard_error == pytest.approx(0.0, abs=1e-12)


def test_one_step_beyond_the_margin_is_no_creep_and_noise_is_none_either() -> None:
    leap = creep([step("4.1", 0.0, 0.004), step("4.2", 0.08, 0.004, first=50)])
    noise = creep([step("4.1", 0.03, 0.04), step("4.2", 0.03, 0.04, first=50)])
    assert not leap.beyond(0.05)
    assert not noise.beyond(0.05)
    assert leap.largest.release == "4.2"


def test_without_steps_there_is_no_sum() -> None:
    assert creep([]) is None


@pytest.mark.parametrize("n", [0, 1, 5])
def test_few_devices_are_not_measured(n) -> None:
    assert measure_step("4.1", dict.fromkeys(range(n), 1.0), harm=1) is None
    assert measure_step("4.1", dict.fromkeys(range(20), NAN) | dict.fromkeys(range(n), 1.0), harm=1) is None


def test_few_or_no_control_devices_are_not_taken_off() -> None:
    moved = changes(5)
    for stayed in ({}, dict.fromkeys(range(50, 55), 1.0), dict.fromkeys(range(50, 70), NAN)):
        found = measure_step("4.1", moved, stayed, harm=1)
        assert (found.theta, found.control) == (pytest.approx(0.0, abs=1e-12), 0)


def test_what_control_devices_did_is_taken_off_with_its_variance() -> None:
    moved, stayed = changes(6, mean=0.10, error=0.03), changes(7, n=8, mean=0.05, error=0.04)
    stayed = {100 + device: change for device, change in stayed.items()}
    found = measure_step("4.1", moved, stayed, harm=1)
    assert (found.theta, found.n, found.control) == (pytest.approx(0.05), 12, 8)
    assert found.standard_error == pytest.approx(0.05)
    assert found.degrees == 7
    assert measure_step("4.1", moved, stayed, harm=-1).theta == pytest.approx(-0.05)


def test_devices_that_agree_perfectly_still_leave_open_what_counting_does() -> None:
    steps = [
        measure_step(str(number), dict.fromkeys(range(8), 0.0), harm=1, error_floor=error)
        for number, error in enumerate((0.003, 0.004))
    ]
    assert steps[0].standard_error == 0.003
    assert creep(steps).standard_error == pytest.approx(0.005)


def test_a_harm_without_direction_is_refused() -> None:
    with pytest.raises(ValueError, match="harm"):
        measure_step("4.1", changes(8), harm=0)
