"""Change of shape: the studentised L2 distance between distributions, which sees what a mean cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from drift.stats.contrast import RESOLUTION

Floats = NDArray[np.float64]

RARE_CLASS = 0.01
"""Classes below this share of all predictions are pooled into one."""


def shares(counts: NDArray[np.integer] | Floats, minimum_n: int) -> Floats:
    """Each device's shares per bin, shape (n, bins); a row of NaN where it has fewer than `minimum_n` values."""
    totals = counts.sum(axis=1, keepdims=True).astype(np.float64)
    enough = totals >= max(minimum_n, 1)
    return np.where(enough, counts / np.where(enough, totals, 1.0), np.nan)


def cumulative_shares(counts: NDArray[np.integer] | Floats, minimum_n: int) -> Floats:
    """Each device's distribution function at the upper bin edges, shape (n, bins)."""
    return shares(counts, minimum_n).cumsum(axis=1)


def pool_rare(counts: Sequence[NDArray[np.integer]], labels: Sequence[str]) -> tuple[list[NDArray], list[str]]:
    """Class counts with the classes under one per cent of all of them in one last column, "(rare)".

    `counts` are several arrays (n, classes) over the same classes: before, since, lately. Shares are judged over all of
    them together, treated and control alike, so the choice does not depend on the assignment.
    """
    overall = sum(array.sum(axis=0) for array in counts).astype(np.float64)
    common = overall >= RARE_CLASS * max(overall.sum(), 1.0)
    if common.all():
        return list(counts), list(labels)
    pooled = [
        np.concatenate([array[:, common], array[:, ~common].sum(axis=1, keepdims=True)], axis=1) for array in counts
    ]
    return pooled, [label for label, kept in zip(labels, common, strict=True) if kept] + ["(rare)"]


