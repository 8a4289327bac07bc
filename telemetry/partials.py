"""Partial roll-ups of one batch: what its records, or its windows, add to each minute and to each operating condition.

Computed from the single-precision values as they are stored, so that the stored rows give the same partials again.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telemetry import columns
from telemetry.histograms import MIN_INDEX, HistogramRows, index_of, pack_classes, unit_index_of

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
# Ids of classes that lie no further apart are counted in a table, which is faster than sorting them.
_DENSE_CLASSES = 4_096
# The same of conditions: an hour has 2,420.
_DENSE_CODES = 10_000


@dataclass(frozen=True, slots=True)
class Records:
    """n stored inferences of one context.

    Attributes:
        time_us: (n,) event times.
        measures: (len(columns.MEASURES), n) float32, nan for a missing value.
        fallback, outcome: (n,) codes; retries: (n,); throttled: (n,) bool; class_id: (n,), -1 for none.
    """

    time_us: NDArray[np.int64]
    measures: NDArray[np.float32]
    fallback: NDArray[np.int16]
    outcome: NDArray[np.int16]
    retries: NDArray[np.int16]
    throttled: NDArray[np.bool_]
    class_id: NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class Partials:
    """Rows of `device_minute` or `device_cell` without their device, context and batch.

    Attributes:
        bucket_us: (k,) start of the bucket of each row.
        values: value columns by name: (k,) arrays, nan for a missing extreme, or k packed histograms (None if empty).
    """

    bucket_us: NDArray[np.int64]
    values: dict[str, NDArray | Sequence[bytes | None]]

    def __len__(self) -> int:
        return self.bucket_us.size


def minute_partials(records: Records) -> Partials:
    """What n > 0 records add to each minute they fall into."""
    order, minutes, starts = _groups(records.time_us // MINUTE_US)
    if order is not None:
        records = _reordered(records, order)
    k, n = minutes.size, records.time_us.size
    counts = np.diff(starts, append=n)
    group = np.repeat(np.arange(k), counts) if k > 1 else 0
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
    slices = [slice(start, start + count) for start, count in zip(starts.tolist(), counts.tolist(), strict=True)]
    _add_exponential(values, positive, None if absent is None else absent[_EXPONENTIAL], slices)
    _add_unit(values, measures[_UNIT], None if absent is None else absent[_UNIT], slices)
    values["class_counts"] = _classes(records.class_id, slices)
    return Partials(minutes * MINUTE_US, values)


def cell_partials(records: Records) -> Partials:
    """What n > 0 records add to each hour and condition: throttling, temperature, input quality and fallback."""
    hours = records.time_us // HOUR_US
    first_hour = int(hours.min())
    temperature = _band(records.measures[_ROW["temperature"]], 1 / BAND_DEGREES, LAST_BAND)
    quality = _band(records.measures[_ROW["input_quality"]], LAST_QUALITY_BAND + 1, LAST_QUALITY_BAND)
    bands, tenths, kinds = LAST_BAND + 2, LAST_QUALITY_BAND + 2, len(columns.FALLBACKS)
    code = (hours - first_hour) * 2 + records.throttled
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
    return Partials((cells + first_hour) * HOUR_US, values)


@dataclass(frozen=True, slots=True)
class WindowColumns:
    """w windows that a device summed up, as the columns of `device_minute` (see `Partials.values`).

    Attributes:
        start_us: (w,) event time of each window's start.
        numbers: additive columns and extremes by name, (w,) each; those left out are zero or missing.
        histograms: histogram columns and `class_counts`, with one row per window.
    """

    start_us: NDArray[np.int64]
    numbers: dict[str, NDArray]
    histograms: dict[str, HistogramRows]


def window_partials(windows: WindowColumns) -> Partials:
    """What w > 0 windows add to the minutes in which they start."""
    minutes, group = np.unique(windows.start_us // MINUTE_US, return_inverse=True)
    k = minutes.size
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
    return Partials(minutes * MINUTE_US, values)


# --- groups and histograms -------------------------------------------------------------------------------------------


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
    if codes.max() >= _DENSE_CODES:
        distinct, place = np.unique(codes, return_inverse=True)
    else:
        distinct = np.bincount(codes).nonzero()[0]
        places = np.empty(int(distinct[-1]) + 1, dtype=np.int64)
        places[distinct] = np.arange(distinct.size)
        place = places[codes]
    return distinct + low, place


def _reordered(records: Records, order: NDArray) -> Records:
    return Records(
        records.time_us[order],
        records.measures[:, order],
        records.fallback[order],
        records.outcome[order],
        records.retries[order],
        records.throttled[order],
        records.class_id[order],
    )


def _add_exponential(values: dict[str, Any], measured: NDArray, absent: NDArray | None, slices: list[slice]) -> None:
    """Add one packed histogram of each positive quantity per slice; missing values are zero in `measured`."""
    is_positive = measured > 0
    if is_positive.all():
        keep, zero = None, None
        index = index_of(measured)
    else:
        keep = is_positive
        zero = ~is_positive if absent is None else ~(is_positive | absent)
        index = index_of(np.where(is_positive, measured, 1.0))
    for row, name in enumerate(columns.EXPONENTIAL_HISTOGRAMS):
        values[name] = _packed(
            index[row], None if keep is None else keep[row], None if zero is None else zero[row], slices
        )


def _add_unit(values: dict[str, Any], measured: NDArray, absent: NDArray | None, slices: list[slice]) -> None:
    """Add one packed histogram of each share per slice."""
    index = unit_index_of(measured)
    for row, name in enumerate(columns.UNIT_HISTOGRAMS):
        values[name] = _packed(index[row], None if absent is None else ~absent[row], None, slices)


def _packed(
    index: NDArray[np.int32], keep: NDArray | None, zero: NDArray | None, slices: list[slice]
) -> list[bytes | None]:
    """One histogram per slice as telemetry.histograms packs it, of the bins to keep and the number of zeros."""
    packed: list[bytes | None] = []
    for at in slices:
        bins = index[at] if keep is None else index[at][keep[at]]
        zeros = 0 if zero is None else int(np.count_nonzero(zero[at]))
        if bins.size:
            low = int(bins.min())
            packed.append(_header(low, zeros) + np.bincount(bins - low).astype("<u4").tobytes())
        else:
            packed.append(_header(0, zeros) if zeros else None)
    return packed


def _header(offset: int, zero: int) -> bytes:
    return offset.to_bytes(4, "little", signed=True) + zero.to_bytes(4, "little")


def _classes(class_id: NDArray[np.int32], slices: list[slice]) -> list[bytes | None]:
    """One packed table of class counts per slice."""
    known = class_id >= 0
    all_known = known.all()
    ids = class_id if all_known else class_id[known]
    if not ids.size:
        return [None] * len(slices)
    low, high = int(ids.min()), int(ids.max())
    if high - low < _DENSE_CLASSES:
        names, code = None, class_id - low
    else:
        names, code = np.unique(class_id, return_inverse=True)
    packed: list[bytes | None] = []
    for at in slices:
        counts = np.bincount(code[at] if all_known else code[at][known[at]])
        present = counts.nonzero()[0]
        pairs = np.empty((present.size, 2), dtype="<u4")
        pairs[:, 0], pairs[:, 1] = present + low if names is None else names[present], counts[present]
        packed.append(pairs.tobytes() if present.size else None)
    return packed


def _band(values: NDArray[np.float32], per_unit: float, last: int) -> NDArray[np.int64]:
    """Whole bands of values, `_NO_READING` for nan."""
    absent = np.isnan(values)
    # half an ulp of single precision: 0.3 as float32 is a hair above or below, and must land in the band it names
    bands = np.floor(np.where(absent, 0, values).astype(np.float64) * per_unit + 1e-6).astype(np.int64)
    return np.where(absent, _NO_READING, np.clip(bands, 0, last))
