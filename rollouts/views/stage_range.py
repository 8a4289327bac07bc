"""“This stage” of a time range: from the start of the newest rollout stage of a release or a device."""

from urllib.parse import parse_qsl, urlencode

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.views.decorators.http import require_GET

from fleet import page
from fleet.timerange import rfc3339
from rollouts.models import StageRun


@login_required
@require_GET
def this_stage(request: HttpRequest) -> HttpResponse:
    """Back to the page that `back` names, with the stage's start as `from`, and its end as `to` once it has one."""
    params = request.GET
    back = page.safe_address(request, params.get("back", ""), "/")
    runs = StageRun.objects.order_by("-started_at", "-id")
    if params.get("device"):
        runs = runs.filter(members__device__serial=params["device"])
    elif params.get("release"):
        runs = runs.filter(rollout__release__version=params["release"].split(",")[0])
        if params.get("workload"):
            runs = runs.filter(rollout__workload__slug=params["workload"])
    else:
        runs = runs.none()
    run = runs.select_related("stage").first()
    if run is None:
        messages.info(request, "No rollout stage has begun here; the time range stays as it is.")
        return redirect(back)
    path, _, query = back.partition("?")
    kept = [(name, value) for name, value in parse_qsl(query) if name not in (*page.RANGE, "page")]
    bounds = [("from", rfc3339(run.started_at))]
    if run.ended_at is not None:
        bounds.append(("to", rfc3339(run.ended_at)))
    return redirect(f"{path}?{urlencode(kept + bounds)}")
