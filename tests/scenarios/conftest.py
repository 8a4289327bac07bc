"""What stories share: a clock that the story turns, and the cast and field of the rollout tests."""

from datetime import datetime, timedelta

import pytest

from tests.rollouts.conftest import draft, make_fleet, play, qualify, start

__all__ = ["draft", "make_fleet", "play", "qualify", "start"]


class Clock:
    """The time that every edge of the product reads."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def turn(self, **span: float) -> datetime:
        """Let time pass."""
        self.now += timedelta(**span)
        return self.now


@pytest.fixture
def clock(now, monkeypatch) -> Clock:
    """Edges read `timezone.now()`; stories decide what it says."""
    clock = Clock(now)
    monkeypatch.setattr("django.utils.timezone.now", lambda: clock.now)
    return clock
