"""Event times: every record of a batch is put on the time axis, and those that cannot lie there are set apart."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from telemetry import protocol
from telemetry.protocol import CheckedWindow, ClockReading, Inferences, Rejection, microseconds
from telemetry.protocol.wire import Counters, Event, State

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(slots=True)
class Placed:
    """The accepted records of a batch with their event times in microseconds, and all of its rejections."""

    inferences: Inferences
    inference_us: NDArray[np.int64]
    windows: list[CheckedWindow]
    window_us: NDArray[np.int64]
    events: list[Event]
    event_us: NDArray[np.int64]
    event_index: list[int]
    states: list[State]
    state_us: NDArray[np.int64]
    counters: Counters | None
    counter_us: int
    rejections: list[Rejection]

    def span(self) -> tuple[datetime | None, datetime | None]:
        """The earliest and the latest event time of what counts for roll-ups, events and states.

        A window reaches to its end: a device that has just sent one is not late by its length.
        """
        window_ends = self.window_us + _lengths(self.windows)
        times = [us for us in (self.inference_us, self.window_us, window_ends, self.event_us, self.state_us) if us.size]
        if not times:
            return None, None
        return as_datetime(min(us.min() for us in times)), as_datetime(max(us.max() for us in times))


def as_datetime(us: int) -> datetime:
    """Microseconds since the epoch as a time."""
    return _EPOCH + timedelta(microseconds=int(us))


def place(batch: protocol.Batch, clock: ClockReading, oldest_us: int) -> Placed:
    """Give every record its event time; what lies in the future, or before `oldest_us`, is rejected."""
    placing = _Placing(clock, oldest_us, list(batch.rejections))
    inferences = batch.inferences
    inference_us = clock.event_times(inferences.time_us, inferences.uptime_ms)
    keep = placing.keep("inferences", "time", inference_us, inferences.index)
    if keep is not None:
        inferences, inference_us = inferences.select(keep), inference_us[keep]
    windows, window_us = batch.windows, _window_starts(batch.windows, clock)
    for field in ("start", "end"):
        times = window_us if field == "start" else window_us + _lengths(windows)
        keep = placing.keep("windows", field, times, [w.index for w in windows])
        if keep is not None:
            windows, window_us = [w for w, kept in zip(windows, keep, strict=True) if kept], window_us[keep]
    events, event_us, event_index = placing.signals("events", batch.events)
    states, state_us, _ = placing.signals("states", batch.states)
    counters, counter_us = batch.counters, 0
    if counters is not None:
        times = _times([counters], clock)
        counter_us = int(times[0])
        if placing.keep("counters", "time", times, [None]) is not None:
            counters = None
    return Placed(
        inferences,
        inference_us,
        windows,
        window_us,
        events,
        event_us,
        event_index,
        states,
        state_us,
        counters,
        counter_us,
        placing.rejections,
    )


class _Placing:
    """One pass over a batch that collects the rejections of misplaced records."""

    def __init__(self, clock: ClockReading, oldest_us: int, rejections: list[Rejection]) -> None:
        self.clock, self.oldest_us, self.rejections = clock, oldest_us, rejections

    def keep(self, section: str, field: str, times: NDArray[np.int64], index) -> NDArray[np.bool_] | None:
        """The mask of the records whose time is possible, the others rejected; None where all are."""
        if not times.size:
            return None
        future, too_old = protocol.misplaced(times, self.clock.received_us, self.oldest_us)
        bad = future | too_old
        if not bad.any():
            return None
        for at in np.flatnonzero(bad):
            when = _text(int(times[at]))
            code, message = (
                ("future", f"Event time {when} is more than five minutes in the future.")
                if future[at]
                else ("too_old", f"Event time {when} is older than what is kept of raw data.")
            )
            place = None if index[at] is None else int(index[at])
            self.rejections.append(Rejection(section, place, field, code, message))
        return ~bad

    def signals(self, section: str, sent) -> tuple[list, NDArray[np.int64], list[int]]:
        """Events or states with their times and indices."""
        records, index = sent.records, sent.index if sent.index is not None else list(range(len(sent.records)))
        times = _times(records, self.clock)
        keep = self.keep(section, "time", times, index)
        if keep is None:
            return records, times, index
        kept = np.flatnonzero(keep)
        return [records[at] for at in kept], times[keep], [index[at] for at in kept]


def _times(records: list, clock: ClockReading) -> NDArray[np.int64]:
    """Event times of records that are read one by one."""
    if not records:
        return np.zeros(0, dtype=np.int64)
    times = np.fromiter((microseconds(record.time) for record in records), np.int64, len(records))
    uptimes = [np.nan if record.uptime_ms is None else record.uptime_ms for record in records]
    return clock.event_times(times, np.array(uptimes))


def _window_starts(windows: list[CheckedWindow], clock: ClockReading) -> NDArray[np.int64]:
    """Event times of the windows' starts; a window's uptime is that of its end."""
    if not windows:
        return np.zeros(0, dtype=np.int64)
    ends = np.array([w.end_us for w in windows], dtype=np.int64)
    uptimes = np.array([np.nan if w.uptime_ms is None else w.uptime_ms for w in windows])
    return clock.event_times(ends, uptimes) - _lengths(windows)


def _lengths(windows: list[CheckedWindow]) -> NDArray[np.int64]:
    """The lengths of windows."""
    return np.array([w.end_us - w.start_us for w in windows], dtype=np.int64)


def _text(us: int) -> str:
    """A time for people; a device may send one beyond the calendar."""
    try:
        return as_datetime(us).strftime("%Y-%m-%dT%H:%M:%SZ")
    except OverflowError:
        return f"{us} µs"
