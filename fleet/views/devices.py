"""Devices: the list with its filters, one device, and what people do to devices."""

from collections.abc import Sequence

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_POST

from fleet import page
from fleet.actors import Actor
from fleet.exceptions import DomainError, InvalidInput
from fleet.models import Device, DeviceGroup
from fleet.qr import qr_code
from fleet.scopes import scopes_of_user
from fleet.selectors.access import state_of
from fleet.services import devices as service
from fleet.services import labels
from fleet.services.tokens import live_tokens

# What each action means for the device, shown before it is done.
CONSEQUENCES = {
    "accept": ("Accept", "The device may send from now on."),
    "suspend": ("Suspend", "What the device sends is refused until it is resumed; it keeps its records and its token."),
    "resume": ("Resume", "The device may send again; what it stored meanwhile arrives."),
    "retire": (
        "Retire",
        "Every token of the device is revoked; it comes back only by enrolling again. Its history stays.",
    ),
}
DESTRUCTIVE = ("suspend", "retire")


@login_required
@require_GET
def devices(request: HttpRequest) -> HttpResponse:
    """The list; a search that names one serial exactly goes to that device."""
    wanted = request.GET.get("q", "").strip()
    if wanted:
        exact = Device.objects.filter(serial=wanted).first()
        if exact is not None:
            return redirect("fleet:device", exact.serial)
    filters = ("workload", "release", "hardware_target", "region", "group")
    seen = page.Choice(
        "seen",
        "Heard from",
        request.GET.get("seen", ""),
        [("online", "Online"), ("late", "Late"), ("silent", "Silent"), ("never", "Never")],
    )
    status = page.Choice("status", "Status", request.GET.get("status", ""), list(Device.Status.choices))
    state = page.context(request, now=timezone.now(), filters=filters, more=(seen, status))
    may_tag = "fleet:write" in scopes_of_user(request.user)
    return render(request, "fleet/devices.html", {**state, "wanted": wanted, "may_tag": may_tag})


@login_required
@require_GET
def device(request: HttpRequest, serial: str) -> HttpResponse:
    """One device: who it is, in text; what it measured comes from the panels."""
    found = get_object_or_404(
        Device.objects.select_related("hardware_target", "region", "gateway").prefetch_related("groups"), serial=serial
    )
    may_act = "fleet:write" in scopes_of_user(request.user)
    actions = [
        {"name": name, "verb": CONSEQUENCES[name][0], "text": CONSEQUENCES[name][1], "destructive": name in DESTRUCTIVE}
        for name in service.allowed_actions(found)
    ]
    now = timezone.now()
    state = page.context(request, now=now, stage_of={"device": found.serial})
    return render(
        request,
        "fleet/device.html",
        {
            **state,
            "query": page.query(request.GET, state["range"], device=found.serial),
            "device": found,
            "site_zone": found.region.timezone,
            "tokens": [(token, state_of(token, now)) for token in live_tokens(found, now, kind=None)],
            "code": qr_code(request.build_absolute_uri(request.path)),
            "actions": actions if may_act else [],
            "behind": found.behind.order_by("serial")[:50],
            "crumbs": [("Devices", reverse("fleet:devices")), (found.serial, None)],
        },
    )


@login_required
@require_GET
def sticker(request: HttpRequest, serial: str) -> HttpResponse:
    """A sticker for the housing: whoever scans it stands on the device's page."""
    found = get_object_or_404(Device.objects.select_related("hardware_target", "region"), serial=serial)
    address = request.build_absolute_uri(reverse("fleet:device", args=[found.serial]))
    crumbs = [
        ("Devices", reverse("fleet:devices")),
        (found.serial, reverse("fleet:device", args=[found.serial])),
        ("Sticker", None),
    ]
    return render(request, "fleet/sticker.html", {"device": found, "code": qr_code(address), "crumbs": crumbs})


@page.needs_scope("fleet:write")
@require_POST
def act(request: HttpRequest, serial: str) -> HttpResponse:
    """Accept, suspend, resume or retire a device; a reason is asked for what takes something away."""
    found = get_object_or_404(Device, serial=serial)
    action, reason = request.POST.get("action", ""), request.POST.get("reason", "").strip()
    try:
        if action not in service.TRANSITIONS:
            raise InvalidInput({"action": f"There is no action “{action}”."})
        if action in DESTRUCTIVE and not reason:
            raise InvalidInput({"reason": "Say why."})
        service.move(found, action, actor=Actor.of_user(request.user), now=timezone.now(), reason=reason)
    except DomainError as refusal:
        messages.error(request, f"Nothing was changed: {refusal}")
    else:
        messages.success(request, f"{found.serial} was {service.PAST_TENSE[action]}.")
    return redirect("fleet:device", found.serial)


@page.needs_scope("fleet:write")
@require_POST
def tag(request: HttpRequest) -> HttpResponse:
    """Put the ticked devices into a group, or take them out."""
    return tag_devices(request, list(Device.objects.filter(serial__in=request.POST.getlist("serial"))))


def tag_devices(request: HttpRequest, chosen: Sequence[Device]) -> HttpResponse:
    """Put devices into the group that the form names, or take them out; then go back to the list."""
    slug, reason = request.POST.get("tag", "").strip(), request.POST.get("reason", "").strip()
    back = page.safe_address(request, request.POST.get("back", ""), reverse("fleet:devices"))
    now, actor = timezone.now(), Actor.of_user(request.user)
    remove = request.POST.get("how") == "remove"
    try:
        if not chosen:
            raise InvalidInput({"serial": "No device was ticked."})
        group = labels.ensure_label(DeviceGroup, slug, actor=actor, now=now)
        entered, left = service.change_group(
            group, add=[] if remove else chosen, remove=chosen if remove else [], actor=actor, now=now, reason=reason
        )
    except DomainError as refusal:
        messages.error(request, f"Nothing was changed: {refusal}")
    else:
        done = f"{left} taken out of" if remove else f"{entered} put into"
        already = len(chosen) - entered - left
        messages.success(request, f"{done} {group.slug}{f'; {already} were so already' if already else ''}.")
    return redirect(back)
