"""Waiting: the jitter's range, what Retry-After may say."""

import random
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ridgeline_sdk.backoff import full_jitter, next_wait_s, retry_after_s

NOW = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)


@given(st.integers(1, 10_000), st.integers())
def test_a_wait_lies_between_nothing_and_the_doubled_base_up_to_the_cap(attempt, seed):
    wait = full_jitter(attempt, random.Random(seed), base_s=1.0, cap_s=300.0)
    assert 0.0 <= wait <= min(300.0, 2.0 ** min(attempt - 1, 30))


def test_waits_fill_their_range_so_that_a_fleet_does_not_return_at_once():
    rng = random.Random(7)
    waits = [full_jitter(6, rng) for _ in range(2000)]
    assert min(waits) < 1.0
    assert max(waits) > 31.0
    assert sum(waits) / 2000 == pytest.approx(16.0, rel=0.05)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        (" 0 ", 0.0),
        ("Mon, 02 Mar 2026 12:01:30 GMT", 90.0),
        ("Mon, 02 Mar 2026 11:00:00 GMT", 0.0),
        ("soon", None),
        ("-5", None),
        (None, None),
    ],
)
def test_retry_after_is_seconds_or_a_date(header, seconds):
    assert retry_after_s(header, NOW) == seconds


@given(st.floats(0.0, 3600.0), st.integers())
def test_the_server_is_never_asked_before_the_time_it_named(asked, seed):
    assert asked <= next_wait_s(3, asked, random.Random(seed)) <= asked + max(1.0, asked) * 0.25
