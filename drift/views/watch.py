"""Slow drift and creep: what changes too slowly for any single look, on which hardware, and since when."""

import math
from collections import Counter
from datetime import date, datetime
from itertools import takewhile
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from drift.charts import Look, effect_text, interval_over_looks, interval_text
from drift.charts.watch import SummedStep, WatchedDays, creep_chart, cusum_chart
from drift.models import Evaluation, EvaluationCell, Finding
from drift.models.evaluations import Progress
from drift.selectors import board as selectors
from drift.services import creep, runs, slow_drift
from drift.services.findings import in_margins
from drift.stats.metrics import METRICS
from drift.tasks import fan_out
from drift.views.board import margin_text, number_of
from fleet import page
from fleet.exceptions import InvalidInput
from fleet.models import Release, Workload
from fleet.scopes import scopes_of_user
from telemetry.charts.figure import Chart, Empty, Footing
from telemetry.views.question import answer

PER_PAGE = 50
PAGES = {
    Evaluation.Kind.BOARD: "drift:board",
    Evaluation.Kind.SLOW_DRIFT: "drift:slow-drift",
    Evaluation.Kind.CREEP: "drift:creep",
}
WORDS = {
    Evaluation.Kind.SLOW_DRIFT: {
        "fail": "Drift", "hold": "Within margin", "pass": "No drift shown", "inconclusive": "Inconclusive",
    },
    Evaluation.Kind.CREEP: {
        "fail": "Beyond margin", "hold": "Held", "pass": "Within margin", "inconclusive": "Inconclusive",
    },
}  # fmt: skip
FILTERS = ("workload", "release", "hardware_target")


@login_required
@require_GET
def slow_drift_page(request: HttpRequest) -> HttpResponse:
    """The newest daily look for slow drift: one series in full, and every cell."""
    return render(request, "drift/slow_drift.html", _state(request, Evaluation.Kind.SLOW_DRIFT))


@login_required
@require_GET
def creep_page(request: HttpRequest) -> HttpResponse:
    """The newest sums since the anchor, and the form that sets an anchor."""
    state = _state(request, Evaluation.Kind.CREEP)
    workload = Workload.objects.filter(slug=request.GET.get("workload", "")).first()
    if workload is None and Workload.objects.count() == 1:
        workload = Workload.objects.get()
    state["anchored"] = workload
    if workload is not None:
        state["anchor"] = getattr(workload, "creep_anchor", None)
        state["anchor_choices"] = Release.objects.filter(workload=workload).exclude(status=Release.Status.DRAFT)
    return render(request, "drift/creep.html", state)


@page.needs_scope("drift:write")
@require_POST
def anchor(request: HttpRequest) -> HttpResponse:
    """Set the release that later ones are summed up against."""
    workload = get_object_or_404(Workload, slug=request.POST.get("workload", ""))
    version = request.POST.get("release", "")
    release = Release.objects.filter(workload=workload, version=version).first()
    try:
        if release is None:
            raise InvalidInput({"release": f"There is no release “{version}” of {workload.slug}."})
        creep.set_anchor(
            workload, release, reason=request.POST.get("reason", ""), user=request.user, now=timezone.now()
        )
    except InvalidInput as refusal:
        messages.error(request, f"Nothing was changed: {' '.join(refusal.errors.values())}")
    else:
        messages.success(request, f"{release.version} is the anchor; the next computation sums up from it.")
    return redirect(f"{reverse('drift:creep')}?workload={workload.slug}")


@page.needs_scope("drift:write")
@require_POST
def compute(request: HttpRequest, kind: str) -> HttpResponse:
    """Compute an evaluation now; one that is under way is shown instead."""
    if kind not in PAGES:
        raise Http404(f"There is no evaluation {kind}.")
    going = runs.under_way(kind, now=timezone.now())
    if going is None:
        going = runs.plan(kind, now=timezone.now())
        fan_out.delay(going.pk)
        messages.success(request, "Ordered: the task workers compute it now.")
    else:
        messages.info(request, "It is being computed already.")
    return redirect(PAGES[Evaluation.Kind(kind)])


