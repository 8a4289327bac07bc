"""Bands for whole distributions: how far a release's distribution function may lie off, judged by its devices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import log2

import numpy as np
from numpy.typing import NDArray

from fleet.models import Device
from telemetry.histograms import BINS_PER_OCTAVE, UNIT_BINS
from telemetry.metrics import Metric
from telemetry.models import DeviceLatest
from telemetry.resolution import DAY, HOUR, ceiling, floor
from telemetry.selectors.distributions import Distribution
from telemetry.selectors.grouping import grouped_rollups
from telemetry.selectors.reporting import reporting_devices
from telemetry.selectors.selection import Selection
from telemetry.simultaneous_band import half_widths

# What one chart may read, in stored rows; of a larger fleet some devices are read, evenly picked.
MOST_ROWS = 12_000
SEED = 6


@dataclass(frozen=True)
class Band:
    """Limits of a group's distribution function at the upper limits of its bins, and the devices it rests on."""

    lower: NDArray[np.float64]
    upper: NDArray[np.float64]
    devices: int


@dataclass(frozen=True)
class Bands:
    """One band per distribution (None with too few devices), from `devices` out of `of_devices` that reported."""

    bands: list[Band | None]
    devices: int
    of_devices: int


def distribution_bands(
    selection: Selection,
    metric: Metric,
    distributions: Sequence[Distribution],
    *,
    start: datetime,
    end: datetime,
    group_by: Sequence[str],
) -> Bands:
    """Simultaneous 95 % bands of distributions from `metric_distributions` with the same `group_by`.

    The widths come from the devices' own histograms over the whole hours that overlap the range; of a large fleet from
    some of its devices, which makes the bands wider and never narrower. Devices of one hardware target that now run in
    one power mode are a stratum. The method is that of `telemetry.simultaneous_band`.
    """
    start, end = floor(start, HOUR), ceiling(end, HOUR)
    rows_per_device = max((end - start) / DAY + 48, 1) if end - start > 2 * DAY else (end - start) / HOUR
    ids, of_devices = reporting_devices(
        selection, start=start, end=end, most=max(1, round(MOST_ROWS / rows_per_device))
    )
    grouped = grouped_rollups(
        replace(selection, device_ids=tuple(ids)),
        start=start,
        end=end,
        values=(metric.histogram,),
        group_by=(*group_by, "device"),
    )
    rows = grouped.rollups.histograms[metric.histogram]
    offset, dense = (0, rows.dense_unit()) if metric.bounded else rows.dense()
    names = [
        {name: label for name, label in grouped.groups[k].items() if name != "device"}
        for k in grouped.rollups.keys["group"].tolist()
    ]
    strata_of = _strata(ids)
    strata = np.array([strata_of[grouped.groups[k]["device"]] for k in grouped.rollups.keys["group"].tolist()])
    bands = []
    for one in distributions:
        mine = [row for row, name in enumerate(names) if name == one.group]
        bands.append(_band(one, dense[mine], strata[mine] if mine else None, _first_bin(metric, one) - offset))
    return Bands(bands, len(ids), of_devices)


def _strata(device_ids: Sequence[int]) -> dict[str, int]:
    """A number per serial: the same for devices of one hardware target and power mode."""
    modes = dict(DeviceLatest.objects.filter(device__in=device_ids).values_list("device", "context__power_mode"))
    devices = Device.objects.filter(pk__in=device_ids).values_list("pk", "serial", "hardware_target")
    labels = {serial: (target, modes.get(pk, "")) for pk, serial, target in devices}
    numbers = {label: number for number, label in enumerate(sorted(set(labels.values())))}
    return {serial: numbers[label] for serial, label in labels.items()}


def _band(one: Distribution, counts: NDArray[np.int64], strata: NDArray | None, first: int) -> Band | None:
    widths = half_widths(counts, strata=strata, seed=SEED) if counts.size else None
    if widths is None:
        return None
    place = np.arange(first, first + len(one.counts))
    inside = (place >= 0) & (place < widths.size)
    half = np.where(inside, widths[np.clip(place, 0, widths.size - 1)], 0.0)
    share = one.ecdf
    return Band(np.clip(share - half, 0, 1), np.clip(share + half, 0, 1), int((counts.sum(axis=1) > 0).sum()))


def _first_bin(metric: Metric, one: Distribution) -> int:
    edge = float(one.edges[0])
    return round(edge * UNIT_BINS) if metric.bounded else round(log2(edge) * BINS_PER_OCTAVE)
