"""Reading what devices sent last, all of them at once, column by column."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from telemetry.store.connection import execute, query, reading

_KEYS = ("device_id", "workload_id", "release_id", "hardware_target_id")
_FIGURES = (
    "last_seen_at", "expected_interval_s", "latency_p95_ms", "energy_mj", "confidence", "temperature_c",
    "fallback_rate", "error_rate", "throttled",
)  # fmt: skip


@dataclass(frozen=True)
class NewestFigures:
    """The newest row of n devices, by ascending device id.

    Attributes:
        keys: `device_id`, `workload_id`, `release_id`, `hardware_target_id` -> (n,) int64.
        figures: name -> (n,) float64, nan where the device did not send it; `last_seen_at` in seconds since the epoch.
    """

    keys: dict[str, NDArray[np.int64]]
    figures: dict[str, NDArray[np.float64]]


def newest_figures(*, workload: str | None = None, release: str | None = None) -> NewestFigures:
    """What each device sent last, of one workload (by slug) and of releases of one version, where named."""
    with reading() as cursor:
        rows = execute(cursor, query("newest_figures"), {"workload": workload or None, "release": release or None})
    columns = [[row[k] for row in rows] for k in range(len(_KEYS) + len(_FIGURES))]
    return NewestFigures(
        keys={name: np.array(columns[k], dtype=np.int64) for k, name in enumerate(_KEYS)},
        # None becomes nan
        figures={name: np.array(columns[k], dtype=np.float64) for k, name in enumerate(_FIGURES, start=len(_KEYS))},
    )
