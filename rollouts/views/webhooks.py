"""Webhooks: which systems hear of rollouts, what became of each message, and a test that goes out at once."""

import secrets
from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, Max, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils import timezone
from django.views.decorators.http import require_http_methods, require_POST

from fleet import page
from fleet.actors import Actor
from fleet.exceptions import InvalidInput
from fleet.scopes import scopes_of_user
from rollouts.models import WebhookDelivery, WebhookEndpoint
from rollouts.services import webhooks as service

SCOPE = "rollouts:write"
PER_PAGE = 50


@page.needs_scope("rollouts:read")
@require_http_methods(["GET", "POST"])
def webhooks(request: HttpRequest) -> HttpResponse:
    """The receivers, their messages, and a form for a new one."""
    may_change = SCOPE in scopes_of_user(request.user)
    given: dict[str, Any] = {"name": "", "url": "", "secret": secrets.token_urlsafe(24), "events": []}
    errors: dict[str, str] = {}
    if request.method == "POST" and may_change:
        given = {name: request.POST.get(name, "").strip() for name in ("name", "url", "secret")}
        given["events"] = request.POST.getlist("events")
        errors = _create(request, given)
        if not errors:
            return redirect("rollouts:webhooks")
    state = WebhookDelivery.Status
    endpoints = WebhookEndpoint.objects.annotate(
        sent=Count("deliveries", filter=Q(deliveries__status=state.SENT)),
        failed=Count("deliveries", filter=Q(deliveries__status=state.FAILED)),
        waiting=Count("deliveries", filter=Q(deliveries__status=state.PENDING)),
        newest=Max("deliveries__sent_at"),
    )
    return render(
        request,
        "rollouts/webhooks.html",
        {
            "endpoints": endpoints.order_by("name"),
            "page": _messages(request),
            "events": service.EVENTS,
            "given": given,
            "errors": errors,
            "may_change": may_change,
            "narrowed": bool(request.GET.get("endpoint") or request.GET.get("status")),
            "max_attempts": service.MAX_ATTEMPTS,
        },
        status=422 if errors else 200,
    )


def _messages(request: HttpRequest) -> Any:
    """The messages, newest first, of the receiver and in the state that the address names."""
    rows = WebhookDelivery.objects.select_related("endpoint").order_by("-pk")
    if request.GET.get("endpoint"):
        rows = rows.filter(endpoint__name=request.GET["endpoint"])
    if request.GET.get("status"):
        rows = rows.filter(status=request.GET["status"])
    return Paginator(rows, PER_PAGE).get_page(request.GET.get("page"))


def _create(request: HttpRequest, given: dict[str, Any]) -> dict[str, str]:
    errors = {name: "This is required." for name in ("name", "url", "secret") if not given[name]}
    if len(given["name"]) > 64:
        errors["name"] = "A name has at most 64 characters."
    if errors:
        return errors
    try:
        service.create_endpoint(**given, actor=Actor.of_user(request.user), now=timezone.now())
    except InvalidInput as refusal:
        return refusal.errors
    messages.success(request, f"{given['name']} hears of rollouts from now on. Send it a test message.")
    return {}


@page.needs_scope(SCOPE)
@require_POST
def act(request: HttpRequest, pk: int) -> HttpResponse:
    """Test, pause, resume or remove a receiver."""
    endpoint = get_object_or_404(WebhookEndpoint, pk=pk)
    action, now = request.POST.get("action", ""), timezone.now()
    who = {"actor": Actor.of_user(request.user), "now": now}
    if action == "ping":
        message = service.ping(endpoint, by=request.user.username, now=now)
        if message.last_error:
            messages.error(request, f"{endpoint.name} did not take the test message: {message.last_error}")
        else:
            messages.success(request, f"{endpoint.name} took the test message.")
    elif action in ("pause", "resume"):
        service.set_enabled(endpoint, action == "resume", **who)
        messages.success(request, f"{endpoint.name} {'hears again' if action == 'resume' else 'is paused'}.")
    elif action == "remove":
        service.remove_endpoint(endpoint, **who, reason=request.POST.get("reason", "").strip())
        messages.success(request, f"{endpoint.name} is removed, with its messages.")
    else:
        messages.error(request, f"Nothing was changed: there is no action “{action}”.")
    return redirect("rollouts:webhooks")


@page.needs_scope(SCOPE)
@require_POST
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Try a message again that failed for good."""
    message = get_object_or_404(WebhookDelivery.objects.select_related("endpoint"), pk=pk)
    if service.try_again(message, actor=Actor.of_user(request.user), now=timezone.now()):
        messages.success(request, "The message is tried again with the next round.")
    return redirect("rollouts:webhooks")
