"""The sequential randomisation test against an independent implementation, and its own promises."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.stats.contrast import stratified_contrast
from drift.stats.sequential import (
    SequentialState,
    critical_value,
    sequential_test,
    spent_alpha,
    take_look,
)
from tests.drift.stats.oracles import oracle

CASES = oracle("sequential_randomisation")["cases"]


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["name"])
def test_it_agrees_with_an_independent_implementation(case: dict) -> None:
    assignments = np.array([[float(z) for z in row] for row in case["assignments"]])
    differences = np.array([[np.nan if d is None else d for d in row] for row in case["differences"]])
    contrast = stratified_contrast(assignments, np.array(case["strata"]), differences)
    expected = case["expected"]
    assert contrast.theta[0] == pytest.approx(expected["theta"], abs=1e-11)
    assert contrast.standard_error[0] == pytest.approx(expected["standard_error"], abs=1e-11)
    steps = sequential_test(list(contrast.statistic.T), case["alpha"])
    assert [step.critical_value for step in steps] == pytest.approx(expected["critical_value"], abs=1e-9)
    rejected = [look for look, step in enumerate(steps) if step.rejects]
    assert rejected == ([] if expected["rejects_at_look"] is None else [expected["rejects_at_look"]])


def test_alpha_is_spent_by_the_logarithm_and_never_beyond_the_plan() -> None:
    assert spent_alpha(0.05, 100, 100) == pytest.approx(0.05)
    assert spent_alpha(0.05, 1, 100) == pytest.approx(0.05 * np.log(2) / np.log(101))
    assert spent_alpha(0.05, 500, 100) == pytest.approx(0.05)
    with pytest.raises(ValueError, match="count from 1"):
        spent_alpha(0.05, 0, 100)
    with pytest.raises(ValueError, match="alpha"):
        spent_alpha(1.0, 1, 100)


def test_the_critical_value_is_the_smallest_that_fits_into_the_room() -> None:
    values = np.array([5.0, 1.0, 4.0, 3.0, 2.0])
    assert critical_value(values, 2) == 4.0
    assert critical_value(values, 0) is None
    assert critical_value(values, 9) == 1.0


def test_ties_cross_together_or_not_at_all() -> None:
    values = np.array([5.0, 4.0, 4.0, 4.0, 1.0])
    assert critical_value(values, 3) == 5.0
    assert critical_value(values, 4) == 4.0
    assert critical_value(np.full(10, 2.0), 3) is None


def test_a_tie_in_all_but_the_last_bits_is_a_tie() -> None:
    assert critical_value(np.array([4.0, 4.0 + 1e-14, 1.0, 0.0]), 1) is None


def test_what_has_no_statistic_can_never_cross() -> None:
    values = np.array([np.nan, 1.0, 2.0, -np.inf])
    step = take_look(SequentialState.start(4), values, look=1, alpha_spent=0.9)
    assert step.critical_value == 1.0
    assert not step.rejects
    assert not take_look(SequentialState.start(3), np.full(3, np.nan), look=1, alpha_spent=0.9).rejects


def test_a_look_is_irrevocable() -> None:
    state = take_look(SequentialState.start(100), np.arange(100.0), look=3, alpha_spent=0.05).state
    with pytest.raises(ValueError, match="taken already"):
        take_look(state, np.arange(100.0), look=3, alpha_spent=0.05)


def test_statistics_of_another_number_of_assignments_are_refused() -> None:
    with pytest.raises(ValueError, match="99 statistics"):
        take_look(SequentialState.start(100), np.arange(99.0), look=1, alpha_spent=0.05)


@given(seed=st.integers(0, 2**31), looks=st.integers(1, 40), count=st.integers(20, 400), ties=st.booleans())
def test_over_all_looks_at_most_alpha_of_the_assignments_ever_cross(
    seed: int, looks: int, count: int, ties: bool
) -> None:
    values = np.random.default_rng(seed).standard_normal((looks, count)).cumsum(axis=0)
    values = np.round(values) if ties else values
    state = SequentialState.start(count)
    for look in range(1, looks + 1):
        step = take_look(state, values[look - 1], look=look, alpha_spent=spent_alpha(0.05, look, looks))
        assert step.state.used >= state.used
        state = step.state
        assert state.used == int((~state.surviving).sum())
        assert state.used <= spent_alpha(0.05, look, looks) * count + 1e-9


@given(seed=st.integers(0, 2**31), count=st.integers(1, 300))
def test_the_state_survives_json(seed: int, count: int) -> None:
    surviving = np.random.default_rng(seed).random(count) < 0.9
    state = SequentialState(4, int((~surviving).sum()), surviving, 2.5)
    again = SequentialState.from_dict(json.loads(json.dumps(state.to_dict())))
    assert again.look == 4
    assert again.used == state.used
    assert again.critical_value == 2.5
    assert (again.surviving == surviving).all()


def test_a_broken_bitmap_is_refused_by_name() -> None:
    data = SequentialState.start(100).to_dict()
    with pytest.raises(ValueError, match="surviving"):
        SequentialState.from_dict(data | {"surviving": "AAAA"})
    with pytest.raises(ValueError, match="surviving"):
        SequentialState.from_dict(data | {"assignments": 900})


def test_under_no_effect_it_rejects_in_at_most_alpha_of_the_rollouts() -> None:
    # Row 0 is one of exchangeable rows: counting how often any given row crosses is the same as repeating the rollout.
    rng = np.random.default_rng(11)
    rejected = runs = 0
    for _ in range(40):
        walk = rng.standard_normal((25, 200)).cumsum(axis=0) / np.sqrt(np.arange(1, 26))[:, None]
        for row in range(10):
            order = np.r_[row, np.delete(np.arange(200), row)]
            rejected += any(step.rejects for step in sequential_test(list(walk[:, order]), 0.05))
            runs += 1
    assert rejected / runs <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / runs)
    assert rejected > 0, "a test that never rejects is no test"
