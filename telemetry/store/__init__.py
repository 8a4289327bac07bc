"""The only way to the hypertables: one typed function per query in telemetry/sql."""

from telemetry.store.connection import copy_rows, microseconds, moment
from telemetry.store.reading import cohort_rollups, device_rollups
from telemetry.store.tiers import (
    Marks,
    add_stale,
    add_to_cohorts,
    lock_tiers,
    marked_partials,
    marks_state,
    rewrite_device_rows,
    take_marks,
    take_stale,
)

__all__ = [
    "Marks",
    "add_stale",
    "add_to_cohorts",
    "cohort_rollups",
    "copy_rows",
    "device_rollups",
    "lock_tiers",
    "marked_partials",
    "marks_state",
    "microseconds",
    "moment",
    "rewrite_device_rows",
    "take_marks",
    "take_stale",
]
