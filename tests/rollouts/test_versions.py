"""The order of versions."""

from datetime import UTC, datetime, timedelta

import pytest

from rollouts.versions import is_newer

EARLY = datetime(2026, 1, 1, tzinfo=UTC)
LATE = EARLY + timedelta(days=1)


@pytest.mark.parametrize(
    ("newer", "older"),
    [("4.10.0", "4.9.9"), ("v2", "1.9"), ("4.2.0", "4.2.0-rc1"), ("4.2.1", "4.2"), ("2026.11.1", "2026.2.9")],
)
def test_versions_are_compared_by_number_whenever_they_were_made(newer, older):
    assert is_newer(newer, EARLY, older, LATE)
    assert not is_newer(older, LATE, newer, EARLY)


def test_versions_without_an_order_are_compared_by_when_they_were_made():
    assert is_newer("nightly-b", LATE, "nightly-a", EARLY)
    assert not is_newer("nightly-b", EARLY, "1.0", LATE)
    assert is_newer("4.2", LATE, "4.2.0", EARLY)
    assert not is_newer("4.2.0", EARLY, "4.2.0", EARLY)
