"""Taking a batch: one transaction from the ledger to the roll-ups, exactly once, acknowledged after the commit.

Everything that can be computed without the database is computed before the transaction begins, so that it is short. No
two devices write to a common row in it: raw rows and partial roll-ups are only ever appended, the latest figures and
counters are the device's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import msgspec
import numpy as np
from django.conf import settings
from django.db import transaction
from numpy.typing import NDArray

from telemetry import protocol, store
from telemetry.binary_copy import Field
from telemetry.exceptions import BatchConflict
from telemetry.partials import MINUTE_US, Partials, cell_partials, minute_partials
from telemetry.protocol import read_clock
from telemetry.protocol.wire import Dropped, Event
from telemetry.services import contexts, quarantine
from telemetry.services import events as server_events
from telemetry.services.contexts import KnownContext
from telemetry.services.directives import directives_for
from telemetry.services.ingest import rows
from telemetry.services.ingest.figures import Latest, latest_figures, records_of, window_rollups
from telemetry.services.ingest.placing import Placed, as_datetime, place
from telemetry.services.ingest.spans import follow_release

_MARK_US = 5 * MINUTE_US
_MAX_ERRORS_TOLD = 20


class Sender(Protocol):
    """A device as far as taking its batches needs it."""

    @property
    def pk(self) -> int:
        """Its key."""

    @property
    def serial(self) -> str:
        """The name that an envelope may give."""


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came in.

    Attributes:
        batch: what its body holds.
        body: the body in clear.
        size: bytes as received, compressed or not.
        now: receive time.
        uptime_now_ms: the device's monotonic clock at this request, where a header tells it.
    """

    batch: protocol.Batch
    body: bytes
    size: int
    now: datetime
    uptime_now_ms: float | None = None


@dataclass(slots=True)
class _Work:
    """A batch ready to be written."""

    device_id: int
    received: Received
    placed: Placed
    clock: protocol.ClockReading
    context: KnownContext | None
    class_id: NDArray[np.int32]
    minutes: list[Partials] = field(default_factory=list)
    cells: list[Partials] = field(default_factory=list)
    latest: Latest = field(default_factory=Latest)
    remember: Callable[[], None] | None = None

    @property
    def received_us(self) -> int:
        return self.clock.received_us


def take_batch(device: Sender, received: Received) -> dict[str, Any]:
    """Store a batch and return the answer to it; a batch that is stored already is answered from the ledger.

    Raises:
        BatchConflict: another body is stored under this boot_id and batch_seq.
    """
    envelope = received.batch.envelope
    digest = hashlib.sha256(received.body).digest()
    work = _prepare(device.pk, received)
    reply = _reply(work)
    parameters = _ledger_row(work, digest, reply)
    with store.batch_transaction():
        booked = store.book_batch(parameters)
        if booked is not None:
            _write(work, booked)
    if work.remember is not None:
        # only what is committed may be remembered, and this may have been a part of a transaction
        transaction.on_commit(work.remember)
    if booked is None:
        reply = _repeated(device.pk, envelope.boot_id, envelope.batch_seq, digest)
    return reply | {
        "duplicate": booked is None,
        "server_time": _rfc3339(received.now),
        "directives": directives_for(device.pk, received.now),
    }


# --- before the transaction ------------------------------------------------------------------------------------------


