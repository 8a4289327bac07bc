"""Why is my data not on the chart? What ingest took, refused, missed, or took late, per reason and per device."""

from __future__ import annotations

import base64
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import Count

from fleet.models import Device, Release
from telemetry.models import DeviceLatest, QuarantinedRecord, RequestReject
from telemetry.selectors.completeness import Completeness, completeness
from telemetry.selectors.selection import Selection
from telemetry.store.health import LateAndBad, LedgerSums, Rejections, Trouble, Whose
from telemetry.store.health import device_ledger as stored_ledger
from telemetry.store.health import late_and_bad as stored_late_and_bad
from telemetry.store.health import rejection_counts as stored_rejections
from telemetry.store.health import troubled_devices as stored_trouble

MOST_DEVICES = 200


@dataclass(frozen=True)
class Sample:
    """One thing that was refused, so that its sender can see what was wrong with it.

    `record` is the record as sent (cut at 4 kB); `body` the beginning of a request's body as text, or as base64 where
    it is no text.
    """

    device: str | None
    at: datetime
    message: str
    index: int | None = None
    field: str = ""
    record: Any = None
    body: str | None = None
    body_base64: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Reason:
    """One reason for which things were refused, with the newest of them as a sample.

    `status` is None for bad records within a stored batch, else that of the answer to a request refused whole.
    """

    section: str
    code: str
    status: int | None
    count: int
    devices: int
    newest: datetime
    sample: Sample | None


@dataclass(frozen=True)
class DeviceHealth:
    """One device: what the ledger says of it (None if it sent nothing), and what went wrong."""

    device: Device
    ledger: LedgerSums | None
    trouble: Trouble
    last_seen_at: datetime | None
    clock_skew_ms: float | None


@dataclass(frozen=True)
class Undeclared:
    """A release that devices run otherwise than anyone declared; what they send is kept and shown all the same.

    `parts` are those of the bill of materials that the devices contradict; empty where nobody registered the release.
    """

    workload: str
    release_id: int
    release: str
    parts: tuple[str, ...]
    devices: int


@dataclass(frozen=True)
class IngestHealth:
    """A selection over a range: completeness, every reason for a refusal, and devices with trouble, worst first.

    Attributes:
        rejected: bad records of stored batches, by the ledger: more than the reasons' counts where a device sent more
            than is kept of it.
        late: what came late, by release and hardware target.
        troubled: devices with trouble in all, of which `devices` may hold the worst only.
        undeclared: about what devices run now, whatever the range.
    """

    arrived: Completeness
    reasons: list[Reason]
    rejected: int
    late: list[LateAndBad]
    devices: list[DeviceHealth]
    troubled: int
    undeclared: list[Undeclared]

    @property
    def late_batches(self) -> int:
        """Batches whose newest record was older than ten minutes when they came."""
        return sum(row.batches for row in self.late)

    @property
    def late_records(self) -> int:
        """Inferences in them."""
        return sum(row.records for row in self.late)


def ingest_health(
    selection: Selection, *, start: datetime, end: datetime, limit: int | None = MOST_DEVICES
) -> IngestHealth:
    """Health of a selection over [start, end); named devices are listed even where nothing is wrong with them.

    Args:
        limit: of devices that are listed; None for all.
    """
    whose = Whose(selection.device_ids, selection.hardware_target_ids, selection.region_ids)
    ledger = [row for row in stored_late_and_bad(whose, start, end) if _is_selected(selection, row)]
    devices, troubled = _devices(selection, whose, start, end, limit)
    return IngestHealth(
        arrived=completeness(selection, start=start, end=end),
        reasons=[_with_sample(found) for found in stored_rejections(whose, start, end)],
        rejected=sum(row.rejected for row in ledger),
        late=[row for row in ledger if row.batches],
        devices=devices,
        troubled=troubled,
        undeclared=_undeclared(selection),
    )


def _is_selected(selection: Selection, row: LateAndBad) -> bool:
    return (selection.workload_id is None or row.workload_id == selection.workload_id) and (
        selection.release_ids is None or row.release_id in selection.release_ids
    )


def _undeclared(selection: Selection) -> list[Undeclared]:
    rows = DeviceLatest.objects.filter(selection.devices())
    if selection.workload_id is not None:
        rows = rows.filter(workload=selection.workload_id)
    names = ("workload__slug", "release_id", "release__version")
    unregistered = rows.filter(release__status=Release.Status.UNREGISTERED).values_list(*names)
    contradicting = rows.exclude(context__mismatches={}).values_list(*names, "context__mismatches")
    found = [Undeclared(*row[:3], (), row[3]) for row in unregistered.annotate(n=Count("device")).order_by(*names)]
    parts: Counter[tuple] = Counter()
    for workload, release_id, release, mismatches, n in contradicting.annotate(n=Count("device")).order_by(*names):
        parts[(workload, release_id, release, tuple(sorted(mismatches)))] += n
    return found + [Undeclared(*key, n) for key, n in parts.items()]


def _devices(
    selection: Selection, whose: Whose, start: datetime, end: datetime, limit: int | None
) -> tuple[list[DeviceHealth], int]:
    """The devices to list, and how many have trouble."""
    found, troubled = stored_trouble(whose, start, end, limit=limit)
    troubles = {row.device_id: row for row in found}
    wanted = [*troubles, *(pk for pk in selection.device_ids or () if pk not in troubles)][:limit]
    devices = Device.objects.select_related("hardware_target", "region").in_bulk(wanted)
    ledgers = stored_ledger(wanted, start, end)
    seen = {
        row["device"]: row
        for row in DeviceLatest.objects.filter(device__in=wanted)
        .order_by("last_seen_at")
        .values("device", "last_seen_at", "clock_skew_ms")
    }
    return [
        DeviceHealth(
            device=devices[pk],
            ledger=ledgers.get(pk),
            trouble=troubles.get(pk, Trouble(pk, devices[pk].serial, 0, 0, 0, 0, 0)),
            last_seen_at=seen.get(pk, {}).get("last_seen_at"),
            clock_skew_ms=seen.get(pk, {}).get("clock_skew_ms"),
        )
        for pk in wanted
    ], troubled


def _with_sample(found: Rejections) -> Reason:
    sample = _record_sample(found.newest_id) if found.status is None else _request_sample(found.newest_id)
    return Reason(found.section, found.code, found.status, found.count, found.devices, found.newest, sample)


def _record_sample(pk: int) -> Sample | None:
    row = QuarantinedRecord.objects.select_related("device").filter(pk=pk).first()
    if row is None:
        return None
    return Sample(row.device.serial, row.received_at, row.message, row.index, row.field, record=row.record)


def _request_sample(pk: int) -> Sample | None:
    row = RequestReject.objects.select_related("device").filter(pk=pk).first()
    if row is None:
        return None
    body = bytes(row.body_sample or b"")
    text = readable(body)
    return Sample(
        row.device.serial if row.device else None,
        row.at,
        row.message,
        body=text,
        body_base64=None if text is not None else base64.b64encode(body).decode(),
        bytes=row.bytes,
    )


def readable(body: bytes) -> str | None:
    """The bytes as text, if they are text (a last character may be cut in two); None for anything else."""
    for end in range(len(body), max(len(body) - 4, -1), -1):
        try:
            text = body[:end].decode()
        except UnicodeDecodeError:
            continue
        return text if text.isprintable() or not any(c < " " and c not in "\t\r\n" for c in text) else None
    return None
