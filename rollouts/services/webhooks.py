"""Webhooks: messages are written with the change that they tell of, and sent afterwards, signed and with retries."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import Q

from fleet.actors import Actor
from fleet.exceptions import InvalidInput
from fleet.services import audit
from fleet.webhooks import SIGNATURE_HEADER, pause_after, post, sign
from rollouts.machine import State
from rollouts.models import Lane, WebhookDelivery, WebhookEndpoint

MAX_ATTEMPTS = 12
PING = "ping"
Send = Callable[[str, bytes, Mapping[str, str]], str]
# What an endpoint may ask to hear of, beside everything: every state that a lane can reach.
EVENTS = tuple(f"lane.{state}" for state in State)


@transaction.atomic
def create_endpoint(
    *, name: str, url: str, secret: str, events: list[str], actor: Actor, now: datetime
) -> WebhookEndpoint:
    """Register a receiver; `InvalidInput` for a URL that is not http(s), a short secret, an event that never comes."""
    errors = {}
    if not url.startswith(("https://", "http://")):
        errors["url"] = "The address must begin with https:// or http://."
    if len(secret) < 16:
        errors["secret"] = "The secret must have at least 16 characters."
    if unknown := [event for event in events if event not in EVENTS]:
        errors["events"] = f"There is no event “{unknown[0]}”; known: {', '.join(EVENTS)}."
    if WebhookEndpoint.objects.filter(name=name).exists():
        errors["name"] = f"There is an endpoint “{name}” already."
    if errors:
        raise InvalidInput(errors)
    endpoint = WebhookEndpoint.objects.create(name=name, url=url, secret=secret, events=events, created_at=now)
    audit.record(
        actor=actor, action="webhook.created", obj=endpoint, now=now, new={"name": name, "url": url, "events": events}
    )
    return endpoint


@transaction.atomic
def set_enabled(endpoint: WebhookEndpoint, enabled: bool, *, actor: Actor, now: datetime, reason: str = "") -> bool:
    """Pause an endpoint or let it go on; returns whether that changed anything.

    A paused endpoint gets no new message, and what waits for it waits until it goes on.
    """
    if not WebhookEndpoint.objects.filter(pk=endpoint.pk, enabled=not enabled).update(enabled=enabled):
        return False
    endpoint.enabled = enabled
    action = "webhook.resumed" if enabled else "webhook.paused"
    audit.record(
        actor=actor,
        action=action,
        obj=endpoint,
        now=now,
        old={"enabled": not enabled},
        new={"enabled": enabled},
        reason=reason,
    )
    return True


def ping(endpoint: WebhookEndpoint, *, by: str, now: datetime, send: Send = post) -> WebhookDelivery:
    """Send a test message at once, signed like every other; what became of it stands in what is returned."""
    message = WebhookDelivery.objects.create(
        endpoint=endpoint,
        event=PING,
        payload={"event": PING, "at": now.isoformat(), "data": {"endpoint": endpoint.name, "asked_by": by}},
        # A test is sent once: nobody is told of it hours later.
        attempts=1,
        next_attempt_at=now,
        created_at=now,
    )
    error = send(endpoint.url, *_signed(message, now))
    status = WebhookDelivery.Status.FAILED if error else WebhookDelivery.Status.SENT
    sent_at = None if error else now
    WebhookDelivery.objects.filter(pk=message.pk).update(status=status, sent_at=sent_at, last_error=error)
    message.refresh_from_db()
    return message


def try_again(message: WebhookDelivery, *, actor: Actor, now: datetime) -> bool:
    """Queue a message that failed for good once more; False where it has not failed."""
    failed = WebhookDelivery.objects.filter(pk=message.pk, status=WebhookDelivery.Status.FAILED)
    if not failed.update(status=WebhookDelivery.Status.PENDING, attempts=0, next_attempt_at=now):
        return False
    audit.record(actor=actor, action="webhook.retried", obj=message.endpoint, now=now, new={"message": message.pk})
    return True


@transaction.atomic
def remove_endpoint(endpoint: WebhookEndpoint, *, actor: Actor, now: datetime, reason: str = "") -> None:
    """Forget a receiver and its messages."""
    audit.record(actor=actor, action="webhook.removed", obj=endpoint, now=now, old={"url": endpoint.url}, reason=reason)
    endpoint.delete()


def announce(lane: Lane, event: str, *, reason: str, evidence_hash: str, now: datetime) -> int:
    """Tell of a lane's move; returns to how many endpoints. Called in the transaction of the move."""
    rollout = lane.rollout
    return enqueue(
        event,
        {
            "rollout": rollout.pk,
            "workload": rollout.workload.slug,
            "release": rollout.release.version,
            "hardware_target": lane.hardware_target.slug,
            "stage": lane.stage.name if lane.stage else None,
            "state": str(lane.state),
            "reason": reason,
            "evidence_hash": evidence_hash,
        },
        now=now,
    )


def enqueue(event: str, data: Mapping[str, Any], *, now: datetime) -> int:
    """Write one message per endpoint that listens to the event."""
    endpoints = WebhookEndpoint.objects.filter(Q(events=[]) | Q(events__contains=[event]), enabled=True)
    messages = [
        WebhookDelivery(
            endpoint=endpoint,
            event=event,
            payload={"event": event, "at": now.isoformat(), "data": dict(data)},
            next_attempt_at=now,
            created_at=now,
        )
        for endpoint in endpoints
    ]
    WebhookDelivery.objects.bulk_create(messages)
    return len(messages)


def send_due(now: datetime, *, limit: int = 50, send: Send = post) -> dict[str, int]:
    """Send what is due, oldest first. A message is claimed before it is sent, so two workers never send it at once."""
    counts = {"sent": 0, "failed": 0}
    due = WebhookDelivery.objects.filter(status="pending", next_attempt_at__lte=now, endpoint__enabled=True)
    for message in due.select_related("endpoint").order_by("id")[:limit]:
        claimed = WebhookDelivery.objects.filter(
            pk=message.pk, status="pending", attempts=message.attempts, next_attempt_at=message.next_attempt_at
        ).update(attempts=message.attempts + 1, next_attempt_at=now + pause_after(message.attempts + 1))
        if not claimed:
            continue
        error = send(message.endpoint.url, *_signed(message, now))
        _note(message, error, now)
        counts["failed" if error else "sent"] += 1
    return counts


def _signed(message: WebhookDelivery, now: datetime) -> tuple[bytes, dict[str, str]]:
    """Body and headers of a message."""
    body = json.dumps({"id": message.pk, **message.payload}, separators=(",", ":")).encode()
    return body, {
        "Content-Type": "application/json",
        "User-Agent": "Ridgeline",
        SIGNATURE_HEADER: sign(message.endpoint.secret, int(now.timestamp()), body),
    }


def _note(message: WebhookDelivery, error: str, now: datetime) -> None:
    if not error:
        WebhookDelivery.objects.filter(pk=message.pk).update(status="sent", sent_at=now, last_error="")
    elif message.attempts + 1 >= MAX_ATTEMPTS:
        WebhookDelivery.objects.filter(pk=message.pk).update(status="failed", last_error=error)
    else:
        WebhookDelivery.objects.filter(pk=message.pk).update(last_error=error)
