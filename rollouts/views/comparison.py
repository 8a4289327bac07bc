"""What a comparison of two releases rests on: a rollout that drew its canary at random, or observation alone."""

from __future__ import annotations

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_GET

from rollouts.selectors.randomised import randomised_rollouts

SHOWN = 3


@login_required
@require_GET
def panel(request: HttpRequest) -> HttpResponse:
    """The randomised rollouts of `release` over `against`, newest first, or that there is none."""
    params = request.GET
    found = randomised_rollouts(params.get("workload", ""), params.get("release", ""), params.get("against", ""))
    context = {"rollouts": found[:SHOWN], "release": params.get("release", ""), "against": params.get("against", "")}
    return render(request, "rollouts/_comparison_panel.html", context)
