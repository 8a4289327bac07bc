"""Intervals over looks: width, running intersection, restarts, and coverage."""

import json
import math

import numpy as np
import pytest

from drift.stats.assignments import draw_assignments
from drift.stats.contrast import stratified_contrast
from drift.stats.interval import (
    RunningInterval,
    aligned_differences,
    half_width,
    minimum_detectable_effect,
)
from drift.stats.sequential import spent_alpha

RNG = np.random.default_rng(7)
STATISTICS = np.r_[0.0, RNG.standard_normal(1999)]


def look(interval: RunningInterval, theta: float, error: float, number: int, **more: float) -> RunningInterval:
    return interval.take_look(
        STATISTICS, theta=theta, standard_error=error, treated=10, look=number,
        alpha_spent=spent_alpha(0.05, number, 24), **more,
    )  # fmt: skip


def test_the_half_width_pays_for_aligning_by_an_estimate() -> None:
    assert half_width(3.0, 0.01, 10) == pytest.approx(math.sqrt(1.2) * 0.03)


def test_alignment_takes_the_effect_off_the_treated_alone() -> None:
    treated = np.array([True, False, True])
    aligned = aligned_differences(np.array([[1.0], [2.0], [np.nan]]), treated, np.array([[0.4], [0.4], [0.4]]))
    assert aligned[:2, 0].tolist() == [0.6, 2.0]
    assert np.isnan(aligned[2, 0])


def test_an_unknown_effect_aligns_nothing() -> None:
    aligned = aligned_differences(np.array([[1.0]]), np.array([True]), np.array([[np.nan]]))
    assert aligned[0, 0] == 1.0


def test_the_running_intersection_keeps_what_earlier_looks_showed() -> None:
    first = look(RunningInterval.start(2000), 0.0, 0.01, 1)
    later = look(first, 0.001, 0.05, 2)
    assert (later.lower, later.upper) == (first.lower, first.upper)
    narrower = look(later, 0.0, 0.002, 3)
    assert narrower.upper < first.upper
    assert narrower.lower > first.lower


def test_bounds_that_a_look_contradicts_begin_anew() -> None:
    early = look(RunningInterval.start(2000), 0.0, 0.001, 1)
    moved = look(early, 0.2, 0.001, 2)
    assert moved.restarted_at == 2
    assert moved.lower < 0.2 < moved.upper
    assert moved.lower > early.upper


def test_a_look_without_room_or_without_an_estimate_adds_nothing() -> None:
    first = look(RunningInterval.start(2000), 0.0, 0.01, 1)
    again = first.take_look(
        STATISTICS, theta=0.0, standard_error=0.0001, treated=10, look=2, alpha_spent=spent_alpha(0.05, 1, 24)
    )
    assert (again.lower, again.upper) == (first.lower, first.upper)
    assert look(first, math.nan, 0.01, 3).upper == first.upper


def test_devices_that_all_agree_give_an_interval_and_counting_keeps_it_open() -> None:
    nothing = np.zeros(2000)
    taken = {"theta": 0.0, "standard_error": 0.0, "treated": 10, "look": 1, "alpha_spent": 0.01}
    closed = RunningInterval.start(2000).take_look(nothing, **taken)
    assert (closed.lower, closed.upper) == (0.0, 0.0)
    counted = RunningInterval.start(2000).take_look(nothing, **taken, error_floor=1e-4)
    assert counted.upper == pytest.approx(math.sqrt(1.2) * 2.3263478740 * 1e-4)
    assert counted.lower == -counted.upper


def test_the_interval_survives_json() -> None:
    for interval in (RunningInterval.start(300), look(RunningInterval.start(2000), 0.01, 0.01, 1)):
        again = RunningInterval.from_dict(json.loads(json.dumps(interval.to_dict())))
        assert again.to_dict() == interval.to_dict()


def test_the_detectable_effect_is_the_critical_value_and_the_power_in_standard_errors() -> None:
    assert minimum_detectable_effect(3.0, 0.01) == pytest.approx((3.0 + 0.8416212336) * 0.01)
    assert minimum_detectable_effect(None, 0.01) == math.inf
    assert minimum_detectable_effect(3.0, math.nan) == math.inf


def test_the_truth_lies_outside_at_any_look_in_at_most_ten_per_cent_of_rollouts() -> None:
    # A real effect, six and ten canaries noisier than their control, effect estimated at each of 24 looks.
    outside = runs = 0
    for seed in range(150):
        rng = np.random.default_rng([3, seed])
        canaries = 6 if seed % 2 else 10
        treated = np.arange(40) < canaries
        strata = np.where(np.arange(40) % 2, "a", "b")
        z = draw_assignments(treated, strata, count=1000, seed=seed)
        labels = (strata == "a").astype(int)
        lasting = np.where(treated, rng.normal(0, 0.02, 40), rng.normal(0, 0.01, 40))
        hours = rng.normal(0, 0.03, (40, 24)).cumsum(axis=1) / np.arange(1, 25)
        differences = lasting[:, None] + hours + 0.05 * treated[:, None]
        interval = RunningInterval.start(1000)
        miss = False
        for number in range(1, 25):
            column = differences[:, number - 1 : number]
            real = stratified_contrast(z[:1], labels, column)
            aligned = aligned_differences(column, treated, real.theta[0])
            interval = interval.take_look(
                stratified_contrast(z, labels, aligned).statistic[:, 0],
                theta=float(real.theta[0, 0]), standard_error=float(real.standard_error[0, 0]), treated=canaries,
                look=number, alpha_spent=spent_alpha(0.05, number, 24),
            )  # fmt: skip
            miss |= not interval.lower <= 0.05 <= interval.upper
        outside += miss
        runs += 1
    assert outside / runs <= 0.10 + 2 * math.sqrt(0.1 * 0.9 / runs)
    assert outside > 0, "an interval that is never wrong is too wide to be of use"
