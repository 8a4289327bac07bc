"""The stratified contrast of treated and control devices, for one assignment or for thousands at once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# A standard error below this fraction of the largest difference is rounding, not knowledge.
RESOLUTION = 1e-12


@dataclass(frozen=True)
class Contrast:
    """Contrasts of B assignments and k columns; every array broadcasts to (B, k).

    `statistic` is NaN where either arm has fewer than two devices in every stratum: no variance, no statistic.
    """

    theta: Floats
    standard_error: Floats
    statistic: Floats


@dataclass(frozen=True)
class Moments:
    """What one stratum, or a sum of strata, adds to a contrast; every array broadcasts to (B, k).

    `weighted` is sum w (mean treated - mean control), `weight` sum w with w = n_T n_C / (n_T + n_C); `spread_*` is
    sum w^2 / n per arm; `squares_*` are sums of squares about the stratum's arm mean, `freedom_*` their degrees of
    freedom; `treated` and `control` count devices that have a value.
    """

    weighted: Floats
    weight: Floats
    spread_treated: Floats
    spread_control: Floats
    squares_treated: Floats
    squares_control: Floats
    freedom_treated: Floats
    freedom_control: Floats
    treated: Floats
    control: Floats
    scale: Floats
    """The largest absolute difference met per column, shape (k,), for telling rounding from variance."""

    def __add__(self, other: Moments) -> Moments:
        return Moments(
            *(getattr(self, name) + getattr(other, name) for name in _SUMMED),
            np.maximum(self.scale, other.scale),
        )

    def contrast(self) -> Contrast:
        """theta = sum w (mean_T - mean_C) / sum w; one variance per arm pooled over strata; S = theta / SE.

        Zero variance is decided on purpose: no difference gives S = 0, a difference without any variance gives a huge
        finite S, so that it outranks every permutation that does have variance.
        """
        defined = (self.freedom_treated >= 1) & (self.freedom_control >= 1) & (self.weight > 0)
        weight = np.where(self.weight > 0, self.weight, np.nan)
        theta = self.weighted / weight
        variance_treated = self.squares_treated / np.maximum(self.freedom_treated, 1)
        variance_control = self.squares_control / np.maximum(self.freedom_control, 1)
        variance = variance_treated * self.spread_treated + variance_control * self.spread_control
        standard_error = np.sqrt(np.maximum(variance, 0.0)) / weight
        floor = RESOLUTION * np.maximum(self.scale, np.finfo(np.float64).tiny / RESOLUTION)
        theta = np.where(np.abs(theta) <= floor, 0.0 * theta, theta)
        statistic = np.where(defined, theta / np.maximum(standard_error, floor), np.nan)
        return Contrast(theta, np.where(defined, standard_error, np.nan), statistic)


_SUMMED = (
    "weighted",
    "weight",
    "spread_treated",
    "spread_control",
    "squares_treated",
    "squares_control",
    "freedom_treated",
    "freedom_control",
    "treated",
    "control",
)


def total(moments: Iterable[Moments]) -> Moments:
    """The sum over strata; raises ValueError when there is none."""
    iterator = iter(moments)
    try:
        result = next(iterator)
    except StopIteration:
        raise ValueError("a contrast needs at least one stratum") from None
    for more in iterator:
        result = result + more
    return result


def stratum_moments(assignments: Floats, differences: Floats) -> Moments:
    """Moments of one stratum.

    `assignments` has shape (B, n), 1.0 for treated; `differences` shape (n, k), NaN where a device has no value at this
    look. A device without a value is left out of both arms in every assignment: it stays missing whatever it was given.
    """
    present = np.isfinite(differences)
    column_count = differences.shape[1]
    if present.all():
        return _complete_moments(assignments, differences)
    # Columns that miss the same devices share their counts; most looks have one or two such patterns.
    patterns, pattern_of = np.unique(present.T, axis=0, return_inverse=True)
    pattern_of = pattern_of.reshape(-1)
    shape = (assignments.shape[0], column_count)
    parts = {name: np.zeros(shape) for name in _SUMMED}
    scale = np.zeros(column_count)
    for index, devices in enumerate(patterns):
        columns = np.flatnonzero(pattern_of == index)
        if not devices.any():
            continue
        moments = _complete_moments(assignments[:, devices], differences[np.ix_(devices, columns)])
        for name, array in parts.items():
            array[:, columns] = getattr(moments, name)
        scale[columns] = moments.scale
    return Moments(**parts, scale=scale)


def arm_counts(assignments: Floats) -> tuple[Floats, Floats]:
    """Treated and control devices per assignment, shape (B, 1), or (1, 1) where all assignments agree."""
    treated = assignments.sum(axis=1, keepdims=True)
    if (treated == treated[0]).all():
        treated = treated[:1]
    return treated, assignments.shape[1] - treated


def _complete_moments(assignments: Floats, differences: Floats) -> Moments:
    # Within a stratum the contrast does not feel a common shift, and sums of squares are exact only near zero.
    centred = differences - differences.mean(axis=0)
    treated, control = arm_counts(assignments)
    sum_all = centred.sum(axis=0)
    squares_all = (centred**2).sum(axis=0)
    sum_treated = assignments @ centred
    squares_treated = assignments @ centred**2
    per_treated = 1.0 / np.maximum(treated, 1.0)
    per_control = 1.0 / np.maximum(control, 1.0)
    sum_control = sum_all - sum_treated
    weight = treated * control / (treated + control)
    spread_treated = weight**2 * per_treated
    spread_control = weight**2 * per_control
    weighted = weight * (sum_treated * per_treated - sum_control * per_control)
    residual_control = squares_all - squares_treated - sum_control**2 * per_control
    residual_treated = squares_treated - sum_treated**2 * per_treated
    # What is left of the squares after subtraction is rounding when it is this small beside what was subtracted.
    noise = 1e-13 * squares_all
    residual_treated = np.where(residual_treated > noise, residual_treated, 0.0)
    residual_control = np.where(residual_control > noise, residual_control, 0.0)
    # A stratum with one arm only compares nothing; its devices and their variance stay out.
    compares = (weight > 0).astype(np.float64)
    one = compares * np.ones_like(differences[:1])
    return Moments(
        weighted * compares,
        weight * one,
        spread_treated * one,
        spread_control * one,
        residual_treated * compares,
        residual_control * compares,
        np.maximum(treated - 1.0, 0.0) * one,
        np.maximum(control - 1.0, 0.0) * one,
        treated * one,
        control * one,
        np.abs(differences).max(axis=0),
    )


def stratified_contrast(assignments: Floats, strata: NDArray[np.integer], differences: Floats) -> Contrast:
    """The contrast over all strata; `strata` has shape (n,), the rest as in `stratum_moments`."""
    moments = (
        stratum_moments(np.ascontiguousarray(assignments[:, strata == label]), differences[strata == label])
        for label in np.unique(strata)
    )
    return total(moments).contrast()
