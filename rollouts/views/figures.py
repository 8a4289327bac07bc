"""Charts of a lane: its effects at the newest look, and one metric's interval over the looks."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.views.decorators.http import require_GET

from drift.charts import Look, forest_plot, interval_over_looks
from rollouts.models import StageRun
from rollouts.selectors.board import gate_table, sequential_points
from rollouts.selectors.lanes import look_with_lane, newest_looks
from rollouts.views.pictures import effect_of
from telemetry.charts import Chart, Empty, Footing
from telemetry.views.question import answer


@login_required
@require_GET
def effects(request: HttpRequest, run_id: int, target: str) -> HttpResponse:
    """Every metric's effect with interval and margin, at the newest look of a stage run."""
    run = get_object_or_404(StageRun, pk=run_id)
    look = look_with_lane(newest_looks([run]).get(run.pk), target)
    rows = [row for row in gate_table(look, target) if row["kind"] == "metric"]
    if look is None or not any(row["effect"] is not None for row in rows):
        return answer(_nothing_yet(run), "effects", request.GET.get("format", ""))
    arrived = look.completeness.get(target) if isinstance(look.completeness, dict) else None
    footing = Footing(
        as_of=look.as_of,
        count=max((row["n_treated"] + row["n_control"] for row in rows), default=0),
        unit="devices",
        completeness=arrived.get("share") if isinstance(arrived, dict) else None,
        notes=[
            f"look {look.number} of {run.rollout.rules.looks_max}",
            f"alpha used {look.alpha_spent:.3g} of {look.alpha:.3g}",
        ],
    )
    return answer(
        forest_plot([effect_of(row) for row in rows], footing=footing), "effects", request.GET.get("format", "")
    )


@login_required
@require_GET
def looks(request: HttpRequest, run_id: int, target: str) -> HttpResponse:
    """The interval of the metric that `metric` names over the looks of a stage run."""
    run = get_object_or_404(StageRun, pk=run_id)
    metric = request.GET.get("metric", "latency_p95")
    points = sequential_points(run, target, metric)
    drawn = [
        Look(point["as_of"], point["effect"], point["lower"], point["upper"], point["verdict"])
        for point in points
        if point["effect"] is not None
    ]
    if not drawn:
        return answer(_nothing_yet(run), "looks", request.GET.get("format", ""))
    footing = Footing(
        as_of=drawn[-1].at, count=len(drawn), unit="looks", notes=[f"alpha used {points[-1]['alpha_spent']:.3g}"]
    )
    chart = interval_over_looks(drawn, metric=metric, margin=points[-1]["margin"], footing=footing)
    return answer(chart, "looks", request.GET.get("format", ""))


def _nothing_yet(run: StageRun) -> Chart:
    when = (
        f"The next look is due {run.next_look_at:%Y-%m-%d %H:%M} UTC."
        if run.ended_at is None
        else "This stage has ended."
    )
    return Chart.nothing(Empty("no_look", "No look could say anything yet", when))
