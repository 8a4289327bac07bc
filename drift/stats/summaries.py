"""What one device contributes to a comparison: values per metric from its merged histograms, sums and counters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from drift.stats.metrics import Kind, Metric, Shape, metric, shape

BUCKETS_PER_OCTAVE = 32
"""Scale 5 of the exponential histogram: bucket i covers (2^(i/32), 2^((i+1)/32)]."""

SHAPE_BINS = 50
"""Bins on [0, 1] in which the shapes of confidence and input quality are compared."""

Floats = NDArray[np.float64]
Counts = NDArray[np.integer]


@dataclass(frozen=True)
class ExponentialHistograms:
    """Histograms of n devices over one common range of buckets.

    `counts` has shape (n, buckets), column j is bucket `offset` + j; `zero` has shape (n,), values that were zero.
    """

    offset: int
    counts: Counts
    zero: Counts

    def __post_init__(self) -> None:
        if self.counts.ndim != 2 or self.zero.shape != (self.counts.shape[0],):
            raise ValueError(f"counts (n, buckets) and zero (n,) disagree: {self.counts.shape}, {self.zero.shape}")

    @property
    def total(self) -> Counts:
        """Recorded values per device, shape (n,)."""
        return self.counts.sum(axis=1) + self.zero


@dataclass(frozen=True)
class DevicePeriod:
    """Everything that n devices recorded over one period; every array is aligned with the same n devices.

    `count` is inferences. `outcomes`, `fallbacks` and `retries`, `throttled` count inferences. `measure_n` and
    `measure_sum` hold, per measure, how many inferences carried it and their sum. Absent mappings mean "not measured",
    which is never the same as zero.
    """

    count: Counts
    outcomes: Mapping[str, Counts] = field(default_factory=dict)
    fallbacks: Mapping[str, Counts] = field(default_factory=dict)
    throttled: Counts | None = None
    retries: Counts | None = None
    measure_n: Mapping[str, Counts] = field(default_factory=dict)
    measure_sum: Mapping[str, Floats] = field(default_factory=dict)
    measure_sumsq: Mapping[str, Floats] = field(default_factory=dict)
    histograms: Mapping[str, ExponentialHistograms] = field(default_factory=dict)
    bins: Mapping[str, Counts] = field(default_factory=dict)
    """Equal bins on [0, 1] by name (confidence, input_quality), shape (n, bins); and `classes`, shape (n, classes)."""

    def __post_init__(self) -> None:
        n = self.count.shape[0]
        groups = {
            "outcomes": self.outcomes,
            "fallbacks": self.fallbacks,
            "measure_n": self.measure_n,
            "measure_sum": self.measure_sum,
            "measure_sumsq": self.measure_sumsq,
            "bins": self.bins,
        }
        for group, arrays in groups.items():
            for name, array in arrays.items():
                if array.shape[0] != n:
                    raise ValueError(f"{group}[{name}] has {array.shape[0]} devices, count has {n}")


def quantiles(histograms: ExponentialHistograms, p: float) -> Floats:
    """The p-quantile of each device, shape (n,); NaN where a device recorded nothing, 0 where it lies among the zeros.

    The bucket is the one in which the cumulative count reaches p times the total; within it the value is interpolated
    on the logarithmic scale, so a shift of one per cent moves the answer by about one per cent although a bucket is
    2.2 % wide. The true quantile lies in the same bucket: the error is under one bucket.
    """
    if not 0.0 <= p <= 1.0:
        raise ValueError(f"quantile must lie in [0, 1], got {p}")
    counts = histograms.counts.astype(np.float64)
    total = counts.sum(axis=1) + histograms.zero
    if counts.shape[1] == 0:
        return np.where(total > 0, 0.0, np.nan)
    target = p * total - histograms.zero
    cumulative = counts.cumsum(axis=1)
    # The first bucket whose cumulative count reaches the target; a tiny slack absorbs rounding of p * total.
    reached = cumulative >= (target - 1e-9 * np.maximum(total, 1.0))[:, None]
    reached &= counts > 0
    bucket = reached.argmax(axis=1)
    rows = np.arange(len(total))
    inside = counts[rows, bucket]
    before = cumulative[rows, bucket] - inside
    fraction = np.divide(target - before, inside, out=np.zeros_like(target), where=inside > 0)
    value = np.exp2((histograms.offset + bucket + np.clip(fraction, 0.0, 1.0)) / BUCKETS_PER_OCTAVE)
    among_zeros = (histograms.zero > 0) & (target <= 0.0)
    return np.where(total == 0, np.nan, np.where(among_zeros, 0.0, value))


def pooled_quantile(histograms: ExponentialHistograms, devices: NDArray[np.bool_], p: float) -> float:
    """The traffic-weighted quantile of some devices: histograms are merged, quantiles are never averaged."""
    merged = ExponentialHistograms(
        histograms.offset,
        histograms.counts[devices].sum(axis=0, keepdims=True),
        histograms.zero[devices].sum(keepdims=True),
    )
    return float(quantiles(merged, p)[0])


def _ratio(numerator: Floats, denominator: Floats, enough: NDArray[np.bool_]) -> Floats:
    return np.divide(numerator, denominator, out=np.full(len(enough), np.nan), where=enough & (denominator > 0))


def _logarithm(values: Floats) -> Floats:
    """Natural logarithm; NaN where a value is missing or not positive: a logarithm cannot speak about zero."""
    return np.log(values, out=np.full(len(values), np.nan), where=np.isfinite(values) & (values > 0.0))


def _counter(period: DevicePeriod, source: str) -> Floats | None:
    """The numerator of a share, shape (n,), or None when it was not recorded."""
    if source in ("throttled", "retries"):
        array = getattr(period, source)
        return None if array is None else array.astype(np.float64)
    group, _, part = source.partition(":")
    parts = period.fallbacks if group == "fallback" else period.outcomes
    if part:
        return parts[part].astype(np.float64) if part in parts else None
    return np.sum([array.astype(np.float64) for array in parts.values()], axis=0) if parts else None


def metric_values(period: DevicePeriod, judged: Metric | str) -> Floats:
    """Each device's value y of one metric over a period, shape (n,); NaN where the device has too few inferences.

    ln quantile: ln of the quantile of its histogram. ln mean: ln of its exact mean. ln spread: ln of standard deviation
    over mean. mean: its exact mean. share: events over inferences.
    """
    judged = metric(judged) if isinstance(judged, str) else judged
    absent = np.full(len(period.count), np.nan)
    if judged.kind is Kind.SHARE:
        numerator = _counter(period, judged.source)
        if numerator is None:
            return absent
        return _ratio(numerator, period.count.astype(np.float64), period.count >= judged.minimum_n)
    if judged.kind is Kind.LN_QUANTILE:
        histograms = period.histograms.get(judged.source)
        if histograms is None or judged.quantile is None:
            return absent
        return np.where(
            histograms.total >= judged.minimum_n, _logarithm(quantiles(histograms, judged.quantile)), np.nan
        )
    if judged.source not in period.measure_n:
        return absent
    n = period.measure_n[judged.source].astype(np.float64)
    means = _ratio(period.measure_sum[judged.source].astype(np.float64), n, n >= judged.minimum_n)
    if judged.kind is Kind.MEAN:
        return means
    if judged.kind is Kind.LN_MEAN:
        return _logarithm(means)
    if judged.source not in period.measure_sumsq:
        return absent
    mean_squares = _ratio(period.measure_sumsq[judged.source].astype(np.float64), n, n >= judged.minimum_n)
    variance = np.maximum(mean_squares - means**2, 0.0)
    # A constant signal has no spread to compare; rounding of sums leaves about 1e-9 of the mean square.
    variance = np.where(variance > 1e-9 * mean_squares, variance, np.nan)
    return _logarithm(np.sqrt(variance)) - _logarithm(np.abs(means))


def shape_counts(period: DevicePeriod, judged: Shape | str) -> Counts | None:
    """Each device's counts per bin or class, shape (n, bins); None when the period has none of it.

    Ordered shapes come in SHAPE_BINS bins, folded from any multiple of it. Devices below the least count stay in the
    array: `shape.distributions` leaves them out.
    """
    judged = shape(judged) if isinstance(judged, str) else judged
    counts = period.bins.get(judged.source)
    if counts is None or counts.shape[1] == 0:
        return None
    if not judged.ordered:
        return counts
    if counts.shape[1] % SHAPE_BINS:
        raise ValueError(f"{judged.source}: {counts.shape[1]} bins cannot be folded into {SHAPE_BINS}")
    return counts.reshape(len(counts), SHAPE_BINS, counts.shape[1] // SHAPE_BINS).sum(axis=2)


def nullable(values: Floats) -> list[float | None]:
    """An array as JSON wants it: NaN becomes None."""
    return [None if np.isnan(value) else float(value) for value in values]


def from_nullable(values: Sequence[float | None], name: str, length: int) -> Floats:
    """The inverse of `nullable`; raises ValueError naming the field for a wrong length or a value not finite."""
    if len(values) != length:
        raise ValueError(f"{name}: {len(values)} values for {length} devices")
    array = np.array([np.nan if value is None else float(value) for value in values], dtype=np.float64)
    if np.isinf(array).any():
        raise ValueError(f"{name}: a value is infinite")
    return array