@dataclass(frozen=True)
class ShapeMoments:
    """What one stratum adds to a shape statistic; arrays broadcast to (B, bins) or (B, 1)."""

    weighted: Floats
    weight: Floats
    spread_treated: Floats
    spread_control: Floats
    squares_treated: Floats
    squares_control: Floats
    freedom_treated: Floats
    freedom_control: Floats

    def __add__(self, other: ShapeMoments) -> ShapeMoments:
        return ShapeMoments(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    def distance(self) -> Floats:
        """sqrt(sum_b theta_b^2 / sum_b SE_b^2), shape (B,); NaN without a variance in either arm.

        One denominator for all bins: a bin that almost no device fills has almost no variance, and dividing by it
        alone would let such bins speak loudest.
        """
        defined = ((self.freedom_treated >= 1) & (self.freedom_control >= 1) & (self.weight > 0))[..., 0]
        variance = (
            self.squares_treated / np.maximum(self.freedom_treated, 1) * self.spread_treated
            + self.squares_control / np.maximum(self.freedom_control, 1) * self.spread_control
        )[..., 0]
        difference = np.einsum("bj,bj->b", self.weighted, self.weighted)
        difference = np.where(difference <= RESOLUTION**2, 0.0, difference)
        ratio = np.sqrt(difference / np.maximum(variance, RESOLUTION**2))
        return np.where(defined, ratio, np.nan)

    def theta(self, row: int = 0) -> Floats:
        """The contrast per bin of one assignment, shape (bins,)."""
        weight = np.broadcast_to(self.weight, (self.weighted.shape[0], 1))[row, 0]
        return self.weighted[row] / weight if weight > 0 else np.full(self.weighted.shape[1], np.nan)


def shape_moments(assignments: Floats, differences: Floats) -> ShapeMoments:
    """Moments of one stratum: `assignments` (B, n), `differences` (n, bins), a row of NaN where a device is absent."""
    return group_shape_moments([(assignments, differences)])


def group_shape_moments(strata: Sequence[tuple[Floats, Floats]]) -> ShapeMoments:
    """Moments of several strata at once, each given as its `assignments` and `differences`.

    With differences centred per stratum w (mean_T - mean_C) is the treated's sum (see `contrast.stratum_moments`), so
    the strata's contrasts add up in one matrix product over all devices. Raises ValueError without any stratum.
    """
    if not strata:
        raise ValueError("a shape needs at least one stratum")
    centred, parts = [], []
    for assignments, differences in strata:
        present = np.isfinite(differences).all(axis=1)
        rows = np.where(present[:, None], differences, 0.0)
        rows = np.where(present[:, None], rows - rows.sum(axis=0) / max(int(present.sum()), 1), 0.0)
        compared, part = _variance_parts(assignments, rows, present)
        centred.append(rows * compared)
        parts.append(part)
    stacked = np.concatenate([assignments for assignments, _ in strata], axis=1) if len(strata) > 1 else strata[0][0]
    summed = parts[0]
    for part in parts[1:]:
        summed = tuple(one + other for one, other in zip(summed, part, strict=True))
    return ShapeMoments(stacked @ np.concatenate(centred), *summed)


def _variance_parts(
    assignments: Floats, centred: Floats, present: NDArray[np.bool_]
) -> tuple[float, tuple[Floats, ...]]:
    """Whether a stratum compares anything, and all of its ShapeMoments but `weighted`; arrays broadcast to (B, 1)."""
    treated = (assignments @ present.astype(np.float64))[:, None]
    if (treated == treated[0]).all():
        treated = treated[:1]
    control = present.sum() - treated
    weight = treated * control / max(int(present.sum()), 1)
    # A stratum with one arm only compares nothing; its devices and their variance stay out.
    compares = (weight > 0).astype(np.float64)
    per_treated, per_control = 1.0 / np.maximum(treated, 1.0), 1.0 / np.maximum(control, 1.0)
    squares_each = (centred**2).sum(axis=1)
    squares_treated = (assignments @ squares_each)[:, None]
    squared_sum = _squared_sum(assignments, centred)[:, None]
    squares_control = squares_each.sum() - squares_treated
    return float(compares.max()), (
        weight,
        weight**2 * per_treated,
        weight**2 * per_control,
        np.maximum(squares_treated - squared_sum * per_treated, 0.0) * compares,
        np.maximum(squares_control - squared_sum * per_control, 0.0) * compares,
        np.maximum(treated - 1.0, 0.0) * compares,
        np.maximum(control - 1.0, 0.0) * compares,
    )


def _squared_sum(assignments: Floats, centred: Floats) -> Floats:
    """|assignments @ centred|^2 per row, shape (B,); through the devices' products where they are fewer than bins."""
    if centred.shape[0] < centred.shape[1]:
        return np.einsum("bi,bi->b", assignments @ (centred @ centred.T), assignments)
    sums = assignments @ centred
    return np.einsum("bj,bj->b", sums, sums)


def total_shape(moments: Mapping[str, ShapeMoments], strata: Sequence[str]) -> ShapeMoments:
    """The sum over some strata."""
    result = moments[strata[0]]
    for name in strata[1:]:
        result = result + moments[name]
    return result


@dataclass(frozen=True)
class EffectSize:
    """How large a change of shape is, whatever its significance.

    `ks` is the largest difference of distribution functions, `wasserstein` the mass times the distance it moved (on
    the unit interval); both are None for classes, which have no order. `total_variation` is the share that moved.
    """

    ks: float | None
    wasserstein: float | None
    total_variation: float


def ordered_effect_size(theta: Floats) -> EffectSize:
    """Effect sizes from the contrast of distribution functions at the upper edges of equal bins on [0, 1]."""
    steps = np.diff(theta, prepend=0.0)
    return EffectSize(
        float(np.abs(theta).max()), float(np.abs(theta).mean()), float(np.clip(np.abs(steps).sum() / 2.0, 0.0, 1.0))
    )


def class_effect_size(theta: Floats) -> EffectSize:
    """Effect sizes from the contrast of class shares."""
    return EffectSize(None, None, float(np.clip(np.abs(theta).sum() / 2.0, 0.0, 1.0)))


def wasserstein_between(first: Floats, second: Floats) -> float:
    """Wasserstein distance of two binned distributions on [0, 1], from counts or shares per bin, by bin centres."""
    if first.sum() <= 0 or second.sum() <= 0:
        return float("nan")
    centres = (np.arange(len(first)) + 0.5) / len(first)
    return float(stats.wasserstein_distance(centres, centres, first, second))