@login_required
@require_GET
def progress(request: HttpRequest, pk: int) -> HttpResponse:
    """How far an evaluation is; once it is over the page that waits for it is loaded anew."""
    found = get_object_or_404(Evaluation, pk=pk)
    states = Counter(found.cells.values_list("status", flat=True))
    over = found.status not in (Progress.QUEUED, Progress.RUNNING)
    done = states[Progress.DONE] + states[Progress.FAILED]
    answered = render(
        request,
        "drift/_evaluation_progress.html",
        {"evaluation": found, "done": done, "total": sum(states.values()), "over": over},
    )
    if over:
        answered.headers["HX-Refresh"] = "true"
    return answered


@login_required
@require_GET
def figure(request: HttpRequest, pk: int) -> HttpResponse:
    """The series behind a finding: CUSUM, looks against a hold-back, or steps since the anchor."""
    finding = get_object_or_404(Finding.objects.select_related("evaluation"), pk=pk)
    return answer(chart_of(finding), f"{finding.metric}-{finding.pk}", request.GET.get("format", ""))


@login_required
@require_GET
def slow_drift_panel(request: HttpRequest) -> HttpResponse:
    """Slow drift of one release, for the pages of other apps."""
    return _panel(request, Evaluation.Kind.SLOW_DRIFT, "Slow drift", "Did it change day by day since?")


@login_required
@require_GET
def creep_panel(request: HttpRequest) -> HttpResponse:
    """What a release and those before it took together, for the pages of other apps."""
    return _panel(request, Evaluation.Kind.CREEP, "Since the anchor", "What did this and the releases before it take?")


def _panel(request: HttpRequest, kind: str, title: str, question: str) -> HttpResponse:
    found = selectors.newest_finished(kind)
    cells = selectors.cells(found, **_filters(request)) if found else ()
    rows = _rows(found, list(cells)[:PER_PAGE]) if found else []
    return render(
        request,
        "drift/_watch_panel.html",
        {"evaluation": found, "rows": rows, "title": title, "question": question, "address": reverse(PAGES[kind])},
    )


def _filters(request: HttpRequest) -> dict[str, str]:
    return {name: request.GET.get(name, "") for name in FILTERS}


def _state(request: HttpRequest, kind: str) -> dict[str, Any]:
    """What the page of a kind shows: the run, its cells, and one finding in full."""
    params = request.GET
    words = WORDS[kind]
    verdict = page.Choice("verdict", "Some metric is", params.get("verdict", ""), list(words.items()))
    state = page.context(request, now=timezone.now(), filters=FILTERS, more=(verdict,))
    named = params.get("evaluation", "")
    if named:
        found = get_object_or_404(Evaluation, pk=number_of(named), kind=kind)
        state["kept_with_filters"] = [*state["kept_with_filters"], ("evaluation", named)]
    else:
        found = selectors.newest_finished(kind) or selectors.newest(kind)
    state |= {
        "evaluation": found,
        "kind": kind,
        "under_way": runs.under_way(kind, now=state["now"]),
        "may_compute": "drift:write" in scopes_of_user(request.user),
    }
    if found is None:
        return state
    chosen = selectors.cells(found, verdict=verdict.value, **_filters(request))
    shown = Paginator(chosen, PER_PAGE).get_page(params.get("page"))
    rows = _rows(found, list(shown))
    finding = _chosen(params.get("finding", ""), rows, found)
    return state | {
        "page": shown,
        "rows": rows,
        "metrics": [METRICS[name].title for name in _metric_names(found)],
        "counts": Counter(found.findings.values_list("verdict", flat=True)),
        "chosen": _described(finding) if finding else None,
    }


def _metric_names(found: Evaluation) -> list[str]:
    return [name for name in found.parameters.get("metrics", []) if name in METRICS]


def _rows(found: Evaluation, cells: list[EvaluationCell]) -> list[dict[str, Any]]:
    by_cell = selectors.findings_of(cells)
    words = WORDS[found.kind]
    rows = []
    for cell in cells:
        known = by_cell.get(cell.pk, {})
        rows.append(
            {
                "cell": cell,
                "anchor": next((f.detail.get("anchor") for f in known.values() if f.detail), None),
                "hold_back": any((f.detail or {}).get("method") == slow_drift.HOLD_BACK for f in known.values()),
                "metrics": [
                    {"title": METRICS[name].title, **(_written(known[name], words) if name in known else {})}
                    for name in _metric_names(found)
                ],
            }
        )
    return rows


