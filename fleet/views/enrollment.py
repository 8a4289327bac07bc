"""Enrolment and tokens: who may send, who may act, and who waits at the door."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.utils import timezone
from django.views.decorators.http import require_GET

from fleet import enrollment_limits
from fleet.models import Device, DeviceGroup, EnrollmentKey, HardwareTarget, Region, SigningKey, Token
from fleet.scopes import SCOPE_WORDS, scopes_of_user
from fleet.selectors import access

PER_PAGE = 50
# What a new key or token lives for, in days; "" is for ever.
LIFETIMES = (
    ("1", "1 day"),
    ("7", "7 days"),
    ("30", "30 days"),
    ("90", "90 days"),
    ("365", "1 year"),
    ("", "No expiry"),
)


@login_required
@require_GET
def enrollment(request: HttpRequest) -> HttpResponse:
    """One part of the page, named by `part`; the counts of all parts stand above it."""
    now = timezone.now()
    part = request.GET.get("part", "devices")
    if part not in PARTS:
        part = "devices"
    held = scopes_of_user(request.user)
    common = {
        "now": now,
        "part": part,
        "parts": [(name, title) for name, (title, _) in PARTS.items()],
        "doors": access.doors(now),
        "answers": enrollment_limits.counts(now),
        "may_accept": "fleet:write" in held,
        "is_admin": "admin" in held,
        "q": request.GET.get("q", "").strip(),
        "state": request.GET.get("state", ""),
        "states": access.STATES,
        "lifetimes": LIFETIMES,
    }
    return render(request, f"fleet/enrollment/{part}.html", {**common, **PARTS[part][1](request, now)})


def _devices(request: HttpRequest, now: datetime) -> dict[str, Any]:
    waiting = Paginator(access.at_the_door(Device.Status.PENDING), PER_PAGE).get_page(request.GET.get("page"))
    return {"page": waiting, "suspended": access.at_the_door(Device.Status.SUSPENDED)[:PER_PAGE]}


def _keys(request: HttpRequest, now: datetime) -> dict[str, Any]:
    keys = EnrollmentKey.objects.select_related("hardware_target", "region", "created_by").prefetch_related("groups")
    # a key has no time of last use
    states = [choice for choice in access.STATES if choice[0] != "unused"]
    if request.GET.get("state", "") in dict(states):
        keys = keys.filter(access.in_state(request.GET["state"], now))
    page = Paginator(keys.order_by("-created_at", "-pk"), PER_PAGE).get_page(request.GET.get("page"))
    return {
        "page": page,
        "rows": [(key, access.state_of(key, now)) for key in page],
        "hardware_targets": HardwareTarget.objects.order_by("slug"),
        "regions": Region.objects.order_by("slug"),
        "groups": DeviceGroup.objects.order_by("slug"),
        "states": states,
    }


def _tokens(request: HttpRequest, now: datetime) -> dict[str, Any]:
    kind = request.GET.get("kind", "")
    found = access.device_tokens(
        now=now, q=request.GET.get("q", "").strip(), state=request.GET.get("state", "live"), kind=kind
    )
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return {
        "page": page,
        "rows": [(token, access.state_of(token, now)) for token in page],
        "kind": kind,
        "kinds": [(Token.Kind.DEVICE.value, "Devices"), (Token.Kind.GATEWAY.value, "Gateways")],
        "state": request.GET.get("state", "live"),
    }


def _people(request: HttpRequest, now: datetime) -> dict[str, Any]:
    held = scopes_of_user(request.user)
    everyone = "admin" in held and request.GET.get("whose", "all") == "all"
    found = access.api_tokens(
        request.user,
        now=now,
        everyone=everyone,
        q=request.GET.get("q", "").strip(),
        state=request.GET.get("state", "live"),
    )
    page = Paginator(found, PER_PAGE).get_page(request.GET.get("page"))
    return {
        "page": page,
        "rows": [(token, access.state_of(token, now)) for token in page],
        "everyone": everyone,
        "state": request.GET.get("state", "live"),
        "scopes": [(scope, words) for scope, words in SCOPE_WORDS.items() if scope in held],
    }


def _signing(request: HttpRequest, now: datetime) -> dict[str, Any]:
    keys = SigningKey.objects.order_by("revoked_at", "name")
    return {"rows": [(key, access.state_of(key, now), bytes(key.public_key).hex()) for key in keys]}


def _roles(request: HttpRequest, now: datetime) -> dict[str, Any]:
    rights = access.role_rights()
    rows = [(scope, words, [scope in right.scopes for right in rights]) for scope, words in SCOPE_WORDS.items()]
    return {"rights": rights, "rows": rows}


PARTS: dict[str, tuple[str, Callable[[HttpRequest, datetime], dict[str, Any]]]] = {
    "devices": ("Devices at the door", _devices),
    "keys": ("Enrolment keys", _keys),
    "tokens": ("Device and gateway tokens", _tokens),
    "people": ("API tokens", _people),
    "signing": ("Signing keys", _signing),
    "roles": ("Who may do what", _roles),
}
