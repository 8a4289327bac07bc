"""Metrics over time: percentiles, means and rates by group, from the tier that the range calls for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from telemetry import metrics, store
from telemetry.metrics import DEFAULT_QUANTILES, Metric
from telemetry.resolution import DAY, FIVE_MINUTES, HOUR, MINUTE, choose_step, finest_step, floor
from telemetry.selectors.completeness import lost_records
from telemetry.selectors.coverage import LONGEST_WINDOW, covering, spread, window_reach
from telemetry.selectors.grouping import grouped_rollups
from telemetry.selectors.selection import Selection

# What a question about named devices may read, in stored rows, before it is answered from the next coarser tier.
MOST_DEVICE_ROWS = 200_000


@dataclass(frozen=True)
class SeriesGroup:
    """One line: arrays of one length, on the grid of `Series.times`.

    Attributes:
        group: {dimension: public name}.
        count: inferences that the figures rest on; 0 where nothing was measured.
        values: statistic ("mean", "p95", a kind of fallback …) -> float64, nan where nothing was measured.
        completeness: share of the inferences made that arrived, by the ledger; nan where none is known of. What a
            window holds counts in all of the steps that it covers.
        covering: for each step the one whose records cover it, because they lie in it or are windows that reach it; -1
            where nothing does.
    """

    group: dict[str, str]
    count: NDArray[np.int64]
    values: dict[str, NDArray[np.float64]]
    completeness: NDArray[np.float64]
    covering: NDArray[np.int64]

    def held(self, name: str) -> NDArray[np.float64]:
        """A statistic, that of a window in all of the steps that it covers: for lines to be drawn without gaps."""
        return np.where(self.covering < 0, np.nan, self.values[name][self.covering])

    @property
    def held_count(self) -> NDArray[np.int64]:
        """The inferences that `held` figures rest on; a window's count in all of the steps that it covers."""
        return np.where(self.covering < 0, 0, self.count[self.covering])

    @property
    def has_windows(self) -> bool:
        """Whether some step is covered by a window that began in an earlier one."""
        return bool(((self.covering >= 0) & (self.covering < np.arange(self.covering.size))).any())


@dataclass(frozen=True)
class Series:
    """A metric over time; `times` are the starts of steps, evenly spaced, in UTC.

    `unbinned` counts inferences that the percentiles do not rest on: they came in sums alone, or in buckets so wide
    that a percentile read from them would be invented (see telemetry.protocol.otlp).
    """

    metric: Metric
    step: timedelta
    start: datetime
    end: datetime
    times: list[datetime]
    groups: list[SeriesGroup]
    unbinned: int = 0

    @property
    def count(self) -> int:
        """Inferences in all."""
        return int(sum(group.count.sum() for group in self.groups))


def series_step(
    selection: Selection, start: datetime, end: datetime, *, now: datetime, wanted: timedelta | None = None
) -> timedelta:
    """The step that a range is answered with: the wanted one as nearly as the tiers allow, else a fitting one."""
    finest = finest_step(start, end, now=now, retention=settings.RETENTION_DAYS)
    if selection.device_ids is not None:
        if len(selection.device_ids) == 1 and finest == FIVE_MINUTES and wanted is not None and wanted < FIVE_MINUTES:
            finest = MINUTE
        # minutes are what a step below an hour is read from
        for read, step in ((MINUTE, FIVE_MINUTES), (HOUR, HOUR)):
            if finest <= step and len(selection.device_ids) * ((end - start) / read) > MOST_DEVICE_ROWS:
                finest = HOUR if step == FIVE_MINUTES else DAY
    return choose_step(start, end, finest=finest, wanted=wanted)


def metric_series(
    selection: Selection,
    metric: Metric,
    *,
    start: datetime,
    end: datetime,
    step: timedelta,
    quantiles: Sequence[float] | None = None,
    stats: Sequence[str] | None = None,
    group_by: Sequence[str] = (),
) -> Series:
    """A metric over [start, end), step by step; the first step begins at or before `start`.

    Args:
        step: from `series_step`.
        quantiles: which quantiles to compute of a metric that has a distribution; the default ones when None.
        stats: which of `metric.stats`; the mean, and the kinds of a rate, when None.
    """
    first = floor(start, step)
    ps = tuple(DEFAULT_QUANTILES if quantiles is None else quantiles) if metric.histogram else ()
    names = stats if stats is not None else ["mean", *(name for name in metric.parts if len(metric.parts) > 1)]
    # columns that only one statistic reads are left alone where it is not asked for
    special = {metric.minimum: "min", metric.maximum: "max", metric.squares: "stddev"}
    needed = [
        name
        for name in metric.values
        if (ps or name != metric.histogram) and (name not in special or special[name] in names)
    ]
    if step < LONGEST_WINDOW:
        needed.append("covered_ms")
    grouped = grouped_rollups(selection, start=first, end=end, values=needed, group_by=group_by, step=step)
    rollups, groups = grouped.rollups, grouped.groups
    times = [first + k * step for k in range(-(-(end - first) // step))]
    n_times, step_us = len(times), step // timedelta(microseconds=1)
    cell = (rollups.keys["bucket"] - store.microseconds(first)) // step_us
    place = rollups.keys["group"] * n_times + cell

    def on_grid(values: NDArray, empty: float) -> NDArray:
        grid = np.full(len(groups) * n_times, empty, dtype=values.dtype)
        grid[place] = values
        return grid.reshape(len(groups), n_times)

    count = on_grid(metrics.measured_count(metric, rollups), 0)
    received = on_grid(rollups.numbers["count"], 0)
    values = {name: on_grid(metrics.statistic(metric, rollups, name).astype(np.float64), np.nan) for name in names}
    unbinned = 0
    if ps:
        unbinned = int(count.sum() - rollups.histograms[metric.histogram].totals().sum())
        found = metrics.quantiles(metric, rollups, ps)
        values |= {metrics.quantile_name(p): on_grid(found[:, k], np.nan) for k, p in enumerate(ps)}
    reach = np.ones(received.shape, dtype=np.int64)
    if step < LONGEST_WINDOW:
        covered_ms = on_grid(rollups.numbers["covered_ms"], 0)
        reach = window_reach(selection, groups, received, covered_ms, start=first, step=step)
    lost = lost_records(selection, start=first, end=end).on_grid(groups, first, step, n_times)
    arrived = spread(received, reach)
    made = arrived + lost
    complete = np.divide(arrived, made, out=np.full(made.shape, np.nan), where=made > 0)
    cover = covering(received, reach)
    return Series(
        metric=metric,
        step=step,
        start=first,
        end=end,
        times=times,
        groups=[
            SeriesGroup(group, count[k], {name: grid[k] for name, grid in values.items()}, complete[k], cover[k])
            for k, group in enumerate(groups)
        ],
        unbinned=unbinned,
    )
