"""Which dimension differs inside a region of a heatmap (a stretch of time by a range of values) against the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log2

import numpy as np
from django.conf import settings
from numpy.typing import NDArray

from fleet.models import Device
from telemetry import histograms, store
from telemetry.columns import FALLBACKS
from telemetry.histograms import BINS_PER_OCTAVE, MAX_INDEX, MIN_INDEX, UNIT_BINS
from telemetry.metrics import Metric
from telemetry.mix_difference import MixDifference, carriers, divergence, mix_difference
from telemetry.models import Context
from telemetry.resolution import DAY, HOUR, MINUTE, ceiling, cover, finest_step, floor
from telemetry.rollups import Rollups
from telemetry.selectors.contexts import labels_of_contexts, selected_contexts
from telemetry.selectors.grouping import natural_order
from telemetry.selectors.reporting import evenly_picked, reporting_devices
from telemetry.selectors.selection import Selection
from telemetry.store.cells import CellRow, device_cells
from telemetry.store.regions import region_conditions

# What one question may read, in stored rows; of a larger fleet some devices are read, evenly picked.
MOST_ROWS = 20_000
MOST_SINGLE_RECORDS = 150_000
DEVICES_NAMED = 5
# A share that differs by less than this is not worth a look, however sure the difference is.
LEAST_DIFFERENCE = 0.01
# Which resampling is drawn: the same question gives the same answer.
SEED = 6

OF_DEVICE = ("hardware_target", "region")
OF_CONTEXT = ("release", "power_mode", "firmware_version", "driver_version")
OF_RECORD = ("throttled", "temperature_band", "fallback", "quality_band")
TITLES = {
    "release": "Release",
    "hardware_target": "Hardware target",
    "region": "Region",
    "power_mode": "Power mode",
    "firmware_version": "Firmware",
    "driver_version": "Driver",
    "device": "Device",
    "throttled": "Throttling",
    "temperature_band": "Temperature",
    "fallback": "Fallback",
    "quality_band": "Input quality",
}
_MINIMUM_CARRIERS = 3


@dataclass(frozen=True)
class Region:
    """Inferences in [start, end) with a value in (low, high], on the limits of steps and bins."""

    start: datetime
    end: datetime
    low: float
    high: float


@dataclass(frozen=True)
class Level:
    """One value of a dimension: its share inside of the region and outside, with an interval of the difference.

    `shown`: the difference is beyond what differs between devices anyway, and at least a percentage point.
    """

    label: str
    inside: float
    outside: float
    lower: float | None
    upper: float | None
    shown: bool

    @property
    def difference(self) -> float:
        """Share inside minus share outside."""
        return self.inside - self.outside


@dataclass(frozen=True)
class Dimension:
    """How much one dimension's mix differs; `levels` the largest difference toward inside first.

    `by_hour`: single records of the region are not kept, so whole hours were compared with the other hours.
    """

    name: str
    divergence: float
    levels: list[Level]
    shown: bool
    by_hour: bool = False

    @property
    def title(self) -> str:
        """The dimension in words."""
        return TITLES[self.name]


@dataclass(frozen=True)
class RegionDifferences:
    """What a region rests on, and how each dimension differs, the most telling first.

    Attributes:
        inside, outside: inferences of the devices read.
        devices: how many of these have inferences inside.
        carriers: the fewest devices that hold half of what lies inside.
        devices_read, of_devices: devices read, and devices that reported.
        record_devices: devices whose single records were read for throttling, temperature, fallback and input quality.
    """

    region: Region
    inside: int
    outside: int
    devices: int
    carriers: int
    devices_read: int
    of_devices: int
    record_devices: int
    dimensions: list[Dimension]


def snapped(
    metric: Metric, *, start: datetime, end: datetime, low: float, high: float, within: tuple[datetime, datetime], now
) -> Region:
    """A region as it can be answered: on whole steps and bins, at least one of each, within the range."""
    step = finest_step(*within, now=now, retention=settings.RETENTION_DAYS)
    first = max(floor(start, step), floor(within[0], step))
    last = max(min(ceiling(end, step), ceiling(within[1], step)), first + step)
    first_bin, last_bin = _bin_limit(metric, low), _bin_limit(metric, high)
    last_bin = max(last_bin, first_bin + 1)
    if metric.bounded:
        return Region(first, last, first_bin / UNIT_BINS, last_bin / UNIT_BINS)
    limits = histograms.lower_bounds(np.array([first_bin, last_bin]))
    return Region(first, last, float(limits[0]), float(limits[1]))


def region_differences(
    selection: Selection, metric: Metric, region: Region, *, start: datetime, end: datetime, now: datetime
) -> RegionDifferences | None:
    """How the inferences of a region differ from all others over [start, end), widened to whole hours.

    Counts come from the devices' roll-ups, whose histograms tell how many values lie in the range. Throttling,
    temperature, fallback and input quality are recorded with single inferences: inside they are counted on raw rows
    while these are kept, outside as the device's cells less those.

    Returns:
        None where nothing lies inside the region, or nothing outside.
    """
    start, end = floor(min(start, region.start), HOUR), ceiling(max(end, region.end), HOUR)
    per_device = _rows(region.start, region.end) + _rows(start, end)
    ids, of_devices = reporting_devices(selection, start=start, end=end, most=max(1, round(MOST_ROWS / per_device)))
    contexts = selected_contexts(selection)
    span = {"by": ("device_id", "context_id"), "context_ids": contexts}
    count = f"{metric.measure}_n"
    within = store.device_rollups(ids, start=region.start, end=region.end, values=(count, metric.histogram), **span)
    whole = store.device_rollups(ids, start=start, end=end, values=(count,), **span)
    table = _Table.of(whole, within, _inside(metric, within, region), count)
    if not table.inside.sum() or not table.outside.sum():
        return None
    ids_inside = np.unique(table.device[table.inside > 0])
    found = [_of_devices(table)]
    found += [_of_attribute(name, table, labels) for name, labels in _attributes(table, selection).items()]
    records, record_devices = _of_records(metric, region, within, contexts, ids, start, end, now)
    found += records
    per_device_inside = np.bincount(np.unique(table.device, return_inverse=True)[1], weights=table.inside)
    return RegionDifferences(
        region=region,
        inside=int(table.inside.sum()),
        outside=int(table.outside.sum()),
        devices=ids_inside.size,
        carriers=carriers(per_device_inside),
        devices_read=len(ids),
        of_devices=of_devices,
        record_devices=record_devices,
        dimensions=sorted(
            (one for one in found if one is not None and len(one.levels) > 1),
            key=lambda one: (not one.shown, -one.divergence, one.name),
        ),
    )


@dataclass(frozen=True)
class _Table:
    """Inferences inside and outside by device and context; arrays of one length."""

    device: NDArray[np.int64]
    context: NDArray[np.int64]
    inside: NDArray[np.int64]
    outside: NDArray[np.int64]

    @classmethod
    def of(cls, whole: Rollups, within: Rollups, inside: NDArray[np.int64], count: str) -> _Table:
        device, context = whole.keys["device_id"], whole.keys["context_id"]
        place = {key: row for row, key in enumerate(zip(device.tolist(), context.tolist(), strict=True))}
        counted = np.zeros(device.size, dtype=np.int64)
        keys = zip(within.keys["device_id"].tolist(), within.keys["context_id"].tolist(), strict=True)
        for key, many in zip(keys, inside.tolist(), strict=True):
            # a region that a fold moved between the two reads is counted where it was found first
            if key in place:
                counted[place[key]] = many
        return cls(device, context, counted, np.maximum(whole.numbers[count] - counted, 0))


def _of_attribute(name: str, table: _Table, labels: Sequence[str]) -> Dimension | None:
    """A dimension that the device or the context has; one label per row of the table."""
    names = sorted(set(labels), key=natural_order)
    level = np.array([names.index(label) for label in labels])
    ids, device = np.unique(table.device, return_inverse=True)
    inside, outside = (_counts(device, level, side, ids.size, len(names)) for side in (table.inside, table.outside))
    return _dimension(name, mix_difference(inside, outside, seed=SEED), names)


def _of_devices(table: _Table) -> Dimension | None:
    """Which devices it is: shown where far fewer of them carry the inside than carry the rest."""
    ids, device = np.unique(table.device, return_inverse=True)
    inside, outside = (np.bincount(device, weights=side, minlength=ids.size) for side in (table.inside, table.outside))
    shares = inside / inside.sum(), outside / outside.sum()
    few, usual = carriers(inside), carriers(outside)
    order = np.argsort(shares[1] - shares[0], kind="stable")[:DEVICES_NAMED]
    serials = dict(Device.objects.filter(pk__in=ids[order].tolist()).values_list("pk", "serial"))
    shown = usual >= _MINIMUM_CARRIERS and 2 * few <= usual
    levels = [
        Level(serials[int(ids[k])], float(shares[0][k]), float(shares[1][k]), None, None, shown)
        for k in order
        if shares[0][k] > shares[1][k]
    ]
    rest = [1 - sum(level.inside for level in levels), 1 - sum(level.outside for level in levels)]
    levels.append(Level("all others", *rest, None, None, False))
    return Dimension("device", divergence(*shares), levels, shown)


def _of_records(
    metric: Metric,
    region: Region,
    within: Rollups,
    contexts: list[int] | None,
    ids: list[int],
    start: datetime,
    end: datetime,
    now: datetime,
) -> tuple[list[Dimension], int]:
    """What is recorded with single inferences, and of how many devices it was read."""
    kept = region.start >= now - timedelta(days=settings.RETENTION_DAYS["raw"])
    counted = int(within.numbers[f"{metric.measure}_n"].sum())
    some = evenly_picked(ids, max(1, int(len(ids) * min(1.0, MOST_SINGLE_RECORDS / max(counted, 1)))))
    every = sorted(labels_of_contexts()) if contexts is None else contexts
    cells = _cells(device_cells(some, context_ids=every, start=start, end=end))
    limits = {"start": region.start, "end": region.end, "low": region.low, "high": region.high}
    rows = np.zeros((0, 6), dtype=np.int64)
    if kept:
        rows = region_conditions(some, measure=metric.measure, context_ids=contexts, **limits)
    by_hour = not len(rows)
    if by_hour:
        hours = {"start": floor(region.start, HOUR), "end": ceiling(region.end, HOUR)}
        rows = _cells(device_cells(some, context_ids=every, **hours))
    found = []
    for name, column in (("throttled", 1), ("temperature_band", 2), ("quality_band", 3), ("fallback", 4)):
        sides = [_by_level(table, column, some) for table in (rows, cells)]
        levels = np.union1d(*(side[0] for side in sides))
        inside, whole = (_aligned(side, levels) for side in sides)
        mix = mix_difference(inside, np.maximum(whole - inside, 0), seed=SEED)
        found.append(_dimension(name, mix, [_word(name, int(level)) for level in levels], by_hour=by_hour))
    return [one for one in found if one is not None], len(some)


def _dimension(
    name: str, mix: MixDifference | None, labels: Sequence[str], *, by_hour: bool = False
) -> Dimension | None:
    if mix is None:
        return None
    levels = [
        Level(
            labels[one.level],
            one.inside,
            one.outside,
            one.lower,
            one.upper,
            one.shown and abs(one.difference) >= LEAST_DIFFERENCE,
        )
        for one in mix.levels
    ]
    return Dimension(name, mix.divergence, levels, any(level.shown for level in levels), by_hour)


def _attributes(table: _Table, selection: Selection) -> Mapping[str, list[str]]:
    """Labels of each row of the table, by dimension."""
    devices = {
        pk: {"hardware_target": target, "region": region}
        for pk, target, region in Device.objects.filter(pk__in=np.unique(table.device).tolist()).values_list(
            "pk", "hardware_target__slug", "region__slug"
        )
    }
    fields = ("workload__slug", "release__version", "power_mode", "firmware_version", "driver_version")
    contexts = {
        pk: {
            "release": version if selection.workload_id is not None else f"{workload} {version}",
            "power_mode": mode,
            "firmware_version": firmware,
            "driver_version": driver,
        }
        for pk, workload, version, mode, firmware, driver in Context.objects.filter(
            pk__in=np.unique(table.context).tolist()
        ).values_list("pk", *fields)
    }
    found = {name: [devices[device][name] or "none" for device in table.device.tolist()] for name in OF_DEVICE}
    found |= {
        name: [contexts[context][name] or "not told" for context in table.context.tolist()] for name in OF_CONTEXT
    }
    return found


def _inside(metric: Metric, within: Rollups, region: Region) -> NDArray[np.int64]:
    """How many values of each row lie in the region's range."""
    offset, dense = _dense(metric, within)
    first, last = _bin_limit(metric, region.low) - offset, _bin_limit(metric, region.high) - offset
    return dense[:, max(first, 0) : max(last, 0)].sum(axis=1)


