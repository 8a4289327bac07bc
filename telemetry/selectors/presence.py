"""Which devices were heard from lately: online, late, silent, or never heard at all."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import DateTimeField, Exists, IntegerField, OuterRef, QuerySet, Subquery

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


def with_last_seen(devices: QuerySet[Device], workload: str = "") -> QuerySet[Device]:
    """Devices with `last_seen_at` and `expected_interval_s` of what they sent last (of one workload, if named)."""
    newest = DeviceLatest.objects.filter(device=OuterRef("pk")).order_by("-last_seen_at")
    if workload:
        newest = newest.filter(workload__slug=workload)
    return devices.annotate(
        last_seen_at=Subquery(newest.values("last_seen_at")[:1], output_field=DateTimeField()),
        expected_interval_s=Subquery(newest.values("workload__expected_interval_s")[:1], output_field=IntegerField()),
    )


def presence(devices: QuerySet[Device], *, now: datetime, workload: str = "") -> Presence:
    """The states of the accepted devices of a selection."""
    accepted = with_last_seen(devices.filter(status=Device.Status.ACCEPTED), workload)
    counts = count_states(accepted.values_list("last_seen_at", "expected_interval_s"), now)
    return Presence(**{state: counts[state] for state in STATES})


def count_states(rows: Iterable[tuple[datetime | None, int | None]], now: datetime) -> Counter[str]:
    """How many (last seen, expected interval) are in which state."""
    return Counter(state_of(last_seen_at, interval, now) for last_seen_at, interval in rows)


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
