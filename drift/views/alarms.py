"""Alarms: what drifted, how sure are we, what do I do? The list, one incident, and the panel of other pages."""

from collections.abc import Callable

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from drift.charts import effect_text, interval_text
from drift.models import Alarm
from drift.selectors import alarms as selectors
from drift.services import alarms as service
from drift.stats.metrics import METRICS
from fleet import page
from fleet.exceptions import DomainError, InvalidInput
from fleet.models import User
from fleet.scopes import scopes_of_user

PER_PAGE = 50
IN_PANEL = 6


@login_required
@require_GET
def alarms(request: HttpRequest) -> HttpResponse:
    """The list; without a state in the address it shows what is open or acknowledged."""
    params = request.GET
    kind = page.Choice("kind", "Kind", params.get("kind", ""), list(Alarm.Kind.choices))
    severity = page.Choice("severity", "Severity", params.get("severity", ""), list(Alarm.Severity.choices))
    state = page.context(
        request, now=timezone.now(), filters=("workload", "release", "hardware_target"), more=(kind, severity)
    )
    found = selectors.alarms(params) if params.get("state") else selectors.open_alarms(params)
    shown = Paginator(found, PER_PAGE).get_page(params.get("page"))
    return render(
        request,
        "drift/alarms.html",
        {
            **state,
            "page": shown,
            "rows": [_row(alarm) for alarm in shown],
            "counts": selectors.counts_by_state(params),
            "state": params.get("state", ""),
            "ever": Alarm.objects.exists(),
        },
    )


@login_required
@require_GET
def alarm(request: HttpRequest, pk: int) -> HttpResponse:
    """One alarm: the finding, what to do about it, and the incident line by line."""
    found = get_object_or_404(
        Alarm.objects.select_related(
            "workload", "release", "hardware_target", "device", "assignee", "playbook__playbook"
        ),
        pk=pk,
    )
    return render(
        request,
        "drift/alarm.html",
        {
            "alarm": found,
            "row": _row(found),
            "entries": found.entries.all(),
            "notifications": found.notifications.select_related("channel"),
            "people": User.objects.filter(is_active=True).order_by("username"),
            "may_act": "drift:write" in scopes_of_user(request.user),
            "crumbs": [("Alarms", reverse("drift:alarms")), (found.get_kind_display(), None)],
        },
    )


@page.needs_scope("drift:write")
@require_POST
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Acknowledge, assign, note or close an alarm."""
    found = get_object_or_404(Alarm, pk=pk)
    action = request.POST.get("action", "")
    try:
        if action not in ACTIONS:
            raise InvalidInput({"action": f"There is no action “{action}”."})
        messages.success(request, ACTIONS[action](request, found))
    except DomainError as refusal:
        messages.error(request, f"Nothing was changed: {refusal}")
    return redirect("drift:alarm", found.pk)


def _acknowledge(request: HttpRequest, alarm: Alarm) -> str:
    service.acknowledge(alarm, user=request.user, note=request.POST.get("text", ""), now=timezone.now())
    return "Acknowledged: others see that you look after it."


def _assign(request: HttpRequest, alarm: Alarm) -> str:
    name = request.POST.get("assignee", "")
    assignee = User.objects.filter(username=name, is_active=True).first()
    if name and assignee is None:
        raise InvalidInput({"assignee": f"There is no person “{name}”."})
    service.assign(alarm, assignee=assignee, user=request.user, now=timezone.now())
    return f"Assigned to {assignee.username if assignee else 'nobody'}."


def _note(request: HttpRequest, alarm: Alarm) -> str:
    service.note(alarm, user=request.user, text=request.POST.get("text", ""), now=timezone.now())
    return "Noted."


def _close(request: HttpRequest, alarm: Alarm) -> str:
    service.close(alarm, user=request.user, reason=request.POST.get("reason", ""), now=timezone.now())
    return "Closed; the same trouble seen later opens a new alarm."


ACTIONS: dict[str, Callable[[HttpRequest, Alarm], str]] = {
    "acknowledge": _acknowledge,
    "assign": _assign,
    "note": _note,
    "close": _close,
}


@login_required
@require_GET
def panel(request: HttpRequest) -> HttpResponse:
    """The open alarms of a selection (`device`, `release`, `workload`, `hardware_target`), the worst first."""
    found = selectors.open_alarms(request.GET)
    return render(
        request,
        "drift/_alarms_panel.html",
        {
            "rows": [_row(alarm) for alarm in found[:IN_PANEL]],
            "total": found.count(),
            "query": f"?{request.GET.urlencode()}",
            "compact": bool(request.GET.get("device")),
        },
    )


def _row(alarm: Alarm) -> dict[str, object]:
    """An alarm with its effect in words."""
    metric = METRICS.get(alarm.metric)
    return {
        "alarm": alarm,
        "metric": metric.title if metric else alarm.metric.replace("_", " "),
        "effect": effect_text(alarm.metric, alarm.effect) if alarm.effect is not None else "",
        "interval": interval_text(alarm.metric, alarm.lower, alarm.upper) if alarm.lower is not None else "",
    }
