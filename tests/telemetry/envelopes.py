"""Envelopes for tests: sound ones, changed where a test wants them to be."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

from telemetry.store import microseconds


def inferences(now: datetime, n: int = 3, *, step_s: float = 1.0, **fields: Any) -> list[dict[str, Any]]:
    """`n` inferences ending at `now`, `step_s` apart, with latencies of 10, 11, 12, … ms."""
    last = microseconds(now)
    return [
        {"time": last - int((n - 1 - i) * step_s * 1e6), "latency_ms": 10.0 + i, "energy_mj": 40.0, **fields}
        for i in range(n)
    ]


def envelope(now: datetime, *, seq: int = 1, boot_id: str = "boot-1", **changes: Any) -> dict[str, Any]:
    """A batch of three inferences of release 4.1.0; a change to `...` leaves a field out."""
    body = {
        "schema": "ridgeline.telemetry/1",
        "boot_id": boot_id,
        "batch_seq": seq,
        "sent_at": now.isoformat(),
        "clock": {"synced": True, "source": "ntp", "error_ms": 3},
        "context": {"workload": "lane-assist", "release": "4.1.0", "power_mode": "15W"},
        "inferences": inferences(now),
    }
    return {name: value for name, value in (body | changes).items() if value is not ...}


def encode(body: dict[str, Any]) -> bytes:
    """The bytes of an envelope."""
    return json.dumps(body).encode()
