"""Retrospectives: how often would this policy have cried wolf over what is stored?"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from drift.charts import Effect, described_in_words, effect_text, interval_glyph, interval_text
from drift.models import Retrospective
from drift.selectors import retrospectives as selectors
from drift.services import retrospectives as service
from drift.stats.metrics import METRICS, SHAPES
from drift.tasks import run_retrospective
from drift.views.retrospective_form import HistoryForm, RetrospectiveForm
from fleet import page
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import Workload
from fleet.scopes import scopes_of_user

PER_PAGE = 50
# What takes longer by estimate is left to a worker, and its page shows how far it is.
AT_ONCE_SECONDS = 8.0


@login_required
@require_GET
def retrospectives(request: HttpRequest) -> HttpResponse:
    """Every kept run with its share of failing looks."""
    shown = Paginator(selectors.retrospectives(), PER_PAGE).get_page(request.GET.get("page"))
    rows = [
        {
            "kept": kept,
            "alarms": crying(kept.verdicts) if kept.verdicts else None,
            "failures": kept.failures if kept.kind == Retrospective.Kind.HISTORY else None,
        }
        for kept in shown
    ]
    return render(request, "drift/retrospectives.html", {"page": shown, "rows": rows})


@login_required
@require_GET
def retrospective(request: HttpRequest, pk: int) -> HttpResponse:
    """One kept run: the verdict at every look, and what the last look rests on."""
    kept = get_object_or_404(Retrospective.objects.select_related("created_by"), pk=pk)
    looks = (kept.result or {}).get("looks", [])
    asked = kept.request
    may_cancel = kept.under_way and (
        kept.created_by_id == request.user.pk or "drift:write" in scopes_of_user(request.user)
    )
    if kept.kind == Retrospective.Kind.HISTORY:
        return render(request, "drift/retrospective_history.html", _history(kept) | {"may_cancel": may_cancel})
    return render(
        request,
        "drift/retrospective.html",
        {
            "kept": kept,
            "may_cancel": may_cancel,
            "asked": asked,
            "started_at": datetime.fromisoformat(asked["started_at"]),
            "seed": (asked.get("assignment") or {}).get("seed"),
            "observational": bool(kept.result) and not kept.result.get("randomised"),
            "alarms": crying([look["verdict"] for look in looks]) if looks else None,
            "spells": spells(looks),
            "lanes": [_lane(lane, looks[-1]) for lane in looks[-1]["lanes"]] if looks else [],
            "secondary": described_in_words(kept.result.get("secondary", [])) if looks else [],
            "crumbs": [("Retrospectives", reverse("drift:retrospectives")), (f"Run {kept.pk}", None)],
        },
    )


@page.needs_scope("drift:read")
@require_http_methods(["GET", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """Ask for a run; what is wrong with the request stands at its field."""
    return _ask(request, RetrospectiveForm, Retrospective.Kind.RELEASE)


@page.needs_scope("drift:read")
@require_http_methods(["GET", "POST"])
def history(request: HttpRequest) -> HttpResponse:
    """Ask how often the policy would have cried wolf where nothing was changed."""
    return _ask(request, HistoryForm, Retrospective.Kind.HISTORY)


def _ask(request: HttpRequest, form_class: type, kind: str) -> HttpResponse:
    """The form; a small run is computed at once, a larger one by a worker while its page shows how far it is."""
    form = form_class(request.POST if request.method == "POST" else None, initial=request.GET.dict())
    if form.is_valid():
        asked = form.to_request()
        try:
            kept = service.order(asked, user=request.user, now=timezone.now(), kind=kind)
        except InvalidInput as refusal:
            form.refuse(refusal)
        else:
            seconds = service.estimated_seconds(form.devices, kept.looks_total, asked.get("permutations", 10_000))
            if seconds <= AT_ONCE_SECONDS:
                service.compute(kept.pk, clock=timezone.now, asked=asked)
            else:
                run_retrospective.delay(kept.pk)
            return redirect("drift:retrospective", kept.pk)
    title = "New retrospective" if kind == Retrospective.Kind.RELEASE else "History against itself"
    return render(
        request,
        "drift/retrospective_new.html",
        {
            "form": form,
            "kind": kind,
            "title": title,
            "workloads": Workload.objects.order_by("slug").values_list("slug", flat=True),
            "crumbs": [("Retrospectives", reverse("drift:retrospectives")), (title, None)],
        },
        status=422 if form.errors else 200,
    )


@page.needs_scope("drift:read")
@require_POST
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Stop a run that waits or is being computed; only who asked for it, or may write."""
    kept = get_object_or_404(Retrospective, pk=pk)
    if kept.created_by_id != request.user.pk and "drift:write" not in scopes_of_user(request.user):
        raise PermissionDenied("Only who asked for a run cancels it.")
    try:
        service.cancel(kept, now=timezone.now())
        messages.success(request, "Cancelled; the worker stops at its next look.")
    except StateConflict:
        messages.info(request, "It was over already.")
    return redirect("drift:retrospective", pk)


@login_required
@require_GET
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """How far a run is; once it is over its page is loaded anew."""
    kept = get_object_or_404(Retrospective.objects.defer("result"), pk=pk)
    answered = render(request, "drift/_retrospective_progress.html", {"kept": kept})
    if not kept.under_way:
        answered.headers["HX-Refresh"] = "true"
    return answered


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


def _history(kept: Retrospective) -> dict[str, Any]:
    """A run of history against itself: the share of draws that cried wolf, and every draw."""
    found = kept.result or {}
    return {
        "kept": kept,
        "asked": kept.request,
        "started_at": datetime.fromisoformat(kept.request["started_at"]),
        "result": found,
        "interval": " – ".join(f"{100 * found['failures'][end]:.1f}" for end in ("lower", "upper")) + " %"
        if found
        else "",
        "held": bool(found) and found["failures"]["lower"] <= found["alpha"],
        "crumbs": [("Retrospectives", reverse("drift:retrospectives")), (f"Run {kept.pk}", None)],
    }


def _lane(lane: Mapping[str, Any], look: Mapping[str, Any]) -> dict[str, Any]:
    """A lane of the last look with its metrics in words and as glyphs, and its attribution where there is one."""
    return {
        "lane": lane,
        "rows": [_metric(row) for row in lane["metrics"]],
        "attribution": (look.get("attribution") or {}).get(lane["hardware_target"]),
        "shapes": [
            {"row": row, "title": SHAPES[row["metric"]].title if row["metric"] in SHAPES else row["metric"]}
            for row in lane["shape"]
        ],
        "limits": lane.get("hard_limits") or [],
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
