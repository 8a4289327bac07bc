"""What a batch adds to roll-ups, and the newest figures of the device that follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telemetry import columns
from telemetry.histograms import Histogram, HistogramRows, merge_packed
from telemetry.partials import Partials, WindowColumns, window_partials
from telemetry.protocol import CheckedWindow
from telemetry.protocol.windows import Summary
from telemetry.services.ingest.placing import Placed

_ROW = {measure: row for row, measure in enumerate(columns.MEASURES)}


def window_rollups(
    windows: Sequence[CheckedWindow],
    start_us: NDArray[np.int64],
    class_ids: Sequence[Mapping[str, int]],
    batch: NDArray[np.int64],
) -> Partials:
    """What windows add to minutes.

    Args:
        windows: w > 0 windows.
        start_us: (w,) event times of their starts.
        class_ids: ids of the class names, of each window's workload; a name without an id is left out.
        batch: (w,) place of each window's batch among the batches.
    """

    def column(value: Any) -> NDArray:
        return np.array([value(window) for window in windows])

    numbers = {
        "count": column(lambda w: w.count),
        "retries": column(lambda w: w.retries),
        "throttled": column(lambda w: w.throttled),
        "throttled_ms": column(lambda w: w.throttled_ms),
        "idle_energy_mj": column(lambda w: w.idle_energy_mj),
        "covered_ms": column(lambda w: w.covered_ms),
        "latency_sumsq": column(lambda w: w.latency.sumsq),
        "energy_sumsq": column(lambda w: w.energy.sumsq),
        "latency_min": column(lambda w: w.latency.low),
        "latency_max": column(lambda w: w.latency.high),
    }
    for kind, name in columns.OUTCOME_COLUMN.items():
        numbers[name] = column(lambda w, kind=kind: w.outcomes.get(kind, 0))
    for kind, name in columns.FALLBACK_COLUMN.items():
        numbers[name] = column(lambda w, kind=kind: w.fallbacks.get(kind, 0))
    histograms = {"class_counts": _class_rows(windows, class_ids)}
    for measure in ("latency", "energy", "confidence", "input_quality"):
        summaries: list[Summary] = [getattr(window, measure) for window in windows]
        numbers[f"{measure}_n"] = np.array([s.count for s in summaries])
        numbers[f"{measure}_sum"] = np.array([s.sum for s in summaries])
        histograms[f"{measure}_hist"] = _histogram_rows([s.histogram for s in summaries])
    return window_partials(WindowColumns(start_us, numbers, histograms, batch))


def _histogram_rows(items: list[Histogram]) -> HistogramRows:
    sizes = [item.counts.size for item in items]
    if not sum(sizes):
        return HistogramRows(*(np.zeros(0, dtype=np.int64),) * 3, np.array([item.zero for item in items]))
    return HistogramRows(
        np.repeat(np.arange(len(items)), sizes),
        np.concatenate([item.offset + np.arange(item.counts.size) for item in items]),
        np.concatenate([item.counts for item in items]),
        np.array([item.zero for item in items], dtype=np.int64),
    )


def _class_rows(windows: Sequence[CheckedWindow], class_ids: Sequence[Mapping[str, int]]) -> HistogramRows:
    entries = [
        (row, ids[name], count)
        for row, (window, ids) in enumerate(zip(windows, class_ids, strict=True))
        for name, count in window.classes.items()
        if count and ids.get(name, -1) >= 0
    ]
    row, index, count = np.array(entries, dtype=np.int64).reshape(-1, 3).T
    return HistogramRows(row, index, count, np.zeros(len(windows), dtype=np.int64))


@dataclass(slots=True)
class Latest:
    """The newest figures of a device as one batch tells them; None for what it does not tell."""

    latency_p95_ms: float | None = None
    energy_mj: float | None = None
    confidence: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    memory_mb: float | None = None
    battery_pct: float | None = None
    throttled: bool = False
    fallback_rate: float | None = None
    error_rate: float | None = None


_RATES = tuple(columns.FALLBACK_COLUMN.values()), tuple(columns.OUTCOME_COLUMN.values())
_TOTALS = (
    *("count", "throttled", "energy_n", "energy_sum", "confidence_n", "confidence_sum"),
    *(name for names in _RATES for name in names),
)


def totals_of(partials: Sequence[Partials], n_batches: int) -> list[dict[str, float]]:
    """What batches add to roll-ups, as far as `latest_figures` needs it, batch by batch."""
    summed = [
        sum(np.bincount(part.batch, part.values[name], n_batches) for part in partials).tolist() for name in _TOTALS
    ]
    return [dict(zip(_TOTALS, of_batch, strict=True)) for of_batch in zip(*summed, strict=True)]


def latest_figures(
    placed: Placed, totals: Mapping[str, float] | None, latency_hists: Sequence[bytes | None] = ()
) -> Latest:
    """Means and rates over the batch, and the readings of its newest record.

    Args:
        placed: the batch.
        totals: see `totals_of`; None where it adds nothing to roll-ups.
        latency_hists: packed histograms of its minutes, for a batch without inferences.
    """
    latest = Latest()
    if totals is not None and (count := totals["count"]):
        latest.energy_mj = _mean(totals, "energy")
        latest.confidence = _mean(totals, "confidence")
        fallbacks, failures = _RATES
        latest.fallback_rate = sum(totals[name] for name in fallbacks) / count
        latest.error_rate = sum(totals[name] for name in failures) / count
        latest.throttled = totals["throttled"] > 0
    latencies = placed.inferences.measures[0]
    if latencies.size:
        rank = int(np.ceil(0.95 * latencies.size)) - 1
        latest.latency_p95_ms = float(np.partition(latencies, rank)[rank])
        newest = int(np.argmax(placed.inference_us))
        latest.throttled = bool(placed.inferences.throttled[newest])
        for name, measure in (("temperature_c", "temperature"), ("power_w", "power"), ("memory_mb", "memory")):
            value = float(placed.inferences.measures[_ROW[measure], newest])
            setattr(latest, name, None if np.isnan(value) else value)
    elif latency_hists:
        p95 = merge_packed(latency_hists).quantile(0.95)
        latest.latency_p95_ms = None if np.isnan(p95) else p95
    if placed.states:
        newest = placed.states[int(np.argmax(placed.state_us))]
        for name in ("temperature_c", "power_w", "memory_mb", "battery_pct"):
            if getattr(newest, name) is not None:
                setattr(latest, name, getattr(newest, name))
    return latest


def _mean(totals: Mapping[str, float], measure: str) -> float | None:
    n = totals[f"{measure}_n"]
    return totals[f"{measure}_sum"] / n if n else None
