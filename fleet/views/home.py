"""Fleet home: is anything wrong now, where, since when?"""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from fleet import page
from fleet.models import Device
from fleet.selectors.saved_views import tour

# Set by the browser when the visitor has seen enough.
TOUR_COOKIE = "ridgeline-tour"


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The shell of the home page; what devices sent comes from the panels of the apps that own it."""
    state = page.context(request, now=timezone.now(), filters=("workload", "hardware_target", "region"))
    steps = [] if TOUR_COOKIE in request.COOKIES else tour()
    return render(
        request,
        "fleet/home.html",
        {**state, "device_exists": Device.objects.exists(), "tour": steps, "tour_cookie": TOUR_COOKIE},
    )
