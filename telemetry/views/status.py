"""System status: is it healthy, and what is to be done where it is not?"""

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet.api.health import away_page
from fleet.status import BAD, WARN
from telemetry.selectors.status import report
from telemetry.views.question import address


@require_GET
def status(request: HttpRequest) -> HttpResponse:
    """The page: everything at once, then read anew every few seconds; what can be said of it without the database."""
    return away_page() or _status(request)


@login_required
def _status(request: HttpRequest) -> HttpResponse:
    return render(request, "telemetry/status.html", _context())


@login_required
@require_GET
def panel(request: HttpRequest) -> HttpResponse:
    """The live part of the page."""
    return render(request, "telemetry/_status_panel.html", _context())


def _context() -> dict[str, object]:
    now = timezone.now()
    found = report(now)
    return {
        "report": found,
        "bad": found.in_state(BAD),
        "warn": found.in_state(WARN),
        "now": now,
        "metrics": address("telemetry:metrics"),
        "json": address("telemetry:api-status"),
    }
