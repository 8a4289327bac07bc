"""Whole distributions: merged histograms of a metric by group, with quantiles and the cumulative share."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from telemetry import histograms, metrics, store
from telemetry.histograms import UNIT_BINS
from telemetry.metrics import DEFAULT_QUANTILES, Metric
from telemetry.models import ClassLabel
from telemetry.resolution import DAY, FIVE_MINUTES, MINUTE, ceiling, finest_kept, floor
from telemetry.rollups import Rollups
from telemetry.selectors.grouping import grouped_rollups
from telemetry.selectors.selection import Selection


@dataclass(frozen=True)
class Distribution:
    """One group's values; bins without values at either end are left out.

    Attributes:
        count, zero: values in all, and how many were exactly zero (they lie below the first bin).
        mean: exact.
        quantiles: "p95" -> value.
        edges: (bins + 1,) ascending limits; counts: (bins,).
    """

    group: dict[str, str]
    count: int
    zero: int
    mean: float
    quantiles: dict[str, float]
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]

    @property
    def ecdf(self) -> NDArray[np.float64]:
        """Share of values at or below each upper limit, shape (bins,)."""
        return (self.zero + np.cumsum(self.counts)) / max(self.count, 1)


@dataclass(frozen=True)
class Heatmap:
    """A distribution over time on native bins, coarsened to what a screen shows.

    `counts` has shape (bins, times), `edges` (bins + 1,), `times` the starts of steps.
    """

    times: list[datetime]
    step: timedelta
    edges: NDArray[np.float64]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class ClassMix:
    """How often each class was predicted, by group: name -> count."""

    group: dict[str, str]
    counts: dict[str, int]


def covered_range(selection: Selection, start: datetime, end: datetime, *, now: datetime) -> tuple[datetime, datetime]:
    """[start, end) widened to whole rows of the finest tier that is read: nothing asked for is left out."""
    finest = finest_kept(start, now=now, retention=settings.RETENTION_DAYS)
    if selection.device_ids is not None and finest == FIVE_MINUTES:
        finest = MINUTE
    return floor(start, finest), ceiling(end, finest)


def metric_distributions(
    selection: Selection,
    metric: Metric,
    *,
    start: datetime,
    end: datetime,
    quantiles: Sequence[float] = DEFAULT_QUANTILES,
    group_by: Sequence[str] = (),
) -> list[Distribution]:
    """Distributions of a metric with a histogram over [start, end) from `covered_range`, one per group with data."""
    grouped = grouped_rollups(selection, start=start, end=end, values=metric.values, group_by=group_by)
    places = grouped.rollups.keys["group"]
    found = _distributions(metric, grouped.rollups, quantiles, [grouped.groups[k] for k in places.tolist()])
    return [found[row] for row in np.argsort(places) if row in found]


def daily_distributions(
    selection: Selection, metric: Metric, *, start: datetime, end: datetime, quantiles: Sequence[float] = ()
) -> list[tuple[datetime, Distribution]]:
    """Distributions of a metric with a histogram day by day (UTC), of the days of [start, end) that have data."""
    first = floor(start, DAY)
    grouped = grouped_rollups(selection, start=first, end=end, values=metric.values, step=DAY)
    days = [store.moment(bucket) for bucket in grouped.rollups.keys["bucket"].tolist()]
    found = _distributions(metric, grouped.rollups, quantiles, [{}] * len(days))
    return [(day, found[row]) for row, day in enumerate(days) if row in found]


def _distributions(
    metric: Metric, rollups: Rollups, quantiles: Sequence[float], groups: Sequence[dict[str, str]]
) -> dict[int, Distribution]:
    """The distribution of each row that has data."""
    rows = rollups.histograms[metric.histogram]
    means, found = metrics.mean(metric, rollups), metrics.quantiles(metric, rollups, quantiles)
    offset, dense = (0, rows.dense_unit()) if metric.bounded else rows.dense()
    totals = rows.totals()
    distributions = {}
    for row in np.flatnonzero(totals).tolist():
        filled = np.flatnonzero(dense[row])
        low, high = (int(filled[0]), int(filled[-1]) + 1) if filled.size else (0, 0)
        distributions[row] = Distribution(
            group=groups[row],
            count=int(totals[row]),
            zero=int(rows.zero[row]),
            mean=float(means[row]),
            quantiles={metrics.quantile_name(p): float(found[row, k]) for k, p in enumerate(quantiles)},
            edges=_edges(metric, offset + low, offset + high),
            counts=dense[row, low:high],
        )
    return distributions


def metric_heatmap(
    selection: Selection,
    metric: Metric,
    *,
    start: datetime,
    end: datetime,
    step: timedelta,
    most_bins: int = 120,
) -> Heatmap:
    """A metric's distribution over time; neighbouring bins are merged until there are at most `most_bins` of them."""
    first = floor(start, step)
    grouped = grouped_rollups(selection, start=first, end=end, values=(metric.histogram,), step=step)
    times = [first + k * step for k in range(-(-(end - first) // step))]
    rows = grouped.rollups.histograms[metric.histogram]
    offset, dense = rows.dense()
    merged = 1
    while -(-dense.shape[1] // merged) + 1 > most_bins:
        merged *= 2
    # groups of bins are aligned to multiples of their width, so that a live chart does not jump
    low = offset // merged * merged
    width = -(-(offset + dense.shape[1] - low) // merged) * merged
    padded = np.zeros((dense.shape[0], width), dtype=np.int64)
    padded[:, offset - low :][:, : dense.shape[1]] = dense
    counts = np.zeros((width // merged, len(times)), dtype=np.int64)
    column = (grouped.rollups.keys["bucket"] - store.microseconds(first)) // (step // timedelta(microseconds=1))
    counts[:, column] = padded.reshape(dense.shape[0], width // merged, merged).sum(axis=2).T
    edges = _edges(metric, low, low + width)[::merged]
    return Heatmap(times, step, edges, counts)


def class_mix(selection: Selection, *, start: datetime, end: datetime, group_by: Sequence[str] = ()) -> list[ClassMix]:
    """How often each class was predicted over [start, end), by group."""
    grouped = grouped_rollups(selection, start=start, end=end, values=("class_counts",), group_by=group_by)
    rows = grouped.rollups.histograms["class_counts"].compact()
    names = dict(ClassLabel.objects.filter(pk__in=np.unique(rows.index).tolist()).values_list("pk", "name"))
    mixes = []
    for row in np.argsort(grouped.rollups.keys["group"]):
        mine = rows.row == row
        counts: dict[str, int] = {}
        for class_id, count in zip(rows.index[mine].tolist(), rows.count[mine].tolist(), strict=True):
            # several workloads may have a class of the same name
            name = names.get(class_id, f"class {class_id}")
            counts[name] = counts.get(name, 0) + count
        if counts:
            mixes.append(ClassMix(grouped.groups[grouped.rollups.keys["group"][row]], counts))
    return mixes


def _edges(metric: Metric, first: int, last: int) -> NDArray[np.float64]:
    """Limits of the bins first..last-1."""
    if metric.bounded:
        return np.arange(first, last + 1) / UNIT_BINS
    return histograms.lower_bounds(np.arange(first, last + 1))
