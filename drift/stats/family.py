"""One scale for statistics of different kinds, so that their maximum is one fair test (Westfall and Young)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Floats = NDArray[np.float64]

# Tail probabilities at which the permutation distribution is read, from the middle outwards.
_TAILS = (0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 0.005, 0.003)
# A knot rests on at least this many permutations; further out the scale is extended in a straight line.
_LEAST_BEYOND = 20
# Statistics that agree this far are one and the same; a scale must not tell them apart by their rounding.
_DECIMALS = 9
# The line beyond the last knot has the slope from this tail probability on.
_SLOPE_FROM = 0.05


@dataclass(frozen=True)
class Scale:
    """An increasing map from a statistic to the normal score of its permutation rank.

    Ranks alone tie at the top: with 50 statistics, 50 permutations are the first of their own, and a late look that may
    spend two of them could never reject. So ranks are read at a few tail probabilities, joined by straight lines, and
    extended by one beyond. The map depends on the permutations as a set only, hence keeps the test exact.
    """

    knots: Floats
    scores: Floats
    slope: float

    def score(self, values: Floats) -> Floats:
        """Scores of statistics; NaN, "no statistic", becomes -inf: what is not known can never cross."""
        if len(self.knots) == 0:
            return np.full(np.shape(values), -np.inf)
        values = _settled(values)
        inside = np.interp(values, self.knots, self.scores)
        above = self.scores[-1] + self.slope * (np.maximum(values, self.knots[-1]) - self.knots[-1])
        return np.where(values > self.knots[-1], above, np.where(values < self.knots[0], -np.inf, inside))

    def value(self, score: float) -> float:
        """The statistic that has a score at or above the middle: the inverse of `score`."""
        if len(self.knots) == 0:
            return float("inf")
        if score > self.scores[-1]:
            return float(self.knots[-1] + (score - self.scores[-1]) / self.slope)
        return float(np.interp(score, self.scores, self.knots))


def _settled(values: Floats) -> Floats:
    """Without the last bits, in which the same devices added up in another order differ; NaN as -inf."""
    return np.where(np.isnan(values), -np.inf, np.round(values, _DECIMALS))


def permutation_scale(values: Floats) -> Scale:
    """The scale of one statistic from its B permutation values, shape (B,).

    Statistics that are the same in every assignment carry no evidence and get an empty scale: score -inf.
    """
    ordered = np.sort(_settled(values))
    count = len(ordered)
    if not np.isfinite(ordered[-1]) or ordered[-1] == ordered[0]:
        return Scale(np.empty(0), np.empty(0), 1.0)
    ranks = [max(int(tail * count), 1) for tail in _TAILS if tail == _TAILS[0] or tail * count >= _LEAST_BEYOND]
    knots = np.unique(ordered[[count - rank for rank in ranks]])
    knots = knots[np.isfinite(knots)]
    if len(knots) == 0:
        knots = ordered[np.isfinite(ordered)][:1]
    beyond = count - np.searchsorted(ordered, knots, side="left")
    # Half a permutation of continuity keeps the score of a knot that everything reaches finite.
    scores = ndtri(1.0 - (beyond - 0.5) / count)
    start = int(np.searchsorted(-beyond, -_SLOPE_FROM * count)) if len(knots) > 1 else 0
    start = min(start, len(knots) - 2)
    slope = float((scores[-1] - scores[start]) / (knots[-1] - knots[start])) if len(knots) > 1 else 1.0
    return Scale(knots, scores, slope)
