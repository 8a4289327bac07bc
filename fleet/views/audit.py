"""Audit: who did what, to which object, when, and why."""

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import page
from fleet.models import AuditEntry
from fleet.tables import csv_response

PER_PAGE = 100
MOST_CSV_ROWS = 50_000
COLUMNS = ("at", "actor", "action", "object_type", "object_label", "reason", "old", "new", "evidence_hash")


@login_required
@require_GET
def audit(request: HttpRequest) -> HttpResponse:
    """The trail in the range, newest first; `format=csv` gives the same rows as a file."""
    params = request.GET
    kinds = AuditEntry.objects.order_by().values_list("object_type", flat=True).distinct()
    kind = page.Choice("object_type", "What", params.get("object_type", ""), [(name, name) for name in sorted(kinds)])
    state = page.context(request, now=timezone.now(), more=(kind,), default="-7d")
    found = AuditEntry.objects.filter(at__gte=state["range"].start, at__lt=state["range"].end).order_by("-at", "-id")
    if params.get("object_type"):
        found = found.filter(object_type=params["object_type"])
    if params.get("actor"):
        found = found.filter(actor__icontains=params["actor"])
    if params.get("object"):
        found = found.filter(object_label__icontains=params["object"])
    if params.get("format") == "csv":
        return csv_response("audit", COLUMNS, found.values(*COLUMNS)[:MOST_CSV_ROWS].iterator(chunk_size=2000))
    shown = Paginator(found, PER_PAGE).get_page(params.get("page"))
    return render(
        request,
        "fleet/audit.html",
        {**state, "page": shown, "actor": params.get("actor", ""), "object": params.get("object", "")},
    )
