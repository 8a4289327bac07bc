"""Charts of shapes: how a distribution moves over time, how releases or days compare, energy cold and hot."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta

import numpy as np

from fleet import timerange
from fleet.exceptions import InvalidInput
from telemetry import charts
from telemetry.charts import Chart
from telemetry.metrics import METRICS, Metric
from telemetry.selectors.adoption import releases_by_age
from telemetry.selectors.distribution_bands import distribution_bands
from telemetry.selectors.distributions import (
    Distribution,
    covered_range,
    daily_distributions,
    metric_distributions,
    metric_heatmap,
)
from telemetry.selectors.energy import ConditionEnergy, energy_by_condition
from telemetry.selectors.regions import Region, snapped
from telemetry.selectors.series import metric_series
from telemetry.views.question import MOST_GROUPS, Question, figure, group_by, group_label

REGION = ("sel_from", "sel_to", "sel_low", "sel_high")
# metric: its word, the unit of its axis, the quantile drawn over the heatmap, the guides of the distribution
SHOWN: dict[str, tuple[str, str, float, tuple[float, ...]]] = {
    "latency": ("Latency", "ms", 0.95, (0.5, 0.95, 0.99)),
    "energy": ("Energy", "mJ", 0.95, (0.5, 0.95, 0.99)),
    "confidence": ("Confidence", "", 0.05, (0.05, 0.5)),
}
# A ridgeline compares releases that followed one another: it looks back at least so far.
RIDGES_LOOK_BACK = timedelta(days=30)
MOST_RIDGES = 6
MOST_DAYS = 14


@figure("heatmap")
def heatmap(question: Question) -> Chart:
    """A metric (latency unless named) on native buckets over time.

    Where a release is compared with another one, of the release in question alone.
    """
    metric = metric_of(question)
    word, unit, quantile, _ = SHOWN[metric.name]
    selection = question.selection
    if selection.release_ids is not None and question.params.get("against"):
        selection = replace(selection, release_ids=selection.release_ids[:1])
    span = {"start": question.range.start, "end": question.end, "step": question.step}
    found = metric_heatmap(selection, metric, **span)
    count = int(found.counts.sum())
    if not count:
        return question.nothing()
    name = f"p{quantile * 100:g}"
    over = metric_series(selection, metric, quantiles=(quantile,), stats=(), **span)
    line = over.groups[0].values[name] if over.groups and len(over.times) == len(found.times) else None
    region = region_of(question, metric)
    return charts.value_heatmap(
        found.times,
        found.edges,
        found.counts,
        title=_title(word, unit),
        end=found.times[-1] + found.step,
        log=not metric.bounded,
        quantile=line,
        quantile_name=name,
        region=region and charts.Outline(region.start, region.end, region.low, region.high),
        selectable=question.params.get("selectable") == "1",
        markers=question.markers(),
        footing=question.footing(count=count, resolution=found.step),
    )


@figure("confidence-ridgeline", default="-30d")
def ridgeline(question: Question) -> Chart:
    """Confidence distributions of the newest releases, or day by day with `ridges=day`.

    The release in question stands out by its colour.
    """
    by = question.params.get("ridges") or "release"
    if by not in ("release", "day"):
        raise InvalidInput({"ridges": f"“{by}” is neither release nor day."})
    metric = METRICS["confidence"]
    if by == "day":
        found = daily_distributions(question.selection, metric, start=question.range.start, end=question.end)
        shown = [(f"{day:%a %d %b}", one, False) for day, one in found[-MOST_DAYS:]]
        notes = ["days in UTC"]
    else:
        start = min(question.range.start, question.end - RIDGES_LOOK_BACK)
        shown = _by_release(question, metric, start)
        notes = [f"since {start:%Y-%m-%d}"]
    if not shown:
        return question.nothing()
    ridges = [charts.Ridge(label, _unit_counts(one), f"n {one.count:,}", accent) for label, one, accent in shown]
    count = sum(one.count for _, one, _ in shown)
    footing = question.footing(count=count, notes=notes)
    return charts.confidence_ridgeline(ridges, by=by.capitalize(), footing=footing)


@figure("distribution")
def ecdf(question: Question) -> Chart:
    """Whole distributions side by side with bands, by release unless `group_by` says otherwise."""
    metric = metric_of(question)
    word, unit, _, guides = SHOWN[metric.name]
    first, last = covered_range(question.selection, question.range.start, question.end, now=question.now)
    dimensions = group_by(question)
    found = metric_distributions(question.selection, metric, start=first, end=last, group_by=dimensions)
    if not found:
        return question.nothing()
    largest = sorted(found, key=lambda one: one.count, reverse=True)[:MOST_GROUPS]
    kept = [one for one in found if any(one is other for other in largest)]
    judged = distribution_bands(question.selection, metric, kept, start=first, end=last, group_by=dimensions)
    curves = [
        charts.EcdfSeries(
            group_label(one.group),
            one.edges[1:],
            one.counts,
            band.lower if band else None,
            band.upper if band else None,
        )
        for one, band in zip(kept, judged.bands, strict=True)
    ]
    notes = ["bands: simultaneous 95 %, from differences between devices"]
    if judged.devices < judged.of_devices:
        notes.append(f"bands from {judged.devices:,} of {judged.of_devices:,} devices")
    if any(band is None for band in judged.bands):
        notes.append("no band with fewer than 6 devices")
    return charts.ecdf_overlay(
        curves,
        title=_title(word, unit),
        log=not metric.bounded,
        guides=guides,
        footing=question.footing(count=sum(one.count for one in found), left_out=len(found) - len(kept), notes=notes),
    )


@figure("energy-by-temperature")
def temperature(question: Question) -> Chart:
    """Energy per inference against temperature, by hardware target and power mode unless `group_by` says otherwise."""
    found = energy_by_condition(
        question.selection,
        start=question.range.start,
        end=question.end,
        group_by=group_by(question, ("hardware_target", "power_mode")),
    )
    known = [row for row in found if row.mean_mj is not None and row.conditions["temperature_c"] is not None]
    if not known:
        return question.nothing()
    grouped: dict[str, list[ConditionEnergy]] = {}
    for row in known:
        grouped.setdefault(group_label(row.group), []).append(row)
    largest = sorted(grouped, key=lambda label: -sum(row.count for row in grouped[label]))[:MOST_GROUPS]
    lines = [
        charts.TemperatureSeries(
            label,
            [float(row.conditions["temperature_c"]) for row in rows],
            [row.mean_mj for row in rows],
            [row.count for row in rows],
        )
        for label, rows in grouped.items()
        if label in largest
    ]
    footing = question.footing(
        count=sum(row.count for row in known),
        resolution="10 °C",
        left_out=len(grouped) - len(lines),
        notes=["single records, whole hours"],
    )
    return charts.energy_by_temperature(lines, footing=footing)


def metric_of(question: Question) -> Metric:
    """The metric that the query string names, latency where it names none; InvalidInput for one without a shape."""
    name = question.params.get("metric") or "latency"
    if name not in SHOWN:
        raise InvalidInput({"metric": f"“{name}” is none of {', '.join(SHOWN)}."})
    return METRICS[name]


def region_of(question: Question, metric: Metric) -> Region | None:
    """The region that the query string names, on whole steps and bins; what is left out reaches to the end.

    Raises:
        InvalidInput: naming the parameter that makes no sense.
    """
    given = {name: question.params.get(name, "").strip() for name in REGION}
    if not any(given.values()):
        return None
    start, end = _stretch(question, given["sel_from"], given["sel_to"])
    low = _limit("sel_low", given["sel_low"], 0.0)
    high = _limit("sel_high", given["sel_high"], 1.0 if metric.bounded else float(2**40))
    if low >= high:
        raise InvalidInput({"sel_high": f"{high:g} is not above {low:g}."})
    within = (question.range.start, question.end)
    return snapped(metric, start=start, end=end, low=low, high=high, within=within, now=question.now)


def _stretch(question: Question, start: str, end: str) -> tuple[datetime, datetime]:
    first = timerange.instant(start, now=question.now, field="sel_from") if start else question.range.start
    last = timerange.instant(end, now=question.now, field="sel_to") if end else question.end
    if last <= first:
        raise InvalidInput({"sel_to": "The selection must end after it begins."})
    if last <= question.range.start or first >= question.end:
        raise InvalidInput({"sel_from": "The selection lies outside of the page's time range."})
    return first, last


def _limit(field: str, text: str, default: float) -> float:
    if not text:
        return default
    try:
        value = float(text.replace(",", "."))
    except ValueError:
        raise InvalidInput({field: f"“{text}” is not a number."}) from None
    if not np.isfinite(value) or value < 0:
        raise InvalidInput({field: f"“{text}” is not a number of zero or more."})
    return value


def _by_release(question: Question, metric: Metric, start: datetime) -> list[tuple[str, Distribution, bool]]:
    """The newest releases, oldest first, the one in question marked."""
    selection = replace(question.selection, release_ids=None)
    first, last = covered_range(selection, start, question.end, now=question.now)
    found = metric_distributions(selection, metric, start=first, end=last, group_by=("release",))
    by_label = {group_label(one.group): one for one in found}
    versions = {label: one.group["release"] for label, one in by_label.items()}
    ages = releases_by_age(selection, list(versions.values()))
    ordered = sorted(by_label, key=lambda label: (ages.index(versions[label]), label))[-MOST_RIDGES:]
    wanted = question.params.get("release", "").split(",")[0]
    return [(label, by_label[label], versions[label] == wanted) for label in ordered]


def _unit_counts(one: Distribution) -> np.ndarray:
    """Counts of the bins that hold data as counts of all hundred bins on [0, 1]."""
    full = np.zeros(100)
    first = round(float(one.edges[0]) * 100)
    full[first : first + len(one.counts)] = one.counts
    return full


def _title(word: str, unit: str) -> str:
    return f"{word.lower()}, {unit}" if unit else word.lower()
