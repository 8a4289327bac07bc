"""Time ranges of the query string: relative stays relative, absolute is an instant, nonsense is refused by field."""

from datetime import UTC, datetime, timedelta

import pytest

from fleet import timerange
from fleet.exceptions import InvalidInput

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("-15m", timedelta(minutes=15)),
        ("-24h", timedelta(days=1)),
        ("now-7d", timedelta(days=7)),
        ("-2w", timedelta(weeks=2)),
    ],
)
def test_a_relative_range_ends_now_and_stays_relative(text, length):
    found = timerange.parse(text, None, now=NOW)
    assert (found.end, found.length) == (NOW, length)
    assert found.preset == text.removeprefix("now")


def test_nothing_given_is_the_last_day():
    assert timerange.parse(None, None, now=NOW).label == "Last 24 hours"


def test_an_absolute_range_is_taken_as_it_is_in_any_zone():
    found = timerange.parse("2026-03-01T12:00:00+02:00", "2026-03-01T11:00:00Z", now=NOW)
    assert (found.start_text, found.end_text, found.preset) == ("2026-03-01T10:00:00Z", "2026-03-01T11:00:00Z", None)


def test_a_plus_that_was_not_encoded_is_understood():
    assert timerange.parse("2026-03-01T12:00:00 02:00", None, now=NOW).start_text == "2026-03-01T10:00:00Z"


def test_a_time_without_a_zone_is_utc():
    assert timerange.parse("2026-03-01", None, now=NOW).start == datetime(2026, 3, 1, tzinfo=UTC)


def test_stepping_keeps_the_length_and_touches_the_range():
    found = timerange.parse("-6h", None, now=NOW)
    assert found.earlier.end == found.start and found.later.start == found.end
    assert found.earlier.length == found.later.length == found.length
    assert found.earlier.preset is None


@pytest.mark.parametrize(
    ("start", "end", "field"),
    [
        ("yesterday", None, "from"),
        ("-24h", "soon", "to"),
        ("2026-03-02T12:00:00Z", "2026-03-01T12:00:00Z", "to"),
        ("2026-03-02T11:59:30Z", None, "to"),
        ("-9999w", None, "from"),
        ("-99999999h", None, "from"),
    ],
)
def test_a_range_that_makes_no_sense_is_refused_by_the_field_that_is_wrong(start, end, field):
    with pytest.raises(InvalidInput) as refused:
        timerange.parse(start, end, now=NOW)
    assert list(refused.value.errors) == [field]


def test_zooming_keeps_a_relative_range_relative_and_grows_another_on_both_sides():
    day = timerange.parse("-24h", None, now=NOW)
    assert (day.wider, day.narrower) == (("-48h", None), ("-12h", None))
    assert timerange.parse("-1h", None, now=NOW).narrower == ("-30m", None)
    pinned = timerange.parse("2026-03-01T10:00:00Z", "2026-03-01T12:00:00Z", now=NOW)
    assert pinned.wider == ("2026-03-01T09:00:00Z", "2026-03-01T13:00:00Z")
    assert pinned.narrower == ("2026-03-01T10:30:00Z", "2026-03-01T11:30:00Z")


def test_zooming_stops_at_the_shortest_and_the_longest_range():
    assert timerange.parse("-1m", None, now=NOW).narrower == ("-1m", None)
    longest = timerange.parse("-1098d", None, now=NOW)
    assert timerange.parse(*longest.wider, now=NOW).length <= timerange.LONGEST


def test_a_zone_is_utc_local_site_or_a_name_and_nothing_else():
    assert not any(timerange.bad_zone(text) for text in (None, "", "utc", "local", "site", "Europe/Helsinki"))
    assert timerange.bad_zone("Middle/Earth").startswith("tz:")


def test_one_hour_is_the_last_hour():
    assert timerange.parse("-1h", None, now=NOW).label == "Last hour"
    assert timerange.parse("-336h", None, now=NOW).label == "Last 14 days"
