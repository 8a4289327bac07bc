"""The device table: what each device sent last, and how far it lies from devices like it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median

from telemetry import histograms, store
from telemetry.models import DeviceLatest
from telemetry.selectors.presence import selected_devices, state_of

# A cohort of fewer devices has no typical value to deviate from.
SMALLEST_COHORT = 5
SPARK_POINTS = 24
SORTS = ("deviation", "serial", "seen", "latency", "energy", "confidence", "temperature", "fallback", "errors")
_UNSEEN_LAST = -math.inf


@dataclass(frozen=True)
class DeviceRow:
    """One line of the table; figures are those of the newest batch, None where it had none.

    `deviation` is the largest ratio to the median of the device's own cohort (same workload, release, hardware target)
    among latency and energy, as a difference from one; `deviates_in` names the figure.
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
    deviates_in: str


def device_rows(params: Mapping[str, str], *, now: datetime) -> list[DeviceRow]:
    """Every selected device, ordered by `sort` (of SORTS, "-" before it to turn it round); filtered by `seen`."""
    wanted = dict(params)
    latest = _latest(wanted)
    medians = _medians(latest.values())
    devices = (
        selected_devices(wanted)
        .order_by("serial")
        .values_list("id", "serial", "status", "hardware_target__slug", "region__slug")
    )
    rows = []
    for device_id, serial, status, target, region in devices:
        found = latest.get(device_id, {})
        state = state_of(found.get("last_seen_at"), found.get("workload__expected_interval_s"), now)
        if wanted.get("seen") and wanted["seen"] != state:
            continue
        deviation, figure = _deviation(found, medians.get(_cohort(found), {}) if found else {})
        rows.append(
            DeviceRow(
                device_id,
                serial,
                status,
                target,
                region,
                found.get("workload__slug", ""),
                found.get("release_id"),
                found.get("release__version", ""),
                state,
                found.get("last_seen_at"),
                found.get("latency_p95_ms"),
                found.get("energy_mj"),
                found.get("confidence"),
                found.get("temperature_c"),
                bool(found.get("throttled")),
                found.get("fallback_rate"),
                found.get("error_rate"),
                deviation,
                figure,
            )
        )
    return _sorted(rows, wanted.get("sort", "deviation"))


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


_FIELDS = (
    "device_id", "device__hardware_target_id", "workload_id", "workload__slug", "workload__expected_interval_s",
    "release_id", "release__version", "last_seen_at", "latency_p95_ms", "energy_mj", "confidence", "temperature_c",
    "throttled", "fallback_rate", "error_rate",
)  # fmt: skip


def _latest(params: Mapping[str, str]) -> dict[int, dict]:
    """The newest row of every device (of the chosen workload and release), by device id."""
    rows = DeviceLatest.objects.order_by("last_seen_at")
    if params.get("workload"):
        rows = rows.filter(workload__slug=params["workload"])
    if params.get("release"):
        rows = rows.filter(release__version=params["release"])
    return {row["device_id"]: row for row in rows.values(*_FIELDS)}


def _cohort(row: Mapping) -> tuple:
    return row["workload_id"], row["release_id"], row["device__hardware_target_id"]


def _medians(rows: Iterable[Mapping]) -> dict[tuple, dict[str, float]]:
    """The median of each figure per cohort that is large enough to have one."""
    values: dict[tuple, dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    for row in rows:
        for figure in ("latency_p95_ms", "energy_mj"):
            if row[figure]:
                values[_cohort(row)][figure].append(row[figure])
    return {
        cohort: {figure: median(found) for figure, found in figures.items() if len(found) >= SMALLEST_COHORT}
        for cohort, figures in values.items()
    }


def _deviation(row: Mapping, medians: Mapping[str, float]) -> tuple[float | None, str]:
    ratios = [
        (row[figure] / typical - 1.0, name)
        for figure, name in (("latency_p95_ms", "p95"), ("energy_mj", "energy"))
        if (typical := medians.get(figure)) and row[figure]
    ]
    return max(ratios, key=lambda ratio: abs(ratio[0])) if ratios else (None, "")


def _sorted(rows: list[DeviceRow], sort: str) -> list[DeviceRow]:
    name, turned = sort.removeprefix("-"), sort.startswith("-")
    if name == "serial" or name not in SORTS:
        return rows[::-1] if turned else rows
    field = {"latency": "latency_p95_ms", "energy": "energy_mj", "temperature": "temperature_c",
             "fallback": "fallback_rate", "errors": "error_rate"}.get(name, name)  # fmt: skip

    def key(row: DeviceRow) -> float:
        if name == "seen":
            value = row.last_seen_at.timestamp() if row.last_seen_at else None
        elif name == "deviation":
            value = abs(row.deviation) if row.deviation is not None else None
        else:
            value = getattr(row, field)
        return _UNSEEN_LAST if value is None else value

    # the largest first, what is not known last, whichever way round
    known = sorted((row for row in rows if key(row) != _UNSEEN_LAST), key=key, reverse=not turned)
    return known + [row for row in rows if key(row) == _UNSEEN_LAST]
