"""Intervals that hold at every look: width from aligned permutations, knowledge kept by running intersection."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from drift.stats.sequential import SequentialState, take_look


def aligned_differences(
    differences: NDArray[np.float64], treated: NDArray[np.bool_], theta: NDArray[np.float64]
) -> NDArray[np.float64]:
    """D - theta z: differences (n, k) with the estimated effect taken off the treated devices.

    Permuting what is left asks how far the estimate strays when theta is the truth; permuting D itself mixes the effect
    into the noise and misses the truth in up to 16 % of rollouts. `theta` is (k,) or (n, k).
    """
    return differences - np.where(np.isfinite(theta), theta, 0.0) * treated[:, None]


def half_width(critical_value: float, standard_error: float, treated: int) -> float:
    """sqrt(1 + 2/K) c_t SE, K treated devices: alignment uses an estimate of theta, which costs a little width."""
    return math.sqrt(1.0 + 2.0 / treated) * critical_value * standard_error


@dataclass(frozen=True)
class RunningInterval:
    """An interval over looks: its own spending state, and the intersection so far (infinite before the first)."""

    sequential: SequentialState
    lower: float = -math.inf
    upper: float = math.inf
    restarted_at: int = 0
    """The look at which the estimand was found to have moved and the intersection began anew; 0 for never."""

    @classmethod
    def start(cls, assignments: int) -> RunningInterval:
        """Before the first look: nothing is known."""
        return cls(SequentialState.start(assignments))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; an infinite bound is null."""
        return {
            "sequential": self.sequential.to_dict(),
            "lower": self.lower if math.isfinite(self.lower) else None,
            "upper": self.upper if math.isfinite(self.upper) else None,
            "restarted_at": self.restarted_at,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> RunningInterval:
        """The inverse of `to_dict`."""
        lower, upper = data["lower"], data["upper"]
        return cls(
            SequentialState.from_dict(data["sequential"]),
            -math.inf if lower is None else float(lower),
            math.inf if upper is None else float(upper),
            int(data["restarted_at"]),
        )

    def take_look(
        self,
        aligned_statistics: NDArray[np.float64],
        *,
        theta: float,
        standard_error: float,
        treated: int,
        look: int,
        alpha_spent: float,
        error_floor: float = 0.0,
    ) -> RunningInterval:
        """The interval after a look; `aligned_statistics` has shape (B,), row 0 the real assignment.

        Both sides are read from |S| with twice the one-sided alpha. A look without room adds nothing. Bounds that this
        look contradicts were about another effect than today's: the intersection begins anew from this look.
        `error_floor` is the standard error that counting alone leaves (see `proportions.share_error_floor`): devices
        that all saw no event agree perfectly, and still a rate of one in their number of inferences is possible.
        """
        sizes = np.abs(aligned_statistics)
        step = take_look(self.sequential, sizes, look=look, alpha_spent=2.0 * alpha_spent)
        after = replace(self, sequential=step.state)
        threshold = step.critical_value
        if threshold is None and step.room:
            # So many permutations tie for the largest statistic that they do not fit into the room: events on few
            # devices, or none at all. A threshold just above them all rejects nothing that a permutation could show.
            surviving = sizes[self.sequential.surviving & np.isfinite(sizes)]
            threshold = float(surviving.max()) if len(surviving) else None
        if threshold is None or not math.isfinite(theta) or not math.isfinite(standard_error):
            return after
        width = half_width(threshold, standard_error, treated)
        if error_floor > 0.0 and alpha_spent > 0.0:
            width = max(width, half_width(float(ndtri(1.0 - alpha_spent)), error_floor, treated))
        lower, upper = max(self.lower, theta - width), min(self.upper, theta + width)
        if lower > upper:
            return replace(after, lower=theta - width, upper=theta + width, restarted_at=look)
        return replace(after, lower=lower, upper=upper)


def minimum_detectable_effect(critical_value: float | None, standard_error: float, *, power: float = 0.8) -> float:
    """The difference that a look with this critical value rejects with the given power: (c_t + z_power) SE."""
    if critical_value is None or not math.isfinite(standard_error):
        return math.inf
    return (max(critical_value, 0.0) + float(ndtri(power))) * standard_error
