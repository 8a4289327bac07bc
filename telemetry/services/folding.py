"""Folding: what ingest wrote per device and minute becomes the hours and days of devices and the tiers of cohorts.

Ingest writes partial rows (one per batch, context and minute) and a mark for them. Folding takes marks and

- adds the partial rows of each mark to the three cohort tiers, once: mark and sums change in one transaction, so a
  crash or a second worker neither loses nor doubles. Work is proportional to what is new; a device that comes back
  after three days costs its own rows, not those of its cohort.
- notes the hours and days of the device as stale, and writes those that are over anew from the finer tier. Readers
  take stale ones from the finer tier (see telemetry/sql/device_rollups.sql), so the running hour is never rewritten.

The invariant that rebuilding and auditing rest on: a cohort tier is the sum of the partial rows that have no mark.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import OperationalError, transaction

from telemetry import store
from telemetry.columns import COHORT_TIER_KEYS, names
from telemetry.rollups import Rollups

MARKS_PER_TRANSACTION = 2_000
STALE_PER_TRANSACTION = 500

# A reader folds first what one transaction takes (tenths of a second); beyond it the beat task is trusted until it is
# that late.
MARKS_PER_READ = MARKS_PER_TRANSACTION
LATE = timedelta(seconds=30)
LOCK_WAIT = timedelta(seconds=2)

_COHORT_KEYS = names(COHORT_TIER_KEYS)
_HOUR_US = 3_600_000_000
_DAY_US = 24 * _HOUR_US


@dataclass(frozen=True)
class FoldResult:
    """What a pass did: marks folded, cohort rows written, device hours and days written."""

    marks: int = 0
    cohort_rows: int = 0
    device_hours: int = 0
    device_days: int = 0

    def __add__(self, other: FoldResult) -> FoldResult:
        return FoldResult(
            self.marks + other.marks,
            self.cohort_rows + other.cohort_rows,
            self.device_hours + other.device_hours,
            self.device_days + other.device_days,
        )


def fold(now: datetime) -> FoldResult:
    """Fold all that is marked, and write all hours and days that are over; safe to run at any time, by anyone.

    Each batch is a transaction of its own and marks come first, so that charts stay fresh while a full hour of a large
    fleet is being written.
    """
    result = FoldResult()
    while True:
        folded = fold_marks()
        result += folded
        if folded.marks >= MARKS_PER_TRANSACTION:
            continue
        written = _write_hours(now)
        if not written.device_hours:
            written += _write_days(now)
        result += written
        if not (written.device_hours or written.device_days):
            return result


@transaction.atomic
def fold_marks() -> FoldResult:
    """Fold the oldest batches, with about `MARKS_PER_TRANSACTION` marks, into the cohort tiers."""
    store.lock_tiers()
    return _fold_marks()


def catch_up(now: datetime) -> datetime:
    """Let a reader see what was just stored: fold when little waits, or when the task is late.

    Returns:
        "data as of": everything committed before this moment is in the cohort tiers.
    """
    waiting, since = store.marks_state(MARKS_PER_READ + 1)
    if since is None:
        return now
    if waiting <= MARKS_PER_READ or now - since > LATE:
        try:
            with transaction.atomic():
                store.lock_tiers(timeout=LOCK_WAIT)
                _fold_marks()
        except OperationalError:
            # another fold holds the lock for longer than a reader wants to wait
            return since
        _, since = store.marks_state(1)
    return since or now


def _fold_marks() -> FoldResult:
    marks = store.take_marks(MARKS_PER_TRANSACTION)
    if not len(marks):
        return FoldResult()
    five_minutes = store.marked_partials(marks)
    hours = _widened(five_minutes, _HOUR_US)
    written = (
        store.add_to_cohorts("cohort_5min", five_minutes)
        + store.add_to_cohorts("cohort_hour", hours)
        + store.add_to_cohorts("cohort_day", _widened(hours, _DAY_US))
    )
    store.add_cells(marks)
    store.add_stale(marks)
    return FoldResult(marks=len(marks), cohort_rows=written)


def _widened(rollups: Rollups, width_us: int) -> Rollups:
    """Rows merged into wider buckets."""
    bucket = rollups.keys["bucket"]
    return rollups.with_keys(bucket=bucket - bucket % width_us).merged_by(*_COHORT_KEYS)


@transaction.atomic
def _write_hours(now: datetime) -> FoldResult:
    store.lock_tiers()
    due = store.take_stale("device_hour", now, STALE_PER_TRANSACTION)
    store.rewrite_device_rows("device_hour", due)
    return FoldResult(device_hours=len(due))


@transaction.atomic
def _write_days(now: datetime) -> FoldResult:
    store.lock_tiers()
    due = store.take_stale("device_day", now, STALE_PER_TRANSACTION)
    store.rewrite_device_rows("device_day", due)
    return FoldResult(device_days=len(due))
