"""Reading what devices recorded under which conditions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from telemetry.store.connection import execute, query, reading


class CellRow(NamedTuple):
    """One device, context and combination of conditions; bands as in telemetry.columns, sums in ms, mJ and 1."""

    device_id: int
    context_id: int
    throttled: int
    temperature_band: int
    quality_band: int
    fallback: int
    count: float
    latency_sum: float
    energy_n: float
    energy_sum: float
    confidence_n: float
    confidence_sum: float


def device_cells(
    device_ids: Sequence[int], *, context_ids: Sequence[int], start: datetime, end: datetime
) -> list[CellRow]:
    """The cells of some devices and contexts over hours that begin in [start, end)."""
    parameters = {"device_ids": list(device_ids), "context_ids": list(context_ids), "start": start, "end": end}
    with reading() as cursor:
        return [CellRow(*row) for row in execute(cursor, query("device_cells"), parameters)]
