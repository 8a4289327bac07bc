"""Bucket arithmetic: exponential and unit-interval histograms, how they are packed, merged and read.

Three nouns. A `Histogram` is one exponential histogram. `HistogramRows` is many of them, one per row, as runs of
counts, which is what thousands of stored rows are merged in. A *packed* histogram is the bytes that a row stores.

Exponential histograms have one scale for the whole product: 32 bins per power of two. Bin `i` covers
`(2^(i/32), 2^((i+1)/32)]` (upper-inclusive, as OpenTelemetry defines it at scale 5), so a quantile is known to within
1.09 %: `(g - 1) / (g + 1)` with `g = 2^(1/32)`. Values are clamped to `[2^-20, 2^40]`, which bounds what one absurd
reading can cost; outside of it the error bound does not hold. Unit-interval histograms have 100 equal bins on [0, 1].

Packed: little-endian int4 offset, uint4 zero count, uint4 counts from bin `offset` on, without zeros at either end.
Where a count does not fit: int4 offset + 2^30, four zero bytes, uint8 zero count, uint8 counts.
Class counts are pairs of little-endian int4 class id and uint4 count; a class may come more than once.
"""

from telemetry.histograms.bins import (
    BINS_PER_OCTAVE,
    MAX_INDEX,
    MIN_INDEX,
    RELATIVE_ERROR,
    SCALE,
    UNIT_BINS,
    index_of,
    lower_bounds,
    midpoints,
    unit_index_of,
    upper_bounds,
)
from telemetry.histograms.classes import classes_from_blob, pack_classes, unpack_classes
from telemetry.histograms.order_statistics import quantiles, unit_quantiles
from telemetry.histograms.packing import WIDE, pack, pack_runs, unpack
from telemetry.histograms.rows import HistogramRows, merge_packed
from telemetry.histograms.single import Histogram, downscale, from_otel

__all__ = [
    "BINS_PER_OCTAVE",
    "Histogram",
    "HistogramRows",
    "MAX_INDEX",
    "MIN_INDEX",
    "RELATIVE_ERROR",
    "SCALE",
    "UNIT_BINS",
    "WIDE",
    "classes_from_blob",
    "downscale",
    "from_otel",
    "index_of",
    "lower_bounds",
    "merge_packed",
    "midpoints",
    "pack",
    "pack_classes",
    "pack_runs",
    "quantiles",
    "unit_index_of",
    "unit_quantiles",
    "unpack",
    "unpack_classes",
    "upper_bounds",
]
