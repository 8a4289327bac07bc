"""Explore: how did the shape change, and which dimension differs where it did?"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import page, timerange
from fleet.exceptions import InvalidInput
from fleet.tables import csv_response, json_response
from telemetry.metrics import Metric
from telemetry.mix_difference import MINIMUM_DEVICES, RESAMPLES
from telemetry.models import Context
from telemetry.selectors.regions import Dimension, Level, RegionDifferences, region_differences
from telemetry.views.question import Question, address, answer_refusal
from telemetry.views.shapes import REGION, SHOWN, metric_of, region_of

FILTERS = ("workload", "release", "hardware_target", "region")
# Filters by the label set of a record, and those of them that do not come with the release.
OF_CONTEXT = {
    "power_mode": "Power mode",
    "firmware_version": "Firmware",
    "driver_version": "Driver",
    "model_version": "Model",
    "runtime_version": "Runtime",
}
OFFERED = ("firmware_version", "driver_version")
MOST_OPTIONS = 200
LEVELS_SHOWN = 4
DRILLED_INTO = ("release", "hardware_target", "region", *OF_CONTEXT)
COLUMNS = ("dimension", "divergence", "level", "inside", "outside", "difference", "lower", "upper", "shown")
# A selection half of which comes from so few devices is told apart by anything that these have in common.
FEW_CARRIERS = 3


@login_required
@require_GET
def explore(request: HttpRequest) -> HttpResponse:
    """The page: its charts and the differences of a selection come from their own addresses."""
    state = page_state(request)
    params = request.GET
    kept = ("metric", "ridges", *REGION)
    state["kept_with_filters"] = [*state["kept_with_filters"], *((n, params[n]) for n in kept if params.get(n))]
    metric = params.get("metric") if params.get("metric") in SHOWN else "latency"
    word, unit, quantile, _ = SHOWN[metric]
    return render(
        request,
        "telemetry/explore.html",
        {
            **state,
            "metric": metric,
            "unknown_metric": params.get("metric", "") not in ("", *SHOWN),
            "metrics": [(name, shown[0]) for name, shown in SHOWN.items()],
            "word": word,
            "unit": unit,
            "quantile": f"p{quantile * 100:g}",
            "heatmap_query": page.query(request.GET, state["range"], selectable="1"),
            "ridge_picks": (("release", "release"), ("day", "day")),
            "region": {name: params.get(name, "") for name in REGION} | _instants(params, state["now"]),
            "selected": any(params.get(name) for name in REGION),
            "kept_with_region": [(n, v) for n, v in params.items() if n not in REGION and v],
        },
    )


def page_state(request: HttpRequest, *, filters: Sequence[str] = FILTERS, default: str = timerange.DEFAULT) -> dict:
    """Range and filters of a page, those of what a device runs among them.

    Firmware and driver are offered where there is a choice; every part is there where the address names its version.
    """
    choices = [_of_context(name, label, request.GET) for name, label in OF_CONTEXT.items()]
    shown = [
        choice
        for choice in choices
        if choice.value or choice.name == "power_mode" or (choice.name in OFFERED and len(choice.options) > 1)
    ]
    return page.context(request, now=timezone.now(), filters=filters, more=shown, default=default)


def _of_context(name: str, label: str, params: QueryDict) -> page.Choice:
    contexts = Context.objects.exclude(**{name: ""})
    if params.get("workload"):
        contexts = contexts.filter(workload__slug=params["workload"])
    values = list(contexts.order_by(name).values_list(name, flat=True).distinct()[:MOST_OPTIONS])
    value = params.get(name, "")
    if value and value not in values:  # without an option of its own it would look like no filter at all
        values.append(value)
    return page.Choice(name, label, value, [(text, text) for text in values])


def _instants(params: QueryDict, now: datetime) -> dict[str, str]:
    """The ends of the selection as the form has them, a relative one as the moment that it means now."""
    found = {}
    for name in ("sel_from", "sel_to"):
        with suppress(InvalidInput):
            if params.get(name):
                found[name] = timerange.rfc3339(timerange.instant(params[name], now=now, field=name))
    return found


@login_required
@require_GET
def differences(request: HttpRequest) -> HttpResponseBase:
    """Which dimension differs inside the selected region; a refusal comes back in the panel's place."""
    try:
        question = Question.of(request.GET.dict(), now=timezone.now())
        metric = metric_of(question)
        region = region_of(question, metric)
    except InvalidInput as refusal:
        return answer_refusal(request, refusal)
    context: dict[str, Any] = {"question": question, "region": region}
    if region is not None:
        found = region_differences(
            question.selection, metric, region, start=question.range.start, end=question.end, now=question.now
        )
        if found and request.GET.get("format") in ("csv", "json"):
            return _file(question, found, request.GET["format"])
        context |= _shown(question, found, metric) if found else {"nothing": True}
    response = render(request, "telemetry/_differences_panel.html", context)
    if request.headers.get("HX-Trigger") == "region-form":
        query = urlencode([(name, value) for name, value in request.GET.items() if value])
        response["HX-Replace-Url"] = f"{reverse('telemetry:explore')}?{query}"
    return response


