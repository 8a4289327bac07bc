"""Taking batches: one transaction from the ledger to the roll-ups, exactly once, acknowledged after the commit.

Batches of distinct devices can be taken in one transaction (see `together`), which costs little more than taking one.
No two devices write to a common row: raw rows and partial roll-ups are only ever appended, the latest figures and
counters are the device's own. What is a device's own is written in the order of the devices.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
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
from telemetry.partials import MINUTE_US, Partials, Records, cell_partials, minute_partials
from telemetry.protocol import read_clock
from telemetry.protocol.wire import Dropped, Event
from telemetry.services import contexts, quarantine
from telemetry.services import events as server_events
from telemetry.services.contexts import KnownContext
from telemetry.services.directives import directives_for
from telemetry.services.ingest import rows
from telemetry.services.ingest.figures import Latest, latest_figures, totals_of, window_rollups
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


@dataclass(slots=True, eq=False)
class Work:
    """A batch ready to be written.

    Attributes:
        booked: its row of the ledger, once it was written; None for a batch that was there before.
        class_id: (n,) ids of the classes of the accepted inferences, -1 for none.
        window_class_ids: ids of the class names in windows; a name beyond the limit is left out.
        reply: the part of the answer that is the same for every repetition of the batch.
    """

    device_id: int
    received: Received
    placed: Placed
    clock: protocol.ClockReading
    context: KnownContext | None
    class_id: NDArray[np.int32]
    window_class_ids: dict[str, int]
    reply: dict[str, Any]
    digest: bytes
    latest: Latest = field(default_factory=Latest)
    marks: set[int] = field(default_factory=set)
    booked: store.Booked | None = None
    remember: Callable[[], None] | None = None


def take_batch(device: Sender, received: Received) -> dict[str, Any]:
    """Store a batch and return the answer to it; a batch that is stored already is answered from the ledger.

    Raises:
        BatchConflict: another body is stored under this boot_id and batch_seq.
    """
    work = prepare(device.pk, received)
    together = Together([work])
    with store.batch_transaction():
        together.write()
    return answer(work)


def prepare(device_id: int, received: Received) -> Work:
    """What can be found out about a batch before its transaction; labels and classes that are new are registered."""
    batch, envelope = received.batch, received.batch.envelope
    received_us = store.microseconds(received.now)
    clock = read_clock(envelope, received_us, received.uptime_now_ms)
    oldest_us = received_us - settings.RETENTION_DAYS["raw"] * 86_400_000_000
    placed = place(batch, clock, oldest_us)
    labels = envelope.context
    context, class_id, window_class_ids = None, placed.inferences.class_code, {}
    if labels is not None and labels.workload and labels.release:
        context = contexts.known_context(labels, received.now)
        if placed.inferences.class_names:
            ids = contexts.class_ids(context.workload_id, placed.inferences.class_names)
            # code -1 picks the last entry, which is -1 again
            class_id = np.array([*ids, -1], dtype=np.int32)[class_id]
        if names := _window_classes(placed.windows):
            window_class_ids = dict(zip(names, contexts.class_ids(context.workload_id, names), strict=True))
    reply = _reply(placed, batch.unknown_fields)
    digest = hashlib.sha256(received.body).digest()
    return Work(device_id, received, placed, clock, context, class_id, window_class_ids, reply, digest)


def labels_are_known(batch: protocol.Batch, now: datetime) -> bool:
    """Whether `prepare` would find every label and class of the batch in memory, and so leave the database alone."""
    labels = batch.envelope.context
    if labels is None or not labels.workload or not labels.release:
        return True
    return contexts.remembers(labels, (*batch.inferences.class_names, *_window_classes(batch.windows)), now)


def _window_classes(windows: Sequence[protocol.CheckedWindow]) -> list[str]:
    return list(dict.fromkeys(name for window in windows for name in window.classes))


def _reply(placed: Placed, unknown_fields: int) -> dict[str, Any]:
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
    if unknown_fields:
        reply["unknown_fields"] = unknown_fields
    if placed.rejections:
        told = placed.rejections[:_MAX_ERRORS_TOLD]
        reply["partial_success"] = {
            "rejected": len(placed.rejections),
            "errors": [{name: getattr(r, name) for name in r.__slots__} for r in told],
        }
    return reply


class Together:
    """Batches of distinct devices that are written in one transaction."""

    def __init__(self, works: Sequence[Work]) -> None:
        """Compute what the batches add to the tables."""
        self.works = sorted(works, key=lambda work: work.device_id)
        self._records, self._sample_refs = _joined_inferences(self.works)
        self._minutes, self._cells = _roll_up(self.works, self._records)
        self._find_figures()

    def _find_figures(self) -> None:
        """Buckets and latest figures of each batch."""
        if not self._minutes:
            for work in self.works:
                work.latest = latest_figures(work.placed, None)
            return
        hists: list[list[bytes | None]] = [[] for _ in self.works]
        for part in self._minutes:
            buckets = part.bucket_us - part.bucket_us % _MARK_US
            for at, bucket, packed in zip(
                part.batch.tolist(), buckets.tolist(), part.values["latency_hist"], strict=True
            ):
                self.works[at].marks.add(bucket)
                hists[at].append(packed)
        totals = totals_of(self._minutes, len(self.works))
        for work, of_batch, packed in zip(self.works, totals, hists, strict=True):
            work.latest = latest_figures(work.placed, of_batch if packed else None, packed)

    def write(self) -> None:
        """Book the batches in the ledger and write the new ones; in `store.batch_transaction`, which this ends."""
        for work, booked in zip(self.works, store.book_batches(list(map(_ledger_row, self.works))), strict=True):
            work.booked = booked
        new = [work for work in self.works if work.booked is not None]
        if not new:
            return
        tables = self._tables()
        for work in new:
            if work.placed.rejections:
                fields, n = _quarantined(work)
                if n:
                    tables.append(("telemetry_quarantinedrecord", fields, n))
            _write_state_of_device(work)
        store.copy_tables(tables, and_commit=True)

    def _tables(self) -> list[tuple[str, list[Field], int]]:
        """What the new batches append: table, fields, rows."""
        works = self.works
        chosen = np.array([work.booked is not None for work in works])
        keys = rows.Keys(
            np.array([work.device_id for work in works]),
            np.array([work.context.id if work.context else 0 for work in works]),
            np.array([work.booked.batch_id if work.booked else 0 for work in works]),
        )
        records, sample_refs, minutes, cells = self._records, self._sample_refs, self._minutes, self._cells
        if not chosen.all():
            if records is not None:
                keep = chosen[records.batch]
                records = records.select(keep)
                sample_refs = None if sample_refs is None else sample_refs[keep]
            minutes = [part.select(chosen[part.batch]) for part in minutes]
            cells = [part.select(chosen[part.batch]) for part in cells]
        tables: list[tuple[str, list[Field], int]] = []
        if records is not None and (n := records.time_us.size):
            tables.append(("inference", rows.inference_fields(records, sample_refs, keys), n))
        for table, parts in (("device_minute", minutes), ("device_cell", cells)):
            if n := sum(map(len, parts)):
                tables.append((table, rows.partial_fields(table, parts, keys), n))
        events = [(place, event) for place in chosen.nonzero()[0].tolist() for event in _events(works[place])]
        if events:
            of_batch = np.array([place for place, _ in events])
            tables.append(("event", rows.event_fields([event for _, event in events], of_batch, keys), len(events)))
        telling = [work for work in works if work.booked is not None and work.placed.states]
        if telling:
            states = [state for work in telling for state in work.placed.states]
            state_us = np.concatenate([work.placed.state_us for work in telling])
            device_id = np.array([work.device_id for work in telling for _ in work.placed.states])
            tables.append(("device_state", rows.state_fields(states, state_us, device_id), len(states)))
        return tables


def answer(work: Work) -> dict[str, Any]:
    """The answer to a batch that was written, after the commit.

    Raises:
        BatchConflict: another body is stored under its boot_id and batch_seq.
    """
    if work.remember is not None:
        # only what is committed may be remembered, and this may have been a part of a transaction
        transaction.on_commit(work.remember)
    reply = work.reply if work.booked is not None else _repeated(work)
    return reply | {
        "duplicate": work.booked is None,
        "server_time": _rfc3339(work.received.now),
        "directives": directives_for(work.device_id, work.received.now),
    }


# --- what batches add ------------------------------------------------------------------------------------------------


def _joined_inferences(works: Sequence[Work]) -> tuple[Records | None, NDArray[np.object_] | None]:
    """The accepted inferences of all batches, and their references to samples; None where there are none."""
    bulk = [place for place, work in enumerate(works) if len(work.placed.inferences)]
    if not bulk:
        return None, None
    parts = [works[place].placed.inferences for place in bulk]
    sizes = [len(part) for part in parts]

    def joined(arrays: list[NDArray]) -> NDArray:
        return arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=-1)

    records = Records(
        joined([works[place].placed.inference_us for place in bulk]),
        joined([part.measures for part in parts]),
        joined([part.fallback for part in parts]),
        joined([part.outcome for part in parts]),
        joined([part.retries for part in parts]),
        joined([part.throttled for part in parts]),
        joined([works[place].class_id for place in bulk]),
        np.repeat(np.array(bulk), sizes),
    )
    if all(part.sample_refs is None for part in parts):
        return records, None
    none = [
        np.full(n, None, dtype=object) if part.sample_refs is None else part.sample_refs
        for part, n in zip(parts, sizes, strict=True)
    ]
    return records, joined(none)


def _roll_up(works: Sequence[Work], records: Records | None) -> tuple[list[Partials], list[Partials]]:
    """What the batches add to minutes and to conditions, from inferences and from windows."""
    minutes: list[Partials] = []
    cells: list[Partials] = []
    if records is not None:
        counted = np.array([work.context is not None and not work.received.batch.sample for work in works])
        if not counted.all():
            records = records.select(counted[records.batch])
        if records.time_us.size:
            minutes.append(minute_partials(records))
            cells.append(cell_partials(records))
    with_windows = [place for place, work in enumerate(works) if work.placed.windows and work.context is not None]
    if with_windows:
        placed = [works[place].placed for place in with_windows]
        sizes = [len(part.windows) for part in placed]
        minutes.append(
            window_rollups(
                [window for part in placed for window in part.windows],
                np.concatenate([part.window_us for part in placed]),
                [works[place].window_class_ids for place, n in zip(with_windows, sizes, strict=True) for _ in range(n)],
                np.repeat(np.array(with_windows), sizes),
            )
        )
    return minutes, cells


def _ledger_row(work: Work) -> dict[str, Any]:
    """What book_batches.sql reads of a batch."""
    envelope, placed, clock, context = work.received.batch.envelope, work.placed, work.clock, work.context
    dropped = envelope.dropped or Dropped()
    first, last = placed.span()
    accepted, latest = work.reply["accepted"], work.latest
    return {
        "device": work.device_id,
        "boot_id": envelope.boot_id,
        "batch_seq": envelope.batch_seq,
        "sha256": work.digest.hex(),
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
        "rejected": work.reply["rejected"],
        "unknown_fields": work.received.batch.unknown_fields,
        "sampled": work.received.batch.sample,
        "dropped_inferences": dropped.inferences or 0,
        "dropped_windows": dropped.windows or 0,
        "dropped_events": dropped.events or 0,
        "min_time": first,
        "max_time": last,
        "bytes": work.received.size,
        "reply": msgspec.json.encode(work.reply).decode(),
        "marks": [as_datetime(us) for us in sorted(work.marks)],
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
        "clock_skew_ms": None if clock.skew_us is None else clock.skew_us / 1000,
    }


def _repeated(work: Work) -> dict[str, Any]:
    """The answer that the stored batch got.

    Raises:
        BatchConflict: it was stored with another body.
    """
    envelope = work.received.batch.envelope
    stored_digest, reply = store.repeat_batch(work.device_id, envelope.boot_id, envelope.batch_seq, work.digest)
    if stored_digest != work.digest:
        raise BatchConflict(f"Batch {envelope.batch_seq} of boot {envelope.boot_id} was stored with another body.")
    return reply


def _rfc3339(time: datetime) -> str:
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _write_state_of_device(work: Work) -> None:
    """What is kept of the device beside rows that are only appended."""
    placed, context, boot_id = work.placed, work.context, work.received.batch.envelope.boot_id
    if placed.counters and placed.counters.values:
        store.count_up(work.device_id, boot_id, as_datetime(placed.counter_us), placed.counters.values)
    if context is None:
        store.touch_device(work.device_id, work.received.now)
    elif work.marks:
        work.remember = follow_release(work.device_id, context, boot_id, *placed.span())


def _quarantined(work: Work) -> tuple[list[Field], int]:
    """Rows for the bad records of a batch."""
    rejections = work.placed.rejections
    records = protocol.records_as_sent(work.received.body, rejections)
    return quarantine.quarantine_fields(
        rejections, records, device_id=work.device_id, batch_id=work.booked.batch_id, received_us=work.clock.received_us
    )


def _events(work: Work) -> list[rows.PlacedEvent]:
    """The events that the device sent, and those that the server raises about it."""
    placed = work.placed
    sent = list(map(rows.PlacedEvent, placed.events, placed.event_us.tolist(), placed.event_index))
    return sent + _raised_events(work)


def _raised_events(work: Work) -> list[rows.PlacedEvent]:
    """That a device began to run something undeclared, said once per change of its context."""
    booked = work.booked
    context = work.context
    if context is None or not work.marks or booked.previous_context_id == context.id:
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
    return [rows.PlacedEvent(event, store.microseconds(first), at) for at, event in enumerate(raised)]
