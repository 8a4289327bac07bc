"""Writing counters: what a cumulative value rose by since the reading before it, in whatever order readings arrive."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from telemetry.store.connection import execute, query, writing


def count_up(device_id: int, boot_id: str, time: datetime, values: Mapping[str, float]) -> None:
    """Turn readings of cumulative counters into rows of `counter_rate`; call it inside a transaction.

    The rows are the same in whatever order readings arrive: a late one is put between its neighbours, and the increase
    of the one behind it is counted anew. Readings that come in order, which is nearly all of them, cost one statement.
    """
    parameters = _parameters(device_id, boot_id, time, values)
    with writing() as cursor:
        placed = {name for (name,) in execute(cursor, query("count_up"), parameters)}
        late = {name: value for name, value in values.items() if name not in placed}
        if late:
            # a statement of its own each, so that each sees what the one before wrote
            parameters = _parameters(device_id, boot_id, time, late)
            for name in ("place_readings", "renew_successors", "newest_readings"):
                cursor.execute(query(name), parameters)


def _parameters(device_id: int, boot_id: str, time: datetime, values: Mapping[str, float]) -> dict:
    return {
        "device": device_id,
        "boot_id": boot_id,
        "time": time,
        "names": list(values),
        "values": [float(value) for value in values.values()],
    }
