"""The mixture sequential test: an anytime-valid fallback where devices were not randomised."""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import lambertw

MINIMUM_PER_ARM = 8
"""Devices per arm below which the normal approximation is not to be trusted: with three it alarms falsely in 13 %."""


def tuned_rho(information: float, alpha: float) -> float:
    """The mixing precision at which the boundary is narrowest when `information` (1 / SE^2) has been collected.

    rho = I / (-W_{-1}(-alpha^2 / e) - 1), Howard, Ramdas, McAuliffe and Sekhon (2021), "Time-uniform, nonparametric,
    nonasymptotic confidence sequences", section 3.5.
    """
    if information <= 0.0:
        raise ValueError(f"information must be positive, got {information}")
    _check_alpha(alpha)
    return information / (-float(lambertw(-(alpha**2) / math.e, k=-1).real) - 1.0)


def boundary(information: float, rho: float, alpha: float) -> float:
    """The |Z| that rejects: sqrt((I + rho) / I (ln((I + rho) / rho) + 2 ln(1 / alpha))), Robbins (1970), two-sided."""
    if information <= 0.0 or rho <= 0.0:
        raise ValueError(f"information and rho must be positive, got {information} and {rho}")
    _check_alpha(alpha)
    ratio = (information + rho) / information
    return math.sqrt(ratio * (math.log((information + rho) / rho) + 2.0 * math.log(1.0 / alpha)))


@dataclass(frozen=True)
class MixtureLook:
    """One look: the boundary for |Z|, whether it is reached, and the interval at this look."""

    boundary: float
    rejects: bool
    lower: float
    upper: float


def mixture_look(
    theta: float, standard_error: float, *, rho: float, alpha: float, treated: int, control: int
) -> MixtureLook | None:
    """The test on a contrast; None with fewer than eight devices in an arm or without a positive standard error."""
    if min(treated, control) < MINIMUM_PER_ARM or not math.isfinite(theta) or not standard_error > 0.0:
        return None
    limit = boundary(1.0 / standard_error**2, rho, alpha)
    half = limit * standard_error
    return MixtureLook(limit, abs(theta) >= half, theta - half, theta + half)


def _check_alpha(alpha: float) -> None:
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
