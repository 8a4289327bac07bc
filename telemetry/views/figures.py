"""Charts over time and of whole distributions, for any selection."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import numpy as np

from telemetry import charts
from telemetry.charts import Chart
from telemetry.metrics import METRICS
from telemetry.selectors.adoption import adoption as adoption_of
from telemetry.selectors.adoption import releases_by_age
from telemetry.selectors.distributions import class_mix, covered_range, metric_distributions, metric_heatmap
from telemetry.selectors.selection import parse_group_by
from telemetry.selectors.series import metric_series
from telemetry.views.question import MOST_GROUPS, Question, busiest, figure, group_label

# A ridgeline compares releases that followed one another: it looks back at least so far.
RIDGES_LOOK_BACK = timedelta(days=30)
MOST_RIDGES = 6


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
        group_by=_group_by(question),
    )
    groups, left_out = busiest(series.groups)
    if not groups:
        return question.nothing()
    bands = [
        charts.BandSeries(
            group_label(group.group),
            series.times,
            group.values["p50"],
            group.values["p95"],
            group.values["p99"],
            group.count,
        )
        for group in groups
    ]
    return charts.percentile_bands(
        bands,
        title="latency, ms",
        start=question.range.start,
        end=question.range.end,
        log=question.params.get("log") == "1",
        budget=question.limit("latency_p95_ms"),
        markers=question.markers(),
        footing=question.footing(count=series.count, resolution=series.step, left_out=left_out),
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
        group_by=_group_by(question, ("release", "hardware_target")),
    )
    groups, left_out = busiest(series.groups)
    if not any(group.count.any() for group in groups):
        return question.nothing()
    lines = [
        charts.EnergySeries(group_label(group.group), series.times, group.values["mean"], group.count)
        for group in groups
    ]
    return charts.energy_over_time(
        lines,
        start=question.range.start,
        end=question.range.end,
        budget=question.limit("energy_mj"),
        markers=question.markers(),
        footing=question.footing(count=series.count, resolution=series.step, left_out=left_out),
    )


@figure("confidence-by-release", default="-30d")
def ridgeline(question: Question) -> Chart:
    """Confidence distributions of the newest releases, the one in question in front of the others' colour."""
    start = min(question.range.start, question.end - RIDGES_LOOK_BACK)
    selection = replace(question.selection, release_ids=None)
    first, last = covered_range(selection, start, question.end, now=question.now)
    found = metric_distributions(selection, METRICS["confidence"], start=first, end=last, group_by=("release",))
    if not found:
        return question.nothing()
    by_label = {group_label(one.group): one for one in found}
    versions = {label: one.group["release"] for label, one in by_label.items()}
    ages = releases_by_age(selection, list(versions.values()))
    ordered = sorted(by_label, key=lambda label: (ages.index(versions[label]), label))[-MOST_RIDGES:]
    wanted = question.params.get("release", "").split(",")[0]
    ridges = [
        charts.Ridge(
            label,
            _unit_counts(by_label[label].edges, by_label[label].counts),
            f"n {by_label[label].count:,}",
            versions[label] == wanted,
        )
        for label in ordered
    ]
    count = sum(by_label[label].count for label in ordered)
    notes = [f"since {start:%Y-%m-%d}"]
    return charts.confidence_ridgeline(ridges, footing=question.footing(count=count, notes=notes))


@figure("latency-heatmap")
def heatmap(question: Question) -> Chart:
    """Latency on native buckets over time, of the release in question alone where one is named."""
    selection = question.selection
    if selection.release_ids is not None and question.params.get("against"):
        selection = replace(selection, release_ids=selection.release_ids[:1])
    span = {"start": question.range.start, "end": question.end, "step": question.step}
    found = metric_heatmap(selection, METRICS["latency"], **span)
    count = int(found.counts.sum())
    if not count:
        return question.nothing()
    p95 = metric_series(selection, METRICS["latency"], quantiles=(0.95,), stats=(), **span)
    line = p95.groups[0].values["p95"] if p95.groups and len(p95.times) == len(found.times) else None
    return charts.latency_heatmap(
        found.times,
        found.edges,
        found.counts,
        end=found.times[-1] + found.step,
        p95=line,
        markers=question.markers(),
        footing=question.footing(count=count, resolution=found.step),
    )


@figure("latency-distribution")
def ecdf(question: Question) -> Chart:
    """Whole latency distributions side by side, by release unless `group_by` says otherwise."""
    first, last = covered_range(question.selection, question.range.start, question.end, now=question.now)
    found = metric_distributions(
        question.selection, METRICS["latency"], start=first, end=last, group_by=_group_by(question)
    )
    if not found:
        return question.nothing()
    kept = sorted(found, key=lambda one: one.count, reverse=True)[:MOST_GROUPS]
    curves = [
        charts.EcdfSeries(group_label(one.group), one.edges[1:], one.counts)
        for one in found
        if any(one is k for k in kept)
    ]
    count = sum(one.count for one in found)
    return charts.ecdf_overlay(
        curves, title="latency, ms", footing=question.footing(count=count, left_out=len(found) - len(kept))
    )


@figure("class-mix")
def classes(question: Question) -> Chart:
    """Which classes are predicted, by release unless `group_by` says otherwise."""
    found = class_mix(question.selection, start=question.range.start, end=question.end, group_by=_group_by(question))
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


def _group_by(question: Question, default: tuple[str, ...] = ("release",)) -> tuple[str, ...]:
    named = question.params.get("group_by")
    if named is not None:
        return parse_group_by(named, devices=question.selection.device_ids is not None)
    return default


def _unit_counts(edges: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Counts of the bins that hold data as counts of all hundred bins on [0, 1]."""
    full = np.zeros(100)
    first = round(float(edges[0]) * 100)
    full[first : first + len(counts)] = counts
    return full
