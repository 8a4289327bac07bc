"""Reading roll-ups: merged rows of devices and of cohorts over any span."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

import numpy as np
from psycopg import sql

from telemetry.resolution import EPOCH, HOUR, cover
from telemetry.rollups import Rollups
from telemetry.store.connection import (
    execute,
    merged_columns,
    packed,
    packed_columns,
    query,
    read_packed,
    read_rollups,
    reading,
    value_columns,
)

# From so many hours on, a step holds enough stored rows for PostgreSQL to merge them.
MANY_HOURS = timedelta(hours=6)

_ALL = ("all",)
_GROUPABLE = {"bucket", "device_id", "context_id", "hardware_target_id", "region_id"}


def device_rollups(
    device_ids: Sequence[int],
    *,
    start: datetime,
    end: datetime,
    values: Sequence[str],
    by: Sequence[str] = ("device_id",),
    context_ids: Sequence[int] | None = None,
    step: timedelta | None = None,
    origin: datetime = EPOCH,
) -> Rollups:
    """Roll-ups of devices over [start, end), exact whatever has been folded so far.

    A minute belongs to the span in which it begins, so adjoining spans share none.

    Args:
        values: value columns to merge, see telemetry.columns.
        by: keys of the result, of `device_id`, `context_id` and, with a step, `bucket`.
        context_ids: only these contexts; None for all.
        step: width of the time groups that `bucket` stands for, counted from `origin`.

    Returns:
        one row per key that has data, with the keys `first_bucket` and `last_bucket` besides: the first and last start
        of a stored row that went into it.
    """
    # with steps of an hour or a few, a stored row most often is a row of the result, and sorting them is lost time
    grouped = step is None or step < HOUR or step >= MANY_HOURS
    bucket = sql.Identifier("bucket")
    first_and_last = ("first_bucket", "last_bucket")
    if grouped:
        selected = [
            _keys(by, step),
            sql.SQL("min({}), max({})").format(bucket, bucket),
            merged_columns(values),
        ]
        grouping: sql.Composable = sql.SQL("GROUP BY {}").format(_keys(by, step))
    else:
        selected = [
            *_packed_keys(by, step),
            packed(sql.SQL("timestamptz_send({})").format(bucket)),
            packed_columns(values),
        ]
        grouping = sql.SQL("")
    statement = query("device_rollups").format(
        columns=value_columns(values),
        tier_columns=value_columns(values, "tier"),
        selected=sql.SQL(", ").join(selected),
        grouping=grouping,
    )
    parameters = {
        "device_ids": list(device_ids),
        "context_ids": None if context_ids is None else list(context_ids),
        **_span(start, end, step, origin),
    }
    with reading() as cursor:
        rows = execute(cursor, statement, parameters)
    if grouped:
        return read_rollups(rows, (*(by or _ALL), *first_and_last), values)
    found = read_packed(rows[0], (*by, "stored"), ("bucket", "stored"), values)
    found = found.with_keys(first_bucket=found.keys["stored"], last_bucket=found.keys["stored"])
    example, group = found.groups_by(*(by or _ALL))
    first = np.full(example.size, np.iinfo(np.int64).max)
    last = np.full(example.size, np.iinfo(np.int64).min)
    np.minimum.at(first, group, found.keys["first_bucket"])
    np.maximum.at(last, group, found.keys["last_bucket"])
    keys = {name: found.keys[name][example] for name in by}
    return found.merged_into(group, example.size).with_keys(**keys, first_bucket=first, last_bucket=last)


def cohort_rollups(
    *,
    start: datetime,
    end: datetime,
    values: Sequence[str],
    by: Sequence[str] = (),
    context_ids: Sequence[int] | None = None,
    hardware_target_ids: Sequence[int] | None = None,
    region_ids: Sequence[int] | None = None,
    step: timedelta | None = None,
    origin: datetime = EPOCH,
) -> Rollups:
    """Roll-ups of cohorts over [start, end), as far as they are folded (see telemetry.services.folding.catch_up).

    Five minutes belong to the span in which they begin. Arguments as of `device_rollups`, with the keys `context_id`,
    `hardware_target_id`, `region_id` and, with a step, `bucket`; one row per key that has data.
    """
    wanted = {"context_id": context_ids, "hardware_target_id": hardware_target_ids, "region_id": region_ids}
    filters = {name: list(ids) for name, ids in wanted.items() if ids is not None}
    condition = sql.SQL(" AND ").join(
        sql.SQL("{} = ANY({}::int4[])").format(sql.Identifier(name), sql.Placeholder(name)) for name in filters
    )
    statement = query("cohort_rollups").format(
        columns=value_columns(values),
        # a tier has few rows per cohort and step: numpy merges them faster than PostgreSQL sorts them
        selected=sql.SQL(", ").join([*_packed_keys(by, step), packed_columns(values)]),
        filter=condition if filters else sql.SQL("true"),
    )
    with reading() as cursor:
        rows = execute(cursor, statement, {**filters, **_span(start, end, step, origin)})
    found = read_packed(rows[0], by, ("bucket",), values)
    return (found if by else found.with_keys(all=np.zeros(found.n_rows))).merged_by(*(by or _ALL))


def _span(start: datetime, end: datetime, step: timedelta | None, origin: datetime) -> dict:
    """The cut points of a span, and the step, as parameters."""
    return {**vars(cover(start, end, step=step, origin=origin)), "step": step, "origin": origin}


def _keys(by: Sequence[str], step: timedelta | None) -> sql.Composable:
    """The grouping keys as a list of expressions that serves both SELECT and GROUP BY."""
    _check_keys(by, step)
    # as a number: making datetimes of thousands of rows would take longer than reading them
    bucket = sql.SQL("date_part('epoch', time_bucket(%(step)s, bucket, %(origin)s::timestamptz))")
    # `_ALL` stands for one group with everything, and none without data (which GROUP BY () would give)
    everything = sql.SQL("bucket IS NULL")
    keys = [bucket if name == "bucket" else sql.Identifier(name) for name in by]
    return sql.SQL(", ").join(keys or [everything])


def _packed_keys(by: Sequence[str], step: timedelta | None) -> list[sql.Composable]:
    """How many rows there are, and the keys of all of them, packed."""
    _check_keys(by, step)
    bucket = sql.SQL("timestamptz_send(time_bucket(%(step)s, bucket, %(origin)s::timestamptz))")
    plain = sql.SQL("int8send({}::int8)")
    keys = [packed(bucket if name == "bucket" else plain.format(sql.Identifier(name))) for name in by]
    return [sql.SQL("count(*)"), *keys]


def _check_keys(by: Sequence[str], step: timedelta | None) -> None:
    if not set(by) <= _GROUPABLE or ("bucket" in by) != (step is not None):
        raise ValueError(f"cannot group by {by} with step {step}")
