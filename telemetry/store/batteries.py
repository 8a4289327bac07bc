"""Reading what devices reported of their batteries."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from telemetry.store.connection import execute, query, reading


class Drain(NamedTuple):
    """What one device lost while it discharged: percentage points, over seconds, in so many steps between readings."""

    device_id: int
    points: float
    seconds: float
    steps: int


def battery_drain(device_ids: Sequence[int], start: datetime, end: datetime, *, longest: timedelta) -> list[Drain]:
    """The discharging of devices over [start, end), from readings at most `longest` apart."""
    parameters = {"device_ids": list(device_ids), "start": start, "end": end, "longest": longest}
    with reading() as cursor:
        return [Drain(*row) for row in execute(cursor, query("battery_drain"), parameters)]
