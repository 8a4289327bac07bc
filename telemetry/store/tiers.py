"""Writing the tiers: taking marks, merging partial rows, replacing rows. Only telemetry.services call these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from telemetry import columns
from telemetry.rollups import Rollups
from telemetry.store.connection import (
    copy_rollups,
    execute,
    merged_columns,
    microseconds,
    moment,
    query,
    read_rollups,
    single_columns,
    value_columns,
    writing,
)

CohortTier = Literal["cohort_5min", "cohort_hour", "cohort_day"]
DeviceTier = Literal["device_hour", "device_day"]

WIDTH = {
    "device_minute": timedelta(minutes=1),
    "cohort_5min": timedelta(minutes=5),
    "device_hour": timedelta(hours=1),
    "cohort_hour": timedelta(hours=1),
    "device_day": timedelta(days=1),
    "cohort_day": timedelta(days=1),
}
FINER = {"device_hour": "device_minute", "device_day": "device_hour"}

# "RDL tiers" as a number: the advisory lock of everything that writes tiers.
_LOCK_KEY = 0x52444C74
_VALUES = columns.names(columns.ROLLUP_VALUES)
_COHORT_KEYS = columns.names(columns.COHORT_TIER_KEYS)
_DEVICE_KEYS = columns.names(columns.DEVICE_TIER_KEYS)


@dataclass(frozen=True)
class Marks:
    """Marks of partial rows, column by column; `bucket` in microseconds, five minutes wide."""

    batch_id: NDArray[np.int64]
    device_id: NDArray[np.int64]
    context_id: NDArray[np.int64]
    bucket: NDArray[np.int64]

    def __len__(self) -> int:
        return self.batch_id.size


def lock_tiers(timeout: timedelta | None = None) -> None:
    """Wait to be the only writer of tiers until the end of the transaction.

    Raises:
        django.db.OperationalError: the wait took longer than `timeout`.
    """
    with writing() as cursor:
        if timeout is not None:
            cursor.execute(query("lock_timeout"), {"milliseconds": str(timeout // timedelta(milliseconds=1))})
        cursor.execute(query("lock_tiers"), {"key": _LOCK_KEY})


def take_marks(limit: int) -> Marks:
    """Take marks batch by batch until there are `limit`; they come back if the transaction does not commit."""
    with writing() as cursor:
        rows = execute(cursor, query("take_marks"), {"limit": limit})
    if not rows:
        none = np.zeros(0, dtype=np.int64)
        return Marks(none, none, none, none)
    batch, device, context, bucket = zip(*rows, strict=True)
    return Marks(np.array(batch), np.array(device), np.array(context), np.array([microseconds(b) for b in bucket]))


def marks_state(limit: int) -> tuple[int, datetime | None]:
    """How many marks wait (counted up to `limit`), and since when the oldest of them does."""
    with writing() as cursor:
        return execute(cursor, query("marks_state"), {"limit": limit})[0]


def marked_partials(marks: Marks) -> Rollups:
    """The partial rows of marks, merged by (five minutes, context, hardware target, region)."""
    merged = Rollups.empty(_COHORT_KEYS, _VALUES)
    statement = query("marked_partials").format(merged=merged_columns(_VALUES, "partial"))
    day = np.timedelta64(1, "D") // np.timedelta64(1, "us")
    # one statement per day, so that a device that comes back after a week does not open a week of chunks for the rest
    for start in np.unique(marks.bucket // day) * day:
        chosen = (marks.bucket >= start) & (marks.bucket < start + day)
        with writing() as cursor:
            rows = execute(
                cursor,
                statement,
                {
                    "batch_ids": marks.batch_id[chosen].tolist(),
                    "device_ids": marks.device_id[chosen].tolist(),
                    "context_ids": marks.context_id[chosen].tolist(),
                    "buckets": [moment(bucket) for bucket in marks.bucket[chosen]],
                    "first": moment(start),
                    "last": moment(start + day),
                },
            )
        merged = merged.append(read_rollups(rows, _COHORT_KEYS, _VALUES))
    return merged


def add_to_cohorts(tier: CohortTier, added: Rollups) -> int:
    """Merge roll-ups into the rows of a cohort tier; returns how many rows were written.

    Args:
        added: one row per key of the tier, `bucket` at the tier's width.
    """
    if not added.n_rows:
        return 0
    statement = query("take_cohort_rows").format(
        tier=sql.Identifier(tier),
        columns=sql.SQL(", ").join((value_columns(_COHORT_KEYS, "tier"), single_columns(_VALUES, "tier"))),
    )
    with writing() as cursor:
        rows = execute(
            cursor,
            statement,
            {
                "buckets": [moment(bucket) for bucket in added.keys["bucket"]],
                "context_ids": added.keys["context_id"].tolist(),
                "hardware_target_ids": added.keys["hardware_target_id"].tolist(),
                "region_ids": added.keys["region_id"].tolist(),
                "first": moment(added.keys["bucket"].min()),
                "last": moment(added.keys["bucket"].max()),
            },
        )
    stored = read_rollups(rows, _COHORT_KEYS, _VALUES, single=True)
    return copy_rollups(tier, stored.append(added).merged_by(*_COHORT_KEYS))


def add_cells(marks: Marks) -> None:
    """Add what the marked batches recorded per condition to the hours of cohorts; `marks` has all of each batch."""
    batch_ids, example, of_batch = np.unique(marks.batch_id, return_index=True, return_inverse=True)
    hour = marks.bucket - marks.bucket % (WIDTH["cohort_hour"] // timedelta(microseconds=1))
    first, last = np.full(batch_ids.size, hour.max()), np.full(batch_ids.size, hour.min())
    np.minimum.at(first, of_batch, hour)
    np.maximum.at(last, of_batch, hour)
    statement = query("add_cells").format(names=_names(columns.COHORT_CELL))
    with writing() as cursor:
        cursor.execute(
            statement,
            {
                "batch_ids": batch_ids.tolist(),
                "device_ids": marks.device_id[example].tolist(),
                "first": [moment(us) for us in first],
                "last": [moment(us) for us in last],
                "begin": moment(first.min()),
                "end": moment(last.max()),
            },
        )


def add_stale(marks: Marks) -> None:
    """Note the hours and days of devices that now lack what the marks stand for."""
    with writing() as cursor:
        cursor.execute(
            query("add_stale"),
            {"device_ids": marks.device_id.tolist(), "buckets": [moment(bucket) for bucket in marks.bucket]},
        )


def take_stale(tier: DeviceTier, now: datetime, limit: int) -> list[tuple[int, datetime]]:
    """Take up to `limit` (device, bucket) of a tier that are over and can be written from the finer tier."""
    name = "take_stale_hours" if tier == "device_hour" else "take_stale_days"
    with writing() as cursor:
        return execute(cursor, query(name), {"begun_before": now - WIDTH[tier], "limit": limit})


def rewrite_device_rows(tier: DeviceTier, due: Sequence[tuple[int, datetime]]) -> int:
    """Write the rows of (device, bucket) of a tier anew from the finer one; returns how many."""
    if not due:
        return 0
    device_ids, buckets = zip(*due, strict=True)
    first, last = min(buckets), max(buckets)
    keys = {"device_ids": list(device_ids), "buckets": list(buckets), "first": first}
    with writing() as cursor:
        delete = query("delete_device_rows").format(tier=sql.Identifier(tier))
        cursor.execute(delete, {**keys, "last": last})
        merge = query("merge_device_rows").format(
            finer=sql.Identifier(FINER[tier]), merged=merged_columns(_VALUES, "finer")
        )
        rows = execute(cursor, merge, {**keys, "last": last + WIDTH[tier], "width": WIDTH[tier]})
    return copy_rollups(tier, read_rollups(rows, _DEVICE_KEYS, _VALUES))


def _names(table: tuple[columns.Column, ...]) -> sql.Composed:
    return sql.SQL(", ").join(map(sql.Identifier, columns.names(table)))
