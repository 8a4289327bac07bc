"""Telling people of alarms: a message per alarm and channel, sent after the fact, with retries."""

import json
from collections.abc import Callable, Mapping
from datetime import datetime
from smtplib import SMTPException

from django.core.mail import send_mail
from django.db import transaction

from drift.models import Alarm, AlarmEntry, Notification, NotificationChannel
from fleet.actors import Actor
from fleet.exceptions import InvalidInput
from fleet.services import audit
from fleet.webhooks import SIGNATURE_HEADER, pause_after, post, sign

MAX_ATTEMPTS = 12
_ORDER = {Alarm.Severity.INFO: 0, Alarm.Severity.WARNING: 1, Alarm.Severity.CRITICAL: 2}


@transaction.atomic
def create_channel(
    *, name: str, kind: str, target: str, secret: str, minimum_severity: str, actor: Actor, now: datetime
) -> NotificationChannel:
    """Register where alarms are sent; `InvalidInput` names each field that cannot work."""
    errors = {}
    if kind == NotificationChannel.Kind.WEBHOOK:
        if not target.startswith(("https://", "http://")):
            errors["target"] = "The address must begin with https:// or http://."
        if len(secret) < 16:
            errors["secret"] = "The secret must have at least 16 characters."
    elif "@" not in target.strip("@"):
        errors["target"] = "This is no e-mail address."
    if NotificationChannel.objects.filter(name=name).exists():
        errors["name"] = f"There is a channel “{name}” already."
    if errors:
        raise InvalidInput(errors)
    channel = NotificationChannel.objects.create(
        name=name, kind=kind, target=target, secret=secret, minimum_severity=minimum_severity, created_at=now
    )
    audit.record(
        actor=actor,
        action="channel.created",
        obj=channel,
        new={"kind": kind, "target": target, "minimum_severity": minimum_severity},
        now=now,
    )
    return channel


@transaction.atomic
def remove_channel(channel: NotificationChannel, *, actor: Actor, now: datetime) -> None:
    """Forget a channel and its messages."""
    audit.record(actor=actor, action="channel.removed", obj=channel, old={"target": channel.target}, now=now)
    channel.delete()


def enqueue(alarm: Alarm, *, now: datetime) -> int:
    """One message per channel that wants alarms of this severity; called in the transaction that raised the alarm."""
    wanted = [
        channel
        for channel in NotificationChannel.objects.filter(enabled=True)
        if _ORDER[alarm.severity] >= _ORDER[channel.minimum_severity]
    ]
    Notification.objects.bulk_create(
        [Notification(alarm=alarm, channel=channel, next_attempt_at=now, created_at=now) for channel in wanted],
        ignore_conflicts=True,
    )
    return len(wanted)


def send_due(
    now: datetime, *, limit: int = 50, send: Callable[[str, bytes, Mapping[str, str]], str] = post
) -> dict[str, int]:
    """Send what is due, oldest first. A message is claimed before it is sent, so two workers never send it at once."""
    counts = {"sent": 0, "failed": 0}
    due = Notification.objects.filter(status=Notification.Status.PENDING, next_attempt_at__lte=now).order_by("id")
    for message in due.select_related("channel", "alarm")[:limit]:
        attempts = message.attempts + 1
        claimed = Notification.objects.filter(
            pk=message.pk,
            status=Notification.Status.PENDING,
            attempts=message.attempts,
            next_attempt_at=message.next_attempt_at,
        ).update(attempts=attempts, next_attempt_at=now + pause_after(attempts))
        if not claimed:
            continue
        error = _mail(message) if message.channel.kind == NotificationChannel.Kind.EMAIL else _post(message, now, send)
        _note(message, attempts, error, now)
        counts["failed" if error else "sent"] += 1
    return counts


def _mail(message: Notification) -> str:
    """Send by e-mail; returns "" or what went wrong."""
    alarm = message.alarm
    lines = [alarm.summary, "", f"Kind: {alarm.get_kind_display()}", f"Severity: {alarm.severity}"]
    lines += [f"Since: {alarm.started_at:%Y-%m-%d %H:%M} UTC", f"Devices: {alarm.devices_affected}"]
    if alarm.playbook:
        lines += ["", "What to check:", *(f"- {check}" for check in alarm.playbook.checks)]
    try:
        send_mail(f"[Ridgeline] {alarm.summary}"[:200], "\n".join(lines), None, [message.channel.target])
    except (SMTPException, OSError) as error:
        return str(error)[:500] or type(error).__name__
    return ""


def _post(message: Notification, now: datetime, send: Callable[[str, bytes, Mapping[str, str]], str]) -> str:
    """Send to a webhook; returns "" or what went wrong."""
    alarm = message.alarm
    body = json.dumps(
        {
            "id": message.pk,
            "event": "alarm.raised",
            "at": alarm.raised_at.isoformat(),
            "data": {
                "alarm": alarm.pk,
                "kind": alarm.kind,
                "severity": alarm.severity,
                "summary": alarm.summary,
                "started_at": alarm.started_at.isoformat(),
                "devices_affected": alarm.devices_affected,
                "effect": alarm.effect,
                "lower": alarm.lower,
                "upper": alarm.upper,
            },
        },
        separators=(",", ":"),
    ).encode()
    headers = {
        "Content-Type": "application/json",
        "User-Agent": "Ridgeline",
        SIGNATURE_HEADER: sign(message.channel.secret, int(now.timestamp()), body),
    }
    return send(message.channel.target, body, headers)


def _note(message: Notification, attempts: int, error: str, now: datetime) -> None:
    """Keep what became of the message, on itself and on the alarm's timeline."""
    final = not error or attempts >= MAX_ATTEMPTS
    status = Notification.Status.PENDING
    if final:
        status = Notification.Status.FAILED if error else Notification.Status.SENT
    Notification.objects.filter(pk=message.pk).update(status=status, last_error=error, sent_at=None if error else now)
    if final:
        text = f"{message.channel.name}: {error or 'sent'}"
        AlarmEntry.objects.create(alarm=message.alarm, at=now, actor="ridgeline", kind="notified", text=text)
