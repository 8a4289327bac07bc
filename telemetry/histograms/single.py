"""One exponential histogram: merging, downscaling, and what an OpenTelemetry client sent."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from telemetry.histograms.bins import MAX_INDEX, MIN_INDEX, SCALE, index_of
from telemetry.histograms.order_statistics import quantiles
from telemetry.histograms.packing import pack, unpack


@dataclass(frozen=True)
class Histogram:
    """One exponential histogram.

    Attributes:
        offset: bin of the first count.
        counts: shape (bins,), how many values fell into each bin from `offset` on.
        zero: how many values were exactly zero.
        scale: bins per power of two are `2**scale`; 5 everywhere but while folding down what a device sent.
    """

    offset: int = 0
    counts: NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, dtype=np.int64))
    zero: int = 0
    scale: int = SCALE

    @classmethod
    def of(cls, values: ArrayLike) -> Histogram:
        """The histogram of values that are zero or positive."""
        v = np.asarray(values, dtype=np.float64)
        index = index_of(v[v != 0])
        zero = int(v.size - index.size)
        if not index.size:
            return cls(zero=zero)
        offset = int(index.min())
        return cls(offset, np.bincount(index - offset).astype(np.int64), zero)

    @classmethod
    def from_packed(cls, packed: bytes | None) -> Histogram:
        """The histogram that a row stores; None is an empty one."""
        return cls() if packed is None else cls(*unpack(packed))

    @property
    def count(self) -> int:
        """How many values it holds."""
        return self.zero + int(self.counts.sum())

    def pack(self) -> bytes:
        """The bytes that a row stores."""
        if self.scale != SCALE:
            raise ValueError(f"only histograms of scale {SCALE} are stored")
        return pack(self.offset, self.counts, self.zero)

    def merge(self, other: Histogram) -> Histogram:
        """The histogram of both sets of values; the finer one is folded down first."""
        scale = min(self.scale, other.scale)
        a, b = downscale(self, self.scale - scale), downscale(other, other.scale - scale)
        if not a.counts.size or not b.counts.size:
            filled = a if a.counts.size else b
            return Histogram(filled.offset, filled.counts, a.zero + b.zero, scale)
        offset = min(a.offset, b.offset)
        counts = np.zeros(max(a.offset + a.counts.size, b.offset + b.counts.size) - offset, dtype=np.int64)
        counts[a.offset - offset :][: a.counts.size] += a.counts
        counts[b.offset - offset :][: b.counts.size] += b.counts
        return Histogram(offset, counts, a.zero + b.zero, scale)

    def quantile(self, p: float) -> float:
        """The p-quantile, within `RELATIVE_ERROR` of numpy.quantile on the values; nan when empty. See `quantiles`."""
        return float(quantiles(self.offset, self.counts[None, :], np.array([self.zero]), [p])[0, 0])


def downscale(histogram: Histogram, steps: int) -> Histogram:
    """The same values in bins `2**steps` times as wide (on the logarithmic scale).

    Bin i of scale s lies inside bin i >> steps of scale s - steps, for negative i as well (the shift rounds down).
    """
    if steps < 0:
        raise ValueError("a histogram cannot be made finer")
    if steps == 0 or not histogram.counts.size:
        return Histogram(histogram.offset, histogram.counts, histogram.zero, histogram.scale - steps)
    index = (histogram.offset + np.arange(histogram.counts.size)) >> steps
    offset = int(index[0])
    counts = np.zeros(int(index[-1]) - offset + 1, dtype=np.int64)
    np.add.at(counts, index - offset, histogram.counts)
    return Histogram(offset, counts, histogram.zero, histogram.scale - steps)


def from_otel(scale: int, offset: int, counts: ArrayLike, zero_count: int = 0) -> Histogram:
    """A device's OpenTelemetry exponential histogram at the server's scale.

    A finer one is folded down exactly. A coarser one cannot be made finer: each of its counts is put whole into the
    middle one of the bins it covers, so its own, larger error bound goes on holding.
    Bins beyond the range of the module are added to its first or last bin.

    Raises:
        ValueError: negative counts, or a scale outside of OpenTelemetry's -10..20.
    """
    if not -10 <= scale <= 20:
        raise ValueError("scale must lie between -10 and 20")
    dense = np.asarray(counts, dtype=np.int64)
    if zero_count < 0 or (dense.size and dense.min() < 0):
        raise ValueError("counts must not be negative")
    index = offset + np.arange(dense.size, dtype=np.int64)
    index = index >> (scale - SCALE) if scale >= SCALE else (index << (SCALE - scale)) + (1 << (SCALE - scale - 1))
    index = np.clip(index, MIN_INDEX, MAX_INDEX)[dense > 0]
    dense = dense[dense > 0]
    if not dense.size:
        return Histogram(zero=int(zero_count))
    first = int(index.min())
    merged = np.zeros(int(index.max()) - first + 1, dtype=np.int64)
    np.add.at(merged, index - first, dense)
    return Histogram(first, merged, int(zero_count))
