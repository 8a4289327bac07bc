"""The device-paired change against scipy, and its degenerate cases."""

import numpy as np
import pytest
from scipy import stats

from drift.stats.paired import MINIMUM_DEVICES, paired_change
from drift.stats.proportions import share_error_floor


def values(seed: int, n: int = 30, shift: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    before = rng.normal(3.0, 0.3, n)
    return before, before + rng.normal(shift, 0.02, n)


def test_it_agrees_with_scipy() -> None:
    before, after = values(1, shift=0.01)
    change = paired_change(before, after, harm=+1)
    reference = stats.ttest_1samp(after - before, 0.0, alternative="greater")
    interval = stats.ttest_1samp(after - before, 0.0).confidence_interval(0.95)
    assert change.p_value == pytest.approx(reference.pvalue, rel=1e-12)
    assert (change.lower, change.upper) == pytest.approx((interval.low, interval.high), rel=1e-12)


def test_harm_points_the_other_way_for_confidence() -> None:
    before, after = values(2, shift=-0.05)
    assert paired_change(before, after, harm=-1).p_value < 1e-6
    assert paired_change(before, after, harm=+1).p_value > 0.999


def test_a_device_without_one_of_the_periods_is_left_out() -> None:
    before, after = values(3)
    before[0], after[1] = np.nan, np.nan
    assert paired_change(before, after, harm=+1).n == 28


def test_too_few_devices_give_a_mean_and_no_verdict() -> None:
    before, after = values(4, n=MINIMUM_DEVICES - 1)
    change = paired_change(before, after, harm=+1)
    assert change.mean is not None
    assert change.p_value is None


def test_no_devices_at_all_is_no_data() -> None:
    assert paired_change(np.array([]), np.array([]), harm=+1).mean is None


def test_devices_that_did_not_change_are_no_alarm() -> None:
    before, _ = values(5)
    assert paired_change(before, before.copy(), harm=+1).p_value == 1.0


def test_an_exactly_common_shift_is_not_weighed() -> None:
    before = np.arange(1.0, 11.0)
    change = paired_change(before, before + 1.0, harm=+1)
    assert change.mean == 1.0
    assert change.p_value is None


def test_unequal_lengths_are_refused() -> None:
    with pytest.raises(ValueError, match="one value per device"):
        paired_change(np.zeros(3), np.zeros(4), harm=+1)


def test_devices_that_all_saw_no_event_still_leave_open_what_their_inferences_can_not_exclude() -> None:
    """Eight devices without any event in 20 inferences a period: the standard error is that of counting, not nought."""
    nothing = np.zeros(8)
    floor = share_error_floor(np.zeros(16), np.full(16, 20), np.repeat([False, True], 8))
    change = paired_change(nothing, nothing, harm=+1, error_floor=floor)
    p = 1 / 322  # Laplace: (0 + 1) / (320 + 2)
    assert change.standard_error == pytest.approx(np.sqrt(p * (1 - p) * 2 / 160), rel=1e-12)
    assert change.upper == pytest.approx(stats.t.ppf(0.975, 7) * change.standard_error, rel=1e-12)
    assert change.p_value == pytest.approx(0.5)
