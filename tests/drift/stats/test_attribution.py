"""Kitagawa's decomposition: exact sums, known cases, intervals over devices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drift.stats.attribution import WITHIN, CellTable, attribute, device_bootstrap, kitagawa


def table(rows: list[tuple[int, int, int, float, float]]) -> CellTable:
    """Rows of device, throttled, fallback, count, mean."""
    device, throttled, fallback, count, mean = (np.array(column) for column in zip(*rows, strict=True))
    return CellTable(
        device, {"throttled": throttled, "fallback": fallback}, count.astype(float), (count * mean).astype(float)
    )


def fleet(
    seed: int,
    *,
    slower: float = 0.0,
    throttling: tuple[float, float] = (0.0, 0.0),
    devices: int = 24,
) -> tuple[CellTable, CellTable, np.ndarray]:
    """Half treated; `slower` moves their latency in all conditions, `throttling` adds share to (treated, control)."""
    rng = np.random.default_rng(seed)
    treated = np.arange(devices) % 2 == 0
    tables = []
    for after in (False, True):
        rows = []
        for i in range(devices):
            share = 0.1 + rng.normal(0, 0.01) + after * (throttling[0] if treated[i] else throttling[1])
            own = 20.0 + rng.normal(0, 0.05) + after * slower * treated[i]
            for throttled in (0, 1):
                count = 1000 * (share if throttled else 1 - share)
                rows.append((i, throttled, 0, count, own * (1.5 if throttled else 1.0)))
        tables.append(table(rows))
    return tables[0], tables[1], treated


def test_a_worked_example_by_hand() -> None:
    # Shares 0.9 / 0.1 become 0.6 / 0.4; means 10 / 30 become 12 / 30.
    within, mix = kitagawa(*(np.array([row]) for row in ([0.9, 0.1], [10.0, 30.0], [0.6, 0.4], [12.0, 30.0])))
    assert within[0] == pytest.approx(0.75 * 2.0)
    assert mix[0] == pytest.approx(-0.3 * 11.0 + 0.3 * 30.0)
    assert within[0] + mix[0] == pytest.approx((0.6 * 12 + 0.4 * 30) - (0.9 * 10 + 0.1 * 30))


@given(seed=st.integers(0, 2**31), cells=st.integers(1, 8))
def test_the_parts_always_add_up_to_the_change(seed: int, cells: int) -> None:
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.ones(cells), (2, 5)) * (rng.random((2, 5, cells)) < 0.8)
    shares[..., 0] += 1e-3
    shares /= shares.sum(axis=2, keepdims=True)
    means = rng.normal(10, 5, (2, 5, cells))
    within, mix = kitagawa(shares[0], means[0], shares[1], means[1])
    change = (shares[1] * means[1]).sum(axis=1) - (shares[0] * means[0]).sum(axis=1)
    assert within + mix == pytest.approx(change, abs=1e-9)


def test_a_condition_met_for_the_first_time_counts_as_mix() -> None:
    within, mix = kitagawa(*(np.array([row]) for row in ([1.0, 0.0], [10.0, 0.0], [0.5, 0.5], [10.0, 40.0])))
    assert within[0] == pytest.approx(0.0)
    assert mix[0] == pytest.approx(15.0)


def test_a_slower_model_shows_within_like_conditions() -> None:
    found = attribute(*fleet(1, slower=2.0), seed=1)
    assert found is not None
    assert found.component(WITHIN).share == pytest.approx(1.0, abs=0.05)
    assert found.component(WITHIN).difference.shown
    assert not found.component("throttled").difference.shown
    assert found.explained_share == pytest.approx(1.0, abs=0.05)


def test_throttling_in_the_canary_alone_shows_in_the_mix() -> None:
    found = attribute(*fleet(2, throttling=(0.3, 0.0)), seed=1)
    assert found is not None
    assert found.component("throttled").share == pytest.approx(1.0, abs=0.1)
    assert found.component("throttled").difference.value == pytest.approx(3.0, rel=0.1)


def test_throttling_of_both_arms_cancels_in_the_difference() -> None:
    found = attribute(*fleet(3, throttling=(0.3, 0.3)), seed=1)
    assert found is not None
    component = found.component("throttled")
    assert component.treated.shown
    assert component.control is not None
    assert component.control.shown
    assert not component.difference.shown
    assert found.explained_share is None, "nothing is shown to differ, so nothing is explained"


@given(seed=st.integers(0, 2**31))
def test_components_add_up_to_the_total_in_each_arm(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = [
        [(i, int(a), int(b), float(rng.integers(0, 50)), float(rng.normal(20, 5))) for i in range(8) for a in (0, 1)
         for b in (0, 1, 2)]
        for _ in range(2)
    ]  # fmt: skip
    found = attribute(table(rows[0]), table(rows[1]), np.arange(8) < 4, seed=1, resamples=20)
    if found is None:
        return
    for part in ("treated", "control", "difference"):
        parts = sum(getattr(component, part).value for component in found.components)
        assert parts == pytest.approx(getattr(found.total, part).value, abs=1e-9)


def test_two_conditions_that_move_together_share_what_they_explain() -> None:
    before = table([(i, 0, 0, 100, 10.0) for i in range(12)])
    after = table(
        [(i, 0, 0, 100, 10.0) for i in range(6, 12)]
        + [row for i in range(6) for row in ((i, 0, 0, 50, 10.0), (i, 1, 1, 50, 30.0))]
    )
    found = attribute(before, after, np.arange(12) < 6, seed=1)
    assert found is not None
    assert found.component("throttled").share == pytest.approx(0.5)
    assert found.component("fallback").share == pytest.approx(0.5)


def test_devices_without_both_periods_are_left_out_and_none_is_no_attribution() -> None:
    before, after, treated = fleet(4, slower=1.0)
    kept = after.device != 0
    fewer = CellTable(
        after.device[kept], {k: v[kept] for k, v in after.factors.items()}, after.count[kept], after.total[kept]
    )
    found = attribute(before, fewer, treated, seed=1)
    assert found is not None
    assert found.n_treated == 11
    only_control = ~np.isin(after.device, np.flatnonzero(treated))
    silent = CellTable(
        after.device[only_control],
        {k: v[only_control] for k, v in after.factors.items()},
        after.count[only_control],
        after.total[only_control],
    )
    assert attribute(before, silent, treated, seed=1) is None


def test_without_control_the_change_itself_is_taken_apart() -> None:
    before, after, _ = fleet(5, slower=0.0, throttling=(0.2, 0.2))
    found = attribute(before, after, np.ones(24, dtype=bool), seed=1)
    assert found is not None
    assert found.n_control == 0
    assert found.component("throttled").control is None
    assert found.component("throttled").difference.value == found.component("throttled").treated.value


def test_the_same_seed_gives_the_same_intervals() -> None:
    first, second = (attribute(*fleet(6, slower=1.0), seed=9) for _ in range(2))
    assert first is not None
    assert second is not None
    assert first.to_dict() == second.to_dict()


def test_the_interval_of_no_difference_leaves_zero_out_in_about_five_per_cent() -> None:
    shown = 0
    for seed in range(120):
        found = attribute(*fleet(1000 + seed), seed=seed, resamples=300)
        assert found is not None
        shown += found.component(WITHIN).difference.shown
    # Percentiles of a bootstrap over twelve devices are a little narrow: seven per cent was measured.
    assert shown / 120 <= 0.08 + 2 * np.sqrt(0.08 * 0.92 / 120)


def test_tables_that_do_not_match_are_refused() -> None:
    before, after, treated = fleet(7)
    other = CellTable(after.device, {"weather": after.factors["fallback"]}, after.count, after.total)
    with pytest.raises(ValueError, match="factors disagree"):
        attribute(before, other, treated, seed=1)
    with pytest.raises(ValueError, match="count"):
        CellTable(np.array([0, 1]), {}, np.array([1.0]), np.array([1.0, 2.0]))


@pytest.mark.parametrize("n", [2, 6])
def test_the_interval_over_few_devices_is_as_wide_as_few_devices_make_it(n: int) -> None:
    """Percentiles as they are would hold the truth in 52 and 86 % of samples."""
    samples, inside = 400, 0
    for seed in range(samples):
        rng = np.random.default_rng([n, seed])
        draws = device_bootstrap(rng.normal(size=n), 400, rng)
        lower, upper = np.quantile(draws, (0.025, 0.975))
        inside += lower <= 0.0 <= upper
    assert inside / samples >= 0.94 - 2 * np.sqrt(0.94 * 0.06 / samples)


def test_one_treated_device_is_no_attribution_and_one_control_device_is_not_taken_off() -> None:
    before, after, _ = fleet(8, slower=2.0)
    alone = np.arange(24) == 0
    assert attribute(before, after, alone, seed=1) is None
    found = attribute(before, after, ~alone, seed=1)
    assert (found.n_treated, found.n_control, found.total.control) == (23, 0, None)
    with pytest.raises(ValueError, match="at least two"):
        device_bootstrap(np.ones((1, 3)), 10, np.random.default_rng(1))
