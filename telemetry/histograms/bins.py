"""Where a value falls: the bins of exponential and unit-interval histograms, and their bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCALE = 5
BINS_PER_OCTAVE = 1 << SCALE
MIN_INDEX = -20 * BINS_PER_OCTAVE
MAX_INDEX = 40 * BINS_PER_OCTAVE - 1
UNIT_BINS = 100
RELATIVE_ERROR = (2 ** (1 / BINS_PER_OCTAVE) - 1) / (2 ** (1 / BINS_PER_OCTAVE) + 1)

# 2^(j/32) for j = 0..32. Every bound of the module is one of these times a power of two (exact by ldexp), so that
# `index_of` and `upper_bounds` can never disagree about a value that lies on a bound.
_OCTAVE = 2.0 ** (np.arange(BINS_PER_OCTAVE + 1) / BINS_PER_OCTAVE)


def index_of(values: ArrayLike) -> NDArray[np.int32]:
    """The bin of each positive value.

    `index = ceil(log2(v) * 32) - 1`, found by comparing the mantissa with the 32 bounds of an octave: the logarithm's
    rounding cannot put a value on the wrong side of a bound, and exact powers of two land in the bin they close.

    Raises:
        ValueError: a value is zero, negative or not finite (zeros are counted apart, see `Histogram.zero`).
    """
    v = np.asarray(values, dtype=np.float64)
    if v.size and not (np.isfinite(v).all() and (v > 0).all()):
        raise ValueError("histogram values must be finite and positive")
    mantissa, exponent = np.frexp(v)
    # mantissa in [0.5, 1): twice that is in [1, 2) of octave exponent - 1
    within = np.searchsorted(_OCTAVE, 2 * mantissa, side="left") - 1
    index = (exponent - 1) * BINS_PER_OCTAVE + within
    return np.clip(index, MIN_INDEX, MAX_INDEX).astype(np.int32)


def upper_bounds(index: ArrayLike) -> NDArray[np.float64]:
    """The (inclusive) upper bound of each bin."""
    return lower_bounds(np.asarray(index, dtype=np.int64) + 1)


def lower_bounds(index: ArrayLike) -> NDArray[np.float64]:
    """The (exclusive) lower bound of each bin."""
    octave, within = np.divmod(np.asarray(index, dtype=np.int64), BINS_PER_OCTAVE)
    return np.ldexp(_OCTAVE[within], octave)


def midpoints(index: ArrayLike) -> NDArray[np.float64]:
    """The value whose relative error against anything in its bin is smallest: the harmonic mean of the bounds."""
    lower, upper = lower_bounds(index), upper_bounds(index)
    return 2 * lower * (upper / (lower + upper))


def unit_index_of(values: ArrayLike) -> NDArray[np.int32]:
    """The bin of each value in [0, 1]; 1.0 belongs to the last.

    A value within a ten-millionth below a bin's lower limit counts as in it: 0.29 as a double is a hair less than 29
    hundredths when multiplied, 0.9 in single precision a hair less than 0.9, and a device and the server must agree.

    Raises:
        ValueError: a value lies outside of [0, 1] or is not a number.
    """
    v = np.asarray(values, dtype=np.float64)
    if v.size and not ((v >= 0) & (v <= 1)).all():
        raise ValueError("values must lie in [0, 1]")
    return np.minimum((v * UNIT_BINS + 1e-5).astype(np.int32), UNIT_BINS - 1)
