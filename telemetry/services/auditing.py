"""The audit: do ledger, raw rows, minutes, hours, days and cohorts say the same? Counts exactly, sums to rounding."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from telemetry import columns
from telemetry.models import MaintenanceRun
from telemetry.resolution import DAY, FIVE_MINUTES, HOUR, ceiling, floor
from telemetry.services.folding import fold
from telemetry.services.maintenance import recorded
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


def audit_tiers(
    start: datetime, end: datetime, *, now: datetime, clock: Callable[[], datetime], progress: Callable[[str], None]
) -> dict[str, Any]:
    """Compare all tiers over the whole hours of [start, end) that are still kept, and record the run.

    Args:
        progress: is told each comparison before it is made.

    Returns:
        {"from", "to", "compared": {check: how many spans}, "differences": [text], "agreed": bool}
    """
    with recorded(MaintenanceRun.Kind.AUDIT, now=now, clock=clock) as work:
        fold(now)
        start, end = floor(start, HOUR), min(ceiling(end, HOUR), floor(now, HOUR))
        compared: dict[str, int] = {}
        told: list[str] = []
        n_differences = 0
        for check, span, found in _comparisons(start, end, now):
            progress(f"{check} {span:%Y-%m-%d %H:%M}")
            compared[check] = compared.get(check, 0) + 1
            n_differences += len(found)
            room = MOST_TOLD - sum(text.startswith(check) for text in told)
            told += [f"{check} {span:%Y-%m-%d %H:%M}: {text}" for text in found[:room]]
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


def _comparisons(start: datetime, end: datetime, now: datetime) -> Iterator[tuple[str, datetime, list[str]]]:
    raw_kept, minutes_kept = ceiling(horizon("raw", now), HOUR), ceiling(horizon("minute", now), HOUR)
    # by time of receipt, up to this very moment
    for hour in _steps(max(start, raw_kept), floor(now, HOUR) + HOUR, HOUR):
        found = sides.ledger_differences(hour, hour + HOUR, kept=raw_kept, limit=MOST_TOLD)
        yield (
            "ledger and raw",
            hour,
            [f"batch {row.batch_id} of device {row.device_id}: {row.ledger} and {row.raw} inferences" for row in found],
        )
    for hour in _steps(max(start, raw_kept), end, HOUR):
        yield "raw and minutes", hour, _differences(sides.raw_and_minutes(hour, hour + HOUR))
    for hour in _steps(max(start, minutes_kept), end, HOUR):
        yield "minutes and cohorts", hour, _differences(sides.minutes_and_cohorts(hour, hour + HOUR, _NUMBERS))
        yield (
            "minutes and hours",
            hour,
            _differences(sides.finer_and_coarser("device_hour", "device_minute", hour, hour + HOUR, _NUMBERS)),
        )
        yield "cells of devices and cohorts", hour, _differences(sides.cells_of_devices_and_cohorts(hour, hour + HOUR))
    for span in _samples(max(start, minutes_kept), end):
        found = sides.minutes_and_cohorts(span, span + FIVE_MINUTES, _EVERYTHING)
        yield "histograms of minutes and cohorts", span, _differences(found)
    for day in _steps(ceiling(max(start, horizon("minute", now)), DAY), floor(end, DAY), DAY):
        for tier, finer in (
            ("cohort_hour", "cohort_5min"),
            ("cohort_day", "cohort_hour"),
            ("device_day", "device_hour"),
        ):
            found = sides.finer_and_coarser(tier, finer, day, day + DAY, _EVERYTHING if tier[0] == "c" else _NUMBERS)
            yield f"{finer} and {tier}", day, _differences(found)


def _differences(found: sides.Sides) -> list[str]:
    return sides.differences(found, tolerance=TOLERANCE)


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
