"""Creep: small steps from release to release that no single comparison fails, summed up against the anchor release."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats


@dataclass(frozen=True)
class Step:
    """The effect of one release against the one before it, toward harm, on the scale of device values."""

    release: str
    theta: float
    standard_error: float


@dataclass(frozen=True)
class Creep:
    """The summed effect since the anchor, with its interval; `largest` is the largest single step."""

    theta: float
    standard_error: float
    lower: float
    upper: float
    largest: Step

    def beyond(self, margin: float) -> bool:
        """Whether the sum is shown to be harmful and at least the margin, though no step alone was."""
        return self.lower > 0.0 and self.theta >= margin > self.largest.theta


def creep(steps: Sequence[Step], *, confidence: float = 0.95) -> Creep | None:
    """Sum the steps since the anchor release; None without steps, or when one of them was never measured.

    Each step is its own randomised comparison, so the errors are independent and their variances add up. On the scale
    of logarithms a sum of steps is the product of ratios: four times +2 % is +8.2 %. A gap in the chain is not bridged
    by zero: what was not measured is not known to be nothing.
    """
    if not steps or not all(math.isfinite(step.theta) and math.isfinite(step.standard_error) for step in steps):
        return None
    theta = math.fsum(step.theta for step in steps)
    error = math.sqrt(math.fsum(step.standard_error**2 for step in steps))
    half = float(stats.norm.ppf(0.5 + confidence / 2.0)) * error
    return Creep(theta, error, theta - half, theta + half, max(steps, key=lambda step: step.theta))
