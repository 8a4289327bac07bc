"""A fleet with a history, for benchmarks of what people read: devices, and every tier filled by COPY."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache

import numpy as np

BLOCK = 20_000
TEMPLATES = 64
TARGETS = ("orin-nx-16", "orin-agx-64", "hailo-8", "coral-tpu")
REGIONS = ("eu-north", "eu-south", "us-east", "us-west")
RELEASES = ("4.1.0", "4.2.0")
POWER_MODES = ("15W", "30W")
NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@dataclass(frozen=True)
class Fleet:
    """Ids of what was made: devices in order, their targets and regions, and contexts by (target, release, mode)."""

    workload_id: int
    release_ids: list[int]
    device_ids: np.ndarray
    targets: np.ndarray
    regions: np.ndarray
    target_ids: list[int]
    region_ids: list[int]
    contexts: np.ndarray

    def context_of(self, devices: np.ndarray, release: int) -> np.ndarray:
        """The context of devices (by position) on a release (by position)."""
        return self.contexts[self.targets[devices], release, devices % len(POWER_MODES)]


def make_fleet(n_devices: int) -> Fleet:
    """Devices spread over targets and regions, each on one of two power modes; the newer release since yesterday."""
    from fleet.models import Device, HardwareTarget, Region, Release, Workload
    from telemetry.models import Context, DeviceLatest, ReleaseSpan

    workload = Workload.objects.create(slug="lane-assist", name="Lane assist", created_at=NOW)
    targets = [HardwareTarget.objects.create(slug=slug, name=slug, created_at=NOW) for slug in TARGETS]
    regions = [Region.objects.create(slug=slug, name=slug, created_at=NOW) for slug in REGIONS]
    releases = [
        Release.objects.create(workload=workload, version=version, status="published", created_at=NOW)
        for version in RELEASES
    ]
    contexts = np.zeros((len(TARGETS), len(RELEASES), len(POWER_MODES)), dtype=np.int64)
    for place in np.ndindex(contexts.shape):
        target, release, mode = place
        contexts[place] = Context.objects.create(
            digest="-".join(map(str, place)),
            workload=workload,
            release=releases[release],
            accelerator=TARGETS[target],
            power_mode=POWER_MODES[mode],
            created_at=NOW,
        ).pk
    rng = np.random.default_rng(1)
    of_target, of_region = rng.integers(0, 4, n_devices), rng.integers(0, 4, n_devices)
    devices = Device.objects.bulk_create(
        [
            Device(
                serial=f"cam-{k:06}",
                hardware_target=targets[of_target[k]],
                region=regions[of_region[k]],
                enrolled_at=NOW - 60 * DAY,
            )
            for k in range(n_devices)
        ],
        batch_size=5_000,
    )
    fleet = Fleet(
        workload.pk,
        [release.pk for release in releases],
        np.array([device.pk for device in devices]),
        of_target,
        of_region,
        [target.pk for target in targets],
        [region.pk for region in regions],
        contexts,
    )
    everyone = np.arange(n_devices)
    context_ids = fleet.context_of(everyone, 1)
    DeviceLatest.objects.bulk_create(
        [
            DeviceLatest(
                device=device,
                workload=workload,
                release=releases[1],
                context_id=int(context_ids[k]),
                last_seen_at=NOW - timedelta(seconds=int(rng.integers(0, 60))),
                boot_id="b",
                batch_seq=1,
                latency_p95_ms=20 + rng.normal(),
                energy_mj=40 + rng.normal(),
                confidence=0.9,
                temperature_c=60,
                fallback_rate=0.01,
                error_rate=0.001,
            )
            for k, device in enumerate(devices)
        ],
        batch_size=5_000,
    )
    for release, first, last in ((releases[0], NOW - 30 * DAY, NOW - DAY), (releases[1], NOW - DAY, NOW)):
        ReleaseSpan.objects.bulk_create(
            [
                ReleaseSpan(device=device, workload=workload, release=release, first_time=first, last_time=last)
                for device in devices
            ],
            batch_size=5_000,
        )
    return fleet


@cache
def templates(count: int) -> dict[str, list]:
    """Roll-up values of `count` inferences, a few different ones, by column."""
    from telemetry import columns
    from telemetry.histograms import Histogram, HistogramRows, pack_classes

    rng = np.random.default_rng(count)
    values: dict[str, list] = {column.name: [] for column in columns.ROLLUP_VALUES}
    # the shape of a large sample is drawn from at most this many values, and its counts scaled
    drawn = min(count, 200_000)
    for _ in range(TEMPLATES if count < 100_000 else 8):
        row: dict = dict.fromkeys(values, 0)
        row |= {"count": count, "fallback_cpu": count // 100, "throttled": count // 50, "outcome_error": count // 1000}
        row |= {f"{measure}_n": count for measure in columns.MEASURES}
        row |= {f"{measure}_sum": 50.0 * count for measure in columns.MEASURES}
        row |= dict.fromkeys(("latency_min", "latency_max", "temperature_max", "power_max", "memory_max"), 60.0)
        row["latency_sumsq"] = row["energy_sumsq"] = 2600.0 * count
        for name, middle in (("latency", 20.0), ("energy", 40.0)):
            histogram = Histogram.of(middle * rng.lognormal(0, 0.3, drawn))
            scaled = Histogram(histogram.offset, histogram.counts * (count // drawn))
            row[f"{name}_hist"] = scaled.pack()
        one = np.zeros(drawn, dtype=np.int64)
        for name in ("confidence", "input_quality"):
            row[f"{name}_hist"] = HistogramRows.of_unit_values(one, rng.beta(9, 2, drawn), 1).pack()[0]
        classes = np.arange(10)
        row["class_counts"] = pack_classes(
            HistogramRows(classes * 0, classes, classes * 0 + max(count // 10, 1), np.zeros(1, dtype=np.int64))
        )[0]
        for name, value in row.items():
            values[name].append(value)
    return values


def copy_rollups(table: str, keys: dict[str, np.ndarray], count: int) -> int:
    """Write rows with the given keys (bucket in microseconds), each with the values of `count` inferences."""
    from telemetry import columns
    from telemetry.binary_copy import Field
    from telemetry.store import copy_tables

    values = templates(count)
    n_templates = len(values["count"])
    n = keys["bucket"].size
    layout = columns.TABLES[table]
    for start in range(0, n, BLOCK):
        part = {name: key[start : start + BLOCK] for name, key in keys.items()}
        size = part["bucket"].size
        chosen = (np.arange(size) + start) % n_templates
        fields = [
            Field(column.name, column.type, part[column.name])
            if column.name in part
            else Field(
                column.name,
                column.type,
                [values[column.name][k] for k in chosen]
                if column.type == "bytea"
                else np.array(values[column.name])[chosen],
            )
            for column in layout
        ]
        copy_tables([(table, fields, size)])
    return n


def grid(times: np.ndarray, **keys: np.ndarray) -> dict[str, np.ndarray]:
    """Every time with every row of keys, time by time."""
    n = next(iter(keys.values())).size
    return {"bucket": np.repeat(times, n)} | {name: np.tile(key, times.size) for name, key in keys.items()}


def times(start: datetime, end: datetime, step: timedelta) -> np.ndarray:
    """Starts of steps in microseconds."""
    from telemetry.store import microseconds

    return np.arange(microseconds(start), microseconds(end), step // timedelta(microseconds=1))


def fill(fleet: Fleet, *, days: int, rate: int, full: bool) -> dict[str, int]:
    """Fill every tier for a fleet whose devices infer `rate` times a second; rows by table."""
    rows: dict[str, int] = {}
    start = (NOW - days * DAY).replace(hour=0)
    switch = NOW - DAY
    n = fleet.device_ids.size
    per_cohort = max(n // (len(TARGETS) * len(REGIONS) * len(POWER_MODES)), 1)
    places = np.array(list(np.ndindex(len(TARGETS), len(REGIONS), len(POWER_MODES))))
    for table, step in (("cohort_5min", timedelta(minutes=5)), ("cohort_hour", HOUR), ("cohort_day", DAY)):
        count = int(per_cohort * rate * step.total_seconds())
        rows[table] = 0
        for release, (first, last) in enumerate(((start, switch), (switch.replace(hour=0), NOW))):
            keys = grid(
                times(first, last, step),
                context_id=fleet.contexts[places[:, 0], release, places[:, 2]],
                hardware_target_id=np.array(fleet.target_ids)[places[:, 0]],
                region_id=np.array(fleet.region_ids)[places[:, 1]],
            )
            rows[table] += copy_rollups(table, keys, count)
    rows["cohort_cell"] = fill_cells(fleet, start, places)
    everyone, some = np.arange(n), np.arange(min(100, n))

    def devices(table: str, which: np.ndarray, first: datetime, last: datetime, step: timedelta) -> int:
        release = 1 if first >= switch else 0
        ids = {"device_id": fleet.device_ids[which], "context_id": fleet.context_of(which, release)}
        if table == "device_minute":
            ids["batch_id"] = which
        return copy_rollups(table, grid(times(first, last, step), **ids), int(rate * step.total_seconds()))

    week = max(start, (NOW - 8 * DAY).replace(hour=0))
    minute = timedelta(minutes=1)
    rows["device_day"] = devices("device_day", everyone, start, NOW.replace(hour=0), DAY)
    rows["device_hour"] = devices("device_hour", everyone, start if full else week, NOW, HOUR)
    if not full:
        rows["device_hour"] += devices("device_hour", some, start, week, HOUR)
    rows["device_minute"] = devices("device_minute", some, NOW - 2 * DAY, NOW - HOUR, minute)
    rows["device_minute"] += devices("device_minute", everyone, NOW - HOUR, NOW + 5 * minute, minute)
    mark_running_hour(fleet)
    return rows


def fill_cells(fleet: Fleet, start: datetime, places: np.ndarray) -> int:
    """Hours of cohorts by condition: three temperature bands, throttled or not, two kinds of fallback."""
    from telemetry import columns
    from telemetry.binary_copy import Field
    from telemetry.store import copy_tables

    conditions = np.array(list(np.ndindex(2, 3, 2)))
    cells = np.array(list(np.ndindex(len(places), len(conditions))))
    place, condition = places[cells[:, 0]], conditions[cells[:, 1]]
    keys = grid(
        times(start, NOW, HOUR),
        context_id=fleet.contexts[place[:, 0], 1, place[:, 2]],
        hardware_target_id=np.array(fleet.target_ids)[place[:, 0]],
        region_id=np.array(fleet.region_ids)[place[:, 1]],
        throttled=condition[:, 0],
        temperature_band=condition[:, 1] + 5,
        fallback=condition[:, 2],
    )
    n = keys["bucket"].size
    for begin in range(0, n, BLOCK):
        size = min(BLOCK, n - begin)
        fields = [
            Field(column.name, column.type, keys[column.name][begin : begin + size])
            if column.name in keys
            else Field(column.name, column.type, np.full(size, 1000))
            for column in columns.COHORT_CELL
        ]
        copy_tables([("cohort_cell", fields, size)])
    return n


def mark_running_hour(fleet: Fleet) -> None:
    """The hour and the day that run are not written: what folding leaves for readers to take from the finer tier."""
    from telemetry import store

    none = fleet.device_ids * 0
    buckets = none + store.microseconds(NOW)
    store.add_stale(store.Marks(none, fleet.device_ids, none, buckets))
