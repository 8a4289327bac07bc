"""Fleet home: is anything wrong now, where, since when?"""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone

from fleet import page
from fleet.models import Device


@login_required
def home(request: HttpRequest) -> HttpResponse:
    """The shell of the home page; what devices sent comes from the panels of the apps that own it."""
    state = page.context(request, now=timezone.now(), filters=("workload", "hardware_target", "region"))
    return render(request, "fleet/home.html", {**state, "device_exists": Device.objects.exists()})
