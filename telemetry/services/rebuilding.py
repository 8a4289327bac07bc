"""Rebuilding tiers from finer ones: after a defect, a change of labels, or a restored backup."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from telemetry import store
from telemetry.models import MaintenanceRun
from telemetry.partials import HOUR_US, MINUTE_US, cell_partials, minute_partials
from telemetry.resolution import DAY, HOUR, ceiling, floor
from telemetry.services.folding import fold
from telemetry.services.maintenance import Progress, recorded
from telemetry.store import upkeep
from telemetry.store.tiers import FINER, WIDTH

# In the order in which they follow from one another.
TIERS = ("device_minute", "device_hour", "device_day", "cohort_5min", "cohort_hour", "cohort_day", "cohort_cell")
BATCHES_PER_TRANSACTION = 200

_SPAN = {"cohort_5min": HOUR, "cohort_hour": DAY, "cohort_day": 30 * DAY, "cohort_cell": DAY}
_SOURCE = {
    "cohort_5min": "device_minute",
    "cohort_hour": "cohort_5min",
    "cohort_day": "cohort_hour",
    "cohort_cell": "device_cell",
}


def rebuild_tiers(
    tiers: tuple[str, ...],
    start: datetime,
    end: datetime,
    *,
    now: datetime,
    clock: Callable[[], datetime],
    progress: Progress,
) -> dict[str, Any]:
    """Write tiers anew over [start, end), widened to whole buckets, and record the run.

    Ingest and folding go on meanwhile: each step is a short transaction under the lock of the tiers. Where the finer
    tier is not kept any more, the coarser one is left as it is. Rebuilding the minutes leaves every other tier to be
    rebuilt from them, so name those as well.

    Args:
        progress: is told the tier and the share of it that is done.

    Returns:
        {"from", "to", "rows": {tier: rows written}, and for minutes "skipped_batches"}
    """
    with recorded(MaintenanceRun.Kind.REBUILD, now=now, clock=clock) as work:
        fold(now)
        work.result |= {"from": start.isoformat(), "to": end.isoformat(), "rows": {}}
        chosen = [tier for tier in TIERS if tier in tiers]

        def tell(tier: str, share: float) -> None:
            progress(tier, share)
            work.report(tier, (chosen.index(tier) + share) / len(chosen))

        for tier in chosen:
            if tier == "device_minute":
                rows, skipped, start, end = _rebuild_minutes(start, end, tell)
                work.result["skipped_batches"] = skipped
            elif tier.startswith("device"):
                rows = _rebuild_device_tier(tier, start, end, now, tell)
            else:
                rows = _rebuild_cohorts(tier, start, end, tell)
            work.result["rows"][tier] = rows
            tell(tier, 1.0)
    return work.result


def _rebuild_minutes(start: datetime, end: datetime, progress: Progress) -> tuple[int, int, datetime, datetime]:
    """Minutes and conditions from raw rows; batches reach beyond the range, so the range that changed comes back.

    Batches with windows keep their rows (nothing else says what the windows said), and so do those whose raw rows are
    gone in part.
    """
    rows = skipped = after = 0
    first, last = start, end
    total = (end - start) / timedelta(seconds=1)
    while batches := upkeep.rebuildable_batches(start, end, after=after, limit=BATCHES_PER_TRANSACTION):
        with transaction.atomic():
            store.lock_tiers()
            records = upkeep.raw_records(batches)
            whole = [b for b in batches if b.id in records and records[b.id].time_us.size == b.inferences]
            skipped += len(batches) - len(whole)
            if whole:
                minutes = [minute_partials(records[batch.id]) for batch in whole]
                rows += upkeep.replace_partials("device_minute", whole, minutes, MINUTE_US)
                cells = [cell_partials(records[batch.id]) for batch in whole]
                upkeep.replace_partials("device_cell", whole, cells, HOUR_US)
                first, last = min(first, *(b.first for b in whole)), max(last, *(b.last for b in whole))
        after = batches[-1].id
        reached = (min(max(batches[-1].last, start), end) - start) / timedelta(seconds=1)
        progress("device_minute", min(reached / total, 0.99) if total else 0.99)
    return rows, skipped, first, last


def _rebuild_device_tier(tier: str, start: datetime, end: datetime, now: datetime, progress: Progress) -> int:
    """Hours or days of devices: noted as stale day by day, then written by a fold."""
    width = WIDTH[tier]
    span = upkeep.bucket_span(FINER[tier], floor(start, width), ceiling(end, width))
    if span is None:
        return 0
    first, last = floor(span[0], width), span[1]
    written, days = 0, list(_spans(first, last, DAY))
    for k, (begin, finish) in enumerate(days):
        with transaction.atomic():
            store.lock_tiers()
            upkeep.mark_all_stale([tier], begin, finish)
        folded = fold(now)
        written += folded.device_hours if tier == "device_hour" else folded.device_days
        progress(tier, (k + 1) / len(days))
    return written


def _rebuild_cohorts(tier: str, start: datetime, end: datetime, progress: Progress) -> int:
    """A cohort tier, a transaction for each stretch of it."""
    width = WIDTH.get(tier, HOUR)
    span = upkeep.bucket_span(_SOURCE[tier], floor(start, width), ceiling(end, width))
    if span is None:
        return 0
    # chunks of the finer tier begin on whole buckets of the coarser, so what is left of it is whole
    first, last = floor(span[0], width), ceiling(span[1] + timedelta(microseconds=1), width)
    rows, stretches = 0, list(_spans(first, last, _SPAN[tier]))
    for k, (begin, finish) in enumerate(stretches):
        with transaction.atomic():
            store.lock_tiers()
            if tier == "cohort_cell":
                rows += upkeep.rewrite_cells(begin, finish)
            else:
                rows += upkeep.rewrite_cohorts(tier, begin, finish)
        progress(tier, (k + 1) / len(stretches))
    return rows


def _spans(start: datetime, end: datetime, width: timedelta) -> Iterator[tuple[datetime, datetime]]:
    """[start, end) cut into pieces of at most `width`."""
    while start < end:
        yield start, min(start + width, end)
        start += width
