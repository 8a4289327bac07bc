"""Adoption: how many devices ran which release over time, from the spans that ingest keeps."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db.models import Min
from numpy.typing import NDArray

from fleet.models import Release
from telemetry.models import ReleaseSpan
from telemetry.selectors.selection import Selection
from telemetry.store.adoption import release_steps


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
    workloads = None if selection.workload_id is None else [selection.workload_id]
    wanted = {
        "workload_ids": workloads,
        "release_ids": selection.release_ids,
        "device_ids": selection.device_ids,
        "hardware_target_ids": selection.hardware_target_ids,
        "region_ids": selection.region_ids,
    }
    found = release_steps(wanted, start=start, end=end, step=step, points=len(times))
    changes: dict[int, NDArray[np.int64]] = {}
    for one in found:
        change = changes.setdefault(one.release_id, np.zeros(len(times) + 1, dtype=np.int64))
        change[one.first] += one.devices
        change[one.end] -= one.devices
    releases = Release.objects.filter(pk__in=changes).order_by("created_at", "pk").values_list("pk", "version")
    # several workloads may have a release of the same version: their devices add up under one name
    devices: dict[str, NDArray[np.int64]] = {}
    for pk, version in releases:
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


def releases_by_age(selection: Selection, versions: Sequence[str]) -> list[str]:
    """Versions, the oldest release first."""
    found = _spans(selection).filter(release__version__in=list(versions))
    order = dict(found.values_list("release__version").annotate(Min("release__created_at")))
    return sorted(versions, key=lambda version: (order.get(version) is None, order.get(version), version))
