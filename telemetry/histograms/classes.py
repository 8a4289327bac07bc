"""Counts of predicted classes, stored beside the histograms and merged like them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from telemetry.histograms.packing import MAX_NARROW
from telemetry.histograms.rows import HistogramRows


def pack_classes(rows: HistogramRows) -> list[bytes | None]:
    """Class counts per row, as a row stores them; `index` is the class id. None for a row without classes."""
    rows = rows.compact()
    while rows.count.size and rows.count.max() > MAX_NARROW:
        # a class may come more than once: what does not fit into one pair goes into the next
        spill = np.maximum(rows.count - MAX_NARROW, 0)
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