def _prepare(device_id: int, received: Received) -> _Work:
    batch, envelope = received.batch, received.batch.envelope
    received_us = store.microseconds(received.now)
    clock = read_clock(envelope, received_us, received.uptime_now_ms)
    oldest_us = received_us - settings.RETENTION_DAYS["raw"] * 86_400_000_000
    placed = place(batch, clock, oldest_us)
    labels = envelope.context
    context = None
    if labels is not None and labels.workload and labels.release:
        context = contexts.known_context(labels, received.now)
    work = _Work(device_id, received, placed, clock, context, placed.inferences.class_code)
    if context is None:
        return work
    if placed.inferences.class_names:
        ids = np.array([*contexts.class_ids(context.workload_id, placed.inferences.class_names), -1], dtype=np.int32)
        # code -1 picks the last entry, which is -1 again
        work.class_id = ids[placed.inferences.class_code]
    if len(placed.inferences) and not batch.sample:
        records = records_of(placed, work.class_id)
        work.minutes.append(minute_partials(records))
        work.cells.append(cell_partials(records))
    if placed.windows:
        names = list(dict.fromkeys(name for window in placed.windows for name in window.classes))
        class_ids = dict(zip(names, contexts.class_ids(context.workload_id, names), strict=True)) if names else {}
        work.minutes.append(window_rollups(placed.windows, placed.window_us, class_ids))
    work.latest = latest_figures(placed, work.minutes)
    return work


def _reply(work: _Work) -> dict[str, Any]:
    """The part of the answer that is the same for every repetition of the batch."""
    placed = work.placed
    reply: dict[str, Any] = {
        "accepted": {
            "inferences": len(placed.inferences),
            "windows": len(placed.windows),
            "events": len(placed.events),
            "counters": len(placed.counters.values) if placed.counters else 0,
            "states": len(placed.states),
        },
        "rejected": len(placed.rejections),
    }
    if work.received.batch.unknown_fields:
        reply["unknown_fields"] = work.received.batch.unknown_fields
    if placed.rejections:
        told = placed.rejections[:_MAX_ERRORS_TOLD]
        reply["partial_success"] = {
            "rejected": len(placed.rejections),
            "errors": [{name: getattr(r, name) for name in r.__slots__} for r in told],
        }
    return reply


def _ledger_row(work: _Work, digest: bytes, reply: dict[str, Any]) -> dict[str, Any]:
    """The parameters of book_batch.sql."""
    envelope, placed, clock, context = work.received.batch.envelope, work.placed, work.clock, work.context
    dropped = envelope.dropped or Dropped()
    first, last = placed.span()
    buckets = {us - us % _MARK_US for part in work.minutes for us in part.bucket_us.tolist()}
    skew_ms = None if clock.skew_us is None else clock.skew_us / 1000
    accepted = reply["accepted"]
    latest = work.latest
    return {
        "device": work.device_id,
        "boot_id": envelope.boot_id,
        "batch_seq": envelope.batch_seq,
        "sha256": digest,
        "received_at": work.received.now,
        "sent_at": None if clock.skew_us is None else as_datetime(clock.received_us - clock.skew_us),
        "clock_offset_us": clock.offset_us,
        "clock_synced": clock.synced,
        "clock_error_ms": clock.error_ms,
        "context": context.id if context else None,
        "workload": context.workload_id if context else None,
        "release": context.release_id if context else None,
        "inferences": accepted["inferences"],
        "windows": accepted["windows"],
        "window_inferences": sum(window.count for window in placed.windows),
        "events": accepted["events"],
        "states": accepted["states"],
        "counters": accepted["counters"],
        "rejected": reply["rejected"],
        "unknown_fields": work.received.batch.unknown_fields,
        "sampled": work.received.batch.sample,
        "dropped_inferences": dropped.inferences or 0,
        "dropped_windows": dropped.windows or 0,
        "dropped_events": dropped.events or 0,
        "min_time": first,
        "max_time": last,
        "bytes": work.received.size,
        "reply": msgspec.json.encode(reply).decode(),
        "marks": [f'"{as_datetime(us).isoformat()}"' for us in sorted(buckets)],
        "latency_p95_ms": latest.latency_p95_ms,
        "energy_mj": latest.energy_mj,
        "confidence": latest.confidence,
        "temperature_c": latest.temperature_c,
        "power_w": latest.power_w,
        "memory_mb": latest.memory_mb,
        "battery_pct": latest.battery_pct,
        "throttled": latest.throttled,
        "fallback_rate": latest.fallback_rate,
        "error_rate": latest.error_rate,
        "clock_skew_ms": skew_ms,
    }


