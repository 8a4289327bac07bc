"""Assignments: quotas kept, uniform, reproducible from the seed."""

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from drift.stats.assignments import distinct_assignments, draw_assignments, quotas


@given(
    seed=st.integers(0, 2**31), sizes=st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=4)
)
def test_every_assignment_keeps_the_quota_of_every_stratum(seed: int, sizes: list[tuple[int, int]]) -> None:
    treated = np.array([z for t, c in sizes for z in [True] * t + [False] * c], dtype=bool)
    strata = np.array([f"s{h}" for h, (t, c) in enumerate(sizes) for _ in range(t + c)], dtype=str)
    if len(treated) == 0:
        return
    drawn = draw_assignments(treated, strata, count=50, seed=seed)
    assert (drawn[0] == treated).all()
    assert set(np.unique(drawn)) <= {0.0, 1.0}
    for quota in quotas(treated, strata):
        assert (drawn[:, strata == quota.stratum].sum(axis=1) == quota.treated).all()


def test_the_same_seed_gives_the_same_assignments_and_another_seed_others() -> None:
    treated, strata = np.arange(20) < 8, np.array(["a"] * 12 + ["b"] * 8)
    first = draw_assignments(treated, strata, count=100, seed=5)
    assert (first == draw_assignments(treated, strata, count=100, seed=5)).all()
    assert (first[1:] != draw_assignments(treated, strata, count=100, seed=6)[1:]).any()


def test_the_draw_is_frozen_so_that_old_evidence_replays() -> None:
    # The raw stream of PCG64 is promised by NumPy; these rows were recorded once and must never change.
    drawn = draw_assignments(np.arange(8) < 3, np.array(["a"] * 8), count=4, seed=42)
    assert ["".join(str(int(z)) for z in row) for row in drawn] == ["11100000", "01011000", "10100001", "11000100"]


def test_every_arrangement_is_equally_likely() -> None:
    treated, strata = np.arange(5) < 2, np.array(["a"] * 5)
    drawn = draw_assignments(treated, strata, count=20_001, seed=3)[1:]
    codes = (drawn @ (2 ** np.arange(5))).astype(int)
    counts = [int((codes == sum(2**i for i in pair)).sum()) for pair in combinations(range(5), 2)]
    assert sum(counts) == 20_000
    assert stats.chisquare(counts).pvalue > 1e-3


def test_distinct_assignments_multiply_over_strata() -> None:
    treated, strata = np.array([True, False, False, True, False, False]), np.array(list("aaabbb"))
    assert distinct_assignments(quotas(treated, strata)) == 9


def test_at_least_the_real_assignment_is_asked_for() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        draw_assignments(np.array([True]), np.array(["a"]), count=0, seed=1)
    assert draw_assignments(np.array([True, False]), np.array(["a", "a"]), count=1, seed=1).tolist() == [[1.0, 0.0]]
