"""Quantiles of many histograms at once, with a bound on their error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from telemetry.histograms.bins import UNIT_BINS, midpoints


def quantiles(offset: int, counts: NDArray, zero: NDArray, ps: Sequence[float]) -> NDArray[np.float64]:
    """Quantiles of many exponential histograms.

    As numpy.quantile does, the two order statistics around rank (n - 1) p are interpolated; each is taken as the
    midpoint of its bin, hence within `RELATIVE_ERROR` of its true value, and so is what lies between them.

    Args:
        offset: bin of the first column of `counts`.
        counts: shape (rows, bins).
        zero: shape (rows,), zero counts.
        ps: quantiles in [0, 1].

    Returns:
        shape (rows, len(ps)); nan where a row is empty.
    """
    values = np.concatenate(([0.0], midpoints(offset + np.arange(counts.shape[1]))))
    return _order_statistics(np.column_stack((zero, counts)), values, ps)


def unit_quantiles(counts: NDArray, ps: Sequence[float]) -> NDArray[np.float64]:
    """Quantiles of unit-interval histograms, shape (rows, 100) -> (rows, len(ps)), each within 0.005."""
    return _order_statistics(counts, (np.arange(UNIT_BINS) + 0.5) / UNIT_BINS, ps)


def _order_statistics(counts: NDArray, values: NDArray, ps: Sequence[float]) -> NDArray[np.float64]:
    """Linear interpolation between order statistics, where each column of `counts` stands for one value."""
    below = np.cumsum(counts, axis=1)
    total = below[:, -1] if below.shape[1] else np.zeros(below.shape[0])
    result = np.full((counts.shape[0], len(ps)), np.nan)
    filled = np.flatnonzero(total > 0)
    if not filled.size:
        return result
    below, total = below[filled], total[filled]
    for column, p in enumerate(ps):
        if not 0 <= p <= 1:
            raise ValueError("quantiles must lie in [0, 1]")
        rank = p * (total - 1)
        floor = np.floor(rank)
        # the k-th order statistic (from 0) is in the first bin whose cumulative count exceeds k
        low = values[(below <= floor[:, None]).sum(axis=1)]
        high = values[(below <= np.minimum(floor + 1, total - 1)[:, None]).sum(axis=1)]
        result[filled, column] = low + (rank - floor) * (high - low)
    return result
