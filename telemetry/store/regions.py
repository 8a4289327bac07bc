"""Reading single inferences of a region of the heatmap: a stretch of time by a range of values."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from telemetry.columns import RAW_COLUMN
from telemetry.store.connection import execute, query, reading


def region_conditions(
    device_ids: Sequence[int],
    *,
    measure: str,
    start: datetime,
    end: datetime,
    low: float,
    high: float,
    context_ids: Sequence[int] | None,
) -> NDArray[np.int64]:
    """Inferences in [start, end) with a value in (low, high], by device and condition.

    Returns:
        shape (rows, 6): device, throttled, temperature band, input-quality band, fallback, count.
    """
    statement = query("region_conditions").format(value=sql.Identifier(RAW_COLUMN[measure]))
    parameters = {
        "device_ids": list(device_ids),
        "start": start,
        "end": end,
        "low": low,
        "high": high,
        "context_ids": None if context_ids is None else list(context_ids),
    }
    with reading() as cursor:
        rows = execute(cursor, statement, parameters)
    return np.array(rows, dtype=np.int64).reshape(len(rows), 6)
