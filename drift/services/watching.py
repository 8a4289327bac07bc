"""What the daily evaluations share: which devices speak for a cell, and their values day by day."""

import hashlib
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import numpy as np
from django.db.models import Max, Min
from numpy.typing import NDArray

from drift.models import EvaluationCell
from drift.periods import device_period
from drift.stats.summaries import metric_values
from telemetry.models import ReleaseSpan
from telemetry.selectors import summaries

DAY = timedelta(days=1)
# The mean over so many devices is as good as over all; they are the same ones every day.
DEVICES_AT_MOST = 1_000
# Days of so many devices are read at once: their histograms must fit into a worker's memory.
CHUNK = 100


def midnight(moment: datetime) -> datetime:
    """The beginning of the day (UTC) of a moment."""
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def adoption(cell: EvaluationCell, end: datetime) -> dict[int, tuple[datetime, datetime]]:
    """Devices of a cell with the first and the last time that they ran its release before `end`, by device id."""
    rows = (
        ReleaseSpan.objects.filter(
            release_id=cell.release_id,
            workload_id=cell.workload_id,
            device__hardware_target_id=cell.hardware_target_id,
            first_time__lt=end,
        )
        .order_by()
        .values_list("device_id")
        .annotate(first=Min("first_time"), last=Max("last_time"))
    )
    return {device_id: (first, last) for device_id, first, last in rows}


def speakers(device_ids: Sequence[int], most: int = DEVICES_AT_MOST) -> list[int]:
    """At most so many of the devices, sorted: those with the smallest hash, so that a device's place never moves."""
    if len(device_ids) <= most:
        return sorted(device_ids)
    return sorted(sorted(device_ids, key=_place)[:most])


def _place(device_id: int) -> bytes:
    return hashlib.blake2b(str(device_id).encode(), digest_size=8).digest()


def daily_values(
    device_ids: Sequence[int], names: Sequence[str], *, cell: EvaluationCell, start: datetime, end: datetime
) -> dict[str, NDArray[np.float64]]:
    """Each device's value of each metric on each whole day of [start, end), shape (devices, days); NaN for none."""
    days = (end - start) // DAY
    values = {name: np.full((len(device_ids), days), np.nan) for name in names}
    for first in range(0, len(device_ids), CHUNK):
        windows = summaries.device_summary_windows(
            device_ids[first : first + CHUNK],
            workload_id=cell.workload_id,
            release_ids=(cell.release_id,),
            start=start,
            end=end,
            window=DAY,
        )
        for day, window in enumerate(windows):
            period = device_period(window)
            for name in names:
                values[name][first : first + CHUNK, day] = metric_values(period, name)
    return values


def seed_of(*parts: object) -> list[int]:
    """A seed that is the same for the same parts, as numpy.random.default_rng takes it."""
    digest = hashlib.blake2b("|".join(map(str, parts)).encode(), digest_size=16).digest()
    return list(np.frombuffer(digest, dtype=np.uint32))
