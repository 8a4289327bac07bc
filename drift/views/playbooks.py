"""Playbooks: for each kind of alarm the known causes, what to check and what to do, and every edition of it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.db.models import Count
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from drift.models import Alarm, Playbook
from drift.services import playbooks as service
from fleet import page
from fleet.exceptions import InvalidInput
from fleet.scopes import scopes_of_user

# The lists of an edition: name, heading, hint of the form.
LISTS = (
    ("causes", "Known causes", "What has led to this alarm, one cause per line."),
    ("checks", "What to check", "One check per line, the quickest first."),
    ("actions", "What to do", "One action per line."),
)


@login_required
@require_GET
def playbooks(request: HttpRequest) -> HttpResponse:
    """Every playbook with its newest edition and the open alarms that it is for."""
    waiting = dict(
        Alarm.objects.exclude(state=Alarm.State.CLOSED).order_by().values_list("kind").annotate(number=Count("pk"))
    )
    rows = [
        {"playbook": found, "edition": next(iter(found.versions.all()), None), "open": waiting.get(found.alarm_kind, 0)}
        for found in Playbook.objects.prefetch_related("versions__edited_by")
    ]
    return render(request, "drift/playbooks.html", {"rows": rows})


@login_required
@require_GET
def playbook(request: HttpRequest, kind: str) -> HttpResponse:
    """One playbook with all its editions, and the form that writes the next one."""
    return _show(request, get_object_or_404(Playbook, alarm_kind=kind))


@page.needs_scope("drift:write")
@require_POST
def edit(request: HttpRequest, kind: str) -> HttpResponse:
    """Write the next edition; what was typed comes back with what is wrong with it."""
    found = get_object_or_404(Playbook, alarm_kind=kind)
    typed = {name: request.POST.get(name, "") for name, *_ in LISTS}
    try:
        _assert_newest(found, request.POST.get("version", ""))
        edition = service.edit(
            found,
            user=request.user,
            now=timezone.now(),
            **{name: text.splitlines() for name, text in typed.items()},
        )
    except InvalidInput as refusal:
        return _show(request, found, typed=typed, errors=refusal.errors)
    messages.success(request, f"Version {edition.version} is in force for alarms from now on.")
    return redirect("drift:playbook", found.alarm_kind)


def _assert_newest(found: Playbook, version: str) -> None:
    """Nobody writes over an edition that they have not seen."""
    newest = found.versions.first()
    if newest is not None and version != str(newest.version):
        who = newest.edited_by.username if newest.edited_by else "somebody"
        raise InvalidInput({"version": f"Meanwhile {who} wrote version {newest.version}: compare it, then save again."})


def _show(
    request: HttpRequest,
    found: Playbook,
    *,
    typed: dict[str, str] | None = None,
    errors: dict[str, str] | None = None,
) -> HttpResponse:
    editions = list(found.versions.select_related("edited_by"))
    newest = editions[0] if editions else None
    errors = errors or {}
    fields = [
        {
            "name": name,
            "label": label,
            "hint": hint,
            "error": errors.get(name),
            "text": typed[name] if typed else "\n".join(getattr(newest, name)) if newest else "",
        }
        for name, label, hint in LISTS
    ]
    return render(
        request,
        "drift/playbook.html",
        {
            "playbook": found,
            "newest": newest,
            "earlier": editions[1:],
            "fields": fields,
            "editing": typed is not None,
            "conflict": errors.get("version"),
            "may_edit": "drift:write" in scopes_of_user(request.user),
            "open": Alarm.objects.filter(kind=found.alarm_kind).exclude(state=Alarm.State.CLOSED).count(),
            "crumbs": [("Playbooks", reverse("drift:playbooks")), (found.title, None)],
        },
        status=422 if errors else 200,
    )
