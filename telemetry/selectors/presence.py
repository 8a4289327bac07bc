"""Which devices were heard from lately: online, late, silent, or never heard at all."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import (
    Case,
    Count,
    DateTimeField,
    DurationField,
    Exists,
    ExpressionWrapper,
    F,
    OuterRef,
    Q,
    QuerySet,
    Value,
    When,
)
from django.db.models.functions import Coalesce, Greatest, NullIf
from django.db.models.lookups import GreaterThan

from fleet.models import Device
from telemetry.models import DeviceLatest

# In expected intervals of the device's workload, and at least so long: a device that sends every second is not late
# after three of them.
LATE_INTERVALS, LATE_AT_LEAST = 3, timedelta(minutes=3)
SILENT_INTERVALS, SILENT_AT_LEAST = 10, timedelta(minutes=10)
STATES = ("online", "late", "silent", "never")


@dataclass(frozen=True)
class Presence:
    """How many accepted devices are in which state; `total` is all of them."""

    online: int
    late: int
    silent: int
    never: int

    @property
    def total(self) -> int:
        """All accepted devices of the selection."""
        return self.online + self.late + self.silent + self.never


def state_of(last_seen_at: datetime | None, expected_interval_s: int | None, now: datetime) -> str:
    """`online`, `late`, `silent` or `never`, by the time since the last batch in intervals of the workload."""
    if last_seen_at is None:
        return "never"
    age, interval = now - last_seen_at, timedelta(seconds=expected_interval_s or 60)
    if age > max(SILENT_INTERVALS * interval, SILENT_AT_LEAST):
        return "silent"
    return "late" if age > max(LATE_INTERVALS * interval, LATE_AT_LEAST) else "online"


def newest_rows(workload: str = "") -> QuerySet[DeviceLatest]:
    """What each device sent last (of one workload, if named), one row per device."""
    rows = DeviceLatest.objects.filter(workload__slug=workload) if workload else DeviceLatest.objects.all()
    seen = OuterRef("last_seen_at")
    newer = Q(last_seen_at__gt=seen) | Q(last_seen_at=seen, pk__gt=OuterRef("pk"))
    return rows.filter(~Exists(rows.filter(newer, device=OuterRef("device"))))


def state_expression(now: datetime) -> Case:
    """`state_of` a row of `DeviceLatest`, told by the database."""
    age = ExpressionWrapper(Value(now, DateTimeField()) - F("last_seen_at"), DurationField())
    interval_s = Coalesce(NullIf(F("workload__expected_interval_s"), 0), 60)

    def longer_than(intervals: int, at_least: timedelta) -> GreaterThan:
        wait = ExpressionWrapper(interval_s * Value(timedelta(seconds=intervals), DurationField()), DurationField())
        return GreaterThan(age, Greatest(wait, Value(at_least, DurationField())))

    return Case(
        When(longer_than(SILENT_INTERVALS, SILENT_AT_LEAST), then=Value("silent")),
        When(longer_than(LATE_INTERVALS, LATE_AT_LEAST), then=Value("late")),
        default=Value("online"),
    )


def presence(devices: QuerySet[Device], *, now: datetime, workload: str = "") -> Presence:
    """The states of the accepted devices of a selection."""
    counts = count_states(devices, now=now, workload=workload)
    return Presence(**{state: sum(n for (_, found), n in counts.items() if found == state) for state in STATES})


def count_states(devices: QuerySet[Device], *, now: datetime, workload: str = "") -> Counter[tuple[str, str]]:
    """How many accepted devices of a selection are in which state, by (hardware target, state).

    Counted by the database: what travels does not grow with the fleet.
    """
    accepted = devices.filter(status=Device.Status.ACCEPTED)
    heard = newest_rows(workload).filter(device__in=accepted.values("pk")).annotate(state=state_expression(now))
    by_state = heard.values_list("device__hardware_target__slug", "state").annotate(n=Count("pk"))
    counts = Counter({(target, state): n for target, state, n in by_state})
    for target, n in accepted.values_list("hardware_target__slug").annotate(n=Count("pk", distinct=True)):
        counts[(target, "never")] = n - sum(counts[(target, state)] for state in STATES)
    return counts


def selected_devices(params: dict[str, str]) -> QuerySet[Device]:
    """Devices by the filters of a query string: labels, group, status, device, q (part of a serial), what it sent."""
    found = Device.objects.all()
    lookups = {
        "hardware_target": "hardware_target__slug",
        "region": "region__slug",
        "group": "groups__slug",
        "status": "status",
        "device": "serial",
        "q": "serial__icontains",
    }
    for name, lookup in lookups.items():
        if params.get(name):
            found = found.filter(**{lookup: params[name]})
    reported = {
        field: params[name]
        for name, field in (("release", "release__version"), ("workload", "workload__slug"))
        if params.get(name)
    }
    if reported:
        found = found.filter(Exists(DeviceLatest.objects.filter(device=OuterRef("pk"), **reported)))
    return found
