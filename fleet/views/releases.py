"""Releases: the list by workload, and one release with its bill of materials beside the one before it."""

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from fleet import page
from fleet.actors import Actor
from fleet.exceptions import DomainError, InvalidInput
from fleet.models import Budget, Release
from fleet.models.budgets import Limit
from fleet.scopes import scopes_of_user
from fleet.selectors.budgets import current_budgets
from fleet.selectors.releases import difference, previous_release
from fleet.services import releases as service

PER_PAGE = 50


@login_required
@require_GET
def releases(request: HttpRequest) -> HttpResponse:
    """The releases, newest first, by workload and status."""
    status = page.Choice("status", "Status", request.GET.get("status", ""), list(Release.Status.choices))
    state = page.context(request, now=timezone.now(), filters=("workload",), more=(status,), default="-30d")
    found = Release.objects.select_related("workload").prefetch_related("hardware_targets").order_by("-created_at")
    if request.GET.get("workload"):
        found = found.filter(workload__slug=request.GET["workload"])
    if request.GET.get("status"):
        found = found.filter(status=request.GET["status"])
    shown = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return render(request, "fleet/releases.html", {**state, "page": shown})


@login_required
@require_GET
def release(request: HttpRequest, pk: int) -> HttpResponse:
    """One release: what is in it, what differs from the one before; what it does comes from the panels."""
    found = get_object_or_404(
        Release.objects.select_related("workload", "created_by").prefetch_related("hardware_targets", "artifacts"),
        pk=pk,
    )
    against = _against(request, found)
    scopes = scopes_of_user(request.user)
    may_act = "releases:write" in scopes
    state = page.context(
        request,
        now=timezone.now(),
        filters=("hardware_target", "region"),
        default="-7d",
        stage_of={"workload": found.workload.slug, "release": found.version},
    )
    return render(
        request,
        "fleet/release.html",
        {
            **state,
            "release": found,
            "against": against,
            "others": found.workload.releases.exclude(pk=found.pk).exclude(status=Release.Status.DRAFT)[:50],
            "parts": difference(found, against) if against else _parts(found),
            "budgets": _budget_rows(found),
            "actions": [name for name in service.allowed_actions(found) if name in service.TRANSITIONS]
            if may_act
            else [],
            "may_plan": "rollouts:write" in scopes,
            "query": page.query(
                request.GET,
                state["range"],
                workload=found.workload.slug,
                release=found.version,
                against=against.version if against else "",
            ),
            "crumbs": [
                ("Releases", reverse("fleet:releases")),
                (found.workload.slug, f"{reverse('fleet:releases')}?workload={found.workload.slug}"),
                (found.version, None),
            ],
        },
    )


@page.needs_scope("releases:write")
@require_POST
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Publish or withdraw a release."""
    found = get_object_or_404(Release.objects.select_related("workload"), pk=pk)
    action, reason = request.POST.get("action", ""), request.POST.get("reason", "").strip()
    actor, now = Actor.of_user(request.user), timezone.now()
    try:
        if action == "publish":
            service.publish(found, actor=actor, now=now)
            messages.success(request, f"{found} is published; its bill of materials can no longer change.")
        elif action == "withdraw":
            if not reason:
                raise InvalidInput({"reason": "Say why the release is withdrawn."})
            service.withdraw(found, actor=actor, now=now, reason=reason)
            messages.success(request, f"{found} is withdrawn.")
        else:
            raise InvalidInput({"action": f"There is no action “{action}”."})
    except DomainError as refusal:
        messages.error(request, f"Nothing was changed: {refusal}")
    return redirect("fleet:release", found.pk)


def _against(request: HttpRequest, found: Release) -> Release | None:
    """The release to compare with: the one that `against` names, else the one before."""
    wanted = request.GET.get("against", "")
    if wanted:
        named = found.workload.releases.filter(version=wanted).exclude(pk=found.pk).first()
        if named is not None:
            return named
    return previous_release(found)


def _parts(found: Release) -> list[dict[str, object]]:
    return [
        {"part": part, "from": "", "to": value, "changed": False} for part, value in found.bill_of_materials.items()
    ]


def _budget_rows(found: Release) -> list[tuple[Budget, list[tuple[str, float]]]]:
    """The budget of each hardware target with its hard limits by title."""
    titles = dict(Limit.choices)
    budgets = current_budgets().filter(workload=found.workload).order_by("hardware_target__slug")
    return [
        (budget, [(titles.get(name, name), limit) for name, limit in budget.hard_limits.items()]) for budget in budgets
    ]
