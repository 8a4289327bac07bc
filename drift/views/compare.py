"""Compare: what differs between two releases? Figures, distributions, bill of materials, and where a change lies."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from drift.selectors.release_comparison import BEFORE, Row, changed_devices, compare_releases
from drift.services.attribution import Comparison, explain
from fleet import page
from fleet.exceptions import InvalidInput
from fleet.models import HardwareTarget, Release, Workload
from fleet.selectors.releases import difference, previous_release
from fleet.tables import csv_response
from telemetry.models import ReleaseSpan
from telemetry.views.explore import page_state
from telemetry.views.question import Question, answer_refusal

FILTERS = ("hardware_target", "region")
DEFAULT_RANGE = "-7d"
# What attribution can take apart: means of what is recorded by condition.
EXPLAINED = (("latency_p50", "Latency"), ("energy_mean", "Energy"), ("confidence_mean", "Confidence"))
CLASSES_SHOWN = 5
COLUMNS = (
    "figure", "unit", "baseline", "candidate", "difference", "devices_with_both", "change", "change_lower",
    "change_upper",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """The two releases of a comparison; either may be missing where there is nothing to choose from."""

    workload: Workload | None
    baseline: Release | None
    candidate: Release | None

    @property
    def complete(self) -> bool:
        """Whether there are two releases to compare."""
        return self.baseline is not None and self.candidate is not None


@login_required
@require_GET
def compare(request: HttpRequest) -> HttpResponse:
    """The page; what is computed comes from its panels and charts. `format=csv` is the table of figures."""
    state = page_state(request, filters=FILTERS, default=DEFAULT_RANGE)
    try:
        pair = _pair(request)
    except InvalidInput as refusal:
        context = {**state, "refusal": refusal.detail, "workloads": Workload.objects.order_by("slug")}
        return render(request, "drift/compare.html", context, status=422)
    params = request.GET
    kept = [(name, params[name]) for name in ("workload", "release", "against") if params.get(name)]
    state["kept_with_filters"] = [*state["kept_with_filters"], *kept]
    context = {
        **state,
        "pair": pair,
        "workloads": Workload.objects.order_by("slug"),
        "releases": _releases(pair.workload),
        "kept_with_pair": [(n, v) for n, v in params.items() if n not in ("workload", "release", "against") and v],
    }
    if pair.complete:
        parts = difference(pair.candidate, pair.baseline)
        named = {"workload": pair.workload.slug, "release": pair.candidate.version, "against": pair.baseline.version}
        context |= {
            "parts": parts,
            "changed_parts": sum(bool(row["changed"]) for row in parts),
            "same": pair.candidate == pair.baseline,
            "query": page.query(params, state["range"], **named),
            "query_energy": page.query(params, state["range"], metric="energy", **named),
            "query_temperature": page.query(params, state["range"], group_by="hardware_target,release", **named),
            "mixed_targets": not params.get("hardware_target") and HardwareTarget.objects.count() > 1,
        }
    return render(request, "drift/compare.html", context)


@login_required
@require_GET
def figures(request: HttpRequest) -> HttpResponse:
    """The table of figures, or the same as a file with `format=csv`."""
    try:
        question, pair = _asked(request)
    except InvalidInput as refusal:
        return answer_refusal(request, refusal)
    span = {"start": question.range.start, "end": question.end}
    found = compare_releases(question.selection, pair.baseline, pair.candidate, **span)
    if request.GET.get("format") == "csv":
        return csv_response("comparison", COLUMNS, (_plain(row) for row in found.rows))
    context = {"question": question, "found": found, "classes": found.classes[:CLASSES_SHOWN]}
    return render(request, "drift/_comparison_panel.html", context)


@login_required
@require_GET
def attribution(request: HttpRequest) -> HttpResponse:
    """Where the change of one metric lies, of the devices that moved to the candidate against those that did not."""
    try:
        question, pair = _asked(request)
        metric = request.GET.get("explain") or EXPLAINED[0][0]
        if metric not in dict(EXPLAINED):
            raise InvalidInput({"explain": f"“{metric}” is none of {', '.join(dict(EXPLAINED))}."})
    except InvalidInput as refusal:
        return answer_refusal(request, refusal)
    devices = changed_devices(question.selection, pair.baseline, pair.candidate, end=question.end)
    found = None
    if devices is not None:
        found = explain(
            Comparison(
                workload_id=pair.workload.pk,
                release_id=pair.candidate.pk,
                treated=devices.moved,
                control=devices.stayed,
                pre_start=devices.first_move - BEFORE,
                started_at=devices.first_move,
                as_of=question.end,
            ),
            metric,
        )
    context = {
        "pair": pair,
        "devices": devices,
        "found": found,
        "metric": metric,
        "title": dict(EXPLAINED)[metric],
        "explained": EXPLAINED,
        "days": BEFORE.days,
        "question": question,
    }
    return render(request, "drift/_attribution_panel.html", context)


def _asked(request: HttpRequest) -> tuple[Question, Pair]:
    """What a panel is asked; both releases must be there."""
    pair = _pair(request)
    if not pair.complete:
        raise InvalidInput({"release": "Name a workload with two releases that devices have reported."})
    params = {name: value for name, value in request.GET.items() if name not in ("release", "against")}
    question = Question.of({**params, "workload": pair.workload.slug}, now=timezone.now(), default=DEFAULT_RANGE)
    both = (pair.baseline.pk, pair.candidate.pk)
    return replace(question, selection=replace(question.selection, release_ids=both)), pair


def _pair(request: HttpRequest) -> Pair:
    """The releases that the query string names; left out, the newest that was reported and the one before it.

    Raises:
        InvalidInput: naming the parameter that names nothing.
    """
    params = request.GET
    slug = params.get("workload", "")
    if slug:
        workload = Workload.objects.filter(slug=slug).first() if "\0" not in slug else None
        if workload is None:
            raise InvalidInput({"workload": f"There is no workload “{slug}”."}, code="does_not_exist")
    else:
        workload = _busiest()
    if workload is None:
        return Pair(None, None, None)
    candidate = _named(workload, "release", params.get("release", "")) or _newest(workload)
    baseline = _named(workload, "against", params.get("against", ""))
    if baseline is None and candidate is not None:
        baseline = previous_release(candidate)
    return Pair(workload, baseline, candidate)


def _busiest() -> Workload | None:
    """The workload that most devices have reported, one of which two releases were reported before others."""
    reported = ReleaseSpan.objects.order_by().values("workload")
    counted = reported.annotate(releases=Count("release", distinct=True), devices=Count("device", distinct=True))
    best = max(counted, key=lambda row: (row["releases"] > 1, row["devices"], -row["workload"]), default=None)
    return Workload.objects.get(pk=best["workload"]) if best else Workload.objects.order_by("slug").first()


def _named(workload: Workload, field: str, version: str) -> Release | None:
    if not version:
        return None
    found = workload.releases.filter(version=version).first() if "\0" not in version else None
    if found is None:
        raise InvalidInput({field: f"There is no release “{version}” of {workload.slug}."}, code="does_not_exist")
    return found


def _newest(workload: Workload) -> Release | None:
    """The newest release that a device has reported; else the newest one."""
    spans = ReleaseSpan.objects.filter(workload=workload).select_related("release")
    found = spans.order_by("-release__created_at", "-release_id").first()
    return found.release if found else _releases(workload).first()


def _releases(workload: Workload | None):
    return Release.objects.filter(workload=workload).exclude(status=Release.Status.DRAFT).order_by("-created_at", "-pk")


def _plain(row: Row) -> dict[str, Any]:
    return {
        "figure": row.figure.title,
        "unit": row.figure.unit,
        "baseline": row.baseline,
        "candidate": row.candidate,
        "difference": row.difference,
        "devices_with_both": row.devices,
        "change": row.effect,
        "change_lower": row.lower,
        "change_upper": row.upper,
    }
