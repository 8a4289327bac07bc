"""The drift board: every release on every hardware target, metric by metric, as the newest run found it."""

from collections import Counter
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_GET

from drift.charts import effect_text, interval_text
from drift.models import Evaluation, EvaluationCell, Finding
from drift.models.evaluations import Progress
from drift.selectors import board as selectors
from drift.services import runs
from drift.stats.metrics import METRICS
from fleet import page
from fleet.scopes import scopes_of_user

PER_PAGE = 50
FILTERS = ("workload", "release", "hardware_target")
FAILURES_SHOWN = 5
MAXIMUM_ID = 2**31 - 1
VERDICTS = [("fail", "Drift"), ("pass", "No drift"), ("inconclusive", "Inconclusive")]


@login_required
@require_GET
def board(request: HttpRequest) -> HttpResponse:
    """The newest run, or the one that `evaluation` names."""
    params = request.GET
    verdict = page.Choice("verdict", "Some metric is", params.get("verdict", ""), VERDICTS)
    state = page.context(
        request, now=timezone.now(), filters=("workload", "release", "hardware_target"), more=(verdict,)
    )
    named = params.get("evaluation", "")
    if named:
        found = get_object_or_404(Evaluation, pk=number_of(named), kind=Evaluation.Kind.BOARD)
        state["kept_with_filters"] = [*state["kept_with_filters"], ("evaluation", named)]
    else:
        found = selectors.newest(Evaluation.Kind.BOARD)
    state |= {
        "kind": Evaluation.Kind.BOARD,
        "under_way": runs.under_way(Evaluation.Kind.BOARD, now=state["now"]),
        "may_compute": "drift:write" in scopes_of_user(request.user),
    }
    return render(request, "drift/board.html", state | (_run(request, found) if found else {}))


def number_of(named: str) -> int:
    """An id in an address; 0, which no row has, for what is none."""
    return min(int(named), MAXIMUM_ID) if named.isascii() and named.isdigit() else 0


def _run(request: HttpRequest, found: Evaluation) -> dict[str, Any]:
    """What the page shows of one run."""
    params = request.GET
    filters = {name: params.get(name, "") for name in (*FILTERS, "verdict")}
    chosen = selectors.cells(found, **filters)
    shown = Paginator(chosen, PER_PAGE).get_page(params.get("page"))
    metrics = [name for name in found.parameters.get("metrics", []) if name in METRICS]
    by_cell = selectors.findings_of(shown)
    states = Counter(found.cells.values_list("status", flat=True))
    failed = found.cells.filter(status=Progress.FAILED).select_related("workload", "release", "hardware_target")
    return {
        "board": found,
        "metrics": [METRICS[name].title for name in metrics],
        "page": shown,
        "rows": [_row(cell, metrics, by_cell.get(cell.pk, {}), found) for cell in shown],
        "cells_total": sum(states.values()),
        "cells_done": states[Progress.DONE],
        "cells_failed": states[Progress.FAILED],
        "failures": failed.order_by("pk")[:FAILURES_SHOWN],
        "drifted": found.findings.filter(verdict="fail").count(),
        "finished_before": None if found.status == Progress.DONE else selectors.last_finished(found),
        "spans": {name: _span(found.parameters.get(name)) for name in ("recent", "baseline")},
    }


def _span(ends: list[str] | None) -> list[datetime]:
    return [datetime.fromisoformat(end) for end in ends or ()]


def _row(
    cell: EvaluationCell, metrics: list[str], findings: dict[str, Finding], board: Evaluation
) -> dict[str, object]:
    return {
        "cell": cell,
        "metrics": [
            {"title": METRICS[name].title, **(_finding(findings[name], board) if name in findings else {})}
            for name in metrics
        ],
    }


def _finding(finding: Finding, board: Evaluation) -> dict[str, object]:
    """A finding in words; until the last cell is done no verdict is settled."""
    known = finding.effect is not None
    return {
        "finding": finding,
        "word": _word(finding, board),
        "effect": effect_text(finding.metric, finding.effect) if known else "",
        "interval": interval_text(finding.metric, finding.lower, finding.upper) if known else "",
        "q": _q_text(finding.q_value),
        "margin": margin_text(finding),
    }


def margin_text(finding: Finding) -> str:
    """`margin +5.0 %, budget 3`: the margin that a finding was judged by and where it comes from; "" if not kept."""
    detail = finding.detail or {}
    if detail.get("margin") is None:
        return ""
    text = f"margin {effect_text(finding.metric, METRICS[finding.metric].harm * detail['margin'])}"
    if "margin_budget" not in detail:
        return text
    version = detail["margin_budget"]
    return f"{text}, default" if version is None else f"{text}, budget version {version}"


def _q_text(q_value: float | None) -> str:
    if q_value is None:
        return ""
    return "q < 0.001" if q_value < 0.001 else f"q {q_value:.3f}"


def _word(finding: Finding, board: Evaluation) -> str:
    if finding.verdict == "fail":
        return "Drift"
    if finding.verdict != "pass":
        return "Not settled yet" if board.status == Progress.RUNNING and finding.p_value is not None else "Inconclusive"
    rate = board.parameters.get("false_discovery_rate", 0.0)
    return "Within margin" if finding.q_value is not None and finding.q_value <= rate else "No change shown"
