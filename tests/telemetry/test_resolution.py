"""Which step and which tiers answer which range."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from telemetry.resolution import DAY, FIVE_MINUTES, HOUR, ceiling, choose_step, cover, finest_step, floor

RETENTION = {"minute": 90, "hour": 730}
NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
moments = st.timedeltas(timedelta(0), timedelta(days=150)).map(lambda later: datetime(2026, 1, 1, tzinfo=UTC) + later)


@pytest.mark.parametrize(
    ("days", "step"),
    [(1, FIVE_MINUTES), (2, FIVE_MINUTES), (2.1, HOUR), (60, HOUR), (61, DAY), (300, DAY)],
)
def test_the_finest_step_follows_the_range(days, step):
    retention = {"minute": 900, "hour": 900}
    assert finest_step(NOW - timedelta(days=days), NOW, now=NOW, retention=retention) == step


def test_a_short_range_long_ago_is_answered_from_what_is_still_kept():
    start = NOW - timedelta(days=100)
    assert finest_step(start, start + HOUR, now=NOW, retention=RETENTION) == HOUR
    start = NOW - timedelta(days=800)
    assert finest_step(start, start + HOUR, now=NOW, retention=RETENTION) == DAY


@given(st.timedeltas(timedelta(minutes=1), timedelta(days=3000)))
def test_a_chosen_step_gives_at_most_three_hundred_points(length):
    finest = finest_step(NOW - length, NOW, now=NOW, retention={"minute": 9000, "hour": 9000})
    step = choose_step(NOW - length, NOW, finest=finest)
    assert length <= 300 * step or step == finest
    assert not step % finest


@given(st.timedeltas(timedelta(seconds=1), timedelta(days=30)))
def test_a_wanted_step_becomes_a_multiple_of_the_tier_and_never_finer(wanted):
    step = choose_step(NOW - DAY, NOW, finest=FIVE_MINUTES, wanted=wanted)
    assert not step % FIVE_MINUTES
    assert wanted <= step < wanted + FIVE_MINUTES or step == FIVE_MINUTES


@given(moments, st.timedeltas(timedelta(0), timedelta(days=40)))
def test_a_cover_is_ordered_and_cut_on_the_hour_and_at_midnight(start, length):
    cut = cover(start, start + length)
    assert cut.start <= cut.first_hour <= cut.first_day <= cut.last_day <= cut.last_hour <= cut.end
    if cut.first_hour < cut.last_hour:
        assert cut.first_hour == ceiling(start, HOUR)
        assert cut.last_hour == floor(start + length, HOUR)
    if cut.first_day < cut.last_day:
        assert cut.first_day == ceiling(cut.first_day, DAY)
        assert cut.last_day == floor(cut.last_day, DAY)


@given(moments, st.timedeltas(timedelta(0), timedelta(days=40)))
def test_whole_hours_and_days_inside_a_span_are_used(start, length):
    cut = cover(start, start + length)
    assert cut.first_hour - cut.start < HOUR or cut.first_hour == cut.last_hour
    assert cut.end - cut.last_hour < HOUR or cut.first_hour == cut.last_hour
    if ceiling(start, DAY) < floor(start + length, DAY):
        assert cut.first_day < cut.last_day


def test_rows_that_would_straddle_two_groups_are_not_used():
    start, end = NOW - 3 * DAY, NOW
    assert cover(start, end, step=timedelta(minutes=30)).last_hour == start
    hourly = cover(start, end, step=2 * HOUR, origin=NOW)
    assert (hourly.first_hour, hourly.last_hour) == (start, end)
    assert hourly.first_day == hourly.last_day
    assert cover(start, end, step=HOUR, origin=NOW + timedelta(minutes=7)).last_hour == start
