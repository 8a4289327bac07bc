"""The device table: what each device sent last, and how far it lies from devices like it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from fleet.models import Device, Release, Workload
from telemetry import histograms, store
from telemetry.selectors.presence import (
    LATE_AT_LEAST,
    LATE_INTERVALS,
    SILENT_AT_LEAST,
    SILENT_INTERVALS,
    selected_devices,
)
from telemetry.store.latest import NewestFigures, newest_figures

# A cohort of fewer devices has no typical value to deviate from.
SMALLEST_COHORT = 5
SPARK_POINTS = 24
SORTS = ("deviation", "serial", "seen", "latency", "energy", "confidence", "temperature", "fallback", "errors")
_SORTED_BY = {
    "seen": "last_seen_at",
    "latency": "latency_p95_ms",
    "energy": "energy_mj",
    "temperature": "temperature_c",
    "fallback": "fallback_rate",
    "errors": "error_rate",
}
FIGURES = ("latency_p95_ms", "energy_mj", "confidence", "temperature_c", "fallback_rate", "error_rate")
# Figures in which a device may lie away from its cohort, and their names for people.
DEVIATING = {"latency_p95_ms": "p95", "energy_mj": "energy"}
# A device of whose inferences so many fall back is named among the worst.
FALLING = 0.05
ROWS_AT_ONCE = 1_000
# The median absolute deviation of normal values is so much smaller than their standard deviation.
NORMAL_MAD = 1.4826
# Two per cent: what a cohort's devices differ by at least.
SMALLEST_SPREAD = math.log(1.02)
# A device is unlike its cohort from so many robust standard deviations on (Iglewicz and Hoaglin 1993), if the
# difference is also so much of what is typical.
FAR, NOTABLE = 3.5, 0.10


@dataclass(frozen=True)
class DeviceRow:
    """One line of the table; figures are those of the newest batch, None where it had none.

    `deviation` says how far the device lies from its own cohort (same workload, release, hardware target), as a robust
    z of the logarithm: (ln x - median) / max(1.4826 MAD, ln 1.02), of p95 latency or energy, whichever lies further;
    `deviates_in` names the figure and `difference` is its ratio to the cohort's median (of logarithms), less one.
    """

    device_id: int
    serial: str
    status: str
    hardware_target: str
    region: str
    workload: str
    release_id: int | None
    release: str
    presence: str
    last_seen_at: datetime | None
    latency_p95_ms: float | None
    energy_mj: float | None
    confidence: float | None
    temperature_c: float | None
    throttled: bool
    fallback_rate: float | None
    error_rate: float | None
    deviation: float | None
    difference: float | None
    deviates_in: str

    @property
    def is_far(self) -> bool:
        """Whether the device is unlike its cohort: many robust standard deviations away, by a share that matters."""
        return self.deviation is not None and abs(self.deviation) > FAR and abs(self.difference) > NOTABLE


@dataclass(frozen=True)
class DeviceTable(Sequence[DeviceRow]):
    """Selected devices in their order, as columns; rows are made of those that are looked at.

    Attributes:
        ids: shape (n,), devices.
        status: (n,) of the device.
        presence: (n,) a state of STATES.
        place: (n,) where the device stands in `newest`, -1 where it never sent.
        newest: what devices sent last.
        deviation, difference, deviates_in: aligned with `newest`.
    """

    ids: NDArray[np.int64]
    status: NDArray[np.str_]
    presence: NDArray[np.str_]
    place: NDArray[np.int64]
    newest: NewestFigures
    deviation: NDArray[np.float64]
    difference: NDArray[np.float64]
    deviates_in: NDArray[np.str_]

    def __len__(self) -> int:
        return self.ids.size

    def __getitem__(self, wanted):
        if isinstance(wanted, slice):
            return self.rows(np.arange(len(self))[wanted])
        return self.rows(np.array([range(len(self))[wanted]]))[0]

    def __iter__(self) -> Iterator[DeviceRow]:
        for first in range(0, len(self), ROWS_AT_ONCE):
            yield from self.rows(np.arange(first, min(first + ROWS_AT_ONCE, len(self))))

    def column(self, figure: str) -> NDArray[np.float64]:
        """A figure of every device, shape (n,); nan where it is not known."""
        own = {"deviation": self.deviation, "difference": self.difference}
        values = own[figure] if figure in own else self.newest.figures[figure]
        return np.append(values, np.nan)[self.place]

    def rows(self, positions: NDArray[np.int64]) -> list[DeviceRow]:
        """The rows at some positions."""
        devices = {
            pk: rest
            for pk, *rest in Device.objects.filter(pk__in=self.ids[positions].tolist()).values_list(
                "pk", "serial", "hardware_target__slug", "region__slug"
            )
        }
        keys, figures = self.newest.keys, self.newest.figures
        sent = self.place[positions]
        workloads, versions = (
            dict(kind.objects.filter(pk__in=np.unique(keys[key][sent[sent >= 0]]).tolist()).values_list("pk", name))
            for kind, key, name in ((Workload, "workload_id", "slug"), (Release, "release_id", "version"))
        )
        rows = []
        for position, at in zip(positions.tolist(), sent.tolist(), strict=True):
            device_id = int(self.ids[position])
            if device_id not in devices:
                # deleted meanwhile
                continue
            serial, target, region = devices[device_id]
            known = {name: _known(figures[name][at]) if at >= 0 else None for name in figures}
            release_id = int(keys["release_id"][at]) if at >= 0 else None
            seen = known["last_seen_at"]
            rows.append(
                DeviceRow(
                    device_id=device_id,
                    serial=serial,
                    status=str(self.status[position]),
                    hardware_target=target,
                    region=region,
                    workload=workloads.get(int(keys["workload_id"][at]), "") if at >= 0 else "",
                    release_id=release_id,
                    release=versions.get(release_id, ""),
                    presence=str(self.presence[position]),
                    last_seen_at=None if seen is None else store.moment(round(seen * 1e6)),
                    **{name: known[name] for name in FIGURES},
                    throttled=bool(known["throttled"]),
                    deviation=_known(self.deviation[at]) if at >= 0 else None,
                    difference=_known(self.difference[at]) if at >= 0 else None,
                    deviates_in=str(self.deviates_in[at]) if at >= 0 else "",
                )
            )
        return rows


def device_rows(params: Mapping[str, str], *, now: datetime) -> DeviceTable:
    """Every selected device, ordered by `sort` (of SORTS, "-" before it to turn it round); filtered by `seen`."""
    wanted = dict(params)
    newest = newest_figures(workload=wanted.get("workload"), release=wanted.get("release"))
    found = list(selected_devices(wanted).order_by("serial").values_list("id", "status"))
    ids = np.array([pk for pk, _ in found], dtype=np.int64)
    known = newest.keys["device_id"]
    place = np.searchsorted(known, ids)
    place[(place == known.size) | (np.append(known, -1)[place] != ids)] = -1
    presence = np.append(_states(newest, now), "never")[place]
    status = np.array([status for _, status in found], dtype=str)
    table = DeviceTable(ids, status, presence, place, newest, *_deviations(newest))
    if wanted.get("seen"):
        table = _picked(table, np.flatnonzero(presence == wanted["seen"]))
    return _sorted(table, wanted.get("sort", "deviation"))


def worst_devices(params: Mapping[str, str], *, now: datetime, most: int) -> list[DeviceRow]:
    """The devices that fall back most, that are silent, or that lie furthest from devices like them; each once."""
    table = device_rows({**params, "sort": "deviation"}, now=now)
    heard = table.presence != "silent"
    falling = np.flatnonzero((table.column("fallback_rate") > FALLING) & heard)
    silent = np.flatnonzero(~heard & (table.status == Device.Status.ACCEPTED))
    slow = np.flatnonzero((table.column("deviation") > FAR) & (table.column("difference") > NOTABLE) & heard)
    listed = dict.fromkeys([*falling[:most].tolist(), *silent[:most].tolist(), *slow[:most].tolist()])
    return table.rows(np.array(list(listed)[:most], dtype=np.int64))


def latency_sparks(
    device_ids: Sequence[int], *, now: datetime, span: timedelta = timedelta(hours=24)
) -> dict[int, list[float | None]]:
    """p95 latency (ms) per device over the span in 24 steps, None where nothing was measured."""
    if not device_ids:
        return {}
    step = span / SPARK_POINTS
    start = now - span
    found = store.device_rollups(
        device_ids, start=start, end=now, values=("latency_hist",), by=("device_id", "bucket"), step=step, origin=start
    )
    sparks: dict[int, list[float | None]] = {device_id: [None] * SPARK_POINTS for device_id in device_ids}
    if not found.n_rows:
        return sparks
    offset, counts = found.histograms["latency_hist"].dense()
    p95 = histograms.quantiles(offset, counts, found.histograms["latency_hist"].zero, (0.95,))[:, 0]
    first = store.microseconds(start)
    width = step // timedelta(microseconds=1)
    for device_id, bucket, value in zip(found.keys["device_id"], found.keys["bucket"], p95, strict=True):
        place = int((bucket - first) // width)
        if 0 <= place < SPARK_POINTS and math.isfinite(value):
            sparks[int(device_id)][place] = float(value)
    return sparks


def _states(newest: NewestFigures, now: datetime) -> NDArray[np.str_]:
    """`presence.state_of` every device that sent something, shape (n,)."""
    age = now.timestamp() - newest.figures["last_seen_at"]
    interval = newest.figures["expected_interval_s"]
    interval = np.where(interval > 0, interval, 60)
    silent = age > np.maximum(SILENT_INTERVALS * interval, SILENT_AT_LEAST.total_seconds())
    late = age > np.maximum(LATE_INTERVALS * interval, LATE_AT_LEAST.total_seconds())
    return np.where(silent, "silent", np.where(late, "late", "online"))


def _deviations(newest: NewestFigures) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.str_]]:
    """How far each device lies from its cohort: `deviation`, `difference`, `deviates_in` of `DeviceRow`, (n,) each."""
    cohort = _cohorts(newest)
    z = np.full((len(DEVIATING), cohort.size), np.nan)
    ratios = z.copy()
    for k, figure in enumerate(DEVIATING):
        values = newest.figures[figure]
        # a figure of zero is none: nothing can be put in proportion to it
        logarithms = np.log(values, out=np.full(values.size, np.nan), where=values > 0)
        away = logarithms - cohort_medians(logarithms, cohort)
        spread = NORMAL_MAD * cohort_medians(np.abs(away), cohort)
        z[k], ratios[k] = away / np.maximum(spread, SMALLEST_SPREAD), np.exp(away) - 1.0
    furthest = np.argmax(np.where(np.isnan(z), -1.0, np.abs(z)), axis=0)
    here = furthest, np.arange(cohort.size)
    names = np.array(list(DEVIATING.values()))[furthest]
    return z[here], ratios[here], np.where(np.isnan(z[here]), "", names)


def _cohorts(newest: NewestFigures) -> NDArray[np.int64]:
    """A number for each device's cohort: same workload, release and hardware target."""
    keys = [newest.keys[name] for name in ("workload_id", "release_id", "hardware_target_id")]
    return np.unique(np.column_stack(keys), axis=0, return_inverse=True)[1].reshape(-1)


