"""The rows of a batch as columns for COPY, table by table."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from telemetry import columns
from telemetry.binary_copy import Field
from telemetry.partials import Partials
from telemetry.protocol.wire import Event, State
from telemetry.services.events import event_id
from telemetry.services.ingest.placing import Placed


def inference_fields(
    placed: Placed, class_id: NDArray[np.int32], *, device_id: int, context_id: int, batch_id: int
) -> list[Field]:
    """Raw rows of the accepted inferences."""
    inferences = placed.inferences
    absent = np.isnan(inferences.measures)
    unclassified = class_id < 0
    fields = [
        Field("time", "timestamptz", placed.inference_us),
        Field("device_id", "int4", device_id),
        Field("context_id", "int4", context_id),
        Field("batch_id", "int8", batch_id),
    ]
    some = absent.any(axis=1)
    for row, measure in enumerate(columns.MEASURES):
        null = absent[row] if some[row] else None
        fields.append(Field(columns.RAW_COLUMN[measure], "float4", inferences.measures[row], null))
    fields += [
        Field("predicted_class", "int4", class_id, unclassified if unclassified.any() else None),
        Field("fallback", "int2", inferences.fallback),
        Field("retries", "int2", inferences.retries),
        Field("throttled", "bool", inferences.throttled),
        Field("outcome", "int2", inferences.outcome),
    ]
    if inferences.sample_refs is not None:
        refs = [None if ref is None else ref.encode() for ref in inferences.sample_refs]
        fields.append(Field("sample_ref", "text", refs))
    return fields


def partial_fields(
    table: str, parts: Sequence[Partials], *, device_id: int, context_id: int, batch_id: int
) -> list[Field]:
    """Rows of `device_minute` or `device_cell` from one or more sets of partials."""
    bucket_us, values = parts[0].bucket_us, parts[0].values
    if len(parts) > 1:
        bucket_us = np.concatenate([part.bucket_us for part in parts])
        values = {name: _joined([part.values[name] for part in parts]) for name in values}
    fields = [
        Field("bucket", "timestamptz", bucket_us),
        Field("device_id", "int4", device_id),
        Field("context_id", "int4", context_id),
        Field("batch_id", "int8", batch_id),
    ]
    for column in columns.TABLES[table][len(fields) :]:
        value = values[column.name]
        null = np.isnan(value) if column.nullable and column.type != "bytea" else None
        fields.append(Field(column.name, column.type, value, null))
    return fields


def _joined(values: Sequence[NDArray | Sequence[bytes | None]]) -> NDArray | list[bytes | None]:
    """One column of several sets of partials: numbers, or packed histograms."""
    if isinstance(values[0], np.ndarray):
        return np.concatenate(values)
    return [packed for part in values for packed in part]


def event_fields(
    events: Sequence[Event],
    event_us: NDArray[np.int64],
    index: Sequence[int],
    *,
    device_id: int,
    context_id: int | None,
    batch_id: int,
) -> list[Field]:
    """Rows of events that the device sent."""
    n = len(events)
    ids = [event.id or event_id("batch", batch_id, at) for event, at in zip(events, index, strict=True)]
    return [
        Field("time", "timestamptz", event_us),
        Field("device_id", "int4", device_id),
        Field("context_id", "int4", context_id or 0, np.full(n, context_id is None)),
        Field("batch_id", "int8", batch_id),
        Field("event_id", "uuid", [identity.bytes for identity in ids]),
        Field("type", "text", [event.type.encode() for event in events]),
        Field("severity", "int2", np.array([columns.SEVERITIES.index(event.severity) for event in events])),
        Field("detail", "jsonb", [msgspec.json.encode(event.detail or {}) for event in events]),
    ]


def state_fields(states: Sequence[State], state_us: NDArray[np.int64], *, device_id: int) -> list[Field]:
    """Rows of device states."""
    fields = [Field("time", "timestamptz", state_us), Field("device_id", "int4", device_id)]
    for name in ("temperature_c", "power_w", "memory_mb", "battery_pct"):
        values = np.array([getattr(state, name) for state in states], dtype=np.float64)
        fields.append(Field(name, "float4", values, np.isnan(values)))
    return fields
