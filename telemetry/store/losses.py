"""Reading what the ledger proves to be missing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from telemetry.store.connection import execute, query, reading


@dataclass(frozen=True)
class Loss:
    """Records that were made and did not arrive, estimated; spread evenly over [start, end].

    `kind` is "gap" (batches missing from a sequence) or "dropped" (admitted by the device). `context_id` is None where
    no neighbouring batch tells it.
    """

    kind: str
    device_id: int
    context_id: int | None
    start: datetime
    end: datetime
    records: float


def batch_losses(start: datetime, end: datetime, *, device_ids: Sequence[int] | None = None) -> list[Loss]:
    """Losses that overlap [start, end)."""
    parameters = {"start": start, "end": end, "device_ids": None if device_ids is None else list(device_ids)}
    with reading() as cursor:
        return [Loss(*row) for row in execute(cursor, query("batch_losses"), parameters)]
