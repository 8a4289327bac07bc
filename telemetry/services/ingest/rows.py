"""The rows of batches as columns for COPY, table by table."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec
import numpy as np
from numpy.typing import NDArray

from telemetry import columns
from telemetry.binary_copy import Field
from telemetry.partials import Partials, Records
from telemetry.protocol.wire import Event, State
from telemetry.services.events import event_id


@dataclass(frozen=True, slots=True)
class Keys:
    """What the rows of each batch have in common.

    Attributes:
        device_id, context_id, batch_id: (batches,) keys; context 0 for none.
    """

    device_id: NDArray[np.int64]
    context_id: NDArray[np.int64]
    batch_id: NDArray[np.int64]

    def fields(self, batch: NDArray[np.int64]) -> list[Field]:
        """The columns that most tables have after their time.

        Args:
            batch: (n,) place of each row's batch among the batches.
        """
        if self.batch_id.size == 1:
            device_id, context_id, batch_id = self.device_id[0], self.context_id[0], self.batch_id[0]
        else:
            device_id, context_id, batch_id = self.device_id[batch], self.context_id[batch], self.batch_id[batch]
        return [
            Field("device_id", "int4", device_id),
            Field("context_id", "int4", context_id),
            Field("batch_id", "int8", batch_id),
        ]


def inference_fields(records: Records, sample_refs: NDArray[np.object_] | None, keys: Keys) -> list[Field]:
    """Raw rows of the accepted inferences.

    Args:
        records: n inferences, their batch told.
        sample_refs: (n,) references to samples, None where a record has none; None where no record has one.
    """
    absent = np.isnan(records.measures)
    unclassified = records.class_id < 0
    fields = [Field("time", "timestamptz", records.time_us), *keys.fields(records.batch)]
    some = absent.any(axis=1)
    for row, measure in enumerate(columns.MEASURES):
        null = absent[row] if some[row] else None
        fields.append(Field(columns.RAW_COLUMN[measure], "float4", records.measures[row], null))
    fields += [
        Field("predicted_class", "int4", records.class_id, unclassified if unclassified.any() else None),
        Field("fallback", "int2", records.fallback),
        Field("retries", "int2", records.retries),
        Field("throttled", "bool", records.throttled),
        Field("outcome", "int2", records.outcome),
    ]
    if sample_refs is not None:
        refs = [None if ref is None else ref.encode() for ref in sample_refs]
        fields.append(Field("sample_ref", "text", refs))
    return fields


def partial_fields(table: str, parts: Sequence[Partials], keys: Keys) -> list[Field]:
    """Rows of `device_minute` or `device_cell` from one or more sets of partials."""
    batch, bucket_us, values = parts[0].batch, parts[0].bucket_us, parts[0].values
    if len(parts) > 1:
        batch = np.concatenate([part.batch for part in parts])
        bucket_us = np.concatenate([part.bucket_us for part in parts])
        values = {name: _joined([part.values[name] for part in parts]) for name in values}
    fields = [Field("bucket", "timestamptz", bucket_us), *keys.fields(batch)]
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


@dataclass(frozen=True, slots=True)
class PlacedEvent:
    """An event with its event time and its place in the batch, which gives it an id where it has none."""

    event: Event
    time_us: int
    index: int


def event_fields(events: Sequence[PlacedEvent], batch: NDArray[np.int64], keys: Keys) -> list[Field]:
    """Rows of events.

    Args:
        events: n events.
        batch: (n,) place of each event's batch among the batches.
    """
    device_id, context_id, batch_id = keys.device_id[batch], keys.context_id[batch], keys.batch_id[batch]
    ids = [
        placed.event.id or event_id("batch", of_batch, placed.index)
        for placed, of_batch in zip(events, batch_id.tolist(), strict=True)
    ]
    return [
        Field("time", "timestamptz", np.array([placed.time_us for placed in events], dtype=np.int64)),
        Field("device_id", "int4", device_id),
        Field("context_id", "int4", context_id, context_id == 0),
        Field("batch_id", "int8", batch_id),
        Field("event_id", "uuid", [identity.bytes for identity in ids]),
        Field("type", "text", [placed.event.type.encode() for placed in events]),
        Field("severity", "int2", np.array([columns.SEVERITIES.index(placed.event.severity) for placed in events])),
        Field("detail", "jsonb", [msgspec.json.encode(placed.event.detail or {}) for placed in events]),
    ]


def state_fields(states: Sequence[State], state_us: NDArray[np.int64], device_id: NDArray[np.int64]) -> list[Field]:
    """Rows of device states.

    Args:
        states: n states.
        state_us, device_id: (n,) event times and devices.
    """
    fields = [Field("time", "timestamptz", state_us), Field("device_id", "int4", device_id)]
    for name in ("temperature_c", "power_w", "memory_mb", "battery_pct"):
        values = np.array([getattr(state, name) for state in states], dtype=np.float64)
        fields.append(Field(name, "float4", values, np.isnan(values)))
    return fields
