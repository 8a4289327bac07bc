"""One device: what it does now in text, and what happened on it in order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from fleet.exceptions import InvalidInput
from fleet.models import Device
from fleet.status import words_of_seconds
from telemetry.charts import Chart, Span
from telemetry.charts.lanes import CohortBand, DeviceLanes, Event, device_lanes
from telemetry.metrics import METRICS
from telemetry.models import Batch, DeviceLatest, QuarantinedRecord, RequestReject
from telemetry.selectors.cohort_band import CohortBands, cohort_bands
from telemetry.selectors.completeness import completeness
from telemetry.selectors.device_table import device_rows
from telemetry.selectors.events import events as list_events
from telemetry.selectors.fleet_state import cells
from telemetry.selectors.series import metric_series
from telemetry.selectors.timeline import device_timeline
from telemetry.services.directives import directives_for
from telemetry.store.events import ClockRow, counter_rates
from telemetry.views.event_words import detail_words
from telemetry.views.panels import TableFile, panel
from telemetry.views.question import Question, figure, window_notes

EVENTS_LISTED = 50
COUNTER_COLUMNS = ("counter", "rose_by", "per_hour")
# A clock that had to be put right by so much was not just drifting.
LARGE_OFFSET_MS = 120_000.0
_LANES = (("temperature", "mean"), ("energy", "mean"), ("memory", "mean"), ("queue_depth", "mean"))


@panel("telemetry/_device_panel.html")
def now(question: Question) -> dict[str, Any]:
    """What the device does now, in figures and sentences, each figure beside its cohort and its budget."""
    device = _device(question)
    latest = list(
        DeviceLatest.objects.filter(device=device)
        .select_related("release", "workload", "context")
        .order_by("-last_seen_at")
    )
    rows = device_rows({"device": device.serial}, now=question.now)
    arrived = completeness(question.selection, start=question.range.start, end=question.end)
    newest = Batch.objects.filter(device=device).order_by("-received_at").first()
    day = question.now - timedelta(days=1)
    return {
        "device": device,
        "latest": latest,
        "row": rows[0] if rows else None,
        "cells": cells(
            question.selection,
            start=question.range.start,
            end=question.end,
            group_by=("workload", "hardware_target", "release"),
        ),
        "arrived": arrived,
        "batch": newest,
        "rejected": QuarantinedRecord.objects.filter(device=device, received_at__gte=day).count(),
        "refused": RequestReject.objects.filter(device=device, at__gte=day).count(),
        "asked": directive_words(directives_for(device.pk, question.now)),
    }


def directive_words(values: Mapping[str, Any]) -> str:
    """What a device is asked to do, in words; empty for nothing in particular."""
    words = {
        "raw_sample_rate": lambda rate: f"{100 * rate:g} % of its records whole",
        "window_s": lambda seconds: f"windows of {words_of_seconds(seconds)}",
        "min_interval_s": lambda seconds: f"at least {words_of_seconds(seconds)} between batches",
        "max_batch": lambda most: f"at most {most:,} records in a batch",
    }
    return ", ".join(words[name](values[name]) for name in words if name in values)


@panel("telemetry/_events_panel.html")
def events(question: Question) -> dict[str, Any]:
    """The newest events of a selection."""
    found = list_events(question.selection, start=question.range.start, end=question.end, limit=EVENTS_LISTED + 1)
    return {
        "events": [(event, detail_words(event.type, event.detail)) for event in found[:EVENTS_LISTED]],
        "more": len(found) > EVENTS_LISTED,
        "one_device": bool(question.params.get("device")),
    }


@figure("device")
def lanes(question: Question) -> Chart:
    """Releases, events, latency, temperature, energy, memory and gaps of one device on one time axis."""
    device = _device(question)
    span = {"start": question.range.start, "end": question.end, "step": question.step}
    latency = metric_series(question.selection, METRICS["latency"], stats=(), **span)
    if not latency.groups:
        return question.nothing()
    values = {f"latency_{name}": latency.groups[0].held(name) for name in ("p50", "p95", "p99")}
    for name, statistic in _LANES:
        series = metric_series(question.selection, METRICS[name], quantiles=(), stats=(statistic,), **span)
        if series.groups:
            values["queue" if name == "queue_depth" else name] = series.groups[0].held(statistic)
    found = device_timeline(device, **span)
    compared = question.params.get("cohort") == "1"
    others = cohort_bands(device, **span) if compared else None
    picture = DeviceLanes(
        times=latency.times,
        values=values,
        releases=[Span(one.start, max(one.end, one.start + question.step), one.release) for one in found.releases],
        events=[
            Event(event.time, event.type, event.severity, detail_words(event.type, event.detail))
            for event in reversed(found.events)
        ],
        throttled=[Span(one.start, one.end) for one in found.throttled],
        silences=[Span(one.start, one.end) for one in found.silences],
        losses=[Span(one.start, max(one.end, one.start + question.step)) for one in found.losses],
        clock=clock_stretches(found.clock, question.step),
        cohort={name: CohortBand(*rows) for name, rows in others.bands.items()} if others else {},
        cohort_label=f"others like it ({others.devices})" if others else "",
    )
    notes = [_about(others, device)] if others else []
    notes += window_notes(latency.groups)
    footing = question.footing(count=latency.count, resolution=latency.step, notes=notes)
    return device_lanes(picture, start=question.range.start, end=question.range.end, footing=footing)


def _device(question: Question) -> Device:
    found = Device.objects.filter(pk__in=question.selection.device_ids or ()).select_related("hardware_target").first()
    if found is None:
        raise InvalidInput({"device": "Name one device."})
    return found


def _about(others: CohortBands, device: Device) -> str:
    """What the grey band and the dashed line are, in words."""
    whom = f"the {others.of} other devices of its workload on {device.hardware_target.slug}"
    if not others.bands:
        return f"no cohort to compare with: {whom} are too few"
    drawn = f"{others.devices} drawn from " if others.devices < others.of else ""
    return f"dashed: median of {drawn}{whom}; grey: 5 to 95 % of them"


def clock_stretches(rows: Sequence[ClockRow], step: timedelta) -> list[Span]:
    """Stretches of one quality of the clock, neighbours joined; labels are those of telemetry.charts.lanes.CLOCK."""
    stretches: list[Span] = []
    for row in rows:
        kind = "corrected" if row.offset_ms >= LARGE_OFFSET_MS else "synced" if row.synced == 1.0 else "unsynced"
        if stretches and stretches[-1].label == kind and stretches[-1].end == row.time:
            stretches[-1] = replace(stretches[-1], end=row.time + step)
        else:
            stretches.append(Span(row.time, row.time + step, kind))
    return stretches


@panel("telemetry/_counters_panel.html")
def counters(question: Question) -> dict[str, Any]:
    """What the device's cumulative counters rose by in the range."""
    device = _device(question)
    steps = counter_rates(device.pk, question.range.start, question.end, question.end - question.range.start)
    totals: dict[str, list[float]] = {}
    for step in steps:
        total = totals.setdefault(step.name, [0.0, 0.0])
        total[0] += step.delta
        total[1] += step.seconds
    rows = [
        (name, delta, 3600 * delta / seconds if seconds else None) for name, (delta, seconds) in sorted(totals.items())
    ]
    files = [TableFile("counters", COUNTER_COLUMNS, (dict(zip(COUNTER_COLUMNS, row, strict=True)) for row in rows))]
    return {"rows": rows, "device": device, "files": files}
