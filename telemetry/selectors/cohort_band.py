"""What devices like one device did over time: the median of them and where nine of ten are, step by step."""

from __future__ import annotations

import random
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from numpy.typing import NDArray

from fleet.models import Device
from telemetry.metrics import METRICS
from telemetry.models import DeviceLatest
from telemetry.selectors.selection import Selection
from telemetry.selectors.series import metric_series

# Of a larger cohort so many devices are drawn, always the same ones: enough for a band, few enough for a page.
MOST_DEVICES = 100
# Fewer others have no band.
FEWEST_DEVICES = 4
SHARES = (0.05, 0.5, 0.95)

# figure -> (metric, quantiles, stats, name of the value)
FIGURES = {
    "latency_p95": ("latency", (0.95,), (), "p95"),
    "temperature": ("temperature", (), ("mean",), "mean"),
    "energy": ("energy", (), ("mean",), "mean"),
}


@dataclass(frozen=True)
class CohortBands:
    """Bands by figure, each (3, steps): 5th percentile, median, 95th percentile over devices; nan where too few report.

    Attributes:
        devices: how many devices they rest on.
        of: how many there are, the one in question left out.
    """

    bands: Mapping[str, NDArray[np.float64]]
    devices: int
    of: int


def cohort_bands(device: Device, *, start: datetime, end: datetime, step: timedelta) -> CohortBands:
    """The bands of the devices that run the same workload on the same hardware target, the device itself left out."""
    latest = DeviceLatest.objects.filter(device=device).order_by("-last_seen_at").first()
    if latest is None:
        return CohortBands({}, 0, 0)
    others = list(
        DeviceLatest.objects.filter(
            workload=latest.workload_id, device__hardware_target=device.hardware_target_id, last_seen_at__gte=start
        )
        .exclude(device=device)
        .order_by("device_id")
        .values_list("device_id", flat=True)
    )
    chosen = others if len(others) <= MOST_DEVICES else sorted(random.Random(device.pk).sample(others, MOST_DEVICES))
    if len(chosen) < FEWEST_DEVICES:
        return CohortBands({}, len(chosen), len(others))
    selection = Selection(workload_id=latest.workload_id, device_ids=tuple(chosen))
    bands = {}
    for figure, (metric, quantiles, stats, name) in FIGURES.items():
        series = metric_series(
            selection,
            METRICS[metric],
            start=start,
            end=end,
            step=step,
            quantiles=quantiles,
            stats=stats,
            group_by=("device",),
        )
        if series.groups:
            bands[figure] = band(np.stack([group.values[name] for group in series.groups]))
    return CohortBands(bands, len(chosen), len(others))


def band(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """5th percentile, median and 95th percentile over devices, shape (3, steps).

    Args:
        values: shape (devices, steps), nan where a device measured nothing; steps with fewer than FEWEST_DEVICES
            measured are nan.
    """
    with warnings.catch_warnings():
        # of steps in which no device measured anything
        warnings.simplefilter("ignore", RuntimeWarning)
        found = np.nanquantile(values, SHARES, axis=0)
    found[:, np.isfinite(values).sum(axis=0) < FEWEST_DEVICES] = np.nan
    return found
