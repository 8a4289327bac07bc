"""Where has this been proven? The qualification matrix of a release, its boards side by side, its calibration sets."""

from __future__ import annotations

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import page
from fleet.models import Release
from fleet.models.people import Role
from fleet.selectors.releases import release_for
from fleet.tables import csv_response
from rollouts.models import Qualification
from rollouts.selectors.gates import calibration
from rollouts.selectors.qualifications import MODES, as_rows, compared_boards, matrix_of

MODE_TITLES = dict(Qualification.Mode.choices)


@login_required
@require_GET
def qualifications(request: HttpRequest) -> HttpResponse:
    """The matrix of the release that `workload` and `release` name, else of the newest one with a qualification."""
    now = timezone.now()
    mode = request.GET.get("mode", "") or Qualification.Mode.NOMINAL
    refusal = ""
    if mode not in MODES:
        refusal, mode = f"mode: There is no mode “{mode}”; known: {', '.join(MODES)}.", Qualification.Mode.NOMINAL
    more = (page.Choice("mode", "Compare boards in", mode, list(Qualification.Mode.choices)),)
    state = page.context(request, now=now, filters=("workload", "release"), more=more)
    release = _release(request)
    matrix = matrix_of(release, now) if release else None
    wanted = request.GET.get("format", "")
    if wanted in ("csv", "json"):
        rows = as_rows(matrix) if matrix else []
        if wanted == "json":
            return JsonResponse({"rows": rows, "as_of": now})
        columns = list(dict.fromkeys(name for row in rows for name in row))
        return csv_response("qualifications", columns or ["release"], rows)
    calibrated = calibration(release) if release else []
    context: dict[str, Any] = {
        **state,
        "refusal": refusal,
        "release": release,
        "matrix": matrix,
        "modes": [(name, MODE_TITLES[name]) for name in MODES],
        "compared": _in_words(compared_boards(release, mode)) if release else None,
        "mode_title": MODE_TITLES[mode].lower(),
        "calibration": calibrated,
        "calibration_metrics": calibration_metrics(calibrated),
        "named": bool(request.GET.get("release") or request.GET.get("workload")),
    }
    return render(request, "rollouts/qualifications.html", context)


def _release(request: HttpRequest) -> Release | None:
    """The release that the address names; of a workload alone, and of nothing, the newest that was qualified."""
    rows = Release.objects.select_related("workload").exclude(status=Release.Status.UNREGISTERED)
    if request.GET.get("workload"):
        rows = rows.filter(workload__slug=request.GET["workload"])
    if request.GET.get("release"):
        return rows.filter(version=request.GET["release"]).order_by("-created_at").first()
    return rows.filter(qualifications__isnull=False).order_by("-created_at", "-pk").first()


def _in_words(compared: dict[str, Any]) -> dict[str, Any]:
    """The comparison with its values as people read them."""
    for board in compared["boards"]:
        for cell, heading in zip(board["values"], compared["measured"], strict=True):
            value, share = cell["value"], cell["share"]
            cell["title"] = heading["title"]
            cell["text"] = "–" if value is None else f"{value:.4g}"
            if value is not None and not heading["unit"]:
                cell["text"] = f"{100 * value:.4g} %"
            cell["more"] = "" if share is None else f"{1 + share:.3g} times" if share >= 1 else f"{100 * share:+.0f} %"
    return compared


def calibration_metrics(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """What quantization changed beside accuracy: each further measurement of each set against the reference precision.

    One row per set, hardware target and measurement, with the reference value and the change per other precision.
    """
    found = []
    for row in rows:
        reference, *others = row["precisions"]
        for name, value in sorted(reference["measurements"].items()):
            changes = [
                (other["precision"], other["measurements"][name] - value)
                for other in others
                if name in other["measurements"]
            ]
            if changes:
                found.append(
                    {
                        "calibration_set": row["calibration_set"],
                        "kind": row["kind"],
                        "name": name.replace("_", " "),
                        "reference": reference["precision"],
                        "value": value,
                        "changes": changes,
                    }
                )
    return found


@login_required
@require_GET
def zoo_panel(request: HttpRequest) -> HttpResponse:
    """Where and how a release can be deployed: precisions and boards that it was proven on, what each costs."""
    release = release_for(request.GET.get("workload", ""), request.GET.get("release", ""))
    context: dict[str, Any] = {"release": release}
    if release is not None:
        calibrated = calibration(release)
        context |= {
            "matrix": matrix_of(release, timezone.now()),
            "calibration": calibrated,
            "metadata": [
                (name.replace("_", " "), value if not isinstance(value, list) else ", ".join(map(str, value)))
                for name, value in release.metadata.items()
                if name != "anchor" and not isinstance(value, dict)
            ],
            "profiles": [
                (name.replace("_", " "), list(value.items()))
                for name, value in release.metadata.items()
                if isinstance(value, dict) and value
            ],
            "is_anchor": release.metadata.get("anchor") is True,
            "may_plan": request.user.has_role(Role.RELEASE_MANAGER),
        }
    return render(request, "rollouts/_zoo_panel.html", context)
