"""Keeping the tiers in order: dropping and compressing chunks, rebuilding tiers. Only telemetry.services call these."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from psycopg import sql

from telemetry import columns
from telemetry.partials import Partials, Records
from telemetry.store.connection import (
    copy_rollups,
    copy_rows,
    execute,
    merged_columns,
    microseconds,
    moment,
    query,
    read_rollups,
    reading,
    writing,
)
from telemetry.store.tiers import WIDTH, CohortTier

_VALUES = columns.names(columns.ROLLUP_VALUES)
_COHORT_KEYS = columns.names(columns.COHORT_TIER_KEYS)
_FINER_COHORT = {"cohort_hour": "cohort_5min", "cohort_day": "cohort_hour"}
_COMPRESSION_ORDER = {"inference": "time DESC", "device_minute": "bucket DESC", "device_state": "time DESC"}


@dataclass(frozen=True)
class StoredBatch:
    """A ledger row whose partial rows follow from its raw rows."""

    id: int
    device_id: int
    context_id: int
    inferences: int
    first: datetime
    last: datetime


# --- chunks ----------------------------------------------------------------------------------------------------------


def drop_chunks(table: str, before: datetime) -> list[str]:
    """Drop the chunks of a hypertable that lie wholly before a time; returns their names."""
    with writing() as cursor:
        return [name for (name,) in execute(cursor, query("drop_chunks"), {"table": table, "before": before})]


def delete_ledger(before: datetime, limit: int) -> int:
    """Delete up to `limit` ledger rows received before a time; returns how many."""
    with writing() as cursor:
        return cursor.execute(query("delete_ledger"), {"before": before, "limit": limit}).rowcount


def has_compression() -> bool:
    """Whether this is the Community edition, which compresses columns."""
    with writing() as cursor:
        return execute(cursor, query("license"), {})[0][0] == "timescale"


def uncompressed_chunks(table: str, before: datetime) -> list[str]:
    """Names of the chunks of a hypertable that lie wholly before a time and are not compressed, the oldest first."""
    with writing() as cursor:
        return [name for (name,) in execute(cursor, query("uncompressed_chunks"), {"table": table, "before": before})]


def enable_compression(table: str) -> None:
    """Set column compression of a hypertable up, unless it is: with compressed chunks it may not be changed.

    Raises:
        NotSupportedError: the edition has no compression.
    """
    with writing() as cursor:
        if not execute(cursor, query("compression_enabled"), {"table": table})[0][0]:
            order = sql.Literal(_COMPRESSION_ORDER[table])
            cursor.execute(query("enable_compression").format(table=sql.Identifier(table), order=order))


def compress_chunk(chunk: str) -> None:
    """Compress one chunk.

    Raises:
        NotSupportedError: the edition has no compression.
    """
    with writing() as cursor:
        cursor.execute(query("compress_chunk"), {"chunk": chunk})


# --- tiers from finer tiers ------------------------------------------------------------------------------------------


def bucket_span(tier: str, start: datetime, end: datetime) -> tuple[datetime, datetime] | None:
    """First and last bucket of a tier within [start, end); None where it has none."""
    with reading() as cursor:
        statement = query("bucket_span").format(tier=sql.Identifier(tier))
        ((first, last),) = execute(cursor, statement, {"start": start, "end": end})
    return None if first is None else (first, last)


def rewrite_cohorts(tier: CohortTier, start: datetime, end: datetime) -> int:
    """Write a cohort tier anew over [start, end), whole buckets, from the finer tier; returns how many rows."""
    parameters = {"start": start, "end": end, "width": WIDTH[tier]}
    if tier == "cohort_5min":
        statement = query("folded_partials").format(merged=merged_columns(_VALUES, "partial"))
    else:
        statement = query("finer_cohorts").format(
            finer=sql.Identifier(_FINER_COHORT[tier]), merged=merged_columns(_VALUES)
        )
    with writing() as cursor:
        rows = execute(cursor, statement, parameters)
        cursor.execute(query("delete_cohort_rows").format(tier=sql.Identifier(tier)), parameters)
    return copy_rollups(tier, read_rollups(rows, _COHORT_KEYS, _VALUES))


def rewrite_cells(start: datetime, end: datetime) -> int:
    """Write the hours of cohorts by condition anew over [start, end), whole hours; returns how many rows."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns.names(columns.COHORT_CELL)))
    span = {"start": start, "end": end}
    with writing() as cursor:
        cursor.execute(query("delete_cohort_rows").format(tier=sql.Identifier("cohort_cell")), span)
        return cursor.execute(query("rewrite_cells").format(names=names), span).rowcount


