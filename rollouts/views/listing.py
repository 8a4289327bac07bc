"""The list of rollouts, and the panels about rollouts on the pages of other apps."""

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import page
from fleet.models import Device
from fleet.models.people import Role
from fleet.selectors.releases import release_for
from rollouts.models import CohortMember, Delivery, Rollout
from rollouts.selectors import gates
from rollouts.selectors.lanes import in_progress
from rollouts.selectors.lanes import rollouts as all_rollouts
from rollouts.views.pictures import ATTENTION, status

PER_PAGE = 25
IN_PANEL = 5


@login_required
@require_GET
def rollouts(request: HttpRequest) -> HttpResponse:
    """What is under way first, then everything, newest first."""
    state = page.context(request, now=timezone.now(), filters=("workload", "release"))
    found = all_rollouts()
    if request.GET.get("workload"):
        found = found.filter(workload__slug=request.GET["workload"])
    if request.GET.get("release"):
        found = found.filter(release__version=request.GET["release"])
    shown = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return render(
        request,
        "rollouts/rollouts.html",
        {
            **state,
            "page": shown,
            "rows": [_row(rollout) for rollout in shown],
            "may_plan": request.user.has_role(Role.RELEASE_MANAGER),
        },
    )


@login_required
@require_GET
def panel(request: HttpRequest) -> HttpResponse:
    """Rollouts in progress, or all of a release where one is named."""
    release, workload = request.GET.get("release", ""), request.GET.get("workload", "")
    found = all_rollouts() if release else in_progress()
    if workload:
        found = found.filter(workload__slug=workload)
    if release:
        found = found.filter(release__version=release)
    return render(
        request,
        "rollouts/_rollouts_panel.html",
        {"rows": [_row(rollout) for rollout in found[:IN_PANEL]], "of_release": bool(release)},
    )


@login_required
@require_GET
def device_panel(request: HttpRequest) -> HttpResponse:
    """The rollouts that a device takes part in, and what became of its installations."""
    device = Device.objects.filter(serial=request.GET.get("device", "")).first()
    members = (
        CohortMember.objects.filter(device=device)
        .select_related("run__stage", "lane__hardware_target", "lane__rollout__release__workload")
        .order_by("-run__started_at")[:10]
    )
    deliveries = Delivery.objects.filter(device=device).select_related("release", "lane").order_by("-id")[:10]
    return render(request, "rollouts/_device_panel.html", {"members": members, "deliveries": deliveries})


@login_required
@require_GET
def qualifications_panel(request: HttpRequest) -> HttpResponse:
    """The device-CI gate of a release, hardware target by hardware target."""
    release = release_for(request.GET.get("workload", ""), request.GET.get("release", ""))
    found = gates.gate(release, timezone.now()) if release else None
    return render(request, "rollouts/_qualifications_panel.html", {"gate": found, "release": release})


def _row(rollout: Rollout) -> dict[str, object]:
    lanes = sorted(rollout.lanes.all(), key=lambda lane: ATTENTION.index(lane.state))
    return {
        "rollout": rollout,
        "status": status(rollout.status),
        "lanes": [(lane, status(lane.state)) for lane in lanes],
        "stages": rollout.stages.all(),
    }
