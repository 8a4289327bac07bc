"""Times until a decision: the same plan gives the same figures, more noise never sooner, and alpha is kept."""

from dataclasses import replace

import numpy as np
import pytest

from rollouts.decision_times import LOOKS, Design, MetricNoise, simulate

DESIGN = Design(treated=10, control=30, alpha=0.05, looks=60, look_hours=1.0, not_before=8.0)
QUIET = MetricNoise("energy_mean", lasting=0.0001, passing=0.0004, margin=0.05)


def times(*noises: MetricNoise, design: Design = DESIGN, seed: int = 1):
    return simulate(noises, design, np.random.default_rng(seed))


def test_the_same_seed_gives_the_same_figures():
    noisy = replace(QUIET, lasting=0.001, passing=0.02)
    assert times(noisy) == times(noisy) != times(noisy, seed=2)


def test_a_quiet_metric_passes_at_the_first_look_allowed_and_its_harm_shows_at_once():
    found = times(QUIET)
    assert (found.passing.half, found.passing.share) == (8.0, 1.0) and found.harm.half <= 2.0


def test_more_noise_or_fewer_devices_are_never_decided_sooner():
    noisy = replace(QUIET, lasting=0.001, passing=0.05)
    wide, narrow = times(noisy), times(noisy, design=replace(DESIGN, treated=6, control=6))
    assert times(QUIET).passing.share >= wide.passing.share > narrow.passing.share
    assert (narrow.passing.half or 1e9) >= wide.passing.half > 8.0


def test_noise_that_lasts_beyond_the_margin_is_mostly_never_decided():
    found = times(replace(QUIET, lasting=0.05**2 * 20))
    assert found.passing.half is None and found.passing.share < 0.15
    assert found.harm.half is None and found.harm.share < 0.15


def test_a_metric_that_needs_more_traffic_holds_a_pass_up_only_where_it_is_owed():
    late = MetricNoise("latency_p99", 0.0001, 0.0, 0.1, from_hours=30.0)
    assert times(QUIET, late).passing.half >= 30.0
    assert times(QUIET, replace(late, owed=False)).passing.half == 8.0
    assert times(QUIET, late).slowest == "latency_p99"
    never = replace(late, from_hours=1e6)
    assert times(QUIET, never).passing.share == 0.0


def test_without_harm_the_test_rejects_no_more_often_than_alpha():
    found = [times(replace(QUIET, margin=1e-12), seed=seed).harm.share for seed in range(5)]
    assert np.mean(found) < 0.05 + 3 * 0.007


def test_lanes_that_share_a_stage_share_its_alpha():
    noisy = replace(QUIET, lasting=0.001, passing=0.02)
    alone, among_many = times(noisy), times(noisy, design=replace(DESIGN, lanes=10))
    assert among_many.harm.share < alone.harm.share


def test_however_many_looks_are_planned_few_are_simulated():
    for looks in (1, 7, 100, 10_000):
        grid = replace(DESIGN, looks=looks).grid
        assert len(grid) <= LOOKS and grid == sorted(set(grid)) and 8 in grid and grid[-1] == max(looks, 8)


@pytest.mark.parametrize("broken", [(), (replace(DESIGN, treated=1),)])
def test_nothing_to_simulate_is_an_error(broken):
    with pytest.raises(ValueError, match="needs a metric and two devices"):
        times(*([QUIET] if broken else []), design=broken[0] if broken else DESIGN)