def cohort_medians(values: NDArray[np.float64], cohort: NDArray[np.int64]) -> NDArray[np.float64]:
    """The median of each device's cohort, shape (n,); nan for a cohort of fewer than `SMALLEST_COHORT` values."""
    medians = np.full(values.size, np.nan)
    present = np.flatnonzero(~np.isnan(values))
    order = present[np.lexsort((values[present], cohort[present]))]
    if not order.size:
        return medians
    _, first, n = np.unique(cohort[order], return_index=True, return_counts=True)
    middle = (values[order[first + (n - 1) // 2]] + values[order[first + n // 2]]) / 2
    of_cohort = np.full(int(cohort.max()) + 1, np.nan)
    of_cohort[cohort[order[first]]] = np.where(n >= SMALLEST_COHORT, middle, np.nan)
    return of_cohort[cohort]


def _sorted(table: DeviceTable, sort: str) -> DeviceTable:
    """The largest first, what is not known last, whichever way round; equal ones by serial."""
    name, turned = sort.removeprefix("-"), sort.startswith("-")
    if name == "serial" or name not in SORTS:
        return _picked(table, np.arange(len(table))[::-1]) if turned else table
    key = table.column(_SORTED_BY.get(name, name))
    if name == "deviation":
        key = np.abs(key)
    # nan is put last by argsort
    return _picked(table, np.argsort(key if turned else -key, kind="stable"))


def _picked(table: DeviceTable, positions: NDArray[np.int64]) -> DeviceTable:
    """The devices at some positions, in that order."""
    return replace(
        table,
        ids=table.ids[positions],
        status=table.status[positions],
        presence=table.presence[positions],
        place=table.place[positions],
    )


def _known(value: float) -> float | None:
    return float(value) if value == value else None
