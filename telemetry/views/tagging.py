"""Putting devices into groups from the device table: the ticked ones, or all that the filters leave."""

from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.views.decorators.http import require_POST

from fleet import page
from fleet.models import Device
from fleet.views.devices import tag_devices
from telemetry.selectors.device_table import device_rows


@page.needs_scope("fleet:write")
@require_POST
def tag(request: HttpRequest) -> HttpResponse:
    """Tag the ticked devices, or with `whom=all` every device of the table as `query` filters it."""
    if request.POST.get("whom") == "all":
        rows = device_rows(QueryDict(request.POST.get("query", "")).dict(), now=timezone.now())
        chosen = list(Device.objects.filter(pk__in=[row.device_id for row in rows]))
    else:
        chosen = list(Device.objects.filter(serial__in=request.POST.getlist("serial")))
    return tag_devices(request, chosen)
