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
from rollouts.models import Lane, WebhookDelivery, WebhookEndpoint

MAX_ATTEMPTS = 12


@transaction.atomic
def create_endpoint(
    *, name: str, url: str, secret: str, events: list[str], actor: Actor, now: datetime
) -> WebhookEndpoint:
    """Register a receiver; `InvalidInput` for a URL that is not http(s) and for a secret too short to protect."""
    errors = {}
    if not url.startswith(("https://", "http://")):
        errors["url"] = "The address must begin with https:// or http://."
    if len(secret) < 16:
        errors["secret"] = "The secret must have at least 16 characters."
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


def send_due(
    now: datetime, *, limit: int = 50, send: Callable[[str, bytes, Mapping[str, str]], str] = post
) -> dict[str, int]:
    """Send what is due, oldest first. A message is claimed before it is sent, so two workers never send it at once."""
    counts = {"sent": 0, "failed": 0}
    due = WebhookDelivery.objects.filter(status="pending", next_attempt_at__lte=now).order_by("id")
    for message in due.select_related("endpoint")[:limit]:
        claimed = WebhookDelivery.objects.filter(
            pk=message.pk, status="pending", attempts=message.attempts, next_attempt_at=message.next_attempt_at
        ).update(attempts=message.attempts + 1, next_attempt_at=now + pause_after(message.attempts + 1))
        if not claimed:
            continue
        body = json.dumps({"id": message.pk, **message.payload}, separators=(",", ":")).encode()
        error = send(
            message.endpoint.url,
            body,
            {
                "Content-Type": "application/json",
                "User-Agent": "Ridgeline",
                SIGNATURE_HEADER: sign(message.endpoint.secret, int(now.timestamp()), body),
            },
        )
        _note(message, error, now)
        counts["failed" if error else "sent"] += 1
    return counts


def _note(message: WebhookDelivery, error: str, now: datetime) -> None:
    if not error:
        WebhookDelivery.objects.filter(pk=message.pk).update(status="sent", sent_at=now, last_error="")
    elif message.attempts + 1 >= MAX_ATTEMPTS:
        WebhookDelivery.objects.filter(pk=message.pk).update(status="failed", last_error=error)
    else:
        WebhookDelivery.objects.filter(pk=message.pk).update(last_error=error)
