"""Panels that the telemetry app gives to the pages of other apps: fleet state, device table, release by hardware."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import timerange
from fleet.exceptions import InvalidInput
from fleet.models import DeviceGroup
from fleet.scopes import scopes_of_user
from fleet.tables import table_response
from telemetry.charts import sparkline
from telemetry.metrics import METRICS
from telemetry.selectors.device_table import FALLING, DeviceRow, device_rows, latency_sparks, worst_devices
from telemetry.selectors.fleet_state import LIMITS, Cell, cells, throttled_now
from telemetry.selectors.presence import presence, selected_devices
from telemetry.selectors.series import metric_series
from telemetry.views.question import Question, answer_refusal, words

DEVICES_PER_PAGE = 50
WORST = 8
SPARK_STEPS = 48
# of files
DEVICE_COLUMNS = tuple(name for name in DeviceRow.__dataclass_fields__ if name not in ("device_id", "release_id"))


@dataclass(frozen=True)
class TableFile:
    """A table of a panel that also comes as a file; `columns` are those of `rows`."""

    name: str
    columns: Sequence[str]
    rows: Iterable[Mapping[str, Any]]


def panel(template: str, *, default: str = timerange.DEFAULT) -> Callable[[Callable[[Question], dict]], Callable]:
    """Turn a function from question to template context into a view; a refusal comes back in the panel's place.

    What the context calls `files` are its tables: `format=csv` or `json` gives the first, or the one that `table`
    names.
    """

    def decorate(build: Callable[[Question], dict[str, Any]]) -> Callable[[HttpRequest], HttpResponse]:
        @login_required
        @require_GET
        @wraps(build)
        def view(request: HttpRequest) -> HttpResponseBase:
            try:
                question = Question.of(request.GET.dict(), now=timezone.now(), default=default)
                found = build(question)
            except InvalidInput as refusal:
                return answer_refusal(request, refusal)
            return _file(request, found.pop("files", ())) or render(request, template, {"question": question, **found})

        return view

    return decorate


def _file(request: HttpRequest, files: Sequence[TableFile]) -> HttpResponseBase | None:
    """The table that is asked for as a file; None where the panel itself is."""
    for file in files:
        if request.GET.get("table", file.name) == file.name:
            return table_response(request.GET.get("format", ""), file.name, file.columns, file.rows)
    return None


# Figures of a cell, each with the limit that it is held against where there is one.
CELL_FIGURES = (
    "latency_p50", "latency_p95", "latency_p99", "energy", "confidence", "fallback_rate", "error_rate",
    "throttled_share",
)  # fmt: skip


def cells_file(name: str, found: Sequence[Cell], *dimensions: str) -> TableFile:
    """Cells with their figures and limits."""
    limits = {figure: f"{figure}_limit" for figure in CELL_FIGURES if figure in LIMITS}
    rows = (
        {**cell.group, "inferences": cell.count}
        | {figure: getattr(cell, figure).value for figure in CELL_FIGURES}
        | {column: getattr(cell, figure).limit for figure, column in limits.items()}
        for cell in found
    )
    return TableFile(name, (*dimensions, "inferences", *CELL_FIGURES, *limits.values()), rows)


@panel("telemetry/_now_panel.html")
def now(question: Question) -> dict[str, Any]:
    """Who is heard, what fails, what costs too much, in tiles; then each hardware target against its budget."""
    heard = presence(
        selected_devices(_of_devices(question.params)), now=question.now, workload=question.params.get("workload", "")
    )
    found = cells(question.selection, start=question.range.start, end=question.end)
    over = [cell for cell in found if cell.exceeded]
    total = sum(cell.count for cell in found)
    return {
        "presence": heard,
        "throttled": throttled_now(question.selection, now=question.now),
        "fallback": _rate_tile(question, "fallback_rate"),
        "errors": _rate_tile(question, "error_rate"),
        "cells": found,
        "over": over,
        "budgeted": sum(any(f.limit is not None for f in (c.latency_p95, c.energy)) for c in found),
        "total": total,
        "devices_query": question.devices_query,
        "resolution": words(question.step),
        "files": [cells_file("hardware-targets", found, "workload", "hardware_target")],
    }


@panel("telemetry/_worst_panel.html")
def worst(question: Question) -> dict[str, Any]:
    """The devices that lie furthest from devices like them, that are silent, or that fall back."""
    listed = worst_devices(question.params, now=question.now, most=WORST)
    sparks = latency_sparks([row.device_id for row in listed], now=question.now)
    return {
        "rows": [(row, sparkline(sparks[row.device_id]), _why(row)) for row in listed],
        "devices_query": question.devices_query,
        "files": [TableFile("standing-out", ("why", *DEVICE_COLUMNS), ({"why": _why(r), **asdict(r)} for r in listed))],
    }


@login_required
@require_GET
def devices(request: HttpRequest) -> HttpResponseBase:
    """The device table: filtered and sorted by the query string of the devices page, or the whole of it as a file."""
    params = request.GET.dict()
    moment = timezone.now()
    rows = device_rows(params, now=moment)
    if file := _file(request, [TableFile("devices", DEVICE_COLUMNS, (asdict(row) for row in rows))]):
        return file
    page = Paginator(rows, DEVICES_PER_PAGE).get_page(params.get("page"))
    sparks = latency_sparks([row.device_id for row in page], now=moment)
    may_tag = "fleet:write" in scopes_of_user(request.user)
    return render(
        request,
        "telemetry/_devices_panel.html",
        {
            "page": page,
            "rows": [(row, sparkline(sparks[row.device_id])) for row in page],
            "sort": params.get("sort", "deviation"),
            "turned": params.get("sort", "").removeprefix("-") if params.get("sort", "").startswith("-") else "",
            "deviation_help": DEVIATION_HELP,
            "columns": COLUMNS,
            "filtered": any(params.get(name) for name in FILTERS),
            "may_tag": may_tag,
            "groups": DeviceGroup.objects.order_by("slug") if may_tag else (),
            "query": request.GET.urlencode(),
        },
    )


DEVIATION_HELP = (
    "Against its cohort: how far the newest batch's p95 latency or energy, whichever lies further, is from the median "
    "of devices of the same workload, release and hardware target (five at least): (ln x − median) / (1.4826 × median "
    "absolute deviation, 2 % at least). Beyond ±3.5 and 10 % a device is marked as unlike its cohort."
)
# (sort key, heading, whether numbers stand under it, help)
COLUMNS = (
    ("serial", "Serial", False, ""),
    ("seen", "Heard from", False, ""),
    ("", "Hardware", False, ""),
    ("", "Region", False, ""),
    ("", "Release", False, ""),
    ("latency", "p95 ms", True, ""),
    ("energy", "mJ", True, ""),
    ("temperature", "°C", True, ""),
    ("fallback", "Fallback", True, ""),
    ("deviation", "Against its cohort", True, DEVIATION_HELP),
    ("", "p95, last 24 h", False, ""),
)
FILTERS = ("workload", "release", "hardware_target", "region", "group", "seen", "status", "q")


@panel("telemetry/_release_panel.html", default="-7d")
def release(question: Question) -> dict[str, Any]:
    """A release and the one that it is compared with, hardware target by hardware target."""
    found = cells(
        question.selection,
        start=question.range.start,
        end=question.end,
        group_by=("workload", "hardware_target", "release"),
    )
    mine, other = question.params.get("release", "").split(",")[0], question.params.get("against", "")
    targets = sorted({cell.group["hardware_target"] for cell in found})
    by_key = {(cell.group["hardware_target"], cell.group["release"]): cell for cell in found}
    return {
        "mine": mine,
        "other": other,
        "rows": [(target, by_key.get((target, mine)), by_key.get((target, other))) for target in targets],
        "files": [cells_file("by-hardware", found, "workload", "hardware_target", "release")],
    }


def _rate_tile(question: Question, name: str) -> dict[str, Any]:
    """A rate over the range in per cent, with its course as a sparkline."""
    series = metric_series(
        question.selection,
        METRICS[name],
        start=question.range.start,
        end=question.end,
        step=max(question.step, (question.end - question.range.start) / SPARK_STEPS),
        stats=("mean",),
    )
    if not series.groups:
        return {"value": None, "spark": None}
    [group] = series.groups
    counted = int(group.count.sum())
    events = float((group.count * group.values["mean"])[group.count > 0].sum())
    return {
        "value": 100 * events / counted if counted else None,
        "spark": sparkline(list(group.values["mean"]), from_zero=True),
    }


def _of_devices(params: dict[str, str]) -> dict[str, str]:
    """The filters that select devices; a release on the home page selects records and not devices."""
    return {name: params[name] for name in ("hardware_target", "region", "group", "device") if params.get(name)}


def _why(row: DeviceRow) -> str:
    """Why a device is on the list of the worst."""
    if row.presence == "silent":
        return "silent"
    if (row.fallback_rate or 0) > FALLING:
        return f"{100 * row.fallback_rate:.0f} % of its inferences fall back"
    return f"{row.deviates_in} {100 * row.difference:+.0f} % against its cohort"
