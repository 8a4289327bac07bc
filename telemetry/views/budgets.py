"""Budgets: how much room is left to each limit in the field?"""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponseBase
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import page
from fleet.exceptions import InvalidInput
from fleet.models.budgets import SHARES
from fleet.tables import table_response
from telemetry.selectors.budget_room import NOT_IN_TELEMETRY, BudgetRoom, budget_rooms
from telemetry.views.question import Question

COLUMNS = ("workload", "hardware_target", "version", "limit", "hard", "soft", "measured", "left", "state", "inferences")


@login_required
@require_GET
def budgets(request: HttpRequest) -> HttpResponseBase:
    """Every current budget with the room left to each limit over the range; as a file with `format=csv` or `json`."""
    moment = timezone.now()
    state = page.context(request, now=moment, filters=("workload", "hardware_target", "region", "release"))
    params = {**request.GET.dict(), "from": state["range"].start_text, "to": state["range"].end_text}
    try:
        question = Question.of(params, now=moment)
    except InvalidInput as refusal:
        return render(request, "telemetry/budgets.html", {**state, "refusal": refusal.detail}, status=422)
    found = budget_rooms(question.selection, start=question.range.start, end=question.end)
    if file := table_response(request.GET.get("format", ""), "budgets", COLUMNS, _rows(found)):
        return file
    return render(
        request,
        "telemetry/budgets.html",
        {**state, "question": question, "budgets": found, "not_in_telemetry": NOT_IN_TELEMETRY, "shares": SHARES},
    )


def _rows(found: list[BudgetRoom]) -> list[dict[str, object]]:
    return [
        {
            "workload": item.budget.workload.slug,
            "hardware_target": item.budget.hardware_target.slug,
            "version": item.budget.version,
            "limit": room.limit,
            "hard": room.hard,
            "soft": room.soft,
            "measured": room.measured,
            "left": room.left,
            "state": room.state,
            "inferences": item.count,
        }
        for item in found
        for room in item.rooms
    ]
