"""Event time: what the device's clock says when it is synced, else reconstructed from the receive time and uptime."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from telemetry.protocol.wire import Envelope, microseconds

# A record may lie this far in the future, which covers honest clock errors.
FUTURE_US = 5 * 60 * 1_000_000

# A thousand years; an uptime beyond that is nonsense and is not used.
_LONGEST_UPTIME_US = 1_000 * 366 * 86_400 * 1e6


@dataclass(frozen=True, slots=True)
class ClockReading:
    """How the device times of one batch become event times.

    Attributes:
        synced: the device's clock follows a reference, or the device did not say otherwise.
        received_us: receive time at the server.
        uptime_ms: the device's monotonic clock when it sent this request, where known.
        offset_us: event time minus device time for records that carry no uptime of their own.
        error_ms: what the device says its clock may be off by.
        skew_us: receive time minus sent_at: clock difference and network delay together; None without sent_at.
    """

    synced: bool
    received_us: int
    uptime_ms: float | None = None
    offset_us: int = 0
    error_ms: float | None = None
    skew_us: int | None = None

    def event_times(
        self, time_us: NDArray[np.int64], uptime_ms: NDArray[np.float64] | None = None
    ) -> NDArray[np.int64]:
        """Event times in microseconds.

        Args:
            time_us: (n,) device times.
            uptime_ms: (n,) monotonic device clock at each event, nan where not sent.
        """
        times = time_us + self.offset_us
        if self.synced or uptime_ms is None or self.uptime_ms is None:
            return times
        # receive time - (uptime at send - uptime at event)
        ago_us = (self.uptime_ms - uptime_ms) * 1000
        known = np.abs(ago_us) < _LONGEST_UPTIME_US
        return np.where(known, self.received_us - np.where(known, ago_us, 0).astype(np.int64), times)


def read_clock(envelope: Envelope, received_us: int, uptime_now_ms: float | None = None) -> ClockReading:
    """How the times of a batch are to be read.

    A clock that is not synced may be off by decades but runs at the right speed. So what counts is how long before
    sending a record was made: by its own uptime where it has one, else by its device time against the device's time at
    sending.

    Args:
        envelope: the batch.
        received_us: receive time.
        uptime_now_ms: the device's monotonic clock at this request, when it tells it apart from the body; a body that
            is sent again after hours still holds the uptime of its first sending.
    """
    clock = envelope.clock
    error_ms = clock.error_ms if clock else None
    sent_us = None if envelope.sent_at is None else microseconds(envelope.sent_at)
    skew_us = None if sent_us is None else received_us - sent_us
    if clock is None or clock.synced is not False:
        return ClockReading(True, received_us, error_ms=error_ms, skew_us=skew_us)
    uptime_ms = envelope.uptime_ms if uptime_now_ms is None else uptime_now_ms
    offset_us = 0
    if sent_us is not None:
        offset_us = received_us - sent_us
        if uptime_now_ms is not None and envelope.uptime_ms is not None:
            # the device's own time at this sending is later than sent_at by the time since the first sending
            offset_us -= round((uptime_now_ms - envelope.uptime_ms) * 1000)
    return ClockReading(False, received_us, uptime_ms, offset_us, error_ms, skew_us)


def misplaced(event_us: NDArray[np.int64], received_us: int, oldest_us: int) -> tuple[NDArray, NDArray]:
    """Masks of the event times that lie too far in the future, and of those before `oldest_us`."""
    return event_us > received_us + FUTURE_US, event_us < oldest_us
