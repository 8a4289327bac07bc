"""Retrospectives: how often would this policy have cried wolf over what is stored?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from drift.charts import Effect, effect_text, interval_glyph, interval_text
from drift.models import Retrospective
from drift.selectors import retrospectives as selectors
from drift.services import retrospectives as service
from drift.stats.metrics import METRICS
from drift.views.retrospective_form import RetrospectiveForm
from fleet import page
from fleet.exceptions import InvalidInput
from fleet.models import Workload

PER_PAGE = 50


@login_required
@require_GET
def retrospectives(request: HttpRequest) -> HttpResponse:
    """Every kept run with its share of failing looks."""
    shown = Paginator(selectors.retrospectives(), PER_PAGE).get_page(request.GET.get("page"))
    rows = [{"kept": kept, "alarms": crying(kept.verdicts) if kept.verdicts else None} for kept in shown]
    return render(request, "drift/retrospectives.html", {"page": shown, "rows": rows})


@login_required
@require_GET
def retrospective(request: HttpRequest, pk: int) -> HttpResponse:
    """One kept run: the verdict at every look, and what the last look rests on."""
    kept = get_object_or_404(Retrospective.objects.select_related("created_by"), pk=pk)
    looks = (kept.result or {}).get("looks", [])
    asked = kept.request
    return render(
        request,
        "drift/retrospective.html",
        {
            "kept": kept,
            "asked": asked,
            "started_at": datetime.fromisoformat(asked["started_at"]),
            "seed": (asked.get("assignment") or {}).get("seed"),
            "observational": bool(kept.result) and not kept.result.get("randomised"),
            "alarms": crying([look["verdict"] for look in looks]) if looks else None,
            "spells": spells(looks),
            "lanes": [_lane(lane, looks[-1]) for lane in looks[-1]["lanes"]] if looks else [],
            "crumbs": [("Retrospectives", reverse("drift:retrospectives")), (f"Run {kept.pk}", None)],
        },
    )


@page.needs_scope("drift:read")
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Ask for a run, wait for it, and go to its result; what is wrong with the request stands at its field."""
    form = RetrospectiveForm(request.POST if request.method == "POST" else None, initial=request.GET.dict())
    if form.is_valid():
        try:
            kept = service.execute(form.to_request(), user=request.user, now=timezone.now(), clock=timezone.now)
        except InvalidInput as refusal:
            form.refuse(refusal)
        else:
            return redirect("drift:retrospective", kept.pk)
    return render(
        request,
        "drift/retrospective_new.html",
        {
            "form": form,
            "workloads": Workload.objects.order_by("slug").values_list("slug", flat=True),
            "crumbs": [("Retrospectives", reverse("drift:retrospectives")), ("New", None)],
        },
        status=422 if form.errors else 200,
    )


def crying(verdicts: Sequence[str]) -> dict[str, Any]:
    """How often the policy would have cried: looks in all, with each verdict, the share that fails, the first of them.

    `first` is the 1-based number of the first failing look, None where no look fails.
    """
    counts = Counter(verdicts)
    first = next((number for number, verdict in enumerate(verdicts, start=1) if verdict == "fail"), None)
    return {
        "looks": len(verdicts),
        "counts": [(verdict, counts[verdict]) for verdict in ("fail", "hold", "inconclusive", "pass")],
        "failing": counts["fail"],
        "share": counts["fail"] / len(verdicts),
        "first": first,
    }


def spells(looks: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The looks as spells of one verdict: the verdict, its first and last look, and the reason given at the first."""
    found = []
    for verdict, group in groupby(looks, key=lambda look: look["verdict"]):
        members = list(group)
        found.append(
            {
                "verdict": verdict,
                "first": members[0]["look"],
                "last": members[-1]["look"],
                "length": len(members),
                "begins": datetime.fromisoformat(members[0]["as_of"]),
                "ends": datetime.fromisoformat(members[-1]["as_of"]),
                "reason": members[0]["reason"],
            }
        )
    return found


def _lane(lane: Mapping[str, Any], look: Mapping[str, Any]) -> dict[str, Any]:
    """A lane of the last look with its metrics in words and as glyphs, and its attribution where there is one."""
    return {
        "lane": lane,
        "rows": [_metric(row) for row in lane["metrics"]],
        "attribution": (look.get("attribution") or {}).get(lane["hardware_target"]),
    }


def _metric(row: Mapping[str, Any]) -> dict[str, Any]:
    name = row["metric"]
    title = METRICS[name].title if name in METRICS else name
    effect = Effect(
        metric=name,
        label=title,
        effect=row["effect"],
        lower=row["lower"],
        upper=row["upper"],
        margin=row["margin"],
        verdict=row["verdict"],
    )
    return {
        "row": row,
        "title": title,
        "effect": effect_text(name, row["effect"]),
        "interval": interval_text(name, row["lower"], row["upper"]) if row["effect"] is not None else "–",
        "margin": effect_text(name, row["margin"] * effect.harm) if row["margin"] is not None else "–",
        # without a margin there is no scale to draw on
        "glyph": interval_glyph(effect) if row["margin"] else None,
    }
