"""Charts over time and of classes, for any selection."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from telemetry import charts
from telemetry.charts import Chart
from telemetry.metrics import METRICS
from telemetry.selectors.adoption import adoption as adoption_of
from telemetry.selectors.distributions import class_mix
from telemetry.selectors.series import metric_series
from telemetry.views.question import (
    MOST_GROUPS,
    Question,
    busiest,
    figure,
    group_by,
    group_label,
    window_notes,
)


@figure("latency")
def latency(question: Question) -> Chart:
    """p50, p95 and p99 latency over time, by release unless `group_by` says otherwise."""
    series = metric_series(
        question.selection,
        METRICS["latency"],
        start=question.range.start,
        end=question.end,
        step=question.step,
        stats=(),
        group_by=group_by(question),
    )
    groups, left_out = busiest(series.groups)
    if not groups:
        return question.nothing()
    bands = [
        charts.BandSeries(
            group_label(group.group),
            series.times,
            group.held("p50"),
            group.held("p95"),
            group.held("p99"),
            group.held_count,
        )
        for group in groups
    ]
    # of OpenTelemetry clients with explicit buckets, and of windows without a histogram
    notes = [f"{series.unbinned:,} inferences came without percentiles"] if series.unbinned else []
    notes += window_notes(groups)
    return charts.percentile_bands(
        bands,
        title="latency, ms",
        start=question.range.start,
        end=question.range.end,
        log=question.params.get("log") == "1",
        budget=question.limit("latency_p95_ms"),
        markers=question.markers(),
        footing=question.footing(count=series.count, resolution=series.step, left_out=left_out, notes=notes),
    )


@figure("energy-per-inference")
def energy(question: Question) -> Chart:
    """Mean energy per inference over time, by release and hardware target unless `group_by` says otherwise."""
    series = metric_series(
        question.selection,
        METRICS["energy"],
        start=question.range.start,
        end=question.end,
        step=question.step,
        quantiles=(),
        stats=("mean",),
        group_by=group_by(question, ("release", "hardware_target")),
    )
    groups, left_out = busiest(series.groups)
    if not any(group.count.any() for group in groups):
        return question.nothing()
    lines = [
        charts.EnergySeries(group_label(group.group), series.times, group.held("mean"), group.held_count)
        for group in groups
    ]
    return charts.energy_over_time(
        lines,
        start=question.range.start,
        end=question.range.end,
        budget=question.limit("energy_mj"),
        markers=question.markers(),
        footing=question.footing(
            count=series.count, resolution=series.step, left_out=left_out, notes=window_notes(groups)
        ),
    )


@figure("class-mix")
def classes(question: Question) -> Chart:
    """Which classes are predicted, by release unless `group_by` says otherwise."""
    found = class_mix(question.selection, start=question.range.start, end=question.end, group_by=group_by(question))
    if not found:
        return question.nothing()
    groups = {group_label(one.group): one.counts for one in found}
    return charts.class_mix_bars(groups, footing=question.footing(count=sum(sum(one.counts.values()) for one in found)))


@figure("adoption", default="-30d")
def adoption(question: Question) -> Chart:
    """How many devices run which release over time."""
    step = max(question.step, timedelta(minutes=5))
    found = adoption_of(question.selection, start=question.range.start, end=question.end, step=step)
    if not any(counts.any() for counts in found.devices.values()):
        return question.nothing()
    newest = dict(list(found.devices.items())[-MOST_GROUPS:])
    older = list(found.devices.values())[:-MOST_GROUPS]
    devices = {"older releases": np.sum(older, axis=0), **newest} if older else newest
    footing = question.footing(count=int(max(sum(counts[-1] for counts in devices.values()), 0)), resolution=step)
    return charts.adoption_area(
        found.times,
        devices,
        start=question.range.start,
        end=question.range.end,
        footing=replace(footing, unit="devices now"),
    )
