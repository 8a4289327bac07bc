"""The only way to the hypertables: one typed function per query in telemetry/sql."""

from telemetry.store.connection import copy_rows, microseconds, moment
from telemetry.store.counters import count_up
from telemetry.store.ingesting import (
    Booked,
    SenderRow,
    batch_transaction,
    book_batches,
    copy_tables,
    extend_release_span,
    find_senders,
    renew_gaps,
    repeat_batch,
    touch_device,
)
from telemetry.store.losses import Loss, batch_losses
from telemetry.store.reading import cohort_rollups, device_rollups
from telemetry.store.tiers import (
    Marks,
    add_cells,
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
    "Booked",
    "Loss",
    "Marks",
    "SenderRow",
    "add_cells",
    "add_stale",
    "add_to_cohorts",
    "batch_losses",
    "batch_transaction",
    "book_batches",
    "cohort_rollups",
    "copy_rows",
    "copy_tables",
    "count_up",
    "device_rollups",
    "extend_release_span",
    "find_senders",
    "lock_tiers",
    "marked_partials",
    "marks_state",
    "microseconds",
    "moment",
    "renew_gaps",
    "repeat_batch",
    "rewrite_device_rows",
    "take_marks",
    "take_stale",
    "touch_device",
]
