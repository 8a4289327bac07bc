"""Creep: small steps from release to release that no single comparison fails, summed up against the anchor release."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from drift.stats.paired import MINIMUM_DEVICES

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Step:
    """The effect of one release against the one before it, toward harm, on the scale of device values.

    Measured on `n` updated devices against `control` others, 0 where there were too few of them to take off.
    `influence` is what each of `devices` (ids, updated ones and control) adds to the error of `theta`: its squares sum
    up to the squared standard error, and steps that share devices are summed device by device. `degrees` of freedom are
    those of the smaller arm; `error_floor` is a standard error that counting leaves open however well devices agree.
    """

    release: str
    theta: float
    n: int
    control: int
    degrees: int
    devices: NDArray[np.int64]
    influence: Floats
    error_floor: float = 0.0

    @property
    def standard_error(self) -> float:
        """Of this step alone."""
        return max(math.sqrt(float((self.influence**2).sum())), self.error_floor)


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


def measure_step(
    release: str,
    moved: dict[int, float],
    stayed: dict[int, float] | None = None,
    *,
    harm: int,
    error_floor: float = 0.0,
) -> Step | None:
    """The mean change toward `harm` (+1 or -1) of the devices that were updated.

    `moved` and `stayed` hold one difference per device by its id, NaN where it lacks a period. With at least
    MINIMUM_DEVICES that stayed on the old release their mean is taken off and their variance added (difference in
    differences); without them the change is plain before and after. None with fewer than MINIMUM_DEVICES updated ones.
    """
    if harm not in (1, -1):
        raise ValueError(f"harm must be +1 or -1, got {harm}")
    theta, ids, influence, sizes = 0.0, [], [], []
    for arm, sign in ((moved, harm), (stayed or {}, -harm)):
        known = {device: value for device, value in arm.items() if math.isfinite(value)}
        n = len(known)
        if n < MINIMUM_DEVICES:
            if arm is moved:
                return None
            continue
        values = np.fromiter(known.values(), dtype=np.float64, count=n)
        theta += sign * float(values.mean())
        ids.append(np.fromiter(known, dtype=np.int64, count=n))
        influence.append(sign * (values - values.mean()) / math.sqrt(n * (n - 1)))
        sizes.append(n)
    return Step(
        release=release,
        theta=theta,
        n=sizes[0],
        control=sum(sizes[1:]),
        degrees=min(sizes) - 1,
        devices=np.concatenate(ids),
        influence=np.concatenate(influence),
        error_floor=error_floor,
    )


def creep(steps: Sequence[Step], *, confidence: float = 0.95) -> Creep | None:
    """Sum the steps since the anchor release; None without steps: what was not measured is not known to be nothing.

    Steps share devices, so their errors are not independent: a device that takes each update harder than others does so
    at every step (intervals from variances that merely add up then hold the truth 80 % of the time instead of 95 %),
    and the week after one update may be the week before the next (they are then twice as wide as need be). Influences
    are therefore summed per device before squaring: the variance of Liang and Zeger (Biometrika 73, 1986) with devices
    as clusters. For steps of the same n devices it is that of the n per-device sums, and the interval Student's on
    n - 1 degrees of freedom; else on those of the smallest arm. Coverage: `python -m benchmarks.watching`. On the scale
    of logarithms a sum of steps is the product of ratios: four times +2 % is +8.2 %.
    """
    if not steps:
        return None
    theta = math.fsum(step.theta for step in steps)
    devices, place = np.unique(np.concatenate([step.devices for step in steps]), return_inverse=True)
    influence = np.bincount(place, weights=np.concatenate([step.influence for step in steps]), minlength=len(devices))
    floor = math.sqrt(math.fsum(step.error_floor**2 for step in steps))
    error = max(math.sqrt(float((influence**2).sum())), floor)
    half = float(stats.t.ppf(0.5 + confidence / 2.0, min(step.degrees for step in steps))) * error
    return Creep(theta, error, theta - half, theta + half, max(steps, key=lambda step: step.theta))
