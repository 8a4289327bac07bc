"""Reading events, and what a device reports of itself: states, counters, clock."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

from telemetry.store.connection import execute, query, reading


@dataclass(frozen=True)
class EventFilter:
    """Which events; None everywhere means all, and `severity` is the lowest code that counts."""

    start: datetime
    end: datetime
    device_ids: Sequence[int] | None = None
    hardware_target_ids: Sequence[int] | None = None
    region_ids: Sequence[int] | None = None
    context_ids: Sequence[int] | None = None
    types: Sequence[str] | None = None
    severity: int = 0

    def parameters(self) -> dict[str, Any]:
        """The parameters of the queries."""
        return {name: list(value) if isinstance(value, tuple | list) else value for name, value in vars(self).items()}


@dataclass(frozen=True)
class EventRow:
    """One event as stored."""

    time: datetime
    device_id: int
    serial: str
    context_id: int | None
    event_id: UUID
    type: str
    severity: int
    detail: dict[str, Any]


@dataclass(frozen=True)
class EventCount:
    """How often events of a type and severity occurred, on how many devices, first and last when."""

    type: str
    severity: int
    count: int
    devices: int
    first: datetime
    last: datetime


@dataclass(frozen=True)
class StateRow:
    """What a device reported of itself in a step; None where it did not. `battery_pct` is the lowest."""

    time: datetime
    temperature_c: float | None
    temperature_max_c: float | None
    power_w: float | None
    memory_mb: float | None
    battery_pct: float | None


@dataclass(frozen=True)
class ClockRow:
    """The clock of a device in a step.

    Attributes:
        batches: received.
        synced: share of them sent with a synchronised clock.
        error_ms: largest error that the device admits.
        offset_ms: largest correction that was applied to its times.
        lag_s: largest age of the newest record of a batch when it came.
    """

    time: datetime
    batches: int
    synced: float
    error_ms: float | None
    offset_ms: float
    lag_s: float | None


@dataclass(frozen=True)
class CounterStep:
    """By how much a counter rose in a step, over how many seconds of it."""

    name: str
    time: datetime
    delta: float
    seconds: float


def events(wanted: EventFilter, *, limit: int, after: tuple[datetime, UUID] | None = None) -> list[EventRow]:
    """Up to `limit` events, newest first, behind a position (time and id of the last one seen)."""
    after_time, after_id = after or (None, None)
    parameters = {**wanted.parameters(), "limit": limit, "after_time": after_time, "after_id": after_id}
    with reading() as cursor:
        return [EventRow(*row) for row in execute(cursor, query("events"), parameters)]


def event_counts(wanted: EventFilter) -> list[EventCount]:
    """Events counted by type and severity, the most severe and most frequent first."""
    with reading() as cursor:
        return [EventCount(*row) for row in execute(cursor, query("event_counts"), wanted.parameters())]


def device_states(device_id: int, start: datetime, end: datetime, step: timedelta) -> list[StateRow]:
    """What a device reported of itself over [start, end), step by step; steps without a report are left out."""
    with reading() as cursor:
        return [StateRow(*row) for row in execute(cursor, query("device_states"), _span(device_id, start, end, step))]


def clock_quality(device_id: int, start: datetime, end: datetime, step: timedelta) -> list[ClockRow]:
    """The clock of a device by time of receipt over [start, end); steps without a batch are left out."""
    with reading() as cursor:
        return [ClockRow(*row) for row in execute(cursor, query("clock_quality"), _span(device_id, start, end, step))]


def counter_rates(device_id: int, start: datetime, end: datetime, step: timedelta) -> list[CounterStep]:
    """How fast the counters of a device rose over [start, end), by counter and step."""
    with reading() as cursor:
        rows = execute(cursor, query("counter_rates"), _span(device_id, start, end, step))
    return [CounterStep(*row) for row in rows]


def _span(device_id: int, start: datetime, end: datetime, step: timedelta) -> dict[str, Any]:
    return {"device_id": device_id, "start": start, "end": end, "step": step}
