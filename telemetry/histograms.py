"""Bucket arithmetic: exponential and unit-interval histograms, how they are packed, merged and read.

Three nouns. A `Histogram` is one exponential histogram. `HistogramRows` is many of them, one per row, in coordinate
form, which is what thousands of stored rows are merged in. A *packed* histogram is the bytes that a row stores.

Exponential histograms have one scale for the whole product: 32 bins per power of two. Bin `i` covers
`(2^(i/32), 2^((i+1)/32)]` (upper-inclusive, as OpenTelemetry defines it at scale 5), so a quantile is known to within
1.09 %: `(g - 1) / (g + 1)` with `g = 2^(1/32)`. Values are clamped to `[2^-20, 2^40]`, which bounds what one absurd
reading can cost; outside of it the error bound does not hold. Unit-interval histograms have 100 equal bins on [0, 1].

Packed: little-endian int4 offset, uint4 zero count, uint4 counts from bin `offset` on, without zeros at either end.
Where a count does not fit: int4 offset + 2^30, four zero bytes, uint8 zero count, uint8 counts.
Class counts are pairs of little-endian int4 class id and uint4 count; a class may come more than once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

SCALE = 5
BINS_PER_OCTAVE = 1 << SCALE
MIN_INDEX = -20 * BINS_PER_OCTAVE
MAX_INDEX = 40 * BINS_PER_OCTAVE - 1
UNIT_BINS = 100
RELATIVE_ERROR = (2 ** (1 / BINS_PER_OCTAVE) - 1) / (2 ** (1 / BINS_PER_OCTAVE) + 1)

WIDE = 1 << 30
_HEADER = 8
_MAX_NARROW = np.iinfo(np.uint32).max
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


# --- packing --------------------------------------------------------------------------------------------------------


def pack(offset: int, counts: ArrayLike, zero: int = 0) -> bytes:
    """Bytes of a histogram whose first count is that of bin `offset`; zeros at either end are not stored."""
    dense = np.asarray(counts, dtype=np.int64)
    if zero < 0 or (dense < 0).any():
        raise ValueError("counts must not be negative")
    filled = np.flatnonzero(dense)
    if filled.size:
        offset += int(filled[0])
        dense = dense[filled[0] : filled[-1] + 1]
    else:
        offset, dense = 0, dense[:0]
    return _packed(offset, dense, zero)


def unpack(packed: bytes) -> tuple[int, NDArray[np.int64], int]:
    """Offset, counts and zero count of a packed histogram.

    Raises:
        ValueError: the bytes are no packed histogram.
    """
    if len(packed) < _HEADER:
        raise ValueError("a packed histogram has at least 8 bytes")
    head = int.from_bytes(packed[:4], "little", signed=True)
    if head >= WIDE // 2:
        body = np.frombuffer(packed, dtype="<u8", offset=_HEADER).astype(np.int64)
        return head - WIDE, body[1:], int(body[0])
    zero = int.from_bytes(packed[4:8], "little")
    return head, np.frombuffer(packed, dtype="<u4", offset=_HEADER).astype(np.int64), zero


def _packed(offset: int, counts: NDArray[np.int64], zero: int) -> bytes:
    if zero > _MAX_NARROW or (counts.size and int(counts.max()) > _MAX_NARROW):
        head = np.array([offset + WIDE, 0], dtype="<i4").tobytes()
        return head + np.concatenate(([zero], counts)).astype("<u8").tobytes()
    return offset.to_bytes(4, "little", signed=True) + zero.to_bytes(4, "little") + counts.astype("<u4").tobytes()


# --- one histogram --------------------------------------------------------------------------------------------------


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


def merge_packed(packed: Sequence[bytes | None]) -> Histogram:
    """The merged histogram of many stored ones."""
    rows = HistogramRows.from_packed(packed).regroup(np.zeros(len(packed), dtype=np.int64), 1)
    offset, dense = rows.dense()
    return Histogram(offset, dense[0], int(rows.zero[0]))


# --- quantiles ------------------------------------------------------------------------------------------------------


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


# --- many histograms ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class HistogramRows:
    """Many histograms in coordinate form: `count[k]` values of row `row[k]` fell into bin `index[k]`.

    A pair (row, index) may occur more than once, in any order; counts add up. `zero` has one entry per row.
    Serves both kinds: a unit-interval histogram has bins 0 to 99 and no zeros.
    """

    row: NDArray[np.int64]
    index: NDArray[np.int64]
    count: NDArray[np.int64]
    zero: NDArray[np.int64]

    @property
    def n_rows(self) -> int:
        """How many histograms there are."""
        return self.zero.size

    @classmethod
    def empty(cls, n_rows: int) -> HistogramRows:
        """Rows without values."""
        none = np.zeros(0, dtype=np.int64)
        return cls(none, none, none, np.zeros(n_rows, dtype=np.int64))

    @classmethod
    def from_packed(cls, packed: Sequence[bytes | None]) -> HistogramRows:
        """One row per packed histogram; None is an empty one."""
        lengths = np.array([0 if item is None else len(item) for item in packed], dtype=np.int64)
        return cls.from_blob(b"".join(item for item in packed if item), lengths)

    @classmethod
    def from_blob(cls, blob: bytes, lengths: NDArray[np.int64]) -> HistogramRows:
        """One row per packed histogram, given end to end with the length of each (0 for none)."""
        n_rows = lengths.size
        words = np.frombuffer(blob, dtype="<u4")
        present = np.flatnonzero(lengths)
        size = lengths[present] // 4
        start = np.cumsum(size) - size
        head = words[start].astype(np.int64)
        head[head >= 1 << 31] -= 1 << 32
        zero = np.zeros(n_rows, dtype=np.int64)
        zero[present] = words[start + 1]
        wide = head >= WIDE // 2
        # narrow rows, all at once: what remains of the words without the headers are their counts, end to end
        counts = np.ones(words.size, dtype=bool)
        counts[start] = counts[start + 1] = False
        for at in np.flatnonzero(wide):
            counts[start[at] : start[at] + size[at]] = False
        bins, offset = size[~wide] - 2, head[~wide]
        row = np.repeat(present[~wide], bins)
        index = np.arange(row.size) + np.repeat(offset - (np.cumsum(bins) - bins), bins)
        parts = [(row, index, words[counts].astype(np.int64))]
        for at in np.flatnonzero(wide):
            first, many, zeros = unpack(words[start[at] : start[at] + size[at]].tobytes())
            zero[present[at]] = zeros
            parts.append((np.full(many.size, present[at]), first + np.arange(many.size), many))
        row, index, count = (np.concatenate(part) if wide.any() else part[0] for part in zip(*parts, strict=True))
        return cls(row, index, count, zero)

    @classmethod
    def of_values(cls, row: NDArray, values: NDArray, n_rows: int) -> HistogramRows:
        """Exponential histograms of values that are zero or positive, each belonging to a row; nan is no value."""
        v = np.asarray(values, dtype=np.float64)
        known = ~np.isnan(v)
        row, v = np.asarray(row, dtype=np.int64)[known], v[known]
        is_zero = v == 0
        zero = np.bincount(row[is_zero], minlength=n_rows).astype(np.int64)
        index = index_of(v[~is_zero]).astype(np.int64)
        return cls(row[~is_zero], index, np.ones(index.size, dtype=np.int64), zero).compact()

    @classmethod
    def of_unit_values(cls, row: NDArray, values: NDArray, n_rows: int) -> HistogramRows:
        """Unit-interval histograms of values in [0, 1], each belonging to a row; nan is no value."""
        v = np.asarray(values, dtype=np.float64)
        known = ~np.isnan(v)
        index = unit_index_of(v[known]).astype(np.int64)
        row = np.asarray(row, dtype=np.int64)[known]
        return cls(row, index, np.ones(index.size, dtype=np.int64), np.zeros(n_rows, dtype=np.int64)).compact()

    def compact(self) -> HistogramRows:
        """The same histograms with each (row, index) once, in order, without zero counts."""
        if not self.row.size:
            return self
        low = int(self.index.min())
        width = int(self.index.max()) - low + 1
        key = self.row * width + (self.index - low)
        if self.n_rows * width <= 4 * key.size + 1024:
            # dense enough that counting beats sorting; exact, since counts stay far below 2^53
            counts = np.bincount(key, weights=self.count, minlength=self.n_rows * width)
            unique = np.flatnonzero(counts)
            total = counts[unique].astype(np.int64)
        else:
            unique, inverse = np.unique(key, return_inverse=True)
            total = np.bincount(inverse, weights=self.count).astype(np.int64)
            unique, total = unique[total > 0], total[total > 0]
        return HistogramRows(unique // width, unique % width + low, total, self.zero)

    def regroup(self, group: NDArray, n_groups: int) -> HistogramRows:
        """Histograms merged into groups: row r goes into group `group[r]`.

        Counts of one bin stay apart until they are needed as one: each further step would pay for adding them up.
        """
        group = np.asarray(group, dtype=np.int64)
        zero = np.bincount(group, weights=self.zero, minlength=n_groups).astype(np.int64)
        return HistogramRows(group[self.row], self.index, self.count, zero)

    def append(self, other: HistogramRows) -> HistogramRows:
        """These rows followed by the other's."""
        return HistogramRows(
            np.concatenate((self.row, other.row + self.n_rows)),
            np.concatenate((self.index, other.index)),
            np.concatenate((self.count, other.count)),
            np.concatenate((self.zero, other.zero)),
        )

    def totals(self) -> NDArray[np.int64]:
        """How many values each row holds."""
        return self.zero + np.bincount(self.row, weights=self.count, minlength=self.n_rows).astype(np.int64)

    def dense(self) -> tuple[int, NDArray[np.int64]]:
        """Bin of the first column, and counts of shape (rows, bins)."""
        if not self.row.size:
            return 0, np.zeros((self.n_rows, 0), dtype=np.int64)
        offset = int(self.index.min())
        width = int(self.index.max()) - offset + 1
        flat = np.bincount(self.row * width + (self.index - offset), weights=self.count, minlength=self.n_rows * width)
        return offset, flat.astype(np.int64).reshape(self.n_rows, width)

    def dense_unit(self) -> NDArray[np.int64]:
        """Counts of unit-interval histograms, shape (rows, 100)."""
        flat = np.bincount(self.row * UNIT_BINS + self.index, weights=self.count, minlength=self.n_rows * UNIT_BINS)
        return flat.astype(np.int64).reshape(self.n_rows, UNIT_BINS)

    def pack(self) -> list[bytes | None]:
        """One packed histogram per row; None for an empty row."""
        rows = self.compact()
        result: list[bytes | None] = [None] * rows.n_rows
        bounds = np.searchsorted(rows.row, np.arange(rows.n_rows + 1))
        for r in np.flatnonzero((np.diff(bounds) > 0) | (rows.zero > 0)):
            index, count = rows.index[bounds[r] : bounds[r + 1]], rows.count[bounds[r] : bounds[r + 1]]
            if not index.size:
                result[r] = _packed(0, count, int(rows.zero[r]))
                continue
            counts = np.zeros(int(index[-1] - index[0]) + 1, dtype=np.int64)
            counts[index - index[0]] = count
            result[r] = _packed(int(index[0]), counts, int(rows.zero[r]))
        return result


