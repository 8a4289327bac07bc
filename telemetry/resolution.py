"""Which tier answers a question: steps by range, and how a span is covered by days, hours and finer rows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

MINUTE = timedelta(minutes=1)
FIVE_MINUTES = timedelta(minutes=5)
HOUR = timedelta(hours=1)
DAY = timedelta(days=1)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

# Up to this range, at least that step: what a page reads grows with neither the range nor the traffic.
STEP_BY_RANGE = ((timedelta(days=2), FIVE_MINUTES), (timedelta(days=60), HOUR), (timedelta.max, DAY))
MAX_POINTS = 300
NICE_STEPS = (
    MINUTE,
    FIVE_MINUTES,
    timedelta(minutes=10),
    timedelta(minutes=15),
    timedelta(minutes=30),
    HOUR,
    timedelta(hours=2),
    timedelta(hours=3),
    timedelta(hours=6),
    timedelta(hours=12),
    DAY,
    timedelta(days=2),
    timedelta(days=7),
    timedelta(days=28),
)


@dataclass(frozen=True)
class Cover:
    """A span cut where tiers change: finer rows outside of the hours, hours outside of the days, days inside.

    start <= first_hour <= first_day <= last_day <= last_hour <= end; a tier that is not used has an empty span.
    """

    start: datetime
    first_hour: datetime
    first_day: datetime
    last_day: datetime
    last_hour: datetime
    end: datetime


def floor(moment: datetime, width: timedelta) -> datetime:
    """The start of the bucket, aligned to the epoch, in which a moment lies."""
    return moment - (moment - EPOCH) % width


def ceiling(moment: datetime, width: timedelta) -> datetime:
    """The first bucket start at or after a moment."""
    return -((EPOCH - moment) // width) * width + EPOCH


def cover(start: datetime, end: datetime, *, step: timedelta | None = None, origin: datetime = EPOCH) -> Cover:
    """Cut [start, end) so that each part is read from the coarsest tier that still fits.

    Args:
        step: where rows are grouped by time, the width of a group: a row must not straddle two groups, so hours are
            used only if groups begin and end on the hour, and days only if they do so at midnight UTC.
        origin: where some group begins.
    """
    end = max(start, end)
    first_hour, last_hour = ceiling(start, HOUR), floor(end, HOUR)
    if first_hour >= last_hour or not _aligned(HOUR, step, origin):
        return Cover(start, start, start, start, start, end)
    first_day, last_day = ceiling(first_hour, DAY), floor(last_hour, DAY)
    if first_day >= last_day or not _aligned(DAY, step, origin):
        first_day = last_day = first_hour
    return Cover(start, first_hour, first_day, last_day, last_hour, end)


def _aligned(width: timedelta, step: timedelta | None, origin: datetime) -> bool:
    return step is None or (not step % width and not (origin - EPOCH) % width)


def finest_kept(start: datetime, *, now: datetime, retention: dict[str, int]) -> timedelta:
    """The width of the finest cohort rows that are still kept at a time.

    Args:
        retention: days for which the tiers `minute` (with cohorts of five minutes) and `hour` are kept.
    """
    age = now - start
    if age > timedelta(days=retention["hour"]):
        return DAY
    return HOUR if age > timedelta(days=retention["minute"]) else FIVE_MINUTES


def finest_step(start: datetime, end: datetime, *, now: datetime, retention: dict[str, int]) -> timedelta:
    """The finest step that a range may have: by its length, and by what is still kept at its start."""
    by_length = next(step for longest, step in STEP_BY_RANGE if end - start <= longest)
    return max(by_length, finest_kept(start, now=now, retention=retention))


def choose_step(start: datetime, end: datetime, *, finest: timedelta, wanted: timedelta | None = None) -> timedelta:
    """The wanted step rounded up to a multiple of the tier, or the finest with few enough points."""
    if wanted is not None:
        return max(finest, ceiling(EPOCH + wanted, finest) - EPOCH)
    for step in NICE_STEPS:
        if step >= finest and (end - start) <= MAX_POINTS * step:
            return step
    return ceiling(EPOCH + (end - start) / MAX_POINTS, DAY) - EPOCH
