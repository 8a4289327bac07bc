"""Reading energy beyond the roll-ups: by condition, by partial row, by predicted class."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from telemetry.store.connection import execute, microseconds, query, reading

CONDITIONS = ("throttled", "temperature_band", "fallback")
_SUMS = ("count", "latency_sum", "energy_n", "energy_sum", "confidence_n", "confidence_sum")


@dataclass(frozen=True)
class ConditionSums:
    """Sums by key: `keys` name -> (rows,) int64 (bands and codes as stored), `sums` name -> (rows,) float64."""

    keys: dict[str, NDArray[np.int64]]
    sums: dict[str, NDArray[np.float64]]


@dataclass(frozen=True)
class EnergyMinutes:
    """Partial rows in the order of device and time; `bucket` in microseconds, sums in mJ and mJ²."""

    device_id: NDArray[np.int64]
    batch_id: NDArray[np.int64]
    bucket: NDArray[np.int64]
    n: NDArray[np.int64]
    total: NDArray[np.float64]
    squares: NDArray[np.float64]


@dataclass(frozen=True)
class ClassEnergy:
    """Energy (mJ) and latency (ms) of inferences with one predicted class."""

    class_id: int
    count: int
    mean_mj: float
    stddev_mj: float
    latency_ms: float


def condition_sums(
    *,
    start: datetime,
    end: datetime,
    by: Sequence[str],
    context_ids: Sequence[int] | None = None,
    hardware_target_ids: Sequence[int] | None = None,
    region_ids: Sequence[int] | None = None,
    device_ids: Sequence[int] | None = None,
) -> ConditionSums:
    """Sums over hours that begin in [start, end), of cohorts, or of devices where those are named.

    Args:
        by: conditions, and `context_id`; of cohorts also `hardware_target_id` and `region_id`, else `device_id`.
    """
    of_cohorts = device_ids is None
    known = {*CONDITIONS, "context_id", *(("hardware_target_id", "region_id") if of_cohorts else ("device_id",))}
    if not by or not set(by) <= known:
        raise ValueError(f"cannot group by {by}")
    wanted = {
        "context_id": context_ids,
        "device_id": device_ids,
        **({"hardware_target_id": hardware_target_ids, "region_id": region_ids} if of_cohorts else {}),
    }
    filters = {name: list(ids) for name, ids in wanted.items() if ids is not None}
    condition = sql.SQL(" AND ").join(
        sql.SQL("{} = ANY({}::int4[])").format(sql.Identifier(name), sql.Placeholder(name)) for name in filters
    )
    statement = query("condition_sums").format(
        keys=sql.SQL(", ").join(map(sql.Identifier, by)),
        source=sql.Identifier("cohort_cell" if of_cohorts else "device_cell"),
        filter=condition if filters else sql.SQL("true"),
    )
    with reading() as cursor:
        rows = execute(cursor, statement, {**filters, "start": start, "end": end})
    table = np.array(rows, dtype=np.float64).reshape(len(rows), len(by) + len(_SUMS))
    return ConditionSums(
        keys={name: table[:, k].astype(np.int64) for k, name in enumerate(by)},
        sums={name: table[:, len(by) + k] for k, name in enumerate(_SUMS)},
    )


def energy_minutes(
    device_ids: Sequence[int], start: datetime, end: datetime, *, context_ids: Sequence[int] | None = None
) -> EnergyMinutes:
    """The energy of devices over [start, end), partial row by partial row."""
    with reading() as cursor:
        rows = execute(cursor, query("energy_minutes"), _of_devices(device_ids, start, end, context_ids))
    device, batch, bucket, n, total, squares = zip(*rows, strict=True) if rows else ((),) * 6
    return EnergyMinutes(
        np.array(device, dtype=np.int64),
        np.array(batch, dtype=np.int64),
        np.array([microseconds(time) for time in bucket], dtype=np.int64),
        np.array(n, dtype=np.int64),
        np.array(total, dtype=np.float64),
        np.array(squares, dtype=np.float64),
    )


def energy_classes(
    device_ids: Sequence[int], start: datetime, end: datetime, *, context_ids: Sequence[int] | None = None
) -> list[ClassEnergy]:
    """Energy by predicted class from the raw rows of devices over [start, end)."""
    with reading() as cursor:
        rows = execute(cursor, query("energy_classes"), _of_devices(device_ids, start, end, context_ids))
    return [ClassEnergy(*row) for row in rows]


def _of_devices(device_ids: Sequence[int], start: datetime, end: datetime, context_ids: Sequence[int] | None) -> dict:
    contexts = None if context_ids is None else list(context_ids)
    return {"device_ids": list(device_ids), "start": start, "end": end, "context_ids": contexts}
