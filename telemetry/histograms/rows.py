"""Many histograms in coordinate form: how thousands of stored rows are merged."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from telemetry.histograms.bins import UNIT_BINS, index_of, unit_index_of
from telemetry.histograms.packing import WIDE, packed_bytes, unpack
from telemetry.histograms.single import Histogram


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
                result[r] = packed_bytes(0, count, int(rows.zero[r]))
                continue
            counts = np.zeros(int(index[-1] - index[0]) + 1, dtype=np.int64)
            counts[index - index[0]] = count
            result[r] = packed_bytes(int(index[0]), counts, int(rows.zero[r]))
        return result


def merge_packed(packed: Sequence[bytes | None]) -> Histogram:
    """The merged histogram of many stored ones."""
    rows = HistogramRows.from_packed(packed).regroup(np.zeros(len(packed), dtype=np.int64), 1)
    offset, dense = rows.dense()
    return Histogram(offset, dense[0], int(rows.zero[0]))
