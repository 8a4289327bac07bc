"""Reading raw rows: single inferences, and samples of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from telemetry.store.connection import execute, query, reading


@dataclass(frozen=True)
class StoredInference:
    """What of a raw row is needed to label it; ids as stored."""

    device_id: int
    context_id: int
    time: datetime
    sample_ref: str | None
    class_id: int | None
    confidence: float | None


@dataclass(frozen=True)
class DrawnInference:
    """A row of a sample: its weight, and the random key by which it was drawn."""

    inference: StoredInference
    weight: float
    key: float


def batch_id_span(start: datetime, end: datetime) -> tuple[int, int] | None:
    """First and last ledger id received in [start, end); None where nothing was."""
    with reading() as cursor:
        ((first, last),) = execute(cursor, query("raw_batches"), {"start": start, "end": end})
    return None if first is None else (first, last)


def draw_inferences(
    *,
    batch_ids: Sequence[int],
    context_ids: Sequence[int],
    start: datetime,
    end: datetime,
    seed: int,
    uncertain: bool,
    limit: int,
) -> list[DrawnInference]:
    """The `limit` rows of some batches with the smallest random keys, in order of the key.

    Args:
        uncertain: weigh rows by 1 - confidence (those without one are left out); else all alike.
    """
    parameters = {
        "batch_ids": list(batch_ids),
        "context_ids": list(context_ids),
        "start": start,
        "end": end,
        "seed": seed,
        "uncertain": uncertain,
        "limit": limit,
    }
    with reading() as cursor:
        rows = execute(cursor, query("sample_inferences"), parameters)
    return [DrawnInference(StoredInference(*row[:6]), row[6], row[7]) for row in rows]


def inference_at(device_id: int, time: datetime, context_ids: Sequence[int]) -> StoredInference | None:
    """The inference of a device at exactly that time, if it is still kept."""
    parameters = {"device_id": device_id, "time": time, "context_ids": list(context_ids)}
    with reading() as cursor:
        rows = execute(cursor, query("inference_at"), parameters)
    return StoredInference(*rows[0]) if rows else None
