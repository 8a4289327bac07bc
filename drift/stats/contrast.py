"""The stratified contrast of treated and control devices, for one assignment or for thousands at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
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

    Differences are centred on the stratum's mean first: within a stratum the contrast does not feel a common shift, and
    sums of squares are exact only near zero. Then the control's sum is minus the treated's, and the weighted contrast
    w (mean_T - mean_C) is the treated's sum itself, because w (1/n_T + 1/n_C) = 1.
    """
    part = _Stratum.of(assignments, differences)
    centred, treated, control, weight = part.centred, part.treated, part.control, part.weight
    columns = differences.shape[1]
    both = assignments @ np.concatenate([centred, centred**2], axis=1)
    sum_treated, squares_treated = both[:, :columns], both[:, columns:]
    squares_all = (centred**2).sum(axis=0)
    per_treated = 1.0 / np.maximum(treated, 1.0)
    per_control = 1.0 / np.maximum(control, 1.0)
    compares = part.compares
    squared_sum = sum_treated**2
    # What is left of the squares after subtraction is rounding when it is this small beside what was subtracted.
    noise = 1e-13 * squares_all
    residual_control = (squares_all - squares_treated) - squared_sum * per_control
    residual_control *= (residual_control > noise) * compares
    residual_treated = squares_treated - squared_sum * per_treated
    residual_treated *= (residual_treated > noise) * compares
    return Moments(
        sum_treated * compares,
        weight,
        weight**2 * per_treated,
        weight**2 * per_control,
        residual_treated,
        residual_control,
        np.maximum(treated - 1.0, 0.0) * compares,
        np.maximum(control - 1.0, 0.0) * compares,
        treated * compares,
        control * compares,
        part.scale,
    )


def group_moments(strata: Sequence[tuple[Floats, Floats]]) -> Moments:
    """The sum of the moments of several strata, each given as its `assignments` and `differences`.

    The same numbers as `total` of `stratum_moments` up to rounding, from one matrix product over all devices: only the
    squared sums have to be taken stratum by stratum. Raises ValueError without any stratum.
    """
    regular: list[_Stratum] = []
    apart: list[Moments] = []
    for assignments, differences in strata:
        part = _Stratum.of(assignments, differences)
        # Where missing devices empty an arm in some assignments only, each assignment has to be looked at by itself.
        if part.compares.min() == part.compares.max():
            regular.append(part)
        else:
            apart.append(stratum_moments(assignments, differences))
    if regular:
        apart.append(_summed(regular))
    return total(apart)


@dataclass(frozen=True)
class _Stratum:
    """One stratum's assignments, centred differences (n, k; 0 where missing) and devices per arm, (B or 1, k or 1)."""

    assignments: Floats
    centred: Floats
    treated: Floats
    control: Floats
    weight: Floats
    scale: Floats

    @classmethod
    def of(cls, assignments: Floats, differences: Floats) -> _Stratum:
        present = np.isfinite(differences)
        treated, control = _counts(assignments, present)
        filled = np.where(present, differences, 0.0)
        centred = np.where(present, differences - filled.sum(axis=0) / np.maximum(present.sum(axis=0), 1), 0.0)
        weight = treated * control / np.maximum(treated + control, 1.0)
        return cls(assignments, centred, treated, control, weight, np.abs(filled).max(axis=0))

    @property
    def compares(self) -> Floats:
        """1 where both arms have a device; a stratum with one arm only compares nothing and stays out."""
        return (self.weight > 0).astype(np.float64)


def _summed(strata: Sequence[_Stratum]) -> Moments:
    """Moments of strata each of which compares in every assignment, or in none."""
    centred = np.concatenate([part.centred * part.compares[:1] for part in strata])
    stacked = (
        np.concatenate([part.assignments for part in strata], axis=1) if len(strata) > 1 else strata[0].assignments
    )
    columns = centred.shape[1]
    both = stacked @ np.concatenate([centred, centred**2], axis=1)
    lost_treated, lost_control = np.zeros((2, len(stacked), columns))
    start = 0
    for part in strata:
        squared = part.assignments @ centred[start : start + len(part.centred)]
        start += len(part.centred)
        np.square(squared, out=squared)
        lost_treated += squared * (1.0 / np.maximum(part.treated, 1.0))
        squared *= 1.0 / np.maximum(part.control, 1.0)
        lost_control += squared
    squares_all = (centred**2).sum(axis=0)
    noise = 1e-13 * squares_all
    residual_control = np.subtract(squares_all - both[:, columns:], lost_control, out=lost_control)
    residual_control *= residual_control > noise
    residual_treated = np.subtract(both[:, columns:], lost_treated, out=lost_treated)
    residual_treated *= residual_treated > noise
    counts = [(part.treated * part.compares, part.control * part.compares, part.weight) for part in strata]
    return Moments(
        both[:, :columns],
        sum(weight for _, _, weight in counts),
        sum(weight**2 / np.maximum(treated, 1.0) for treated, _, weight in counts),
        sum(weight**2 / np.maximum(control, 1.0) for _, control, weight in counts),
        residual_treated,
        residual_control,
        sum(np.maximum(treated - 1.0, 0.0) for treated, _, _ in counts),
        sum(np.maximum(control - 1.0, 0.0) for _, control, _ in counts),
        sum(treated for treated, _, _ in counts),
        sum(control for _, control, _ in counts),
        np.max([part.scale for part in strata], axis=0),
    )


def _counts(assignments: Floats, present: NDArray[np.bool_]) -> tuple[Floats, Floats]:
    """Treated and control devices with a value, each of shape (B or 1, k or 1); `present` has shape (n, k)."""
    if present.all():
        patterns, pattern_of = np.ones((1, len(present)), dtype=bool), np.zeros(1, dtype=np.intp)
    else:
        # Columns that miss the same devices share their counts; most looks have one or two such patterns.
        patterns, pattern_of = np.unique(present.T, axis=0, return_inverse=True)
    treated = assignments @ patterns.T.astype(np.float64)
    if (treated == treated[0]).all():
        treated = treated[:1]
    control = patterns.sum(axis=1) - treated
    if len(patterns) == 1:
        return treated, control
    pattern_of = pattern_of.reshape(-1)
    return treated[:, pattern_of], control[:, pattern_of]


def stratified_contrast(assignments: Floats, strata: NDArray[np.integer], differences: Floats) -> Contrast:
    """The contrast over all strata; `strata` has shape (n,), the rest as in `stratum_moments`."""
    moments = (
        stratum_moments(np.ascontiguousarray(assignments[:, strata == label]), differences[strata == label])
        for label in np.unique(strata)
    )
    return total(moments).contrast()
