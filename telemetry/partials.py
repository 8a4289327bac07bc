"""Partial roll-ups: what the records of a batch, or its windows, add to each minute and to each operating condition.

Computed from the single-precision values as they are stored, so that the stored rows give the same partials again.
Many batches are rolled up at once, each for itself: of a small batch's time the better part would be numpy's own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import compress, pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telemetry import columns
from telemetry.histograms import MIN_INDEX, HistogramRows, index_of, pack_classes, pack_runs, unit_index_of

MINUTE_US = 60_000_000
HOUR_US = 60 * MINUTE_US

# Temperature bands are ten degrees wide: band 0 is everything below 10 °C, band 20 everything from 200 °C.
BAND_DEGREES, LAST_BAND = 10, 20
LAST_QUALITY_BAND = 9
_NO_READING = -1
# Latencies below the histograms' first bin are taken as its lower bound, so that their logarithm is finite.
_SMALLEST_LATENCY = 2.0 ** (MIN_INDEX / 32)

_ROW = {measure: row for row, measure in enumerate(columns.MEASURES)}
_EXTREMES = (
    ("latency_min", "latency", np.fmin),
    ("latency_max", "latency", np.fmax),
    ("temperature_max", "temperature", np.fmax),
    ("power_max", "power", np.fmax),
    ("memory_max", "memory", np.fmax),
)
_MAXIMA = tuple(name for name, _, extreme in _EXTREMES if extreme is np.fmax)
_MAXIMA_ROWS = [_ROW[measure] for _, measure, extreme in _EXTREMES if extreme is np.fmax]
_EXPONENTIAL = [_ROW[name.removesuffix("_hist")] for name in columns.EXPONENTIAL_HISTOGRAMS]
_UNIT = [_ROW[name.removesuffix("_hist")] for name in columns.UNIT_HISTOGRAMS]
_FIRST = np.zeros(1, dtype=np.int64)
# Codes are counted in a table, which is faster than sorting them, while it has no more than so many places in all, or
# for each of them.
_DENSE, _DENSE_EACH = 10_000, 40


@dataclass(frozen=True, slots=True)
class Records:
    """n stored inferences of one batch or of several, each batch of one context.

    Attributes:
        time_us: (n,) event times.
        measures: (len(columns.MEASURES), n) float32, nan for a missing value.
        fallback, outcome: (n,) codes; retries: (n,); throttled: (n,) bool; class_id: (n,), -1 for none.
        batch: (n,) place of each record's batch among the batches; None where there is but one.
    """

    time_us: NDArray[np.int64]
    measures: NDArray[np.float32]
    fallback: NDArray[np.int16]
    outcome: NDArray[np.int16]
    retries: NDArray[np.int16]
    throttled: NDArray[np.bool_]
    class_id: NDArray[np.int32]
    batch: NDArray[np.int64] | None = None

    def select(self, at: NDArray) -> Records:
        """The records at these places, or where a mask is true."""
        return Records(
            self.time_us[at],
            self.measures[:, at],
            self.fallback[at],
            self.outcome[at],
            self.retries[at],
            self.throttled[at],
            self.class_id[at],
            None if self.batch is None else self.batch[at],
        )


@dataclass(frozen=True, slots=True)
class Partials:
    """Rows of `device_minute` or `device_cell` without their device, context and batch.

    Attributes:
        batch: (k,) place of each row's batch among the batches, in ascending order.
        bucket_us: (k,) start of the bucket of each row.
        values: value columns by name: (k,) arrays, nan for a missing extreme, or k packed histograms (None if empty).
    """

    batch: NDArray[np.int64]
    bucket_us: NDArray[np.int64]
    values: dict[str, NDArray | Sequence[bytes | None]]

    def __len__(self) -> int:
        return self.bucket_us.size

    def select(self, keep: NDArray[np.bool_]) -> Partials:
        """The rows where `keep` is true."""

        def kept(values: NDArray | Sequence[bytes | None]) -> NDArray | Sequence[bytes | None]:
            return values[keep] if isinstance(values, np.ndarray) else list(compress(values, keep))

        return Partials(self.batch[keep], self.bucket_us[keep], {name: kept(v) for name, v in self.values.items()})


def minute_partials(records: Records) -> Partials:
    """What n > 0 records add to each minute they fall into, batch by batch."""
    keys = _Keys.of(records.time_us // MINUTE_US, records.batch)
    order, distinct, starts = _groups(keys.key)
    if order is not None:
        records = records.select(order)
    k, n = distinct.size, records.time_us.size
    counts = np.diff(starts, append=n)
    group = np.repeat(np.arange(k), counts)
    measures = records.measures.astype(np.float64)
    absent = np.isnan(measures)
    if absent.any():
        measures[absent] = 0.0
        present = counts - np.add.reduceat(absent, starts, axis=1, dtype=np.int64)
    else:
        absent, present = None, [counts] * len(measures)
    sums = np.add.reduceat(measures, starts, axis=1)
    values: dict[str, Any] = {"count": counts}
    outcomes = np.bincount(group * 4 + records.outcome, minlength=4 * k).reshape(k, 4)
    fallbacks = np.bincount(group * 5 + records.fallback, minlength=5 * k).reshape(k, 5)
    values |= {columns.OUTCOME_COLUMN[name]: outcomes[:, i] for i, name in enumerate(columns.OUTCOMES) if i}
    values |= {columns.FALLBACK_COLUMN[name]: fallbacks[:, i] for i, name in enumerate(columns.FALLBACKS) if i}
    values["retries"] = np.add.reduceat(records.retries, starts, dtype=np.int64)
    values["throttled"] = np.add.reduceat(records.throttled, starts, dtype=np.int64)
    values["throttled_ms"] = values["covered_ms"] = np.zeros(k, dtype=np.int64)
    values["idle_energy_mj"] = np.zeros(k)
    for measure, row in _ROW.items():
        values[f"{measure}_n"], values[f"{measure}_sum"] = present[row], sums[row]
    positive = measures[_EXPONENTIAL]
    values["latency_sumsq"], values["energy_sumsq"] = np.add.reduceat(positive * positive, starts, axis=1)
    values["latency_min"] = np.fmin.reduceat(records.measures[_ROW["latency"]], starts)
    values |= zip(_MAXIMA, np.fmax.reduceat(records.measures[_MAXIMA_ROWS], starts, axis=1), strict=True)
    values |= _histograms(measures, absent, starts, group, k)
    values["class_counts"] = _classes(records.class_id, group, k)
    batch, minutes = keys.split(distinct)
    return Partials(batch, minutes * MINUTE_US, values)


def cell_partials(records: Records) -> Partials:
    """What n > 0 records add to each hour and condition: throttling, temperature, input quality and fallback."""
    keys = _Keys.of(records.time_us // HOUR_US, records.batch)
    temperature = _band(records.measures[_ROW["temperature"]], 1 / BAND_DEGREES, LAST_BAND)
    quality = _band(records.measures[_ROW["input_quality"]], LAST_QUALITY_BAND + 1, LAST_QUALITY_BAND)
    bands, tenths, kinds = LAST_BAND + 2, LAST_QUALITY_BAND + 2, len(columns.FALLBACKS)
    code = keys.key * 2 + records.throttled
    code = (code * bands + temperature + 1) * tenths + quality + 1
    cells, group = _distinct(code * kinds + records.fallback)
    k = cells.size

    def total(values: NDArray) -> NDArray[np.float64]:
        return np.bincount(group, weights=values, minlength=k)

    latency = records.measures[_ROW["latency"]].astype(np.float64)
    values: dict[str, Any] = {"count": np.bincount(group, minlength=k), "latency_sum": total(latency)}
    values["latency_log_sum"] = total(np.log(np.maximum(latency, _SMALLEST_LATENCY)))
    for measure in ("energy", "confidence"):
        measured = records.measures[_ROW[measure]].astype(np.float64)
        absent = np.isnan(measured)
        values[f"{measure}_n"] = np.bincount(group, weights=~absent, minlength=k).astype(np.int64)
        values[f"{measure}_sum"] = total(np.where(absent, 0.0, measured))
    cells, values["fallback"] = np.divmod(cells, kinds)
    cells, tenth = np.divmod(cells, tenths)
    cells, band = np.divmod(cells, bands)
    cells, values["throttled"] = np.divmod(cells, 2)
    values["quality_band"], values["temperature_band"] = tenth - 1, band - 1
    batch, hours = keys.split(cells)
    return Partials(batch, hours * HOUR_US, values)


@dataclass(frozen=True, slots=True)
class WindowColumns:
    """w windows that a device summed up, as the columns of `device_minute` (see `Partials.values`).

    Attributes:
        start_us: (w,) event time of each window's start.
        numbers: additive columns and extremes by name, (w,) each; those left out are zero or missing.
        histograms: histogram columns and `class_counts`, with one row per window.
        batch: (w,) place of each window's batch among the batches; None where there is but one.
    """

    start_us: NDArray[np.int64]
    numbers: dict[str, NDArray]
    histograms: dict[str, HistogramRows]
    batch: NDArray[np.int64] | None = None


def window_partials(windows: WindowColumns) -> Partials:
    """What w > 0 windows add to the minutes in which they start."""
    keys = _Keys.of(windows.start_us // MINUTE_US, windows.batch)
    distinct, group = np.unique(keys.key, return_inverse=True)
    k = distinct.size
    extremes = {name: extreme for name, _, extreme in _EXTREMES}
    values: dict[str, Any] = {}
    for column in columns.PARTIAL_VALUES:
        if column.merge in ("histogram", "classes"):
            rows = windows.histograms.get(column.name, HistogramRows.empty(group.size)).regroup(group, k)
            values[column.name] = pack_classes(rows) if column.merge == "classes" else rows.pack()
        elif column.name in extremes:
            merged = np.full(k, np.nan, dtype=np.float32)
            if column.name in windows.numbers:
                extremes[column.name].at(merged, group, windows.numbers[column.name].astype(np.float32))
            values[column.name] = merged
        else:
            merged = np.zeros(k, dtype=np.float64 if column.type == "float8" else np.int64)
            if column.name in windows.numbers:
                np.add.at(merged, group, windows.numbers[column.name])
            values[column.name] = merged
    batch, minutes = keys.split(distinct)
    return Partials(batch, minutes * MINUTE_US, values)


# --- groups and histograms -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Keys:
    """Batch and bucket in one number each: `key = batch * span + bucket - first`."""

    key: NDArray[np.int64]
    first: int
    span: int

    @classmethod
    def of(cls, bucket: NDArray[np.int64], batch: NDArray[np.int64] | None) -> _Keys:
        """Keys of buckets, and of the batches they belong to."""
        first = int(bucket.min())
        if batch is None:
            return cls(bucket - first, first, 0)
        span = int(bucket.max()) - first + 1
        return cls(batch * span + (bucket - first), first, span)

    def split(self, key: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Batches and buckets of keys."""
        if not self.span:
            return np.zeros_like(key), key + self.first
        batch, bucket = np.divmod(key, self.span)
        return batch, bucket + self.first


