"""What happened on one device, in order: releases, silences, losses, throttling, events, clock and state."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np

from fleet.models import Device
from telemetry.metrics import METRICS
from telemetry.models import ReleaseSpan
from telemetry.selectors.completeness import lost_records
from telemetry.selectors.coverage import LONGEST_WINDOW
from telemetry.selectors.events import Event, events
from telemetry.selectors.selection import Selection
from telemetry.selectors.series import Series, metric_series
from telemetry.store import Loss
from telemetry.store.events import ClockRow, CounterStep, StateRow, clock_quality, counter_rates, device_states

MOST_EVENTS = 500
# A step counts as throttled when more than this share of its inferences ran throttled.
THROTTLED_SHARE = 0.05
# A device that is quiet for so many of its expected intervals (and steps) is silent.
SILENT_INTERVALS = 3


@dataclass(frozen=True)
class Stretch:
    """A stretch of time; `share` is the mean of what makes it one, 1 where there is no measure of that."""

    start: datetime
    end: datetime
    share: float = 1.0


@dataclass(frozen=True)
class ReleaseStretch:
    """A stretch in which the device ran one release of a workload."""

    start: datetime
    end: datetime
    workload: str
    release: str


@dataclass(frozen=True)
class DeviceTimeline:
    """Everything but the series of one device over a range, each part in order of time (events: newest first)."""

    releases: list[ReleaseStretch]
    silences: list[Stretch]
    losses: list[Loss]
    throttled: list[Stretch]
    events: list[Event]
    clock: list[ClockRow]
    states: list[StateRow]
    counters: list[CounterStep]


def device_timeline(device: Device, *, start: datetime, end: datetime, step: timedelta) -> DeviceTimeline:
    """The timeline of a device over [start, end).

    Args:
        step: of clock, states and counters, and the resolution of silences and throttling; see `series_step`.
    """
    selection = Selection(device_ids=(device.pk,))
    # from a window's length earlier, for one that reaches into the range
    before = start - LONGEST_WINDOW if step < LONGEST_WINDOW else start
    throttled = metric_series(selection, METRICS["throttled_share"], start=before, end=end, step=step)
    spans = ReleaseSpan.objects.filter(device=device, first_time__lt=end, last_time__gte=start)
    named = list(spans.select_related("release", "workload").order_by("first_time"))
    expected = max((span.workload.expected_interval_s for span in named), default=60)
    return DeviceTimeline(
        releases=[
            ReleaseStretch(span.first_time, span.last_time, span.workload.slug, span.release.version) for span in named
        ],
        silences=silences(throttled, expected=timedelta(seconds=expected), since=max(start, device.enrolled_at)),
        losses=sorted(lost_records(selection, start=start, end=end).losses, key=lambda loss: loss.start),
        throttled=[
            replace(stretch, start=max(start, stretch.start))
            for stretch in throttled_stretches(throttled)
            if stretch.end > start
        ],
        events=events(selection, start=start, end=end, limit=MOST_EVENTS),
        clock=clock_quality(device.pk, start, end, step),
        states=device_states(device.pk, start, end, step),
        counters=counter_rates(device.pk, start, end, step),
    )


def silences(series: Series, *, expected: timedelta, since: datetime) -> list[Stretch]:
    """Stretches that nothing covers and that are longer than a device may be quiet, from its enrolment on."""
    covered = sum((group.covering >= 0 for group in series.groups), np.zeros(len(series.times), dtype=np.int64))
    quiet = _joined(series, covered == 0)
    longest = max(SILENT_INTERVALS * expected, series.step)
    ends = [Stretch(max(s.start, series.start, since), min(s.end, series.end)) for s in quiet]
    return [stretch for stretch in ends if stretch.end - stretch.start >= longest]


def throttled_stretches(series: Series) -> list[Stretch]:
    """Stretches in which more than `THROTTLED_SHARE` of the inferences ran throttled; `series` of throttled_share."""
    if not series.groups:
        return []
    share = series.groups[0].held("mean")
    stretches = _joined(series, np.nan_to_num(share) > THROTTLED_SHARE)
    steps = {time: k for k, time in enumerate(series.times)}
    return [
        Stretch(
            s.start, s.end, float(np.mean(share[steps[s.start] : steps[s.start] + (s.end - s.start) // series.step]))
        )
        for s in stretches
    ]


def _joined(series: Series, chosen: np.ndarray) -> list[Stretch]:
    """Chosen steps with neighbours joined."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], chosen.astype(np.int8), [0]))))
    return [
        Stretch(series.times[first], series.times[last - 1] + series.step)
        for first, last in zip(edges[::2], edges[1::2], strict=True)
    ]
