"""What each device recorded in a period, for comparing devices: exact, whatever has been folded, nothing twice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from telemetry import columns, store
from telemetry.histograms import HistogramRows
from telemetry.rollups import Rollups
from telemetry.selectors.contexts import context_ids

Counts = NDArray[np.int64]
Values = NDArray[np.float64]

_VALUES = (
    *columns.COUNTS,
    *(f"{measure}_{part}" for measure in columns.MEASURES for part in ("n", "sum")),
    "latency_sumsq",
    "energy_sumsq",
    "temperature_max",
    *columns.HISTOGRAMS,
    "class_counts",
)
# A span without windows is read as some tens of rows of a device: days, and the hours at its ends.
ROWS_PER_DEVICE = 30
MOST_ROWS_READ = 12_000
_OUTCOMES = ("count", *columns.OUTCOME_COLUMN.values())


@dataclass(frozen=True)
class DeviceSummaries:
    """Everything that n devices recorded in a period; every array is aligned with `device_ids`.

    Attributes:
        device_ids: shape (n,), as asked for.
        count: (n,) inferences.
        outcomes, fallbacks: name -> (n,) inferences that failed or fell back in that way.
        throttled, retries: (n,) inferences while throttled; retries in all.
        measure_n, measure_sum: measure -> (n,) how many inferences carried it, and its sum in its own unit.
        latency_sumsq, energy_sumsq: (n,) sums of squares.
        latency_offset, latency_hist, latency_zero: bin of the first column, counts (n, bins), zeros (n,); also energy.
        confidence_hist, input_quality_hist: (n, 100) counts in equal bins on [0, 1].
        class_ids, class_counts: (k,) classes that occurred, (n, k) how often.
        temperature_max: (n,) °C, nan where none was reported.
        first_time, last_time: (n,) datetime64[us] in UTC: start of the first and last stored row, else NaT.
    """

    device_ids: Counts
    count: Counts
    outcomes: Mapping[str, Counts]
    fallbacks: Mapping[str, Counts]
    throttled: Counts
    retries: Counts
    measure_n: Mapping[str, Counts]
    measure_sum: Mapping[str, Values]
    latency_sumsq: Values
    energy_sumsq: Values
    latency_offset: int
    latency_hist: Counts
    latency_zero: Counts
    energy_offset: int
    energy_hist: Counts
    energy_zero: Counts
    confidence_hist: Counts
    input_quality_hist: Counts
    class_ids: Counts
    class_counts: Counts
    temperature_max: Values
    first_time: NDArray[np.datetime64]
    last_time: NDArray[np.datetime64]

    def __add__(self, other: DeviceSummaries) -> DeviceSummaries:
        """Both periods as one; they are about the same devices and share no time."""
        if not np.array_equal(self.device_ids, other.device_ids):
            raise ValueError("summaries of different devices cannot be added")
        latency_offset, latency_hist = _add_aligned(
            self.latency_offset, self.latency_hist, other.latency_offset, other.latency_hist
        )
        energy_offset, energy_hist = _add_aligned(
            self.energy_offset, self.energy_hist, other.energy_offset, other.energy_hist
        )
        class_ids = np.union1d(self.class_ids, other.class_ids)
        return DeviceSummaries(
            device_ids=self.device_ids,
            count=self.count + other.count,
            outcomes={name: n + other.outcomes[name] for name, n in self.outcomes.items()},
            fallbacks={name: n + other.fallbacks[name] for name, n in self.fallbacks.items()},
            throttled=self.throttled + other.throttled,
            retries=self.retries + other.retries,
            measure_n={name: n + other.measure_n[name] for name, n in self.measure_n.items()},
            measure_sum={name: total + other.measure_sum[name] for name, total in self.measure_sum.items()},
            latency_sumsq=self.latency_sumsq + other.latency_sumsq,
            energy_sumsq=self.energy_sumsq + other.energy_sumsq,
            latency_offset=latency_offset,
            latency_hist=latency_hist,
            latency_zero=self.latency_zero + other.latency_zero,
            energy_offset=energy_offset,
            energy_hist=energy_hist,
            energy_zero=self.energy_zero + other.energy_zero,
            confidence_hist=self.confidence_hist + other.confidence_hist,
            input_quality_hist=self.input_quality_hist + other.input_quality_hist,
            class_ids=class_ids,
            class_counts=_with_classes(self, class_ids) + _with_classes(other, class_ids),
            temperature_max=np.fmax(self.temperature_max, other.temperature_max),
            first_time=np.fmin(self.first_time, other.first_time),
            last_time=np.fmax(self.last_time, other.last_time),
        )


@dataclass(frozen=True)
class DeviceCounts:
    """How many inferences n devices recorded, and how many of those succeeded; aligned with the devices asked for."""

    count: Counts
    ok: Counts


def device_summaries(
    device_ids: Sequence[int],
    *,
    workload_id: int,
    release_ids: Sequence[int] | None = None,
    exclude_release_ids: Sequence[int] = (),
    start: datetime,
    end: datetime,
) -> DeviceSummaries:
    """What devices recorded over [start, end) with a workload, on some releases, or on all but some.

    Days, hours and minutes are read where each fits; a minute belongs to the period in which it begins.
    """
    (summary,) = _read(
        device_ids,
        contexts=context_ids(workload_id=workload_id, release_ids=release_ids, exclude_release_ids=exclude_release_ids),
        start=start,
        end=end,
        window=None,
    )
    return summary


def device_summary_windows(
    device_ids: Sequence[int],
    *,
    workload_id: int,
    release_ids: Sequence[int] | None = None,
    exclude_release_ids: Sequence[int] = (),
    start: datetime,
    end: datetime,
    window: timedelta,
) -> list[DeviceSummaries]:
    """The same for each window of [start, end), read in one pass; the last window may be short.

    All windows share their histogram offsets and `class_ids`, so that arrays can be added as they are. Hours and days
    are read where windows begin and end on them, else minutes.
    """
    return _read(
        device_ids,
        contexts=context_ids(workload_id=workload_id, release_ids=release_ids, exclude_release_ids=exclude_release_ids),
        start=start,
        end=end,
        window=window,
    )


def device_counts(
    device_ids: Sequence[int],
    *,
    workload_id: int,
    release_ids: Sequence[int] | None = None,
    start: datetime,
    end: datetime,
) -> DeviceCounts:
    """Inferences and successes of devices over [start, end): a light read for many devices."""
    order = np.array(device_ids, dtype=np.int64)
    rollups = store.device_rollups(
        list(device_ids),
        start=start,
        end=end,
        values=_OUTCOMES,
        context_ids=context_ids(workload_id=workload_id, release_ids=release_ids),
    )
    aligned = rollups.merged_into(_positions(order, rollups.keys["device_id"]), order.size)
    failed = sum(aligned.numbers[name] for name in columns.OUTCOME_COLUMN.values())
    return DeviceCounts(count=aligned.numbers["count"], ok=aligned.numbers["count"] - failed)


def _read(
    device_ids: Sequence[int],
    *,
    contexts: Sequence[int],
    start: datetime,
    end: datetime,
    window: timedelta | None,
) -> list[DeviceSummaries]:
    order = np.array(device_ids, dtype=np.int64)
    n_windows = 1 if window is None else max(-(-(end - start) // window), 0)
    # some devices at a time: what their stored rows take in memory, here and in the server's sorting, has a bound
    most = max(MOST_ROWS_READ // max(n_windows, ROWS_PER_DEVICE), 1)
    wanted = np.unique(order)
    rollups = Rollups.concatenated(
        [
            store.device_rollups(
                wanted[first : first + most].tolist(),
                start=start,
                end=end,
                values=_VALUES,
                by=("device_id",) if window is None else ("bucket", "device_id"),
                context_ids=contexts,
                step=window,
                origin=start,
            )
            for first in range(0, max(wanted.size, 1), most)
        ]
    )
    position = _positions(order, rollups.keys["device_id"])
    if window is not None:
        which = (rollups.keys["bucket"] - store.microseconds(start)) // (window // timedelta(microseconds=1))
        position = which * order.size + position
    return _laid_out(order, rollups, position, n_windows)


def _laid_out(order: Counts, rollups: Rollups, position: Counts, n_windows: int) -> list[DeviceSummaries]:
    """Rows of (window, device) as one summary per window, in the order of the devices."""
    n = order.size
    aligned = rollups.merged_into(position, n * n_windows)
    first = np.full(n * n_windows, np.datetime64("NaT"), dtype="datetime64[us]")
    last = first.copy()
    first[position] = rollups.keys["first_bucket"].astype("datetime64[us]")
    last[position] = rollups.keys["last_bucket"].astype("datetime64[us]")
    latency, energy = aligned.histograms["latency_hist"], aligned.histograms["energy_hist"]
    (latency_offset, latency_hist), (energy_offset, energy_hist) = latency.dense(), energy.dense()
    confidence = aligned.histograms["confidence_hist"].dense_unit()
    quality = aligned.histograms["input_quality_hist"].dense_unit()
    class_ids, class_counts = _classes(aligned.histograms["class_counts"])
    numbers = aligned.numbers
    summaries = []
    for window in range(n_windows):
        part = slice(window * n, (window + 1) * n)
        summaries.append(
            DeviceSummaries(
                device_ids=order,
                count=numbers["count"][part],
                outcomes={name: numbers[column][part] for name, column in columns.OUTCOME_COLUMN.items()},
                fallbacks={name: numbers[column][part] for name, column in columns.FALLBACK_COLUMN.items()},
                throttled=numbers["throttled"][part],
                retries=numbers["retries"][part],
                measure_n={measure: numbers[f"{measure}_n"][part] for measure in columns.MEASURES},
                measure_sum={measure: numbers[f"{measure}_sum"][part] for measure in columns.MEASURES},
                latency_sumsq=numbers["latency_sumsq"][part],
                energy_sumsq=numbers["energy_sumsq"][part],
                latency_offset=latency_offset,
                latency_hist=latency_hist[part],
                latency_zero=latency.zero[part],
                energy_offset=energy_offset,
                energy_hist=energy_hist[part],
                energy_zero=energy.zero[part],
                confidence_hist=confidence[part],
                input_quality_hist=quality[part],
                class_ids=class_ids,
                class_counts=class_counts[part],
                temperature_max=numbers["temperature_max"][part],
                first_time=first[part],
                last_time=last[part],
            )
        )
    return summaries


def _positions(order: Counts, device_ids: Counts) -> Counts:
    """Where each device stands in `order`; every one of them does."""
    by_id = np.argsort(order, kind="stable")
    return by_id[np.searchsorted(order, device_ids, sorter=by_id)] if device_ids.size else device_ids


def _classes(rows: HistogramRows) -> tuple[Counts, Counts]:
    """Class ids that occur, and counts of shape (rows, classes)."""
    class_ids, column = np.unique(rows.index, return_inverse=True)
    counts = np.zeros((rows.n_rows, class_ids.size), dtype=np.int64)
    np.add.at(counts, (rows.row, column.reshape(-1)), rows.count)
    return class_ids, counts


def _with_classes(summary: DeviceSummaries, class_ids: Counts) -> Counts:
    """Class counts with one column per class of a larger set."""
    counts = np.zeros((summary.device_ids.size, class_ids.size), dtype=np.int64)
    counts[:, np.searchsorted(class_ids, summary.class_ids)] = summary.class_counts
    return counts


def _add_aligned(offset_a: int, a: Counts, offset_b: int, b: Counts) -> tuple[int, Counts]:
    """Two dense histogram tables added, bin by bin."""
    if not a.shape[1] or not b.shape[1]:
        return (offset_a, a) if a.shape[1] else (offset_b, b)
    if offset_a == offset_b and a.shape == b.shape:
        return offset_a, a + b
    offset = min(offset_a, offset_b)
    width = max(offset_a + a.shape[1], offset_b + b.shape[1]) - offset
    total = np.zeros((a.shape[0], width), dtype=np.int64)
    total[:, offset_a - offset :][:, : a.shape[1]] += a
    total[:, offset_b - offset :][:, : b.shape[1]] += b
    return offset, total
