"""Reading two tiers side by side, in one snapshot, to see whether they agree."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from psycopg import sql

from telemetry import columns
from telemetry.rollups import Rollups
from telemetry.store.connection import execute, merged_columns, query, read_rollups, reading
from telemetry.store.tiers import WIDTH

_RAW_SUMS = tuple(name for measure in columns.MEASURES for name in (f"{measure}_n", f"{measure}_sum"))


@dataclass(frozen=True)
class Sides:
    """The same sums from two tiers, one row per context in either; contexts may be missing from one of them."""

    finer: Rollups
    coarser: Rollups


@dataclass(frozen=True)
class LedgerDifference:
    """A batch whose raw rows are not as many as its ledger row says."""

    batch_id: int
    device_id: int
    ledger: int
    raw: int


def ledger_differences(start: datetime, end: datetime, *, kept: datetime, limit: int) -> list[LedgerDifference]:
    """Batches received in [start, end) that disagree with their raw rows, if those are all later than `kept`."""
    parameters = {"start": start, "end": end, "kept": kept, "limit": limit}
    with reading() as cursor:
        return [LedgerDifference(*row) for row in execute(cursor, query("audit_ledger"), parameters)]


def raw_and_minutes(start: datetime, end: datetime) -> Sides:
    """Counts and sums of raw rows and of partial rows over [start, end), whole minutes."""
    values = (*columns.COUNTS, *_RAW_SUMS)
    raw_sums = [
        part
        for measure in columns.MEASURES
        for column in [sql.Identifier(columns.RAW_COLUMN[measure])]
        for part in (
            sql.SQL("count({})").format(column),
            sql.SQL("coalesce(sum({}::float8), 0)").format(column),
        )
    ]
    statement = query("audit_raw").format(raw_sums=sql.SQL(", ").join(raw_sums), minute_sums=merged_columns(values))
    return _sides(statement, {"start": start, "end": end}, "minute", values)


def minutes_and_cohorts(start: datetime, end: datetime, values: Sequence[str]) -> Sides:
    """Folded partial rows and rows of the finest cohort tier over [start, end), multiples of five minutes."""
    statement = query("audit_cohorts").format(merged=merged_columns(values))
    return _sides(statement, {"start": start, "end": end}, "cohort_5min", values)


def finer_and_coarser(tier: str, finer: str, start: datetime, end: datetime, values: Sequence[str]) -> Sides:
    """Rows of a tier and of the next finer one over [start, end), whole buckets of the coarser one."""
    of_devices = tier.startswith("device")
    condition = "AND NOT EXISTS (SELECT FROM stale s WHERE s.device_id = tier.device_id AND s.bucket = {})"
    finer_bucket = sql.SQL("time_bucket(%(width)s, tier.bucket)")
    statement = query("audit_coarser").format(
        merged=merged_columns(values),
        tier=sql.Identifier(tier),
        finer=sql.Identifier(finer),
        tier_name=sql.Literal(tier),
        finer_name=sql.Literal(finer),
        tier_condition=sql.SQL(condition).format(sql.SQL("tier.bucket")) if of_devices else sql.SQL(""),
        finer_condition=sql.SQL(condition).format(finer_bucket) if of_devices else sql.SQL(""),
    )
    return _sides(statement, {"start": start, "end": end, "tier": tier, "width": WIDTH[tier]}, tier, values)


def cells_of_devices_and_cohorts(start: datetime, end: datetime) -> Sides:
    """Folded rows per condition of devices and those of cohorts over [start, end), whole hours."""
    values = ("count", "latency_sum", "energy_n", "energy_sum")
    return _sides(query("audit_cells"), {"start": start, "end": end}, "cohort_cell", values)


def _sides(statement: sql.Composable, parameters: dict, coarser: str, values: Sequence[str]) -> Sides:
    with reading() as cursor:
        rows = execute(cursor, statement, parameters)
    sides = [[row[1:] for row in rows if (row[0] == coarser) is wanted] for wanted in (False, True)]
    return Sides(*(read_rollups(side, ("context_id",), values) for side in sides))


def differences(sides: Sides, *, tolerance: float) -> list[str]:
    """What the two sides disagree on, in words: counts and histograms exactly, sums within a relative tolerance.

    Sums of doubles depend on the order of addition, so they cannot be compared bit by bit.
    """
    context_ids = np.union1d(sides.finer.keys["context_id"], sides.coarser.keys["context_id"])
    finer, coarser = (
        side.merged_into(np.searchsorted(context_ids, side.keys["context_id"]), context_ids.size)
        for side in (sides.finer, sides.coarser)
    )
    found = []
    for name, left in finer.numbers.items():
        right = coarser.numbers[name]
        if left.dtype.kind == "i":
            differs = left != right
        else:
            differs = ~np.isclose(left, right, rtol=tolerance, atol=1e-12, equal_nan=True)
        found += [f"{name} of context {context_ids[k]}: {left[k]} and {right[k]}" for k in np.flatnonzero(differs)]
    for name, rows in finer.histograms.items():
        left, right = rows.compact(), coarser.histograms[name].compact()
        same = (
            np.array_equal(left.row, right.row)
            and np.array_equal(left.index, right.index)
            and np.array_equal(left.count, right.count)
            and np.array_equal(left.zero, right.zero)
        )
        if not same:
            found.append(f"{name}: {int(left.totals().sum())} and {int(right.totals().sum())} values, or other bins")
    return found
