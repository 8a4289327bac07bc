"""The audit: do ledger, raw rows, minutes, hours, days and cohorts say the same? Counts exactly, sums to rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np

from telemetry import columns
from telemetry.models import MaintenanceRun
from telemetry.resolution import DAY, FIVE_MINUTES, HOUR, ceiling, floor
from telemetry.services.folding import fold
from telemetry.services.maintenance import Progress, recorded
from telemetry.services.retention import horizon
from telemetry.store import auditing as sides

# Sums of doubles are equal but for the order of addition.
TOLERANCE = 1e-9
# Histograms of every partial row would be much to read: each day, this many stretches of five minutes are compared
# bin by bin, all others by their numbers.
HISTOGRAM_SAMPLES = 12
# Differences told of each check; all of them are counted.
MOST_TOLD = 10

_NUMBERS = tuple(column.name for column in columns.ROLLUP_VALUES if column.merge in ("sum", "min", "max"))
_EVERYTHING = columns.names(columns.ROLLUP_VALUES)


@dataclass(frozen=True)
class _Comparison:
    """One span of one check; `differences` makes the comparison and tells what differs."""

    check: str
    span: datetime
    differences: Callable[[], list[str]]


def audit_tiers(
    start: datetime, end: datetime, *, now: datetime, clock: Callable[[], datetime], progress: Progress
) -> dict[str, Any]:
    """Compare all tiers over the whole hours of [start, end) that are still kept, and record the run.

    Args:
        progress: is told each comparison before it is made, and the share of them that is done.

    Returns:
        {"from", "to", "compared": {check: how many spans}, "differences": [text], "agreed": bool}
    """
    with recorded(MaintenanceRun.Kind.AUDIT, now=now, clock=clock) as work:
        fold(now)
        start, end = floor(start, HOUR), min(ceiling(end, HOUR), floor(now, HOUR))
        comparisons = list(_comparisons(start, end, now))
        compared: dict[str, int] = {}
        told: list[str] = []
        n_differences = 0
        for k, one in enumerate(comparisons):
            name = f"{one.check} {one.span:%Y-%m-%d %H:%M}"
            progress(name, k / len(comparisons))
            work.report(name, k / len(comparisons))
            found = one.differences()
            compared[one.check] = compared.get(one.check, 0) + 1
            n_differences += len(found)
            room = MOST_TOLD - sum(text.startswith(one.check) for text in told)
            told += [f"{name}: {text}" for text in found[:room]]
        progress("compared", 1.0)
        work.result |= {
            "from": start.isoformat(),
            "to": end.isoformat(),
            "compared": compared,
            "differences": told,
            "n_differences": n_differences,
            "agreed": n_differences == 0,
        }
        work.succeeded = n_differences == 0
    return work.result


def _comparisons(start: datetime, end: datetime, now: datetime) -> Iterator[_Comparison]:
    """Everything that is compared, in order; nothing is read yet."""
    raw_kept, minutes_kept = ceiling(horizon("raw", now), HOUR), ceiling(horizon("minute", now), HOUR)
    # by time of receipt, up to this very moment
    for hour in _steps(max(start, raw_kept), floor(now, HOUR) + HOUR, HOUR):
        yield _Comparison("ledger and raw", hour, partial(_ledger, hour, raw_kept))
    for hour in _steps(max(start, raw_kept), end, HOUR):
        yield _compared("raw and minutes", hour, sides.raw_and_minutes, hour, hour + HOUR)
    for hour in _steps(max(start, minutes_kept), end, HOUR):
        span = (hour, hour + HOUR)
        yield _compared("minutes and cohorts", hour, sides.minutes_and_cohorts, *span, _NUMBERS)
        yield _compared(
            "minutes and hours", hour, sides.finer_and_coarser, "device_hour", "device_minute", *span, _NUMBERS
        )
        yield _compared("cells of devices and cohorts", hour, sides.cells_of_devices_and_cohorts, *span)
    for begin in _samples(max(start, minutes_kept), end):
        span = (begin, begin + FIVE_MINUTES)
        yield _compared("histograms of minutes and cohorts", begin, sides.minutes_and_cohorts, *span, _EVERYTHING)
    for day in _steps(ceiling(max(start, horizon("minute", now)), DAY), floor(end, DAY), DAY):
        for tier, finer in (
            ("cohort_hour", "cohort_5min"),
            ("cohort_day", "cohort_hour"),
            ("device_day", "device_hour"),
        ):
            values = _EVERYTHING if tier.startswith("cohort") else _NUMBERS
            yield _compared(f"{finer} and {tier}", day, sides.finer_and_coarser, tier, finer, day, day + DAY, values)


def _compared(check: str, span: datetime, read: Callable[..., sides.Sides], *arguments: Any) -> _Comparison:
    """A comparison of the two sides that a function of the store reads."""
    return _Comparison(check, span, lambda: sides.differences(read(*arguments), tolerance=TOLERANCE))


def _ledger(hour: datetime, kept: datetime) -> list[str]:
    found = sides.ledger_differences(hour, hour + HOUR, kept=kept, limit=MOST_TOLD)
    return [f"batch {row.batch_id} of device {row.device_id}: {row.ledger} and {row.raw} inferences" for row in found]


def _steps(start: datetime, end: datetime, width: timedelta) -> Iterator[datetime]:
    while start < end:
        yield start
        start += width


def _samples(start: datetime, end: datetime) -> list[datetime]:
    """Some stretches of five minutes per day, drawn by the day's own number, so that a repeated audit looks again."""
    spans = []
    for day in _steps(floor(start, DAY), end, DAY):
        rng = np.random.default_rng(day.toordinal())
        offsets = np.sort(rng.choice(DAY // FIVE_MINUTES, HISTOGRAM_SAMPLES, replace=False))
        spans += [day + int(k) * FIVE_MINUTES for k in offsets]
    return [span for span in spans if start <= span < end]
