"""Maintenance windows: past midnight, by weekday, in the time of the site."""

from datetime import UTC, datetime

import pytest

from rollouts.maintenance import is_open

NIGHT = {"from": "22:00", "to": "04:30"}


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("moment", "expected"),
    [
        ("2026-03-02T21:59", False),
        ("2026-03-02T22:00", True),
        ("2026-03-03T04:29", True),
        ("2026-03-03T04:30", False),
        ("2026-03-03T12:00", False),
    ],
)
def test_a_window_past_midnight_is_open_from_its_beginning_to_before_its_end(moment, expected):
    assert is_open(NIGHT, at(moment), "UTC") is expected


def test_the_night_belongs_to_the_day_on_which_it_began():
    saturday = {**NIGHT, "days": ["sat"]}
    assert is_open(saturday, at("2026-03-07T23:00"), "UTC")
    assert is_open(saturday, at("2026-03-08T03:00"), "UTC")
    assert not is_open(saturday, at("2026-03-07T03:00"), "UTC")


def test_the_site_decides_what_time_it_is_unless_the_window_names_a_zone():
    window = {"from": "02:00", "to": "03:00"}
    assert is_open(window, at("2026-03-02T17:30"), "Asia/Tokyo")
    assert not is_open({**window, "timezone": "UTC"}, at("2026-03-02T17:30"), "Asia/Tokyo")
    assert is_open(window, at("2026-03-02T02:30"), "Nowhere/Land")


def test_without_a_window_it_is_always_open():
    assert is_open(None, at("2026-03-02T12:00"), "UTC")