def mark_all_stale(tiers: Sequence[str], start: datetime, end: datetime) -> int:
    """Have the hours or days of devices over [start, end) written anew by the next fold; returns how many are new."""
    with writing() as cursor:
        parameters = {"tiers": list(tiers), "start": start, "end": end}
        return cursor.execute(query("mark_all_stale"), parameters).rowcount


# --- minutes from raw rows -------------------------------------------------------------------------------------------


def rebuildable_batches(start: datetime, end: datetime, *, after: int, limit: int) -> list[StoredBatch]:
    """Batches with records in [start, end) whose partial rows follow from raw rows, by id, those after one of them."""
    with writing() as cursor:
        parameters = {"start": start, "end": end, "after": after, "limit": limit}
        return [StoredBatch(*row) for row in execute(cursor, query("rebuildable_batches"), parameters)]


def raw_records(batches: Sequence[StoredBatch]) -> dict[int, Records]:
    """The raw rows of batches by batch id, as they were when their partial rows were computed."""
    measures = [sql.Identifier("raw", columns.RAW_COLUMN[measure]) for measure in columns.MEASURES]
    statement = query("raw_rows").format(measures=sql.SQL(", ").join(measures))
    with writing() as cursor:
        rows = execute(cursor, statement, _of_batches(batches))
    if not rows:
        return {}
    batch_ids, times, *values = zip(*rows, strict=True)
    n = len(columns.MEASURES)
    measured = np.array(values[:n], dtype=np.float32)
    fallback, outcome, retries, throttled, class_id = values[n:]
    everything = Records(
        time_us=np.array([microseconds(time) for time in times], dtype=np.int64),
        measures=measured,
        fallback=np.array(fallback, dtype=np.int16),
        outcome=np.array(outcome, dtype=np.int16),
        retries=np.array(retries, dtype=np.int16),
        throttled=np.array(throttled, dtype=bool),
        class_id=np.array([-1 if value is None else value for value in class_id], dtype=np.int32),
    )
    ids, starts = np.unique(np.array(batch_ids), return_index=True)
    bounds = np.append(starts, len(rows))
    return {int(batch_id): _slice(everything, bounds[k], bounds[k + 1]) for k, batch_id in enumerate(ids)}


def replace_partials(table: str, batches: Sequence[StoredBatch], partials: Sequence[Partials], margin_us: int) -> int:
    """Write the rows of batches in `device_minute` or `device_cell` anew; returns how many.

    Args:
        partials: one per batch.
        margin_us: the width of the table's buckets: a bucket begins at most so long before its first record.
    """
    layout = columns.TABLES[table]
    with writing() as cursor:
        keys = _of_batches(batches)
        keys["begin"] = moment(microseconds(keys["begin"]) - margin_us)
        cursor.execute(query("delete_partials").format(table=sql.Identifier(table)), keys)
    return copy_rows(
        table,
        (
            row
            for batch, partial in zip(batches, partials, strict=True)
            for row in _partial_rows(layout, batch, partial)
        ),
    )


def _of_batches(batches: Sequence[StoredBatch]) -> dict:
    return {
        "batch_ids": [batch.id for batch in batches],
        "device_ids": [batch.device_id for batch in batches],
        "first": [batch.first for batch in batches],
        "last": [batch.last for batch in batches],
        "begin": min(batch.first for batch in batches),
        "end": max(batch.last for batch in batches),
    }


def _slice(records: Records, start: int, end: int) -> Records:
    return Records(
        records.time_us[start:end],
        records.measures[:, start:end],
        records.fallback[start:end],
        records.outcome[start:end],
        records.retries[start:end],
        records.throttled[start:end],
        records.class_id[start:end],
    )


def _partial_rows(layout: tuple[columns.Column, ...], batch: StoredBatch, partials: Partials):
    lists = []
    for column in layout[4:]:
        values = partials.values[column.name]
        listed = values.tolist() if isinstance(values, np.ndarray) else values
        if column.type == "bool":
            listed = [bool(value) for value in listed]
        lists.append([None if value != value else value for value in listed] if column.nullable else listed)
    for bucket, *values in zip(partials.bucket_us, *lists, strict=True):
        yield (moment(bucket), batch.device_id, batch.context_id, batch.id, *values)
