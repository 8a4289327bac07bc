"""One device: what it does now in text, and what happened on it in order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from fleet.exceptions import InvalidInput
from fleet.models import Device
from telemetry.charts import Chart, Span
from telemetry.charts.lanes import DeviceLanes, device_lanes
from telemetry.metrics import METRICS
from telemetry.models import Batch, DeviceLatest, QuarantinedRecord, ReleaseSpan, RequestReject
from telemetry.selectors.completeness import completeness, lost_records
from telemetry.selectors.device_table import device_rows
from telemetry.selectors.fleet_state import cells
from telemetry.selectors.selection import Selection
from telemetry.selectors.series import Series, metric_series
from telemetry.views.panels import panel
from telemetry.views.question import Question, figure

# Above this share of a step's inferences the step is shaded as throttled.
THROTTLED_SHARE = 0.05
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
    throttled = metric_series(question.selection, METRICS["throttled_share"], stats=("mean",), **span)
    cohort, label = _cohort(device, question, span) if question.params.get("cohort") == "1" else ({}, "")
    picture = DeviceLanes(
        times=latency.times,
        values=values,
        releases=_release_spans(device, question),
        throttled=_where_above(throttled, THROTTLED_SHARE),
        losses=[
            Span(loss.start, max(loss.end, loss.start + question.step))
            for loss in lost_records(question.selection, start=question.range.start, end=question.end).losses
        ],
        cohort=cohort,
        cohort_label=label,
    )
    footing = question.footing(count=latency.count, resolution=latency.step)
    return device_lanes(picture, start=question.range.start, end=question.range.end, footing=footing)


def _device(question: Question) -> Device:
    found = Device.objects.filter(pk__in=question.selection.device_ids or ()).select_related("hardware_target").first()
    if found is None:
        raise InvalidInput({"device": "Name one device."})
    return found


def _release_spans(device: Device, question: Question) -> list[Span]:
    """The releases that ran, each until the next began or its last record came."""
    rows = list(
        ReleaseSpan.objects.filter(device=device, first_time__lt=question.end, last_time__gte=question.range.start)
        .select_related("release")
        .order_by("first_time")
    )
    return [Span(row.first_time, row.last_time, row.release.version) for row in rows]


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


def _where_above(series: Series, share: float) -> list[Span]:
    """Stretches of steps whose value is above a share, neighbours joined."""
    spans: list[Span] = []
    if not series.groups:
        return spans
    for moment, value in zip(series.times, series.groups[0].values["mean"], strict=True):
        if not value > share:
            continue
        if spans and spans[-1].end == moment:
            spans[-1] = Span(spans[-1].start, moment + series.step)
        else:
            spans.append(Span(moment, moment + series.step))
    return spans
