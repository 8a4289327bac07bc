"""Differences of mixes: the measure, and that devices and not inferences decide what is shown."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.spatial.distance import jensenshannon

from telemetry.mix_difference import carriers, divergence, effective_devices, mix_difference


@given(st.lists(st.tuples(st.integers(1, 999), st.integers(1, 999)), min_size=1, max_size=8))
def test_the_divergence_is_scipys_squared_distance_in_bits(pairs):
    p, q = (np.array(side) / sum(side) for side in zip(*pairs, strict=True))
    assert divergence(p, q) == pytest.approx(jensenshannon(p, q, base=2) ** 2, abs=1e-9)


def test_mixes_with_nothing_in_common_diverge_by_one_bit():
    assert divergence(np.array([1.0, 0.0]), np.array([0.0, 1.0])) == 1.0


def test_a_level_that_every_device_has_more_of_inside_is_shown_and_comes_first():
    rng = np.random.default_rng(3)
    outside = rng.multinomial(400, [0.7, 0.2, 0.1], size=12)
    inside = rng.multinomial(60, [0.3, 0.2, 0.5], size=12)
    found = mix_difference(inside, outside, seed=1)
    assert found.levels[0].level == 2 and found.levels[0].shown
    assert found.levels[0].inside == pytest.approx(inside[:, 2].sum() / inside.sum())
    assert found.levels[0].lower < 0.4 < found.levels[0].upper
    assert not next(level for level in found.levels if level.level == 1).shown


def test_a_selection_that_rests_on_three_devices_shows_nothing():
    outside = np.full((20, 2), 500)
    inside = np.zeros((20, 2), dtype=int)
    inside[:3, 1] = 10_000
    found = mix_difference(inside, outside, seed=1)
    assert found.devices == pytest.approx(3)
    assert found.divergence > 0.3
    assert not found.shown and found.levels[0].lower is None


def test_devices_that_differ_by_themselves_seldom_count_as_a_difference():
    """Each device has its own share of a level on both sides alike; a test on inferences would alarm most times."""
    rng = np.random.default_rng(11)
    alarms = pooled = 0
    for trial in range(60):
        share = rng.beta(2, 2, 24)
        weight = rng.integers(1, 400, 24)
        outside = np.column_stack([rng.binomial(400, share), np.zeros(24, int)])
        outside[:, 1] = 400 - outside[:, 0]
        inside = np.column_stack([rng.binomial(weight, share), np.zeros(24, int)])
        inside[:, 1] = weight - inside[:, 0]
        alarms += mix_difference(inside, outside, seed=trial).shown
        a, b = inside.sum(axis=0), outside.sum(axis=0)
        error = np.sqrt(0.25 / a.sum() + 0.25 / b.sum())
        pooled += abs(a[0] / a.sum() - b[0] / b.sum()) > 1.96 * error
    assert alarms <= 9
    assert pooled >= 30


def test_the_same_seed_gives_the_same_answer():
    rng = np.random.default_rng(5)
    inside, outside = rng.integers(0, 50, (2, 10, 4))
    assert mix_difference(inside, outside, seed=9) == mix_difference(inside, outside, seed=9)


def test_an_empty_side_has_no_difference():
    assert mix_difference(np.zeros((4, 2)), np.ones((4, 2)), seed=0) is None


def test_effective_devices_and_carriers_count_what_a_selection_rests_on():
    assert effective_devices(np.array([5, 5, 5, 0])) == pytest.approx(3)
    assert carriers(np.array([1, 6, 1, 1, 1])) == 1
    assert carriers(np.array([2, 2, 2, 2])) == 2
    assert carriers(np.zeros(3)) == 0
