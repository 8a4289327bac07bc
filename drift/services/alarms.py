"""Raising, acknowledging, assigning and closing alarms; every step leaves a line on the alarm's timeline."""

import hashlib
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import F

from drift.models import Alarm, AlarmEntry
from drift.services import notifications
from drift.services.playbooks import current_version
from fleet.actors import Actor
from fleet.exceptions import InvalidInput, StateConflict
from fleet.models import User
from fleet.services import audit


@dataclass(frozen=True)
class Sighting:
    """One observation that deserves an alarm; `started_at` is when the effect began, as far as the data can say."""

    kind: str
    severity: str
    summary: str
    started_at: datetime
    workload_id: int | None = None
    release_id: int | None = None
    hardware_target_id: int | None = None
    device_id: int | None = None
    metric: str = ""
    effect: float | None = None
    lower: float | None = None
    upper: float | None = None
    devices_affected: int = 0
    evidence: dict[str, Any] = field(default_factory=dict)
    attribution: dict[str, Any] | None = None
    # What stands for the metric in the fingerprint, where several metrics are one trouble.
    about: str = ""

    @property
    def fingerprint(self) -> str:
        """What two sightings of the same trouble have in common, as SHA-256."""
        parts = (
            self.kind, self.about or self.metric,
            self.workload_id, self.release_id, self.hardware_target_id, self.device_id,
        )  # fmt: skip
        return hashlib.sha256("|".join("" if part is None else str(part) for part in parts).encode()).hexdigest()


@transaction.atomic
def raise_alarm(sighting: Sighting, *, now: datetime) -> tuple[Alarm, bool]:
    """Open an alarm, or refresh the open one of the same trouble; returns the alarm and whether it is new."""
    seen = _see_again(sighting, now=now)
    if seen:
        return seen, False
    try:
        with transaction.atomic():
            alarm = Alarm.objects.create(
                fingerprint=sighting.fingerprint,
                raised_at=now,
                last_seen_at=now,
                playbook=current_version(sighting.kind),
                **{name: getattr(sighting, name) for name in _CARRIED},
            )
    except IntegrityError:
        # another worker opened the same alarm between our look and our insert
        again = _see_again(sighting, now=now)
        if again is None:
            raise
        return again, False
    AlarmEntry.objects.create(alarm=alarm, at=now, actor="ridgeline", kind="raised", text=sighting.summary)
    notifications.enqueue(alarm, now=now)
    return alarm, True


_CARRIED = (
    "kind", "severity", "summary", "started_at", "workload_id", "release_id", "hardware_target_id", "device_id",
    "metric", "effect", "lower", "upper", "devices_affected", "evidence", "attribution",
)  # fmt: skip

_REFRESHED = ("summary", "effect", "lower", "upper", "devices_affected", "evidence", "attribution")


def _see_again(sighting: Sighting, *, now: datetime) -> Alarm | None:
    """Refresh the open alarm with what is known now; its start, its people and its playbook stay."""
    open_alarms = Alarm.objects.filter(fingerprint=sighting.fingerprint).exclude(state=Alarm.State.CLOSED)
    updated = open_alarms.update(
        last_seen_at=now, sightings=F("sightings") + 1, **{name: getattr(sighting, name) for name in _REFRESHED}
    )
    return open_alarms.first() if updated else None


def acknowledge(alarm: Alarm, *, user: User, note: str = "", now: datetime) -> Alarm:
    """Say that somebody looks after the alarm; 409 unless it is open."""
    return _move(
        alarm, (Alarm.State.OPEN,), Alarm.State.ACKNOWLEDGED, user=user, kind="acknowledged", text=note, now=now
    )


def close(alarm: Alarm, *, user: User, reason: str, now: datetime) -> Alarm:
    """Close the alarm with a reason; the same trouble seen later opens a new one."""
    if not reason.strip():
        raise InvalidInput({"reason": "Say why the alarm can be closed."})
    return _move(
        alarm,
        (Alarm.State.OPEN, Alarm.State.ACKNOWLEDGED),
        Alarm.State.CLOSED,
        user=user,
        kind="closed",
        text=reason,
        now=now,
    )


@transaction.atomic
def assign(alarm: Alarm, *, assignee: User | None, user: User, now: datetime) -> Alarm:
    """Give the alarm to a person, or to nobody."""
    old = alarm.assignee
    alarm.assignee = assignee
    alarm.save(update_fields=["assignee"])
    text = f"assigned to {assignee.username}" if assignee else "assigned to nobody"
    AlarmEntry.objects.create(alarm=alarm, at=now, actor=user.username, kind="assigned", text=text)
    audit.record(
        actor=Actor.of_user(user),
        action="alarm.assigned",
        obj=alarm,
        old={"assignee": old.username if old else None},
        new={"assignee": assignee.username if assignee else None},
        now=now,
    )
    return alarm


def note(alarm: Alarm, *, user: User, text: str, now: datetime) -> AlarmEntry:
    """Write a line on the incident's timeline."""
    if not text.strip():
        raise InvalidInput({"text": "A note needs a text."})
    return AlarmEntry.objects.create(alarm=alarm, at=now, actor=user.username, kind="noted", text=text.strip())


@transaction.atomic
def _move(
    alarm: Alarm, sources: tuple[str, ...], target: str, *, user: User, kind: str, text: str, now: datetime
) -> Alarm:
    """Compare-and-swap the alarm's state and leave the line and the audit row behind."""
    old = alarm.state
    closed = {"closed_at": now} if target == Alarm.State.CLOSED else {}
    if not Alarm.objects.filter(pk=alarm.pk, state__in=sources).update(state=target, **closed):
        alarm.refresh_from_db()
        raise StateConflict(alarm.state, _allowed(alarm.state))
    alarm.refresh_from_db()
    AlarmEntry.objects.create(alarm=alarm, at=now, actor=user.username, kind=kind, text=text.strip())
    audit.record(
        actor=Actor.of_user(user),
        action=f"alarm.{kind}",
        obj=alarm,
        old={"state": old},
        new={"state": target},
        reason=text.strip(),
        now=now,
    )
    return alarm


def _allowed(state: str) -> list[str]:
    """What can still be done with an alarm in a state."""
    return {
        Alarm.State.OPEN: ["acknowledge", "assign", "note", "close"],
        Alarm.State.ACKNOWLEDGED: ["assign", "note", "close"],
        Alarm.State.CLOSED: ["note"],
    }[state]
