"""Mergeable histograms that a device builds: OpenTelemetry exponential buckets, and 100 equal bins on [0, 1]."""

from __future__ import annotations

import math
from typing import Any

DEFAULT_SCALE = 5
UNIT_BINS = 100
UNIT_SLACK = 1e-5


def bucket_index(value: float, scale: int) -> int:
    """Index of the bucket (base^i, base^(i+1)], base = 2^(2^-scale), that holds `value` > 0.

    OpenTelemetry metrics data model, "Exponential Scale": index = ceil(log2(value) 2^scale) - 1. Taking mantissa and
    exponent apart keeps exact powers of two exact and the logarithm small, where it is most precise.
    """
    mantissa, exponent = math.frexp(value)
    if mantissa == 0.5:
        mantissa, exponent = 1.0, exponent - 1
    if scale >= 0:
        return (exponent << scale) + math.ceil(math.log2(mantissa) * 2.0**scale) - 1
    # Below scale 0 a bucket spans whole octaves, so the octave's own (upper-inclusive) index is shifted.
    octave = exponent - 1
    return octave >> -scale


def upper_bound(index: int, scale: int) -> float:
    """Upper, inclusive limit of a bucket."""
    return 2.0 ** ((index + 1) * 2.0**-scale)


def lower_bound(index: int, scale: int) -> float:
    """Lower, exclusive limit of a bucket."""
    return 2.0 ** (index * 2.0**-scale)


class ExponentialHistogram:
    """Counts of non-negative values in exponentially growing buckets.

    At scale 5 the base is 2^(1/32) = 1.0219: a quantile read from the bucket's geometric middle is within 1.09 % of the
    true one.
    """

    def __init__(self, scale: int = DEFAULT_SCALE) -> None:
        self.scale = scale
        self.zero_count = 0
        self.buckets: dict[int, int] = {}
        self.sum = 0.0
        self.min = math.inf
        self.max = -math.inf

    @property
    def count(self) -> int:
        """Number of values, zeros included."""
        return self.zero_count + sum(self.buckets.values())

    def add(self, value: float, times: int = 1) -> None:
        """Count one value `times` times; ValueError if it is negative, infinite or not a number."""
        if not 0.0 <= value < math.inf:
            raise ValueError(f"a histogram holds finite values >= 0, not {value!r}")
        if value == 0.0:
            self.zero_count += times
        else:
            index = bucket_index(value, self.scale)
            self.buckets[index] = self.buckets.get(index, 0) + times
        self.sum += value * times
        self.min = min(self.min, value)
        self.max = max(self.max, value)

    def downscale(self, scale: int) -> ExponentialHistogram:
        """The same counts at a coarser scale: every step halves the resolution by shifting indices right."""
        if scale > self.scale:
            raise ValueError(f"a histogram of scale {self.scale} cannot be refined to {scale}")
        shift = self.scale - scale
        coarse = ExponentialHistogram(scale)
        coarse.zero_count, coarse.sum, coarse.min, coarse.max = self.zero_count, self.sum, self.min, self.max
        for index, count in self.buckets.items():
            coarse.buckets[index >> shift] = coarse.buckets.get(index >> shift, 0) + count
        return coarse

    def merge(self, other: ExponentialHistogram) -> ExponentialHistogram:
        """Both together, at the coarser of the two scales."""
        scale = min(self.scale, other.scale)
        merged = self.downscale(scale)
        addend = other.downscale(scale)
        for index, count in addend.buckets.items():
            merged.buckets[index] = merged.buckets.get(index, 0) + count
        merged.zero_count += addend.zero_count
        merged.sum += addend.sum
        merged.min = min(merged.min, addend.min)
        merged.max = max(merged.max, addend.max)
        return merged

    def quantile(self, q: float) -> float:
        """Value at rank ceil(q n): the geometric middle of its bucket, held inside [min, max]; nan when empty."""
        total = self.count
        if total == 0:
            return math.nan
        rank = max(1, math.ceil(q * total))
        seen = self.zero_count
        if rank <= seen:
            return 0.0
        for index in sorted(self.buckets):
            seen += self.buckets[index]
            if seen >= rank:
                middle = 2.0 ** ((index + 0.5) * 2.0**-self.scale)
                return min(max(middle, self.min), self.max)
        return self.max

    def to_wire(self) -> dict[str, Any]:
        """The object of the telemetry envelope: scale, offset, dense counts, zero_count, sum, min, max."""
        offset = min(self.buckets) if self.buckets else 0
        last = max(self.buckets) if self.buckets else -1
        wire: dict[str, Any] = {
            "scale": self.scale,
            "offset": offset,
            "counts": [self.buckets.get(index, 0) for index in range(offset, last + 1)],
            "zero_count": self.zero_count,
            "sum": self.sum,
        }
        if self.count:
            wire["min"], wire["max"] = self.min, self.max
        return wire

    @classmethod
    def from_wire(cls, wire: dict[str, Any]) -> ExponentialHistogram:
        """Inverse of `to_wire`."""
        histogram = cls(wire["scale"])
        histogram.zero_count = wire["zero_count"]
        histogram.buckets = {wire["offset"] + i: count for i, count in enumerate(wire["counts"]) if count}
        histogram.sum = wire["sum"]
        histogram.min = wire.get("min", math.inf)
        histogram.max = wire.get("max", -math.inf)
        return histogram


class UnitHistogram:
    """Counts of values on [0, 1] in 100 equal bins; 1.0 belongs to the last."""

    def __init__(self) -> None:
        self.counts = [0] * UNIT_BINS
        self.sum = 0.0

    @property
    def count(self) -> int:
        """Number of values."""
        return sum(self.counts)

    def add(self, value: float) -> None:
        """Count one value; ValueError outside [0, 1]."""
        if not 0.0 <= value <= 1.0:
            raise ValueError(f"a unit histogram holds values on [0, 1], not {value!r}")
        # 0.29 * 100 is 28.999999999999996: a decimal value belongs to the bin that it names.
        self.counts[min(UNIT_BINS - 1, int(value * UNIT_BINS + UNIT_SLACK))] += 1
        self.sum += value

    def to_wire(self) -> dict[str, Any]:
        """The object of the telemetry envelope: counts and sum."""
        return {"counts": list(self.counts), "sum": self.sum}
