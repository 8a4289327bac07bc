"""Whole tables, slice by slice: time series with public names, and what ingest wrote down about batches."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from django.db.models import Model

from fleet.models import Device
from telemetry import columns, histograms
from telemetry.histograms import HistogramRows
from telemetry.metrics import DEFAULT_QUANTILES, quantile_name
from telemetry.models import Batch, BatchGap, QuarantinedRecord, ReleaseSpan, RequestReject
from telemetry.selectors.contexts import selected_contexts
from telemetry.selectors.selection import Selection
from telemetry.store.exporting import Rows, export_rows, row_names

_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_CHUNK = 1_000


@dataclass(frozen=True)
class SeriesTable:
    """A time-series table: read in slices of `slice`, device by device or (cohorts) all at once."""

    table: str
    slice: timedelta
    by_device: bool = True


@dataclass(frozen=True)
class PlainTable:
    """A table of what ingest wrote down: its model, the field that a range is about, and the fields to show."""

    model: type[Model]
    time: str
    fields: tuple[str, ...]


SERIES_TABLES: dict[str, SeriesTable] = {
    "inferences": SeriesTable("inference", 10 * timedelta(minutes=1)),
    "device-minutes": SeriesTable("device_minute", 6 * _HOUR),
    "device-hours": SeriesTable("device_hour", 30 * _DAY),
    "device-days": SeriesTable("device_day", 366 * _DAY),
    "device-conditions": SeriesTable("device_cell", 7 * _DAY),
    "states": SeriesTable("device_state", _DAY),
    "counter-rates": SeriesTable("counter_rate", 7 * _DAY),
    "cohorts-5min": SeriesTable("cohort_5min", 3 * _HOUR, by_device=False),
    "cohorts-hour": SeriesTable("cohort_hour", 2 * _DAY, by_device=False),
    "cohorts-day": SeriesTable("cohort_day", 30 * _DAY, by_device=False),
    "cohort-conditions": SeriesTable("cohort_cell", _DAY, by_device=False),
}

PLAIN_TABLES: dict[str, PlainTable] = {
    "batches": PlainTable(
        Batch,
        "received_at",
        (
            *("device__serial", "boot_id", "batch_seq", "received_at", "sent_at", "clock_offset_us", "clock_synced"),
            *("clock_error_ms", "context__release__version", "inferences", "sampled", "windows", "window_inferences"),
            *("events", "states", "counters", "rejected", "unknown_fields", "dropped_inferences", "dropped_windows"),
            *("dropped_events", "min_time", "max_time", "bytes", "repeats"),
        ),
    ),
    "gaps": PlainTable(
        BatchGap,
        "found_at",
        (
            *("device__serial", "boot_id", "missing_from", "missing_to", "after_time", "before_time", "found_at"),
            "filled_at",
        ),
    ),
    "quarantine": PlainTable(
        QuarantinedRecord,
        "received_at",
        ("device__serial", "received_at", "section", "index", "field", "code", "message", "record"),
    ),
    "refusals": PlainTable(RequestReject, "at", ("device__serial", "at", "status", "code", "message", "bytes")),
    "release-spans": PlainTable(
        ReleaseSpan,
        "first_time",
        ("device__serial", "workload__slug", "release__version", "first_time", "last_time", "first_boot_id"),
    ),
}

TABLES = (*SERIES_TABLES, *PLAIN_TABLES)
_PUBLIC = {
    "device__serial": "device",
    "workload__slug": "workload",
    "release__version": "release",
    "context__release__version": "release",
}


def table_rows(name: str, selection: Selection, *, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
    """The rows of one of `TABLES` over [start, end), one by one; memory holds a slice at a time."""
    if name in SERIES_TABLES:
        return _series_rows(SERIES_TABLES[name], selection, start, end)
    return _plain_rows(PLAIN_TABLES[name], selection, start, end)


def table_columns(name: str) -> list[str]:
    """The columns of the rows of one of `TABLES`, whether it has any or not."""
    if name in PLAIN_TABLES:
        return [_PUBLIC.get(field, field) for field in PLAIN_TABLES[name].fields]
    return _shown_columns(row_names(SERIES_TABLES[name].table))


def _series_rows(table: SeriesTable, selection: Selection, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
    contexts = selected_contexts(selection)
    for device_id in _devices(selection) if table.by_device else [None]:
        begin = start
        while begin < end:
            yield from _readable(
                export_rows(
                    table.table,
                    begin,
                    min(begin + table.slice, end),
                    device_id=device_id,
                    context_ids=contexts,
                    hardware_target_ids=selection.hardware_target_ids,
                    region_ids=selection.region_ids,
                )
            )
            begin += table.slice


def _devices(selection: Selection) -> list[int]:
    devices = Device.objects.all()
    if selection.device_ids is not None:
        devices = devices.filter(pk__in=selection.device_ids)
    if selection.hardware_target_ids is not None:
        devices = devices.filter(hardware_target__in=selection.hardware_target_ids)
    if selection.region_ids is not None:
        devices = devices.filter(region__in=selection.region_ids)
    return list(devices.order_by("serial").values_list("pk", flat=True))


def _shown_columns(names: Sequence[str]) -> list[str]:
    """The columns that stand for those of a table: quantiles in the place of packed histograms."""
    shown = [name for name in names if name != "class_counts" and name not in columns.HISTOGRAMS]
    measures = [name.removesuffix("_hist") for name in columns.HISTOGRAMS if name in names]
    return shown + [f"{measure}_{quantile_name(p)}" for measure in measures for p in DEFAULT_QUANTILES]


def _readable(found: Rows) -> Iterator[dict[str, Any]]:
    """Rows with codes as words, and quantiles in the place of packed histograms."""
    if not found.rows:
        return
    taken = dict(zip(found.names, zip(*found.rows, strict=True), strict=True))
    for name, words in (("fallback", columns.FALLBACKS), ("outcome", columns.OUTCOMES)):
        if name in taken:
            taken[name] = tuple(words[code] for code in taken[name])
    for name in columns.HISTOGRAMS:
        if name in taken:
            taken |= _quantiles(name, taken.pop(name))
    shown = _shown_columns(found.names)
    for values in zip(*(taken[name] for name in shown), strict=True):
        yield dict(zip(shown, values, strict=True))


def _quantiles(name: str, packed: tuple[bytes | None, ...]) -> dict[str, tuple[float | None, ...]]:
    rows = HistogramRows.from_packed(packed)
    if name in columns.UNIT_HISTOGRAMS:
        found = histograms.unit_quantiles(rows.dense_unit(), DEFAULT_QUANTILES)
    else:
        offset, dense = rows.dense()
        found = histograms.quantiles(offset, dense, rows.zero, DEFAULT_QUANTILES)
    measure = name.removesuffix("_hist")
    return {
        f"{measure}_{quantile_name(p)}": tuple(None if np.isnan(value) else value for value in found[:, k].tolist())
        for k, p in enumerate(DEFAULT_QUANTILES)
    }


def _plain_rows(table: PlainTable, selection: Selection, start: datetime, end: datetime) -> Iterator[dict[str, Any]]:
    rows = table.model.objects.filter(selection.devices(), **{f"{table.time}__gte": start, f"{table.time}__lt": end})
    fields = {field.name for field in table.model._meta.get_fields()}
    prefix = "" if "release" in fields else "context__" if "context" in fields else None
    if prefix is not None and selection.workload_id is not None:
        rows = rows.filter(**{f"{prefix}workload": selection.workload_id})
    if prefix is not None and selection.release_ids is not None:
        rows = rows.filter(**{f"{prefix}release__in": selection.release_ids})
    last = 0
    while chunk := list(rows.filter(pk__gt=last).order_by("pk").values("pk", *table.fields)[:_CHUNK]):
        last = chunk[-1]["pk"]
        for row in chunk:
            yield {_PUBLIC.get(name, name): value for name, value in row.items() if name != "pk"}