# --- class counts ---------------------------------------------------------------------------------------------------


def pack_classes(rows: HistogramRows) -> list[bytes | None]:
    """Class counts per row, as a row stores them; `index` is the class id. None for a row without classes."""
    rows = rows.compact()
    while rows.count.size and rows.count.max() > _MAX_NARROW:
        # a class may come more than once: what does not fit into one pair goes into the next
        spill = np.maximum(rows.count - _MAX_NARROW, 0)
        extra = spill > 0
        order = np.argsort(np.concatenate((rows.row, rows.row[extra])), kind="stable")
        rows = HistogramRows(
            np.concatenate((rows.row, rows.row[extra]))[order],
            np.concatenate((rows.index, rows.index[extra]))[order],
            np.concatenate((rows.count - spill, spill[extra]))[order],
            rows.zero,
        )
    pairs = np.empty(rows.row.size, dtype=[("id", "<i4"), ("count", "<u4")])
    pairs["id"], pairs["count"] = rows.index, rows.count
    bounds = np.searchsorted(rows.row, np.arange(rows.n_rows + 1))
    return [
        pairs[bounds[r] : bounds[r + 1]].tobytes() if bounds[r + 1] > bounds[r] else None for r in range(rows.n_rows)
    ]


def unpack_classes(packed: Sequence[bytes | None]) -> HistogramRows:
    """Class counts of stored rows; `index` is the class id."""
    lengths = np.array([0 if item is None else len(item) for item in packed], dtype=np.int64)
    return classes_from_blob(b"".join(item for item in packed if item), lengths)


def classes_from_blob(blob: bytes, lengths: NDArray[np.int64]) -> HistogramRows:
    """Class counts of stored rows, given end to end with the length of each (0 for none)."""
    pairs = np.frombuffer(blob, dtype=[("id", "<i4"), ("count", "<u4")])
    row = np.repeat(np.arange(lengths.size), lengths // 8)
    return HistogramRows(
        row, pairs["id"].astype(np.int64), pairs["count"].astype(np.int64), np.zeros(lengths.size, dtype=np.int64)
    ).compact()