def _dense(metric: Metric, rollups: Rollups) -> tuple[int, NDArray[np.int64]]:
    rows = rollups.histograms[metric.histogram]
    return (0, rows.dense_unit()) if metric.bounded else rows.dense()


def _bin_limit(metric: Metric, value: float) -> int:
    """The bin whose lower limit is nearest to a value."""
    if metric.bounded:
        return int(np.clip(round(value * UNIT_BINS), 0, UNIT_BINS))
    return int(np.clip(round(log2(value) * BINS_PER_OCTAVE), MIN_INDEX, MAX_INDEX)) if value > 0 else MIN_INDEX


def _counts(device: NDArray, level: NDArray, counts: NDArray, n_devices: int, n_levels: int) -> NDArray:
    flat = np.bincount(device * n_levels + level, weights=counts, minlength=n_devices * n_levels)
    return flat.reshape(n_devices, n_levels)


def _cells(rows: Sequence[CellRow]) -> NDArray[np.int64]:
    """Cells in the columns of `region_conditions`."""
    return np.array(
        [
            (row.device_id, row.throttled, row.temperature_band, row.quality_band, row.fallback, row.count)
            for row in rows
        ],
        dtype=np.int64,
    ).reshape(len(rows), 6)


def _by_level(rows: NDArray[np.int64], column: int, ids: Sequence[int]) -> tuple[NDArray[np.int64], NDArray]:
    """Levels of a column, and counts by device and level, shape (len(ids), levels)."""
    levels, level = np.unique(rows[:, column], return_inverse=True)
    device = np.searchsorted(np.asarray(ids), rows[:, 0])
    return levels, _counts(device, level, rows[:, 5], len(ids), levels.size)


def _aligned(side: tuple[NDArray[np.int64], NDArray], levels: NDArray[np.int64]) -> NDArray:
    own, counts = side
    full = np.zeros((counts.shape[0], levels.size))
    full[:, np.searchsorted(levels, own)] = counts
    return full


def _word(name: str, level: int) -> str:
    """A stored level in words."""
    if name == "throttled":
        return "throttled" if level else "not throttled"
    if name == "fallback":
        return "no fallback" if not level else FALLBACKS[level].replace("_", " ")
    if level < 0:
        return "no reading"
    if name == "temperature_band":
        return "below 10 °C" if level == 0 else f"{10 * level} to {10 * level + 10} °C"
    return f"{level / 10:.1f} to {(level + 1) / 10:.1f}"


def _rows(start: datetime, end: datetime) -> float:
    """How many stored rows of one device and context a span is read from."""
    cut = cover(start, end)
    days = (cut.last_day - cut.first_day) / DAY
    hours = (cut.first_day - cut.first_hour + cut.last_hour - cut.last_day) / HOUR
    return max(days + hours + (cut.first_hour - cut.start + cut.end - cut.last_hour) / MINUTE, 1.0)
