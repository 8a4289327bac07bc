"""Adoption: how many devices ran which release over time, from the spans that ingest keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import zip_longest

import numpy as np
from django.db.models import Min
from numpy.typing import NDArray

from telemetry.models import ReleaseSpan
from telemetry.selectors.selection import Selection


@dataclass(frozen=True)
class Adoption:
    """Devices per release (oldest release first) at each of `times`, shape (times,)."""

    times: list[datetime]
    devices: dict[str, NDArray[np.int64]]


def adoption(selection: Selection, *, start: datetime, end: datetime, step: timedelta) -> Adoption:
    """Devices heard from around each moment of a grid over [start, end), each under the release it then ran.

    A device belongs to a release until it reports another one, and for one step after its last record.
    """
    times = [start + k * step for k in range(max(1, -(-(end - start) // step)))]
    spans = (
        _spans(selection)
        .filter(first_time__lt=end, last_time__gte=start - step)
        .order_by("device", "workload", "first_time")
        .values_list(
            "device_id",
            "workload_id",
            "release_id",
            "release__version",
            "release__created_at",
            "first_time",
            "last_time",
        )
    )
    rows = list(spans)
    releases = sorted({(row[4], row[2], row[3]) for row in rows})
    changes = {pk: np.zeros(len(times) + 1, dtype=np.int64) for _, pk, _ in releases}
    for row, after in zip_longest(rows, rows[1:]):
        begin, last = row[5], row[6] + step
        if after is not None and after[:2] == row[:2]:
            last = min(last, after[5])
        first_cell, end_cell = _cell(begin, start, step, len(times)), _cell(last, start, step, len(times))
        changes[row[2]][first_cell] += 1
        changes[row[2]][end_cell] -= 1
    # several workloads may have a release of the same version: their devices add up under one name
    devices: dict[str, NDArray[np.int64]] = {}
    for _, pk, version in releases:
        counts = np.cumsum(changes[pk])[:-1]
        devices[version] = devices[version] + counts if version in devices else counts
    return Adoption(times, devices)


def arrivals(selection: Selection, *, start: datetime, end: datetime) -> list[tuple[datetime, str]]:
    """When each release was first seen in the selection, of those that came within (start, end)."""
    found = _spans(selection).values_list("release__version").annotate(first=Min("first_time")).order_by("first")
    return [(first, version) for version, first in found if start < first < end]


def _spans(selection: Selection):
    spans = ReleaseSpan.objects.filter(selection.devices())
    if selection.workload_id is not None:
        spans = spans.filter(workload=selection.workload_id)
    if selection.release_ids is not None:
        spans = spans.filter(release__in=selection.release_ids)
    return spans


def _cell(moment: datetime, start: datetime, step: timedelta, count: int) -> int:
    """The first grid point at or after a moment."""
    return int(min(count, max(0, -(-(moment - start) // step))))


def releases_by_age(selection: Selection, versions: Sequence[str]) -> list[str]:
    """Versions, the oldest release first."""
    found = _spans(selection).filter(release__version__in=list(versions))
    order = dict(found.values_list("release__version").annotate(Min("release__created_at")))
    return sorted(versions, key=lambda version: (order.get(version) is None, order.get(version), version))
