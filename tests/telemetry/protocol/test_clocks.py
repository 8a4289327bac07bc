"""Event time: taken from a synced clock, reconstructed for one that is not."""

import numpy as np

from telemetry.protocol import misplaced, read_clock
from telemetry.protocol.wire import Clock, Envelope

NOW = 1_772_452_800_000_000
SECOND = 1_000_000
# a clock that woke up in 1970
WRONG = 86_400 * SECOND


def envelope(**fields) -> Envelope:
    """An envelope whose clock is what is tested."""
    return Envelope("ridgeline.telemetry/1", "boot-1", 1, **fields)


def test_event_time_is_device_time_when_the_clock_is_synced_or_says_nothing():
    for clock in (None, Clock(), Clock(synced=True)):
        reading = read_clock(envelope(clock=clock, sent_at=NOW - 3 * SECOND), NOW)
        assert reading.event_times(np.array([NOW - SECOND])).tolist() == [NOW - SECOND]
        assert (reading.synced, reading.offset_us, reading.skew_us) == (True, 0, 3 * SECOND)


def test_each_record_is_as_old_as_its_uptime_says_when_the_clock_is_not_synced():
    reading = read_clock(envelope(clock=Clock(synced=False), uptime_ms=100_000, sent_at=WRONG), NOW)
    times = reading.event_times(np.array([WRONG - 7, WRONG - 4 * SECOND]), np.array([98_500.0, np.nan]))
    assert times.tolist() == [NOW - 1_500_000, NOW - 4 * SECOND]


def test_without_uptimes_the_device_times_count_from_the_time_of_sending():
    reading = read_clock(envelope(clock=Clock(synced=False), sent_at=WRONG), NOW)
    assert reading.event_times(np.array([WRONG - 2 * SECOND])).tolist() == [NOW - 2 * SECOND]
    assert reading.offset_us == NOW - WRONG


def test_a_body_sent_again_after_an_hour_is_placed_by_the_uptime_of_the_new_request():
    first = envelope(clock=Clock(synced=False), sent_at=WRONG, uptime_ms=100_000)
    reading = read_clock(first, NOW, uptime_now_ms=100_000 + 3_600_000)
    times = reading.event_times(np.array([WRONG - SECOND, WRONG - SECOND]), np.array([99_000.0, np.nan]))
    assert times.tolist() == [NOW - 3601 * SECOND] * 2


def test_a_clock_of_which_nothing_is_known_is_taken_at_its_word():
    reading = read_clock(envelope(clock=Clock(synced=False)), NOW)
    assert reading.event_times(np.array([WRONG])).tolist() == [WRONG]
    assert not reading.synced


def test_more_than_five_minutes_ahead_and_older_than_retention_are_misplaced():
    oldest = NOW - 14 * 86_400 * SECOND
    times = np.array([NOW + 300 * SECOND, NOW + 300 * SECOND + 1, oldest, oldest - 1])
    future, too_old = misplaced(times, NOW, oldest)
    assert future.tolist() == [False, True, False, False]
    assert too_old.tolist() == [False, False, False, True]
