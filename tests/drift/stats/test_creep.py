"""Creep over releases: sums, errors, gaps."""

import math

import pytest

from drift.stats.creep import Step, creep


def test_four_small_steps_are_one_large_one() -> None:
    found = creep([Step(f"4.{i}", math.log(1.02), 0.004) for i in range(4)])
    assert found is not None
    assert math.expm1(found.theta) == pytest.approx(1.02**4 - 1)
    assert found.standard_error == pytest.approx(0.008)
    assert found.upper - found.theta == pytest.approx(1.959963985 * 0.008)
    assert found.beyond(math.log(1.05))


def test_one_step_beyond_the_margin_is_no_creep_and_noise_is_none_either() -> None:
    leap = creep([Step("4.1", 0.0, 0.004), Step("4.2", 0.08, 0.004)])
    noise = creep([Step("4.1", 0.03, 0.04), Step("4.2", 0.03, 0.04)])
    assert leap is not None
    assert noise is not None
    assert not leap.beyond(0.05)
    assert not noise.beyond(0.05)


def test_a_gap_in_the_chain_is_not_taken_for_nothing() -> None:
    assert creep([]) is None
    assert creep([Step("4.1", 0.03, 0.01), Step("4.2", math.nan, math.nan)]) is None
