"""Batches of records for tests of the tiers: stored as ingest stores them, and kept as arrays to check sums against."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db import transaction

from fleet.models import Device, Release
from telemetry import columns, store
from telemetry.histograms import HistogramRows, pack_classes
from telemetry.models import Batch, Context, DeviceLatest, ReleaseSpan
from telemetry.resolution import EPOCH

_MINUTE = 60_000_000
_FIVE_MINUTES = 5 * _MINUTE


@dataclass(frozen=True)
class Records:
    """Raw records as arrays of equal length; float32 measures with nan for missing, times in microseconds."""

    time: np.ndarray
    measures: dict[str, np.ndarray]
    fallback: np.ndarray
    retries: np.ndarray
    throttled: np.ndarray
    outcome: np.ndarray
    predicted_class: np.ndarray

    def __len__(self) -> int:
        return self.time.size

    def where(self, mask: np.ndarray) -> Records:
        """The records that a mask selects."""
        return Records(
            self.time[mask],
            {name: values[mask] for name, values in self.measures.items()},
            self.fallback[mask],
            self.retries[mask],
            self.throttled[mask],
            self.outcome[mask],
            self.predicted_class[mask],
        )

    def between(self, start: datetime, end: datetime) -> Records:
        """The records of whole minutes that begin in [start, end)."""
        minute = self.time - self.time % _MINUTE
        return self.where((minute >= store.microseconds(start)) & (minute < store.microseconds(end)))

    @classmethod
    def joined(cls, parts: Sequence[Records]) -> Records:
        """All records of several batches."""
        return cls(
            np.concatenate([part.time for part in parts]),
            {name: np.concatenate([part.measures[name] for part in parts]) for name in columns.MEASURES},
            *(
                np.concatenate([getattr(part, name) for part in parts])
                for name in ("fallback", "retries", "throttled", "outcome", "predicted_class")
            ),
        )


def draw_records(rng: np.random.Generator, times: Sequence[datetime], *, latency_ms: float = 20.0) -> Records:
    """Plausible records at the given times; one in ten lacks each measure that may be missing."""
    n = len(times)
    scale = {"latency": latency_ms, "energy": 40.0, "power": 5.0, "temperature": 60.0, "memory": 500.0}
    measures = {}
    for name in columns.MEASURES:
        if name in ("confidence", "input_quality", "accelerator_utilization"):
            values = rng.beta(8, 2, n)
        else:
            values = rng.lognormal(np.log(scale.get(name, 3.0)), 0.3, n)
        if name != "latency":
            values[rng.random(n) < 0.1] = np.nan
        measures[name] = values.astype(np.float32)
    return Records(
        np.array([store.microseconds(time) for time in times], dtype=np.int64),
        measures,
        rng.choice(5, n, p=[0.8, 0.05, 0.05, 0.05, 0.05]),
        rng.poisson(0.2, n),
        rng.random(n) < 0.2,
        rng.choice(4, n, p=[0.9, 0.04, 0.03, 0.03]),
        rng.integers(1, 6, n),
    )


def make_context(release: Release, now: datetime, *, power_mode: str = "15W") -> Context:
    """A label set of a release."""
    return Context.objects.create(
        digest=f"{release.pk}-{power_mode}",
        workload=release.workload,
        release=release,
        model_version=release.version,
        power_mode=power_mode,
        created_at=now,
    )


def store_batch(
    device: Device, context: Context, records: Records, *, seq: int, received_at: datetime, **fields
) -> Batch:
    """Store records as one batch: ledger row, raw rows, partial roll-ups and marks in one transaction."""
    with transaction.atomic():
        batch = Batch.objects.create(
            device=device,
            boot_id="boot",
            batch_seq=seq,
            sha256=b"",
            received_at=received_at,
            context=context,
            inferences=len(records),
            min_time=EPOCH + timedelta(microseconds=int(records.time.min())),
            max_time=EPOCH + timedelta(microseconds=int(records.time.max())),
            **fields,
        )
        store.copy_rows("inference", _raw_rows(device, context, batch, records))
        store.copy_rows("device_minute", _partial_rows(device, context, batch, records))
        store.copy_rows("device_cell", _cell_rows(device, context, batch, records))
        marks = np.unique(records.time - records.time % _FIVE_MINUTES)
        store.copy_rows("dirty_bucket", [(batch.pk, device.pk, context.pk, store.moment(mark)) for mark in marks])
    return batch


def _raw_rows(device: Device, context: Context, batch: Batch, records: Records):
    for k in range(len(records)):
        yield (
            store.moment(records.time[k]),
            device.pk,
            context.pk,
            batch.pk,
            *(None if np.isnan(records.measures[m][k]) else float(records.measures[m][k]) for m in columns.MEASURES),
            int(records.predicted_class[k]),
            int(records.fallback[k]),
            int(records.retries[k]),
            bool(records.throttled[k]),
            int(records.outcome[k]),
            None,
        )


def _partial_rows(device: Device, context: Context, batch: Batch, records: Records):
    minute = records.time - records.time % _MINUTE
    for start in np.unique(minute):
        row = aggregate(records.where(minute == start))
        yield (
            store.moment(start),
            device.pk,
            context.pk,
            batch.pk,
            *(row[column.name] for column in columns.PARTIAL_VALUES),
        )


def _cell_rows(device: Device, context: Context, batch: Batch, records: Records):
    for (hour, *condition), part in cells_of(records).items():
        yield (
            store.moment(hour),
            device.pk,
            context.pk,
            batch.pk,
            *condition,
            *(part[name] for name in columns.names(columns.DEVICE_CELL)[8:]),
        )


def note_device(
    device: Device, context: Context, *, seen_at: datetime, since: datetime | None = None, **latest: object
) -> None:
    """What ingest knows of a device that runs the release of a context: its newest figures, and since when it does."""
    runs = {"device": device, "workload": context.workload, "release": context.release}
    DeviceLatest.objects.create(
        **runs, **({"boot_id": "boot", "batch_seq": 1, "context": context, "last_seen_at": seen_at} | latest)
    )
    if since is not None:
        ReleaseSpan.objects.create(**runs, first_time=since, last_time=seen_at)


def cells_of(records: Records) -> dict[tuple, dict]:
    """Sums by (hour in microseconds, throttled, temperature band, input-quality band, fallback)."""
    temperature, quality = records.measures["temperature"], records.measures["input_quality"]
    cells: dict[tuple, dict] = {}
    for k in range(len(records)):
        condition = (
            int(records.time[k] - records.time[k] % (60 * _MINUTE)),
            bool(records.throttled[k]),
            -1 if np.isnan(temperature[k]) else min(int(temperature[k] // 10), 20),
            -1 if np.isnan(quality[k]) else min(int(quality[k] * 10), 9),
            int(records.fallback[k]),
        )
        cell = cells.setdefault(condition, dict.fromkeys(columns.names(columns.DEVICE_CELL)[8:], 0))
        latency = float(records.measures["latency"][k])
        cell["count"] += 1
        cell["latency_sum"] += latency
        cell["latency_log_sum"] += float(np.log(latency))
        for name in ("energy", "confidence"):
            value = float(records.measures[name][k])
            if not np.isnan(value):
                cell[f"{name}_n"] += 1
                cell[f"{name}_sum"] += value
    return cells


def aggregate(records: Records) -> dict:
    """The roll-up values of records, by summing them directly."""
    wide = {name: values.astype(np.float64) for name, values in records.measures.items()}
    known = {name: values[~np.isnan(values)] for name, values in wide.items()}
    row: dict = {
        "count": len(records),
        "outcome_error": int((records.outcome == 1).sum()),
        "outcome_timeout": int((records.outcome == 2).sum()),
        "outcome_oom": int((records.outcome == 3).sum()),
        "fallback_cpu": int((records.fallback == 1).sum()),
        "fallback_smaller_model": int((records.fallback == 2).sum()),
        "fallback_cloud": int((records.fallback == 3).sum()),
        "fallback_reject": int((records.fallback == 4).sum()),
        "retries": int(records.retries.sum()),
        "throttled": int(records.throttled.sum()),
        "throttled_ms": 0,
        "latency_sumsq": float((known["latency"] ** 2).sum()),
        "energy_sumsq": float((known["energy"] ** 2).sum()),
        "idle_energy_mj": 0.0,
        "covered_ms": 0,
    }
    for name, values in known.items():
        row[f"{name}_n"] = values.size
        row[f"{name}_sum"] = float(values.sum())
    for name in ("latency", "temperature", "power", "memory"):
        row[f"{name}_max"] = float(known[name].max()) if known[name].size else None
    row["latency_min"] = float(known["latency"].min()) if known["latency"].size else None
    one = np.zeros(len(records), dtype=np.int64)
    for name in ("latency", "energy"):
        row[f"{name}_hist"] = HistogramRows.of_values(one, wide[name], 1).pack()[0]
    for name in ("confidence", "input_quality"):
        row[f"{name}_hist"] = HistogramRows.of_unit_values(one, wide[name], 1).pack()[0]
    classes = HistogramRows(one, records.predicted_class, np.ones(len(records), dtype=np.int64), np.zeros(1, int))
    row["class_counts"] = pack_classes(classes)[0]
    return row
