"""Retention: what is older than its tier is kept for goes, chunk by chunk, and every run leaves a row behind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import DatabaseError, transaction

from telemetry.models import BatchGap, MaintenanceRun, QuarantinedRecord, RequestReject
from telemetry.services.folding import fold
from telemetry.services.maintenance import Work, recorded
from telemetry.store import upkeep

# Hypertable -> the setting in RETENTION_DAYS that it follows. device_day and cohort_day are kept for ever.
TABLES = {
    "inference": "raw",
    "device_state": "raw",
    "device_minute": "minute",
    "device_cell": "minute",
    "cohort_5min": "minute",
    "device_hour": "hour",
    "cohort_hour": "hour",
    "cohort_cell": "hour",
    "event": "event",
    "counter_rate": "event",
}
# Where the edition allows it, chunks are compressed once hardly any late record falls into them.
COMPRESS_AFTER = {
    "inference": timedelta(days=3),
    "device_minute": timedelta(days=7),
    "device_state": timedelta(days=3),
}
LEDGER_SLICE = 10_000


def horizon(kind: str, now: datetime) -> datetime:
    """The time before which a kind of rows is no longer kept.

    Hours are written anew from minutes when late records come, and records as old as the raw rows are still taken: so
    minutes and the ledger outlive raw rows by a day at least, whatever the settings say.
    """
    days = settings.RETENTION_DAYS[kind]
    if kind in ("minute", "ledger", "hour"):
        days = max(days, settings.RETENTION_DAYS["raw"] + 1)
    return now - timedelta(days=days)


def apply_retention(now: datetime, *, clock: Callable[[], datetime]) -> dict[str, Any]:
    """Drop, delete and compress what is due; everything marked is folded first, so that nothing is dropped unseen.

    Returns:
        what went, as the run's row keeps it.
    """
    with recorded(MaintenanceRun.Kind.RETENTION, now=now, clock=clock) as work:
        fold(now)
        work.result["deleted_rows"] = _delete_plain_rows(now)
        work.result["dropped_chunks"] = {
            table: chunks for table, kind in TABLES.items() if (chunks := upkeep.drop_chunks(table, horizon(kind, now)))
        }
        _compress(work, now)
    return work.result


def _delete_plain_rows(now: datetime) -> dict[str, int]:
    ledger_horizon, quarantine_horizon = horizon("ledger", now), horizon("quarantine", now)
    deleted = 0
    while slice_size := upkeep.delete_ledger(ledger_horizon, LEDGER_SLICE):
        deleted += slice_size
    with transaction.atomic():
        return {
            "ledger": deleted,
            "gaps": BatchGap.objects.filter(found_at__lt=ledger_horizon).delete()[0],
            "quarantine": QuarantinedRecord.objects.filter(received_at__lt=quarantine_horizon).delete()[0],
            "refusals": RequestReject.objects.filter(at__lt=quarantine_horizon).delete()[0],
        }


def _compress(work: Work, now: datetime) -> None:
    """Compress what is due, chunk by chunk, and note it; None where the edition has no compression.

    A chunk that cannot be compressed is as good as before: it is told, and neither stops the others nor the retention.
    """
    work.result["compressed_chunks"] = None
    if not upkeep.has_compression():
        return
    compressed: dict[str, list[str]] = {}
    work.result["compressed_chunks"] = compressed
    for table, age in COMPRESS_AFTER.items():
        try:
            chunks = upkeep.uncompressed_chunks(table, now - age)
            if chunks:
                with transaction.atomic():
                    upkeep.enable_compression(table)
            for chunk in chunks:
                with transaction.atomic():
                    upkeep.compress_chunk(chunk)
                compressed.setdefault(table, []).append(chunk)
        except DatabaseError as refusal:
            work.result["error"] = f"{table} was not compressed: {str(refusal).splitlines()[0]}"
            work.succeeded = False
