"""Reading which releases devices ran when, counted where the spans are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import NamedTuple

from psycopg import sql

from telemetry.store.connection import execute, query, reading

_FILTERS = {
    "workload_ids": ("span", "workload_id"),
    "release_ids": ("span", "release_id"),
    "device_ids": ("span", "device_id"),
    "hardware_target_ids": ("device", "hardware_target_id"),
    "region_ids": ("device", "region_id"),
}


class ReleaseStep(NamedTuple):
    """So many devices run a release from one point of the grid up to (and without) another one."""

    release_id: int
    first: int
    end: int
    devices: int


def release_steps(
    wanted: Mapping[str, Sequence[int] | None], *, start: datetime, end: datetime, step: timedelta, points: int
) -> list[ReleaseStep]:
    """Where devices take up and leave releases on a grid of `points` times from `start` on.

    Args:
        wanted: ids by `workload_ids`, `release_ids`, `device_ids`, `hardware_target_ids`, `region_ids`; None for all.
    """
    ids = {name: list(values) for name, values in wanted.items() if values is not None}
    conditions = [
        sql.SQL("{} = ANY({}::int8[])").format(sql.Identifier(*_FILTERS[name]), sql.Placeholder(name)) for name in ids
    ]
    statement = query("release_steps").format(filter=sql.SQL(" AND ").join(conditions or [sql.SQL("true")]))
    parameters = {
        **ids,
        "start": start,
        "end": end,
        "step": step,
        "step_us": float(step // timedelta(microseconds=1)),
        "points": points,
    }
    with reading() as cursor:
        return [ReleaseStep(*row) for row in execute(cursor, statement, parameters)]
