"""Many histograms at once: how thousands of stored rows are merged."""

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
    """Many histograms as runs of counts: run k belongs to row `row[k]` and begins at bin `index[k]`.

    A run is one count long, or `sizes[k]` counts in consecutive bins, which is how a stored histogram lies in memory;
    `count` holds the counts of all runs end to end. A bin of a row may occur more than once, in any order; counts add
    up. `zero` has one entry per row. Serves both kinds: a unit-interval histogram has bins 0 to 99 and no zeros.
    """

    row: NDArray[np.int64]
    index: NDArray[np.int64]
    count: NDArray
    zero: NDArray[np.int64]
    sizes: NDArray[np.int64] | None = None

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
        is_count = np.ones(words.size, dtype=bool)
        is_count[start] = is_count[start + 1] = False
        for at in np.flatnonzero(wide):
            is_count[start[at] : start[at] + size[at]] = False
        runs = [(present[~wide], head[~wide], words[is_count], size[~wide] - 2)]
        for at in np.flatnonzero(wide):
            first, many, zeros = unpack(words[start[at] : start[at] + size[at]].tobytes())
            zero[present[at]] = zeros
            runs.append((present[at : at + 1], np.array([first]), many, np.array([many.size])))
        row, index, count, sizes = (np.concatenate(part) if wide.any() else part[0] for part in zip(*runs, strict=True))
        # a histogram of nothing but zeros has no bins, and its offset means nothing
        filled = sizes > 0
        return cls(row[filled], index[filled], count, zero, sizes[filled])

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
        """The same histograms with each (row, index) once, in order, in runs of one count, without zero counts."""
        if not self.count.size:
            none = np.zeros(0, dtype=np.int64)
            return HistogramRows(none, none, none, self.zero)
        row, index, count = self._coordinates()
        low = int(index.min())
        width = int(index.max()) - low + 1
        key = row * width + (index - low)
        if self.n_rows * width <= 4 * key.size + 1024:
            # dense enough that counting beats sorting; exact, since counts stay far below 2^53
            counts = np.bincount(key, weights=count, minlength=self.n_rows * width)
            unique = np.flatnonzero(counts)
            total = counts[unique].astype(np.int64)
        else:
            unique, inverse = np.unique(key, return_inverse=True)
            total = np.bincount(inverse, weights=count).astype(np.int64)
            unique, total = unique[total > 0], total[total > 0]
        return HistogramRows(unique // width, unique % width + low, total, self.zero)

    def regroup(self, group: NDArray, n_groups: int) -> HistogramRows:
        """Histograms merged into groups: row r goes into group `group[r]`.

        Counts of one bin stay apart until they are needed as one: each further step would pay for adding them up.
        """
        group = np.asarray(group, dtype=np.int64)
        zero = np.bincount(group, weights=self.zero, minlength=n_groups).astype(np.int64)
        return HistogramRows(group[self.row], self.index, self.count, zero, self.sizes)

    def summed(self) -> HistogramRows:
        """The same histograms, each bin once: what many merged rows take in memory shrinks to what their sums take."""
        if self.sizes is None:
            return self.compact()
        if self.row.size <= self.n_rows:
            # nothing to gain: hardly a row has more than one run
            return self
        offset, counts = self.dense()
        rows = np.arange(self.n_rows) if counts.size else np.zeros(0, dtype=np.int64)
        return HistogramRows(
            rows, np.full(rows.size, offset), counts.reshape(-1), self.zero, np.full(rows.size, counts.shape[1])
        )

    @classmethod
    def concatenated(cls, parts: Sequence[HistogramRows]) -> HistogramRows:
        """The rows of all parts, one part after the other."""
        sizes = None
        if any(part.sizes is not None for part in parts):
            sizes = np.concatenate([np.ones_like(part.row) if part.sizes is None else part.sizes for part in parts])
        first_row = np.cumsum([0, *(part.n_rows for part in parts)])
        return cls(
            np.concatenate([part.row + first for part, first in zip(parts, first_row[:-1], strict=True)]),
            np.concatenate([part.index for part in parts]),
            np.concatenate([part.count for part in parts]),
            np.concatenate([part.zero for part in parts]),
            sizes,
        )

    def totals(self) -> NDArray[np.int64]:
        """How many values each row holds."""
        row = self.row if self.sizes is None else np.repeat(self.row, self.sizes)
        return self.zero + np.bincount(row, weights=self.count, minlength=self.n_rows).astype(np.int64)

    def dense(self) -> tuple[int, NDArray[np.int64]]:
        """Bin of the first column, and counts of shape (rows, bins)."""
        if not self.count.size:
            return 0, np.zeros((self.n_rows, 0), dtype=np.int64)
        ends = self.index + (1 if self.sizes is None else self.sizes)
        offset = int(self.index.min())
        return offset, self._table(offset, int(ends.max()) - offset)

    def dense_unit(self) -> NDArray[np.int64]:
        """Counts of unit-interval histograms, shape (rows, 100)."""
        return self._table(0, UNIT_BINS)

    def _table(self, offset: int, width: int) -> NDArray[np.int64]:
        """Counts of the bins from `offset` on, shape (rows, width), in one pass over the counts."""
        place = self._along(self.row * width + (self.index - offset))
        flat = np.bincount(place, weights=self.count, minlength=self.n_rows * width)
        return flat.astype(np.int64).reshape(self.n_rows, width)

    def _coordinates(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray]:
        """Row, bin and count of every count."""
        row = self.row if self.sizes is None else np.repeat(self.row, self.sizes)
        return row, self._along(self.index), self.count

    def _along(self, first: NDArray[np.int64]) -> NDArray[np.int64]:
        """For every count, `first` of its run plus its place in the run."""
        if self.sizes is None:
            return first
        before = np.cumsum(self.sizes) - self.sizes
        return np.arange(self.count.size) + np.repeat(first - before, self.sizes)

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
