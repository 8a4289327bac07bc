"""How long a charge lasts: hours and inferences per charge, from what devices report of their batteries."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from fleet.models import Device
from telemetry import store
from telemetry.models import DeviceLatest
from telemetry.resolution import HOUR, ceiling, floor
from telemetry.selectors.contexts import selected_contexts
from telemetry.selectors.reporting import evenly_picked
from telemetry.selectors.selection import Selection
from telemetry.store.batteries import battery_drain

MOST_DEVICES = 50
# Readings further apart than this say nothing of what happened between them.
LONGEST_GAP = timedelta(hours=2)
# A device that lost less than this, or discharged for a shorter time, has not shown how fast it discharges.
LEAST_POINTS, LEAST_SECONDS = 1.0, 1800.0


@dataclass(frozen=True)
class BatteryLife:
    """What a full charge is worth on the devices of one hardware target, each device weighing the same.

    Attributes:
        devices: how many showed how fast they discharge.
        hours, inferences: per charge of 100 %: median over devices.
        least_hours, most_hours: of single devices.
    """

    hardware_target: str
    devices: int
    hours: float
    inferences: float
    least_hours: float
    most_hours: float


@dataclass(frozen=True)
class Batteries:
    """`reporting` devices tell a battery level; `read` of them were looked at, by hardware target in `lives`."""

    reporting: int
    read: int
    lives: list[BatteryLife]


def batteries(selection: Selection, *, start: datetime, end: datetime) -> Batteries:
    """What a charge is worth over [start, end).

    Per device: hours per charge = 100 x hours spent discharging / percentage points lost meanwhile, and inferences per
    charge = hours per charge x inferences per hour in which the device reported any. Charging, rest at a constant level
    and readings more than two hours apart count as neither.
    """
    latest = DeviceLatest.objects.filter(selection.devices(), battery_pct__isnull=False, last_seen_at__gte=start)
    if selection.workload_id is not None:
        latest = latest.filter(workload=selection.workload_id)
    ids = list(latest.order_by("device").values_list("device", flat=True).distinct())
    read = evenly_picked(ids, MOST_DEVICES)
    drains = [
        drain
        for drain in battery_drain(read, start, end, longest=LONGEST_GAP)
        if drain.points >= LEAST_POINTS and drain.seconds >= LEAST_SECONDS
    ]
    per_hour = _per_hour(selection, [drain.device_id for drain in drains], start, end)
    devices = Device.objects.filter(pk__in=[drain.device_id for drain in drains])
    targets = dict(devices.values_list("pk", "hardware_target__slug"))
    grouped: dict[str, list[tuple[float, float]]] = {}
    for drain in drains:
        hours = 100 * drain.seconds / 3600 / drain.points
        grouped.setdefault(targets[drain.device_id], []).append((hours, hours * per_hour.get(drain.device_id, 0.0)))
    return Batteries(len(ids), len(read), [_life(target, grouped[target]) for target in sorted(grouped)])


def _life(target: str, values: list[tuple[float, float]]) -> BatteryLife:
    hours, inferences = (np.array(column) for column in zip(*values, strict=True))
    return BatteryLife(
        target,
        len(values),
        float(np.median(hours)),
        float(np.median(inferences)),
        float(hours.min()),
        float(hours.max()),
    )


def _per_hour(selection: Selection, device_ids: list[int], start: datetime, end: datetime) -> dict[int, float]:
    """Inferences of each device per hour in which it reported any."""
    rollups = store.device_rollups(
        device_ids,
        start=floor(start, HOUR),
        end=ceiling(end, HOUR),
        values=("count",),
        by=("bucket", "device_id"),
        context_ids=selected_contexts(selection),
        step=HOUR,
    )
    device: NDArray[np.int64] = rollups.keys["device_id"]
    ids, place = np.unique(device, return_inverse=True)
    hours = np.bincount(place, minlength=ids.size)
    counts = np.bincount(place, weights=rollups.numbers["count"], minlength=ids.size)
    return {int(pk): float(counts[k] / hours[k]) for k, pk in enumerate(ids)}
