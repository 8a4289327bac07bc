"""What an inference costs: joules by release and mode, hot and cold, when idle, at a start, and how much it varies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from fleet.models import Device, HardwareTarget, Region
from telemetry import metrics
from telemetry.columns import FALLBACKS
from telemetry.metrics import METRICS
from telemetry.models import ClassLabel
from telemetry.selectors.contexts import labels_of_contexts, selected_contexts
from telemetry.selectors.grouping import grouped_rollups, natural_order
from telemetry.selectors.reporting import reporting_devices
from telemetry.selectors.selection import Selection
from telemetry.store import energy as stored

BAND_DEGREES = 10
# Variation and starts are read row by row, from so many devices of a larger selection.
MOST_DEVICES = 50
# A device that was quiet for this long has cooled and clocked down: what follows is a start.
PAUSE = timedelta(minutes=5)
# Classes are read from raw rows, from the end of the range.
CLASS_SPAN = timedelta(hours=1)
MOST_CLASS_DEVICES = 20

_ENERGY, _POWER = METRICS["energy"], METRICS["power"]
_VALUES = tuple(
    dict.fromkeys(
        (
            *_ENERGY.values,
            *_POWER.values,
            *METRICS["throttled_share"].values,
            *METRICS["idle_share"].values,
            *METRICS["temperature"].values,
        )
    )
)


@dataclass(frozen=True)
class EnergyFigures:
    """What inferences of a group cost; None where it was not measured.

    Attributes:
        count: inferences with a measured energy.
        joules: of those inferences, and idle joules where windows report them.
        mean_mj, stddev_mj, p95_mj: of single inferences.
        sustained_w, peak_w: mean and highest power during inferences.
        idle_share: share of all energy drawn while idle.
    """

    group: dict[str, str]
    count: int
    joules: float
    idle_joules: float
    mean_mj: float | None
    stddev_mj: float | None
    p95_mj: float | None
    sustained_w: float | None
    peak_w: float | None
    idle_share: float | None
    throttled_share: float | None
    temperature_c: float | None


@dataclass(frozen=True)
class ConditionEnergy:
    """Inferences of a group in one condition.

    `conditions` has what was asked for: `temperature_c` (lower end of a band of ten degrees, None where no temperature
    was reported; below 10 °C counts as 0), `throttled`, `fallback`.
    """

    group: dict[str, str]
    conditions: dict[str, float | bool | str | None]
    count: int
    mean_mj: float | None
    latency_ms: float
    confidence: float | None


@dataclass(frozen=True)
class EnergyVariation:
    """Where the variance of the energy of single inferences lies; the three parts add up to it (mJ²).

    `devices` were read, out of `of_devices`.
    """

    devices: int
    of_devices: int
    batches: int
    count: int
    mean_mj: float
    within_batches: float
    between_batches: float
    between_devices: float

    @property
    def total(self) -> float:
        """The variance of single inferences."""
        return self.within_batches + self.between_batches + self.between_devices


@dataclass(frozen=True)
class RampUp:
    """What the first minute after a pause costs beyond the steady state of the same devices.

    Attributes:
        starts: first minutes after a pause.
        first_mj, steady_mj: mean energy per inference in those minutes, and in all others.
        extra_mj: energy of a start beyond what its inferences would have cost in steady state.
    """

    starts: int
    first_mj: float
    steady_mj: float
    extra_mj: float

    @property
    def saved_mj(self) -> float:
        """What a start costs less, where it does."""
        return -self.extra_mj


@dataclass(frozen=True)
class ClassEnergy:
    """What inferences with one predicted class cost."""

    name: str
    count: int
    mean_mj: float
    stddev_mj: float
    latency_ms: float


def energy_figures(
    selection: Selection, *, start: datetime, end: datetime, group_by: Sequence[str] = ("power_mode",)
) -> list[EnergyFigures]:
    """What inferences cost over [start, end), by group; groups without a measured energy are left out."""
    grouped = grouped_rollups(selection, start=start, end=end, values=_VALUES, group_by=group_by)
    rollups = grouped.rollups
    columns = {
        "mean_mj": metrics.mean(_ENERGY, rollups),
        "stddev_mj": metrics.statistic(_ENERGY, rollups, "stddev"),
        "p95_mj": metrics.quantiles(_ENERGY, rollups, (0.95,))[:, 0],
        "sustained_w": metrics.mean(_POWER, rollups),
        "peak_w": rollups.numbers["power_max"],
        "idle_share": metrics.mean(METRICS["idle_share"], rollups),
        "throttled_share": metrics.mean(METRICS["throttled_share"], rollups),
        "temperature_c": metrics.mean(METRICS["temperature"], rollups),
    }
    return [
        EnergyFigures(
            group=grouped.groups[rollups.keys["group"][row]],
            count=int(rollups.numbers["energy_n"][row]),
            joules=float(rollups.numbers["energy_sum"][row]) / 1000,
            idle_joules=float(rollups.numbers["idle_energy_mj"][row]) / 1000,
            **{name: known(values[row]) for name, values in columns.items()},
        )
        for row in np.argsort(rollups.keys["group"])
        if rollups.numbers["energy_n"][row]
    ]


def energy_by_condition(
    selection: Selection,
    *,
    start: datetime,
    end: datetime,
    group_by: Sequence[str] = ("power_mode",),
    conditions: Sequence[str] = ("temperature_band",),
) -> list[ConditionEnergy]:
    """Energy, latency and confidence by group and condition, over the hours that overlap [start, end).

    Conditions are recorded with single inferences; windows that a device sums up carry none.

    Args:
        group_by: of release, power_mode, workload, hardware_target, region.
        conditions: of temperature_band, throttled, fallback.
    """
    contexts = labels_of_contexts(selection)
    of_cohorts = selection.device_ids is None
    places = [name for name in ("hardware_target", "region") if name in group_by]
    place_keys = [f"{name}_id" for name in places] if of_cohorts else (["device_id"] if places else [])
    by = ["context_id", *place_keys, *conditions]
    found = stored.condition_sums(
        start=start.replace(minute=0, second=0, microsecond=0),
        end=end,
        by=by,
        context_ids=sorted(contexts),
        hardware_target_ids=selection.hardware_target_ids,
        region_ids=selection.region_ids,
        device_ids=selection.device_ids,
    )
    names = _place_names(selection, places)
    merged: dict[tuple, np.ndarray] = {}
    for row, values in enumerate(np.column_stack(list(found.sums.values()))):
        labels = contexts[int(found.keys["context_id"][row])]
        group = tuple(
            names[name][int(found.keys[place_keys[0] if not of_cohorts else f"{name}_id"][row])]
            if name in places
            else getattr(labels, name)
            for name in group_by
        )
        key = (group, tuple(int(found.keys[name][row]) for name in conditions))
        merged[key] = merged.get(key, 0) + values
    return [
        ConditionEnergy(
            group=dict(zip(group_by, group, strict=True)),
            conditions=dict(_condition(name, level) for name, level in zip(conditions, levels, strict=True)),
            count=int(count),
            mean_mj=energy_sum / energy_n if energy_n else None,
            latency_ms=latency_sum / count,
            confidence=confidence_sum / confidence_n if confidence_n else None,
        )
        for (group, levels), (count, latency_sum, energy_n, energy_sum, confidence_n, confidence_sum) in sorted(
            merged.items(), key=lambda item: ([natural_order(text) for text in item[0][0]], item[0][1])
        )
    ]


def energy_variation(
    selection: Selection, *, start: datetime, end: datetime, most_devices: int = MOST_DEVICES
) -> EnergyVariation | None:
    """Where the variance of energy lies over [start, end): inside batches, between batches, between devices.

    Law of total variance, twice: Var(x) = E[Var(x | batch)] + E[Var(E[x | batch] | device)] + Var(E[x | device]), with
    every inference weighing the same. None where no energy was measured.
    """
    devices, of_devices = reporting_devices(selection, start=start, end=end, most=most_devices)
    rows = stored.energy_minutes(devices, start, end, context_ids=selected_contexts(selection))
    if not rows.n.size:
        return None
    batches, of_batch = np.unique(rows.batch_id, return_inverse=True)
    n, total = (np.bincount(of_batch, weights=values) for values in (rows.n, rows.total))
    device_of_batch = np.zeros(batches.size, dtype=np.int64)
    device_of_batch[of_batch] = rows.device_id
    ids, of_device = np.unique(device_of_batch, return_inverse=True)
    device_n, device_total = (np.bincount(of_device, weights=values) for values in (n, total))
    count, mean = n.sum(), total.sum() / n.sum()
    batch_mean, device_mean = total / n, device_total / device_n
    return EnergyVariation(
        devices=ids.size,
        of_devices=of_devices,
        batches=batches.size,
        count=int(count),
        mean_mj=float(mean),
        within_batches=float(max(rows.squares.sum() - (n * batch_mean**2).sum(), 0) / count),
        between_batches=float((n * (batch_mean - device_mean[of_device]) ** 2).sum() / count),
        between_devices=float((device_n * (device_mean - mean) ** 2).sum() / count),
    )


def ramp_up(selection: Selection, *, start: datetime, end: datetime, most_devices: int = MOST_DEVICES) -> RampUp | None:
    """What a start costs over [start, end), from devices that have both starts and steady minutes; None without any.

    The first minute of a device in the range counts only if the range shows the pause before it, so it is left out.
    """
    devices, _ = reporting_devices(selection, start=start, end=end, most=most_devices)
    rows = stored.energy_minutes(devices, start, end, context_ids=selected_contexts(selection))
    if not rows.n.size:
        return None
    pause_us = PAUSE // timedelta(microseconds=1)
    same = np.concatenate(([False], rows.device_id[1:] == rows.device_id[:-1]))
    since = np.concatenate(([0], np.diff(rows.bucket)))
    begins = same & (since >= pause_us)
    # rows of other batches in the same minute belong to the start as well
    again = same & (since == 0)
    for k in np.flatnonzero(again):
        begins[k] = begins[k - 1]
    _, device = np.unique(rows.device_id, return_inverse=True)
    steady_n = np.bincount(device, weights=rows.n * ~begins)
    steady = np.divide(
        np.bincount(device, weights=rows.total * ~begins),
        steady_n,
        out=np.full(steady_n.size, np.nan),
        where=steady_n > 0,
    )
    counted = begins & ~np.isnan(steady[device])
    if not counted.any():
        return None
    starts = int((counted & ~again).sum())
    first_n, first_total = rows.n[counted].sum(), rows.total[counted].sum()
    expected = (rows.n * steady[device])[counted].sum()
    return RampUp(
        starts=starts,
        first_mj=float(first_total / first_n),
        steady_mj=float(expected / first_n),
        extra_mj=float((first_total - expected) / starts),
    )


def energy_by_class(selection: Selection, *, start: datetime, end: datetime) -> list[ClassEnergy]:
    """Energy by predicted class, from raw rows of some devices in the last hour of [start, end), the dearest first."""
    start = max(start, end - CLASS_SPAN)
    devices, _ = reporting_devices(selection, start=start, end=end, most=MOST_CLASS_DEVICES)
    rows = stored.energy_classes(devices, start, end, context_ids=selected_contexts(selection))
    names = dict(ClassLabel.objects.filter(pk__in=[row.class_id for row in rows]).values_list("pk", "name"))
    return sorted(
        (
            ClassEnergy(
                names.get(row.class_id, f"class {row.class_id}"), row.count, row.mean_mj, row.stddev_mj, row.latency_ms
            )
            for row in rows
        ),
        key=lambda row: -row.mean_mj,
    )


def known(value: float) -> float | None:
    """None instead of nan."""
    return None if np.isnan(value) else float(value)


def _condition(name: str, level: int) -> tuple[str, float | bool | str | None]:
    if name == "temperature_band":
        return "temperature_c", None if level < 0 else float(level * BAND_DEGREES)
    return name, bool(level) if name == "throttled" else FALLBACKS[level]


def _place_names(selection: Selection, places: Sequence[str]) -> dict[str, dict[int, str]]:
    """Slugs of hardware targets and regions by id; by device id where devices are named."""
    if selection.device_ids is None:
        kinds = {"hardware_target": HardwareTarget, "region": Region}
        return {name: dict(kinds[name].objects.values_list("pk", "slug")) for name in places}
    devices = Device.objects.filter(pk__in=selection.device_ids)
    return {name: dict(devices.values_list("pk", f"{name}__slug")) for name in places}
