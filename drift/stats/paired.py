"""Change of the same devices between two periods: the test behind each cell of the fleet-wide drift board."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from drift.stats.proportions import share_error_floor

MINIMUM_DEVICES = 6
"""Below six devices a t interval rests on the normality of single devices; such a cell is inconclusive."""

# Rounding of device values leaves differences of this relative size; a smaller spread is no spread.
_RESOLUTION = 1e-12


@dataclass(frozen=True)
class PairedChange:
    """The mean change over devices; `effect` scale is that of the device values (logarithms for ratios).

    `p_value` is one-sided toward harm. All are None where fewer than MINIMUM_DEVICES have both periods, or where every
    device changed by exactly the same non-zero amount, which no test can weigh.
    """

    n: int
    mean: float | None
    lower: float | None
    upper: float | None
    standard_error: float | None
    p_value: float | None


def paired_change(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    *,
    harm: int,
    confidence: float = 0.95,
    error_floor: float = 0.0,
) -> PairedChange:
    """Student's t on D = after - before, one difference per device, shape (n,); NaN where a device lacks a period.

    The interval is two-sided at `confidence`: mean ± t_{n-1} s / sqrt(n). Source: Student, Biometrika 6 (1908); values
    checked against scipy.stats.ttest_1samp. The device is the unit: hours of one device are not independent.
    `error_floor` is the least standard error, on the scale of device values: what counting events leaves open in a
    share (`counting_floor`) where devices that all saw none agree perfectly.

    Raises:
        ValueError: shapes differ, or `harm` is neither +1 nor -1.
    """
    if before.shape != after.shape:
        raise ValueError(f"before {before.shape} and after {after.shape} must have one value per device")
    if harm not in (1, -1):
        raise ValueError(f"harm must be +1 or -1, got {harm}")
    difference = after - before
    difference = difference[np.isfinite(difference)]
    n = len(difference)
    if n < MINIMUM_DEVICES:
        return PairedChange(n, float(difference.mean()) if n else None, None, None, None, None)
    mean = float(difference.mean())
    spread = float(difference.std(ddof=1))
    scale = max(float(np.abs(before[np.isfinite(before)]).max()), 1.0)
    error = max(spread / math.sqrt(n), error_floor)
    if error <= _RESOLUTION * scale:
        unchanged = abs(mean) <= _RESOLUTION * scale
        return (
            PairedChange(n, mean, mean, mean, 0.0, 1.0) if unchanged else PairedChange(n, mean, None, None, 0.0, None)
        )
    half = float(stats.t.ppf(0.5 + confidence / 2, n - 1)) * error
    p_value = float(stats.t.sf(harm * mean / error, n - 1))
    return PairedChange(n, mean, mean - half, mean + half, error, p_value)


def counting_floor(
    before: NDArray[np.float64],
    after: NDArray[np.float64],
    n_before: NDArray[np.number],
    n_after: NDArray[np.number],
) -> float:
    """The standard error that counting leaves in the change of a share over devices with both periods; 0 without any.

    Arrays have shape (devices,): the share in a period, NaN for none, and the inferences that it is a share of.
    """
    both = np.isfinite(before) & np.isfinite(after)
    if not both.any():
        return 0.0
    return share_error_floor(
        np.concatenate([before[both], after[both]]),
        np.concatenate([n_before[both], n_after[both]]),
        np.repeat([False, True], both.sum()),
    )