def _repeated(device_id: int, boot_id: str, batch_seq: int, digest: bytes) -> dict[str, Any]:
    """The answer that the stored batch got.

    Raises:
        BatchConflict: it was stored with another body.
    """
    stored_digest, reply = store.repeat_batch(device_id, boot_id, batch_seq, digest)
    if stored_digest != digest:
        raise BatchConflict(f"Batch {batch_seq} of boot {boot_id} was stored with another body.")
    return reply


def _rfc3339(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- inside the transaction ------------------------------------------------------------------------------------------


def _write(work: _Work, booked: store.Booked) -> None:
    placed, context = work.placed, work.context
    keys = {"device_id": work.device_id, "context_id": context.id if context else None, "batch_id": booked.batch_id}
    tables: list[tuple[str, list[Field], int]] = []
    if n := len(placed.inferences):
        tables.append(("inference", rows.inference_fields(placed, work.class_id, **keys), n))
    for table, parts in (("device_minute", work.minutes), ("device_cell", work.cells)):
        if parts:
            tables.append((table, rows.partial_fields(table, parts, **keys), sum(map(len, parts))))
    if placed.events:
        fields = rows.event_fields(placed.events, placed.event_us, placed.event_index, **keys)
        tables.append(("event", fields, len(placed.events)))
    if placed.states:
        fields = rows.state_fields(placed.states, placed.state_us, device_id=work.device_id)
        tables.append(("device_state", fields, len(placed.states)))
    if raised := _raised_events(work, booked):
        times = np.full(len(raised), store.microseconds(placed.span()[0]))
        tables.append(("event", rows.event_fields(raised, times, range(len(raised)), **keys), len(raised)))
    if placed.rejections:
        fields, n = _quarantined(work, booked.batch_id)
        if n:
            tables.append(("telemetry_quarantinedrecord", fields, n))
    _write_state_of_device(work)
    store.copy_tables(tables, and_commit=True)


def _write_state_of_device(work: _Work) -> None:
    """What is kept of the device beside rows that are only appended."""
    placed, context, boot_id = work.placed, work.context, work.received.batch.envelope.boot_id
    if placed.counters and placed.counters.values:
        store.count_up(work.device_id, boot_id, as_datetime(placed.counter_us), placed.counters.values)
    if context is None:
        store.touch_device(work.device_id, work.received.now)
    elif work.minutes:
        work.remember = follow_release(work.device_id, context, boot_id, *placed.span())


def _quarantined(work: _Work, batch_id: int) -> tuple[list[Field], int]:
    """Rows for the bad records of the batch."""
    rejections = work.placed.rejections
    records = protocol.records_as_sent(work.received.body, rejections)
    return quarantine.quarantine_fields(
        rejections, records, device_id=work.device_id, batch_id=batch_id, received_us=work.received_us
    )


def _raised_events(work: _Work, booked: store.Booked) -> list[Event]:
    """That a device began to run something undeclared, said once per change of its context."""
    context = work.context
    if context is None or not work.minutes or booked.previous_context_id == context.id:
        return []
    first, last = work.placed.span()
    if booked.previous_event_us is not None and store.microseconds(last) < booked.previous_event_us:
        return []
    raised = []
    labels = work.received.batch.envelope.context
    if context.unregistered:
        detail = {"workload": labels.workload, "release": labels.release}
        raised.append(Event(first, server_events.UNREGISTERED_RELEASE, severity="warning", detail=detail))
    if context.mismatches:
        detail = {"release": labels.release, "parts": context.mismatches}
        raised.append(Event(first, server_events.BOM_MISMATCH, severity="warning", detail=detail))
    for event in raised:
        event.id = server_events.event_id(event.type, booked.batch_id)
    return raised
