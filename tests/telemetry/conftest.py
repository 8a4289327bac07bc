"""What tests of telemetry share: full allowances, and a clock that the views' own agrees with."""

from datetime import datetime

import pytest
from django.utils import timezone

from telemetry import allowances


@pytest.fixture(autouse=True)
def full_allowances():
    """No test is throttled by the requests of the one before."""
    allowances.refill()


@pytest.fixture
def clock() -> datetime:
    """The time now, for requests: their views read the clock themselves."""
    return timezone.now()