def _file(question: Question, found: RegionDifferences, form: str) -> HttpResponseBase:
    """The differences as a file: one row per level, and in JSON what they rest on."""
    rows = [
        dict(zip(COLUMNS, (dimension.name, dimension.divergence, *_figures(level)), strict=True))
        for dimension in found.dimensions
        for level in dimension.levels
    ]
    if form == "csv":
        return csv_response("differences", COLUMNS, rows)
    region = {name: getattr(found.region, name) for name in ("start", "end", "low", "high")}
    rests_on = ("inside", "outside", "devices", "carriers", "devices_read", "of_devices", "record_devices")
    document = {
        "region": region,
        **{name: getattr(found, name) for name in rests_on},
        "as_of": question.as_of,
    }
    return json_response("differences", rows, about=document, rows_name="levels")


def _figures(level: Level) -> tuple:
    return level.label, level.inside, level.outside, level.difference, level.lower, level.upper, level.shown


def _shown(question: Question, found: RegionDifferences, metric: Metric) -> dict[str, Any]:
    """What the panel shows of the differences."""
    word, unit, _, _ = SHOWN[metric.name]
    rows = [_row(question, dimension) for dimension in found.dimensions]
    few = found.devices < MINIMUM_DEVICES or found.carriers <= FEW_CARRIERS
    return {
        "found": found,
        "word": word,
        "unit": unit,
        "share": found.inside / (found.inside + found.outside),
        "shown": [row for row in rows if row["dimension"].shown],
        "others": [row for row in rows if not row["dimension"].shown],
        "by_hour": any(dimension.by_hour for dimension in found.dimensions),
        "few": few,
        "few_text": _few(found),
        "resamples": RESAMPLES,
        "ends_open": found.region.high >= 2**39,
        "starts_open": found.region.low < 1e-5,
    }


def _few(found: RegionDifferences) -> str:
    if found.devices == 1:
        return "One device alone: whatever sets it apart from the others differs. Look at the device first."
    return (
        f"Half of the selection comes from {found.carriers} of {found.devices} devices. What these happen to have in "
        "common differs too: look at the devices first."
    )


def _row(question: Question, dimension: Dimension) -> dict[str, Any]:
    """A dimension with the levels that differ most, each with the address that drills down into it."""
    ordered = sorted(dimension.levels, key=lambda level: -abs(level.difference))[:LEVELS_SHOWN]
    ordered.sort(key=lambda level: -level.difference)
    return {
        "dimension": dimension,
        "levels": [(level, _drill_down(question, dimension, level)) for level in ordered],
        "left_out": len(dimension.levels) - len(ordered),
    }


def _drill_down(question: Question, dimension: Dimension, level: Level) -> str:
    """The address of this page with the level as a filter, or of the device's page; empty where there is none."""
    params = {name: value for name, value in question.params.items() if value}
    if dimension.name == "device":
        device_page = reverse("fleet:device", args=[level.label]) if level.label != "all others" else ""
        span = {name: params[name] for name in ("from", "to", "tz") if name in params}
        return f"{device_page}?{urlencode(span)}" if device_page else ""
    if dimension.name not in DRILLED_INTO or level.label == "not told":
        return ""
    added = {dimension.name: level.label}
    if dimension.name == "release" and question.selection.workload_id is None:
        added["workload"], added["release"] = level.label.split(" ", 1)
    return f"{address('telemetry:explore')}?{urlencode({**params, **added})}"
