"""Energy and heat: what does an inference cost, hot and cold?"""

from __future__ import annotations

from dataclasses import asdict, fields
from datetime import timedelta
from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import page
from fleet.exceptions import InvalidInput
from fleet.tables import table_response
from telemetry import charts
from telemetry.charts import Chart
from telemetry.selectors.absence import why_empty
from telemetry.selectors.batteries import BatteryLife, batteries
from telemetry.selectors.energy import (
    CLASS_SPAN,
    ClassEnergy,
    EnergyFigures,
    EnergyVariation,
    energy_by_class,
    energy_figures,
    energy_variation,
    ramp_up,
)
from telemetry.selectors.throttling import throttling
from telemetry.views.explore import page_state
from telemetry.views.panels import TableFile, panel
from telemetry.views.question import Question, answer_refusal, figure, group_label

# value of `by`: its word, and the dimensions that rows stand for
GROUPINGS: dict[str, tuple[str, tuple[str, ...]]] = {
    "mode": ("Power mode", ("hardware_target", "power_mode")),
    "release": ("Release", ("hardware_target", "release")),
    "hardware": ("Hardware target", ("hardware_target",)),
    "region": ("Region", ("hardware_target", "region")),
}
# Variation and starts are read minute by minute: the newest day of the range, of so many device-minutes.
DETAIL_SPAN = timedelta(days=1)
MOST_MINUTES = 30_000
# A share of inferences above which throttling is marked.
NOTABLE_THROTTLING = 0.01
COLUMNS = (
    "group", "inferences", "joules", "idle_joules", "mean_mj", "p95_mj", "stddev_mj", "sustained_w", "peak_w",
    "idle_share", "throttled_share", "temperature_c",
)  # fmt: skip

CLASS_COLUMNS = tuple(field.name for field in fields(ClassEnergy))
BATTERY_COLUMNS = tuple(field.name for field in fields(BatteryLife))


@login_required
@require_GET
def energy(request: HttpRequest) -> HttpResponse:
    """The page: figures, charts and details come from their own addresses."""
    state = page_state(request)
    params = request.GET
    if params.get("by"):
        state["kept_with_filters"] = [*state["kept_with_filters"], ("by", params["by"])]
    by = params.get("by") if params.get("by") in GROUPINGS else "mode"
    dimensions = ",".join(GROUPINGS[by][1])
    return render(
        request,
        "telemetry/energy.html",
        {
            **state,
            "by": by,
            "groupings": [(name, word) for name, (word, _) in GROUPINGS.items()],
            "grouped_query": page.query(params, state["range"], group_by=dimensions),
            "distribution_query": page.query(params, state["range"], group_by=dimensions, metric="energy"),
        },
    )


@login_required
@require_GET
def figures(request: HttpRequest) -> HttpResponseBase:
    """What an inference costs, by group and in all; `format=csv` or `json` gives the groups as a file."""
    try:
        question = Question.of(request.GET.dict(), now=timezone.now())
        by = request.GET.get("by") or "mode"
        if by not in GROUPINGS:
            raise InvalidInput({"by": f"“{by}” is none of {', '.join(GROUPINGS)}."})
    except InvalidInput as refusal:
        return answer_refusal(request, refusal)
    span = {"start": question.range.start, "end": question.end}
    rows = energy_figures(question.selection, group_by=GROUPINGS[by][1], **span)
    if file := table_response(request.GET.get("format", ""), "energy", COLUMNS, (_plain(row) for row in rows)):
        return file
    whole = energy_figures(question.selection, group_by=(), **span)
    context = {
        "question": question,
        "word": GROUPINGS[by][0],
        "rows": [(group_label(row.group), row) for row in rows],
        "whole": whole[0] if whole else None,
        **(_notes(whole[0]) if whole else {}),
        "dearest": max((row.mean_mj or 0 for row in rows), default=0) or None,
        "cause": None if whole else why_empty(question.selection, **span)[0],
    }
    return render(request, "telemetry/_energy_panel.html", context)


@panel("telemetry/_energy_details_panel.html")
def details(question: Question) -> dict[str, Any]:
    """What a start costs, where energy varies, what each class costs, and what a charge is worth."""
    newest = max(question.range.start, question.end - DETAIL_SPAN)
    minutes = max((question.end - newest) / timedelta(minutes=1), 1)
    most = max(1, min(50, int(MOST_MINUTES / minutes)))
    span = {"start": newest, "end": question.end}
    variation = energy_variation(question.selection, most_devices=most, **span)
    classes = energy_by_class(question.selection, start=question.range.start, end=question.end)
    charges = batteries(question.selection, start=question.range.start, end=question.end)
    return {
        "newest": newest,
        "starts": ramp_up(question.selection, most_devices=most, **span),
        "variation": variation,
        "parts": _parts(variation) if variation else [],
        "classes": classes,
        "dearest": max((row.mean_mj for row in classes), default=0) or None,
        "class_start": max(question.range.start, question.end - CLASS_SPAN),
        "batteries": charges,
        "files": [
            TableFile("energy-by-class", CLASS_COLUMNS, map(asdict, classes)),
            TableFile("batteries", BATTERY_COLUMNS, map(asdict, charges.lives)),
        ],
    }


@figure("throttled-minutes")
def throttled(question: Question) -> Chart:
    """Device-minutes throttled over time, by hardware target."""
    found = throttling(question.selection, start=question.range.start, end=question.end)
    if not found.minutes:
        return question.nothing()
    per_day = 1440 * found.total / found.reported if found.reported else 0.0
    notes = [f"{found.total:,.0f} device-minutes in all, {per_day:.1f} per device and day"]
    if found.devices < found.of_devices:
        notes.append(f"of {found.devices:,} of {found.of_devices:,} devices")
    footing = question.footing(count=found.devices, unit="devices", resolution=found.step, notes=notes)
    return charts.throttled_minutes(
        found.times,
        found.minutes,
        step=found.step,
        start=question.range.start,
        end=question.range.end,
        markers=question.markers(),
        footing=footing,
    )


def _notes(whole: EnergyFigures) -> dict[str, str]:
    """What stands below the tiles, and whether throttling is worth a second look."""
    return {
        "whole_note": f"p95 {whole.p95_mj:.1f} mJ, {whole.joules / 1000:,.1f} kJ in all" if whole.p95_mj else "",
        "power_note": f"peak {whole.peak_w:.1f} W" if whole.peak_w is not None else "",
        "throttled_state": "hold" if (whole.throttled_share or 0) > NOTABLE_THROTTLING else "",
    }


def _parts(variation: EnergyVariation) -> list[tuple[str, float, float]]:
    """Where the variance lies: words, share of it, and the standard deviation in mJ."""
    named = (
        ("within a batch", variation.within_batches),
        ("between batches of a device", variation.between_batches),
        ("between devices", variation.between_devices),
    )
    total = variation.total or 1.0
    return [(words, part / total, part**0.5) for words, part in named]


def _plain(row: EnergyFigures) -> dict[str, Any]:
    return {
        "group": group_label(row.group),
        "inferences": row.count,
        **{name: getattr(row, name) for name in COLUMNS[2:]},
    }
