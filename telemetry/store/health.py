"""Reading what ingest refused, missed or took late."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from psycopg import sql

from telemetry.models.ledger import LATE
from telemetry.store.connection import execute, query, reading


@dataclass(frozen=True)
class Rejections:
    """How often something was refused for one reason.

    `status` is None for records that were refused within a batch that was stored; `section` is "" for requests that
    were refused whole. `newest_id` is the row with the newest sample.
    """

    section: str
    code: str
    status: int | None
    count: int
    devices: int
    newest: datetime
    newest_id: int


@dataclass(frozen=True)
class Trouble:
    """What went wrong with a device: records and requests refused, 429s, batches missing, records dropped."""

    device_id: int
    serial: str
    rejected: int
    refused: int
    throttled: int
    missing_batches: int
    dropped: int


@dataclass(frozen=True)
class LateAndBad:
    """What came late, and what was not taken, of one release on one hardware target.

    Attributes:
        workload_id, release_id, workload, release: None of batches that said nothing of what runs.
        batches, devices, records: late ones; the records are inferences.
        oldest: age of the newest record of the batch that waited longest; None where none was late.
        rejected: bad records in all batches that were stored.
    """

    workload_id: int | None
    release_id: int | None
    workload: str | None
    release: str | None
    hardware_target: str
    batches: int
    devices: int
    records: int
    oldest: timedelta | None
    rejected: int


@dataclass(frozen=True)
class LedgerSums:
    """What the ledger says of a device in a range.

    Attributes:
        late: batches whose newest record was older than `LATE` when they came.
        unsynced: batches sent with a clock that was not synchronised.
        clock_offset_ms: largest correction applied to the device's times.
        recorded: inferences that count: those of windows, and single ones that no window stands for.
    """

    device_id: int
    batches: int
    inferences: int
    windows: int
    window_inferences: int
    events: int
    states: int
    counters: int
    rejected: int
    unknown_fields: int
    repeats: int
    dropped_inferences: int
    dropped_windows: int
    dropped_events: int
    bytes: int
    late: int
    unsynced: int
    clock_offset_ms: float
    last_received_at: datetime
    recorded: int


@dataclass(frozen=True)
class Whose:
    """Devices by id, hardware target and region; None means all, and then requests of nobody in particular as well."""

    device_ids: Sequence[int] | None = None
    hardware_target_ids: Sequence[int] | None = None
    region_ids: Sequence[int] | None = None

    def condition(self) -> tuple[sql.Composable, dict[str, list[int]]]:
        """As a condition on `device`, with its parameters."""
        columns = {"device_ids": "id", "hardware_target_ids": "hardware_target_id", "region_ids": "region_id"}
        wanted = {name: list(ids) for name, ids in vars(self).items() if ids is not None}
        parts = [
            sql.SQL("device.{} = ANY({}::int8[])").format(sql.Identifier(columns[name]), sql.Placeholder(name))
            for name in wanted
        ]
        return sql.SQL(" AND ").join(parts) if parts else sql.SQL("true"), wanted


def rejection_counts(whose: Whose, start: datetime, end: datetime) -> list[Rejections]:
    """Everything refused in [start, end) by reason, the most frequent first."""
    condition, parameters = whose.condition()
    statement = query("rejection_counts").format(filter=condition)
    with reading() as cursor:
        return [Rejections(*row) for row in execute(cursor, statement, {**parameters, "start": start, "end": end})]


def troubled_devices(whose: Whose, start: datetime, end: datetime, *, limit: int | None) -> tuple[list[Trouble], int]:
    """Devices with something wrong in [start, end), worst first, and how many there are beyond the limit too."""
    condition, parameters = whose.condition()
    statement = query("troubled_devices").format(filter=condition)
    with reading() as cursor:
        rows = execute(cursor, statement, {**parameters, "start": start, "end": end, "limit": limit})
    return [Trouble(*row[:-1]) for row in rows], rows[0][-1] if rows else 0


def late_and_bad(whose: Whose, start: datetime, end: datetime) -> list[LateAndBad]:
    """What was received in [start, end) late or was not taken whole, by release and hardware target."""
    condition, parameters = whose.condition()
    # as a literal: only so the planner sees that the index has the same condition
    statement = query("late_and_bad").format(filter=condition, late=sql.Literal(LATE))
    with reading() as cursor:
        return [LateAndBad(*row) for row in execute(cursor, statement, {**parameters, "start": start, "end": end})]


def device_ledger(device_ids: Sequence[int], start: datetime, end: datetime) -> dict[int, LedgerSums]:
    """What the ledger says of devices, by time of receipt in [start, end); devices that sent nothing are left out."""
    parameters = {"device_ids": list(device_ids), "start": start, "end": end, "late": LATE}
    with reading() as cursor:
        rows = execute(cursor, query("device_ledger"), parameters)
    return {row[0]: LedgerSums(*row) for row in rows}