def _groups(keys: NDArray[np.int64]) -> tuple[NDArray | None, NDArray[np.int64], NDArray[np.int64]]:
    """The order that sorts the keys (None if they are sorted), the distinct keys, and where each begins."""
    order = None
    steps = keys[1:] - keys[:-1]
    if (steps < 0).any():
        order = np.argsort(keys, kind="stable")
        keys = keys[order]
        steps = keys[1:] - keys[:-1]
    starts = np.concatenate((_FIRST, steps.nonzero()[0] + 1))
    return order, keys[starts], starts


def _distinct(codes: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct codes in order, and the place of each code among them."""
    low = codes.min()
    codes = codes - low
    if codes.max() >= max(_DENSE, _DENSE_EACH * codes.size):
        distinct, place = np.unique(codes, return_inverse=True)
    else:
        distinct = np.bincount(codes).nonzero()[0]
        places = np.empty(int(distinct[-1]) + 1, dtype=np.int64)
        places[distinct] = np.arange(distinct.size)
        place = places[codes]
    return distinct + low, place


def _histograms(
    measures: NDArray[np.float64], absent: NDArray[np.bool_] | None, starts: NDArray, group: NDArray, k: int
) -> dict[str, list[bytes | None]]:
    """Packed histograms of the measures that have one, k of each; missing values are zero in `measures`.

    All are laid end to end and counted in one go.
    """
    positive = measures[_EXPONENTIAL]
    is_positive = positive > 0
    some_zero = not is_positive.all()
    index = np.concatenate(
        (index_of(np.where(is_positive, positive, 1.0) if some_zero else positive), unit_index_of(measures[_UNIT]))
    )
    n, kinds = group.size, len(index)
    zeros = np.zeros(kinds * k, dtype=np.int64)
    if some_zero:
        is_zero = ~is_positive if absent is None else ~(is_positive | absent[_EXPONENTIAL])
        zeros[: len(_EXPONENTIAL) * k] = np.add.reduceat(is_zero, starts, axis=1, dtype=np.int64).ravel()
    if absent is None and not some_zero:
        group_of_all = (group + k * np.arange(kinds)[:, None]).ravel()
        packed = pack_runs(index.ravel(), group_of_all, zeros)
    else:
        keep = np.ones((kinds, n), dtype=bool) if absent is None else ~absent[_EXPONENTIAL + _UNIT]
        keep[: len(_EXPONENTIAL)] &= is_positive
        group_of_all = np.broadcast_to(group, (kinds, n)) + k * np.arange(kinds)[:, None]
        packed = pack_runs(index[keep], group_of_all[keep], zeros)
    return {name: packed[at * k : (at + 1) * k] for at, name in enumerate(columns.HISTOGRAMS)}


def _classes(class_id: NDArray[np.int32], group: NDArray[np.int64], k: int) -> list[bytes | None]:
    """One packed table of class counts for each of k groups."""
    known = class_id >= 0
    if not known.all():
        class_id, group = class_id[known], group[known]
    if not class_id.size:
        return [None] * k
    low = int(class_id.min())
    span = int(class_id.max()) - low + 1
    key = group * span + (class_id - low)
    if k * span <= max(_DENSE, _DENSE_EACH * class_id.size):
        counts = np.bincount(key)
        distinct = counts.nonzero()[0]
        counts = counts[distinct]
    else:
        distinct, counts = np.unique(key, return_counts=True)
    pairs = np.empty((distinct.size, 2), dtype="<u4")
    row = distinct // span
    pairs[:, 0], pairs[:, 1] = distinct - row * span + low, counts
    blob, bounds = pairs.tobytes(), (8 * np.searchsorted(row, np.arange(k + 1))).tolist()
    return [blob[start:end] or None for start, end in pairwise(bounds)]


def _band(values: NDArray[np.float32], per_unit: float, last: int) -> NDArray[np.int64]:
    """Whole bands of values, `_NO_READING` for nan."""
    absent = np.isnan(values)
    # half an ulp of single precision: 0.3 as float32 is a hair above or below, and must land in the band it names
    bands = np.floor(np.where(absent, 0, values).astype(np.float64) * per_unit + 1e-6).astype(np.int64)
    return np.where(absent, _NO_READING, np.clip(bands, 0, last))
