"""Events of a selection: what happened on devices, newest first, or counted by type."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from telemetry.columns import SEVERITIES
from telemetry.selectors.contexts import ContextLabels, labels_of_contexts
from telemetry.selectors.selection import Selection
from telemetry.store.events import EventFilter, EventRow
from telemetry.store.events import event_counts as stored_counts
from telemetry.store.events import events as stored_events


@dataclass(frozen=True)
class Event:
    """One event with public names; `workload` and `release` are None where the device did not say what it ran."""

    id: UUID
    time: datetime
    device: str
    type: str
    severity: str
    detail: dict[str, Any]
    workload: str | None
    release: str | None


@dataclass(frozen=True)
class EventCount:
    """How often events of a type and severity occurred, on how many devices, first and last when."""

    type: str
    severity: str
    count: int
    devices: int
    first: datetime
    last: datetime


def events(
    selection: Selection,
    *,
    start: datetime,
    end: datetime,
    limit: int,
    types: Sequence[str] | None = None,
    severity: str = SEVERITIES[0],
    after: tuple[datetime, UUID] | None = None,
) -> list[Event]:
    """Up to `limit` events of [start, end), newest first.

    Args:
        types: only these; None for all.
        severity: the lowest that counts.
        after: time and id of the last event seen: those behind it in the order.
    """
    wanted, contexts = _filter(selection, start, end, types, severity)
    return [_named(row, contexts) for row in stored_events(wanted, limit=limit, after=after)]


def event_counts(
    selection: Selection,
    *,
    start: datetime,
    end: datetime,
    types: Sequence[str] | None = None,
    severity: str = SEVERITIES[0],
) -> list[EventCount]:
    """Events of [start, end) counted by type and severity, the most severe and most frequent first."""
    wanted, _ = _filter(selection, start, end, types, severity)
    return [
        EventCount(row.type, SEVERITIES[row.severity], row.count, row.devices, row.first, row.last)
        for row in stored_counts(wanted)
    ]


def _filter(
    selection: Selection, start: datetime, end: datetime, types: Sequence[str] | None, severity: str
) -> tuple[EventFilter, dict[int, ContextLabels]]:
    contexts = labels_of_contexts(selection)
    wanted = EventFilter(
        start=start,
        end=end,
        device_ids=selection.device_ids,
        hardware_target_ids=selection.hardware_target_ids,
        region_ids=selection.region_ids,
        context_ids=tuple(contexts) if selection.of_context else None,
        types=None if types is None else tuple(types),
        severity=SEVERITIES.index(severity),
    )
    return wanted, contexts


def _named(row: EventRow, contexts: dict[int, ContextLabels]) -> Event:
    labels = contexts.get(row.context_id) if row.context_id is not None else None
    return Event(
        id=row.event_id,
        time=row.time,
        device=row.serial,
        type=row.type,
        severity=SEVERITIES[row.severity],
        detail=row.detail,
        workload=labels.workload if labels else None,
        release=labels.release if labels else None,
    )
