"""What would settle an open question, in devices and in hours."""

import pytest

from drift.stats.settling import Settling, settle

OPEN = {"theta": 0.01, "delta": 0.05, "half_width": 0.08, "treated": 10, "hours": 24.0, "variance": 4e-4}


def test_twice_the_room_needs_a_quarter_of_the_width_in_devices() -> None:
    assert settle(**OPEN, first=None).devices == 40
    assert settle(**OPEN, first=None).hours is None


def test_hours_help_as_long_as_the_variance_still_falls() -> None:
    # variance = 4e-4 x 24 / hours exactly: a quarter of it is reached at four times the hours.
    assert settle(**OPEN, first=(1.0, 4e-4 * 24)).hours == pytest.approx(96.0)


def test_hours_do_not_help_where_devices_differ_for_good() -> None:
    assert settle(**OPEN, first=(1.0, 4.2e-4)).hours is None


def test_an_estimate_above_the_margin_must_become_a_shown_harm() -> None:
    above = settle(theta=0.06, delta=0.05, half_width=0.12, treated=10, hours=24.0, variance=4e-4, first=None)
    assert above.devices == 40


def test_what_is_settled_already_or_never_needs_no_number() -> None:
    assert settle(**(OPEN | {"half_width": 0.01}), first=None) == Settling(None, None)
    assert settle(**(OPEN | {"half_width": float("inf")}), first=None) == Settling(None, None)
    assert settle(**(OPEN | {"theta": 0.05}), first=None).devices == 26
    assert settle(**(OPEN | {"theta": 0.0499999999}), first=None).devices is None


def test_it_says_so_in_words() -> None:
    assert Settling(40, 95.2).words(10, 24.0) == (
        "about 40 treated devices instead of 10 or about 96 h instead of 24 h"
    )
    assert Settling(None, None).words(10, 24.0) == ""
