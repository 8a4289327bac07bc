"""How many minutes devices spent throttled, over time and by hardware target."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from fleet.models import Device
from telemetry import store
from telemetry.resolution import DAY, HOUR, ceiling, floor
from telemetry.selectors.contexts import selected_contexts
from telemetry.selectors.reporting import reporting_devices
from telemetry.selectors.selection import Selection

# What one chart may read, in stored rows; of a larger fleet some devices are read, evenly picked.
MOST_ROWS = 20_000
# From this range on, a device's day is one row, and its share stands for the day.
HOURS_UP_TO = timedelta(days=7)


@dataclass(frozen=True)
class Throttling:
    """Minutes throttled per hardware target and step, shape (times,), of `devices` read out of `of_devices`.

    `reported` are the minutes of hours (or days) in which the devices reported anything.
    """

    times: list[datetime]
    step: timedelta
    minutes: dict[str, NDArray[np.float64]]
    reported: float
    devices: int
    of_devices: int

    @property
    def total(self) -> float:
        """Minutes throttled in all."""
        return float(sum(values.sum() for values in self.minutes.values()))


def throttling(selection: Selection, *, start: datetime, end: datetime) -> Throttling:
    """Minutes throttled over the whole hours (beyond a week: days) that overlap [start, end).

    A device's minutes of an hour are sixty times the share of its inferences that ran throttled in it: inferences carry
    the flag, and time between them is taken to be like them.
    """
    step = HOUR if end - start <= HOURS_UP_TO else DAY
    first, last = floor(start, step), ceiling(end, step)
    times = [first + k * step for k in range((last - first) // step)]
    ids, of_devices = reporting_devices(selection, start=first, end=last, most=max(1, MOST_ROWS // max(len(times), 1)))
    rollups = store.device_rollups(
        ids,
        start=first,
        end=last,
        values=("count", "throttled"),
        by=("bucket", "device_id"),
        context_ids=selected_contexts(selection),
        step=step,
    )
    length = step / timedelta(minutes=1)
    count, throttled = rollups.numbers["count"], rollups.numbers["throttled"]
    minutes = length * np.divide(throttled, count, out=np.zeros(count.size), where=count > 0)
    cell = (rollups.keys["bucket"] - store.microseconds(first)) // (step // timedelta(microseconds=1))
    targets = dict(Device.objects.filter(pk__in=ids).values_list("pk", "hardware_target__slug"))
    target = np.array([targets[pk] for pk in rollups.keys["device_id"].tolist()], dtype=object)
    found = {
        name: np.bincount(cell[target == name], weights=minutes[target == name], minlength=len(times))
        for name in sorted(set(target.tolist()))
    }
    return Throttling(times, step, found, length * int((count > 0).sum()), len(ids), of_devices)