def _written(finding: Finding, words: dict[str, str]) -> dict[str, Any]:
    """A finding in words, with a mark where there is a series to look at."""
    detail = finding.detail or {}
    return {
        "finding": finding,
        "word": words.get(finding.verdict, finding.verdict),
        "effect": effect_text(finding.metric, finding.effect) if finding.effect is not None else "",
        "interval": interval_text(finding.metric, finding.lower, finding.upper) if finding.lower is not None else "",
        "margin": margin_text(finding),
        "series": bool(detail.get("days") or detail.get("looks") or detail.get("steps")),
    }


def _chosen(named: str, rows: list[dict[str, Any]], found: Evaluation) -> Finding | None:
    """The finding that the address names, else the worst of those on the page that have a series."""
    if named:
        return get_object_or_404(Finding, pk=number_of(named), evaluation=found)
    candidates = [m["finding"] for row in rows for m in row["metrics"] if m.get("series")]
    order = {"fail": 0, "hold": 1, "pass": 2}

    def place(finding: Finding) -> tuple[int, float]:
        return order.get(finding.verdict, 3), -in_margins(finding) if finding.effect is not None else math.inf

    return min(candidates, key=place, default=None)


def _described(finding: Finding) -> dict[str, Any]:
    detail = finding.detail or {}
    started = detail.get("started_at") if detail.get("method") == slow_drift.CUSUM else None
    return {
        "finding": finding,
        "title": METRICS[finding.metric].title,
        "where": f"{finding.workload.slug} {finding.release.version} on {finding.hardware_target.slug}",
        "word": WORDS[finding.evaluation.kind].get(finding.verdict, finding.verdict),
        "effect": effect_text(finding.metric, finding.effect),
        "interval": interval_text(finding.metric, finding.lower, finding.upper),
        "margin": margin_text(finding),
        "detail": detail,
        "started_at": datetime.fromisoformat(started) if started else None,
        "figure": reverse("drift:figure-watch", args=[finding.pk]),
    }


def chart_of(finding: Finding) -> Chart:
    """The picture of a finding; says why where there is none."""
    detail = finding.detail or {}
    method = detail.get("method")
    notes = [detail["caveat"]] if detail.get("caveat") else []
    as_of = finding.evaluation.as_of
    if method == slow_drift.CUSUM and detail.get("days"):
        started = detail.get("started_at")
        return cusum_chart(
            WatchedDays(
                metric=finding.metric,
                days=[date.fromisoformat(day) for day in detail["days"]],
                change=detail["change"],
                path=detail["path"],
                limit=detail["limit"],
                baseline_days=detail["baseline_days"],
                margin=detail["margin"],
                started=datetime.fromisoformat(started).date() if started else None,
            ),
            footing=Footing(
                as_of=as_of, count=finding.n_treated, unit="devices", resolution="1 d",
                completeness=finding.completeness, notes=notes,
            ),
        )  # fmt: skip
    if method == slow_drift.HOLD_BACK and detail.get("looks"):
        looks = [
            Look(
                datetime.fromisoformat(look["as_of"]), look["effect"], look["lower"], look["upper"],
                look["verdict"] or "inconclusive", look["n_treated"] or 0, look["n_control"] or 0,
            )
            for look in detail["looks"]
        ]  # fmt: skip
        footing = Footing(
            as_of=as_of, count=finding.n_treated + finding.n_control, unit="devices", resolution="1 d",
            notes=[f"look {len(looks)} of {detail['planned_looks']}, updated against held-back devices"],
        )  # fmt: skip
        return interval_over_looks(looks, metric=finding.metric, margin=detail["margin"], footing=footing)
    steps = summed_steps(finding)
    if steps:
        footing = Footing(as_of=as_of, count=finding.n_treated, unit="devices at the thinnest step")
        return creep_chart(
            steps, metric=finding.metric, anchor=detail["anchor"], margin=detail["margin"], footing=footing
        )
    title, text = "There is no series yet", finding.reason
    if not text:
        # a finding that was reached has its steps, unless they were kept in another form then
        title, text = (
            "Computed by an earlier version",
            "The next computation, tonight or by Compute now, brings the series.",
        )
    return Chart.nothing(Empty("no_data_in_range", title, text), Footing(as_of=as_of))


def summed_steps(finding: Finding) -> list[SummedStep]:
    """The steps since the anchor with their running sums, up to the first that was not measured."""
    steps = takewhile(lambda step: step.get("sum"), (finding.detail or {}).get("steps", []))
    return [SummedStep(step["release"], step["effect"], *step["sum"], step["devices"]) for step in steps]
