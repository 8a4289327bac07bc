"""A band for a whole distribution function, with the device as the unit (pure)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Fewer devices than this say nothing of how devices differ.
MINIMUM_DEVICES = 6
# A standard error below this part of the largest counts as that part: in the far tails it is tiny by chance.
_LEAST_ERROR = 0.2


def half_widths(
    counts: NDArray, *, strata: NDArray | None = None, seed: int, resamples: int = 400, confidence: float = 0.95
) -> NDArray[np.float64] | None:
    """Half the width of a simultaneous band for the pooled distribution function at each bin's upper limit.

    The Dvoretzky-Kiefer-Wolfowitz band holds for independent values, and inferences of one device are not: on pooled
    inferences it is far too narrow, and on one value per device it is the band of another function. Here the devices
    are drawn with replacement within their stratum, each with its whole histogram (stratified cluster bootstrap:
    Davison and Hinkley, Bootstrap Methods and their Application, 1997, sections 3.2 and 3.8), and the band is
    F ± c · se(x): se is the between-device standard error of a ratio of sums (Cochran, Sampling Techniques, 1977,
    sections 6.3 and 6.10), and c the quantile over resamples of the largest |F* - F| / se*(x) over all x, each resample
    studentised by its own standard error (sup-t band by the bootstrap-t: Hall, The Bootstrap and Edgeworth Expansion,
    1992, section 3.10; Montiel Olea and Plagborg-Møller, Journal of Applied Econometrics 34, 2019). A fixed standard
    error would cover too seldom with twenty devices.

    Args:
        counts: inferences by device and bin, shape (devices, bins).
        strata: what a device's fellows are, shape (devices,): a fleet has as many of each board as it has, and boards
            do not vary at random. A device alone in its stratum joins the others that are alone.
        seed: of the resampling; the same counts and seed give the same band.

    Returns:
        shape (bins,); None with fewer than six devices that have any inference.
    """
    counts = np.asarray(counts, dtype=np.float64)
    used = counts.sum(axis=1) > 0
    counts = counts[used]
    n = len(counts)
    if n < MINIMUM_DEVICES:
        return None
    groups = _groups(np.zeros(n, dtype=np.int64) if strata is None else np.asarray(strata)[used])
    rng = np.random.default_rng(seed)
    drawn = np.zeros((resamples, n))
    for group in groups:
        drawn[:, group] = rng.multinomial(group.size, np.full(group.size, 1.0 / group.size), size=resamples)
    cumulative = np.cumsum(counts, axis=1)
    share, error = _share_and_error(np.ones((1, n)), cumulative, groups)
    if not error.max():
        return np.zeros(counts.shape[1])
    resampled, errors = _share_and_error(drawn, cumulative, groups)
    off = np.abs(resampled - share)
    # a resample of one device over and over has no error of its own
    off = np.divide(off, errors, out=np.where(off > 0, np.inf, 0.0), where=errors > 0)
    critical = np.quantile(off.max(axis=1), confidence)
    return (critical * error)[0]


def _groups(strata: NDArray) -> list[NDArray[np.int64]]:
    """The places of each stratum's devices; a stratum of one is joined with the other such, or with the largest."""
    places = [np.flatnonzero(strata == value) for value in np.unique(strata)]
    alone = [place for place in places if place.size == 1]
    groups = sorted((place for place in places if place.size > 1), key=len)
    if alone and len(alone) > 1:
        groups.append(np.concatenate(alone))
    elif alone:
        groups[-1] = np.append(groups[-1], alone[0])
    return groups


def _share_and_error(weights: Floats, cumulative: Floats, groups: list[NDArray[np.int64]]) -> tuple[Floats, Floats]:
    """The pooled distribution function under each row of device weights, and its standard error, shape (rows, bins)."""
    totals = cumulative[:, -1:]
    whole = weights @ totals
    share = weights @ cumulative / whole
    variance = np.zeros_like(share)
    for group in groups:
        w, c, n = weights[:, group], cumulative[group], totals[group]
        squares = w @ c**2 - 2 * share * (w @ (c * n)) + share**2 * (w @ n**2)
        residuals = w @ c - share * (w @ n)
        variance += np.maximum(squares - residuals**2 / group.size, 0.0) * group.size / (group.size - 1)
    error = np.sqrt(variance) / whole
    return share, np.maximum(error, _LEAST_ERROR * error.max(axis=1, keepdims=True))
