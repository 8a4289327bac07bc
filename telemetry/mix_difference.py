"""How two mixes differ, with the device as the unit: inferences inside of a selection against the others (pure)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

# With fewer devices than this behind a selection, nothing is said to be shown.
MINIMUM_DEVICES = 6
RESAMPLES = 400


@dataclass(frozen=True)
class LevelDifference:
    """One level of a dimension: its share inside and outside, and their difference with an interval.

    The interval is None where the mix rests on too few devices.
    """

    level: int
    inside: float
    outside: float
    lower: float | None
    upper: float | None

    @property
    def difference(self) -> float:
        """Share inside minus share outside."""
        return self.inside - self.outside

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.lower is not None and self.upper is not None and (self.lower > 0 or self.upper < 0)


@dataclass(frozen=True)
class MixDifference:
    """How much a dimension's mix differs.

    Attributes:
        divergence: Jensen-Shannon divergence in bits: 0 for the same mix, 1 for mixes with nothing in common.
        levels: the levels that occur, the largest difference toward inside first.
        devices: how many devices of equal weight the inside is worth, see `effective_devices`.
    """

    divergence: float
    levels: Sequence[LevelDifference]
    devices: float

    @property
    def shown(self) -> bool:
        """Whether some level's difference is beyond what differs between devices anyway."""
        return any(level.shown for level in self.levels)


def mix_difference(
    inside: NDArray, outside: NDArray, *, seed: int, resamples: int = RESAMPLES, confidence: float = 0.95
) -> MixDifference | None:
    """Compare the mix of levels inside and outside of a selection; None where either side is empty.

    Inferences of one device are alike, so a test that counts inferences (chi-squared, Cramér's V with its p-value)
    finds a difference in nearly every selection. Here devices are drawn with replacement (cluster bootstrap: Davison
    and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8), each with all of its inferences on both
    sides. The interval of each level's difference is difference ± t · standard error, with the t of as many devices as
    the inside is worth, less one, and Bonferroni's correction for the number of levels.

    Args:
        inside, outside: inferences by device and level, shape (devices, levels).
        seed: of the resampling; the same counts and seed give the same answer.
    """
    inside, outside = np.asarray(inside, dtype=np.float64), np.asarray(outside, dtype=np.float64)
    if inside.shape != outside.shape or inside.ndim != 2:
        raise ValueError(f"inside {inside.shape} and outside {outside.shape} must both be (devices, levels)")
    if not inside.sum() or not outside.sum():
        return None
    used = np.flatnonzero((inside.sum(axis=0) > 0) | (outside.sum(axis=0) > 0))
    shares = [_shares(side.sum(axis=0)[None, used])[0] for side in (inside, outside)]
    devices = effective_devices(inside.sum(axis=1))
    half = _half_widths(inside[:, used], outside[:, used], devices, seed, resamples, confidence)
    levels = []
    for k, level in enumerate(used.tolist()):
        difference = shares[0][k] - shares[1][k]
        known = half is not None and np.isfinite(half[k])
        levels.append(
            LevelDifference(
                level=level,
                inside=float(shares[0][k]),
                outside=float(shares[1][k]),
                lower=float(difference - half[k]) if known else None,
                upper=float(difference + half[k]) if known else None,
            )
        )
    ordered = sorted(levels, key=lambda one: (-one.difference, one.level))
    return MixDifference(divergence(*shares), ordered, devices)


def divergence(p: Floats, q: Floats) -> float:
    """Jensen-Shannon divergence of two mixes in bits (Lin, IEEE Trans. Inf. Theory 37, 1991), within [0, 1]."""
    middle = (p + q) / 2
    entropy = [float(-(x[x > 0] * np.log2(x[x > 0])).sum()) for x in (middle, p, q)]
    return float(np.clip(entropy[0] - (entropy[1] + entropy[2]) / 2, 0.0, 1.0))


def effective_devices(counts: NDArray) -> float:
    """How many devices of equal weight carry as much information: (sum n)² / sum n² (Kish, Survey Sampling, 1965)."""
    counts = np.asarray(counts, dtype=np.float64)
    squares = float((counts**2).sum())
    return float(counts.sum() ** 2 / squares) if squares else 0.0


def carriers(counts: NDArray, part: float = 0.5) -> int:
    """The fewest devices that together hold this part of the inferences."""
    ordered = np.sort(np.asarray(counts, dtype=np.float64))[::-1]
    if not ordered.sum():
        return 0
    return int(np.searchsorted(np.cumsum(ordered), part * ordered.sum() * (1 - 1e-12))) + 1


def _half_widths(
    inside: Floats, outside: Floats, devices: float, seed: int, resamples: int, confidence: float
) -> Floats | None:
    if devices < MINIMUM_DEVICES:
        return None
    n = len(inside)
    drawn = np.random.default_rng(seed).multinomial(n, np.full(n, 1.0 / n), size=resamples).astype(np.float64)
    difference = _shares(drawn @ inside) - _shares(drawn @ outside)
    error = np.nanstd(difference, axis=0, ddof=1) * np.sqrt(n / max(n - 1, 1))
    tail = (1.0 - confidence) / 2.0 / inside.shape[1]
    return stats.t.ppf(1.0 - tail, devices - 1) * error


def _shares(counts: Floats) -> Floats:
    totals = counts.sum(axis=1, keepdims=True)
    return np.divide(counts, totals, out=np.full_like(counts, np.nan), where=totals > 0)
