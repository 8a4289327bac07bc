"""One device: what it does now in text, and what happened on it in order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fleet.exceptions import InvalidInput
from fleet.models import Device
from telemetry.charts import Chart, Span
from telemetry.charts.lanes import DeviceLanes, Event, device_lanes
from telemetry.metrics import METRICS
from telemetry.models import Batch, DeviceLatest, QuarantinedRecord, RequestReject
from telemetry.selectors.completeness import completeness
from telemetry.selectors.device_table import device_rows
from telemetry.selectors.events import events as list_events
from telemetry.selectors.fleet_state import cells
from telemetry.selectors.selection import Selection
from telemetry.selectors.series import metric_series
from telemetry.selectors.timeline import device_timeline
from telemetry.views.panels import panel
from telemetry.views.question import Question, figure

EVENTS_LISTED = 50
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
    }


@panel("telemetry/_events_panel.html")
def events(question: Question) -> dict[str, Any]:
    """The newest events of a selection."""
    found = list_events(question.selection, start=question.range.start, end=question.end, limit=EVENTS_LISTED + 1)
    return {
        "events": [(event, detail_words(event.detail)) for event in found[:EVENTS_LISTED]],
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
    values = {f"latency_{name}": latency.groups[0].values[name] for name in ("p50", "p95", "p99")}
    for name, statistic in _LANES:
        series = metric_series(question.selection, METRICS[name], quantiles=(), stats=(statistic,), **span)
        if series.groups:
            values["queue" if name == "queue_depth" else name] = series.groups[0].values[statistic]
    found = device_timeline(device, **span)
    cohort, label = _cohort(device, question, span) if question.params.get("cohort") == "1" else ({}, "")
    picture = DeviceLanes(
        times=latency.times,
        values=values,
        releases=[Span(one.start, max(one.end, one.start + question.step), one.release) for one in found.releases],
        events=[
            Event(event.time, event.type, event.severity, detail_words(event.detail))
            for event in reversed(found.events)
        ],
        throttled=[Span(one.start, one.end) for one in found.throttled],
        silences=[Span(one.start, one.end) for one in found.silences],
        losses=[Span(one.start, max(one.end, one.start + question.step)) for one in found.losses],
        cohort=cohort,
        cohort_label=label,
    )
    footing = question.footing(count=latency.count, resolution=latency.step)
    return device_lanes(picture, start=question.range.start, end=question.range.end, footing=footing)


def detail_words(detail: dict[str, Any]) -> str:
    """The detail of an event in one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in detail.items())[:160]


def _device(question: Question) -> Device:
    found = Device.objects.filter(pk__in=question.selection.device_ids or ()).select_related("hardware_target").first()
    if found is None:
        raise InvalidInput({"device": "Name one device."})
    return found


def _cohort(device: Device, question: Question, span: dict[str, Any]) -> tuple[dict[str, Any], str]:
    """The same figures of all devices of the same hardware target and workload."""
    latest = DeviceLatest.objects.filter(device=device).select_related("workload").order_by("-last_seen_at").first()
    selection = Selection(
        workload_id=latest.workload_id if latest else None, hardware_target_ids=(device.hardware_target_id,)
    )
    values: dict[str, Any] = {}
    for name, key, quantiles, stats in (
        ("latency", "p95", (0.95,), ()),
        ("temperature", "mean", (), ("mean",)),
        ("energy", "mean", (), ("mean",)),
    ):
        series = metric_series(selection, METRICS[name], quantiles=quantiles, stats=stats, **span)
        if series.groups:
            values["latency_p95" if name == "latency" else name] = series.groups[0].values[key]
    return values, f"all {device.hardware_target.slug}"
