"""The state of the fleet as gauges: who is heard, and what each release costs, over the last quarter of an hour."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from fleet.models import Device
from telemetry import metrics, store
from telemetry.metrics import METRICS
from telemetry.resolution import FIVE_MINUTES, floor
from telemetry.selectors.grouping import grouped_rollups
from telemetry.selectors.presence import STATES, count_states
from telemetry.selectors.selection import Selection

# Whole stretches of five minutes, so that the gauges do not jump with the minute of the scrape.
WINDOW = timedelta(minutes=15)
QUANTILES = (0.5, 0.95, 0.99)
MOST_MARKS = 100_000

_SHARES = ("fallback_rate", "error_rate", "throttled_share")


@dataclass(frozen=True)
class ReleaseGauges:
    """What a release did in the window; nan where nothing was measured."""

    workload: str
    release: str
    inferences: int
    latency_ms: dict[float, float]
    joules: float
    confidence: float
    shares: dict[str, float]


@dataclass(frozen=True)
class FleetGauges:
    """Devices by (hardware target, state), releases, and how far folding is behind."""

    devices: dict[tuple[str, str], int]
    releases: list[ReleaseGauges]
    marks_waiting: int
    folding_lag_s: float


def fleet_gauges(now: datetime) -> FleetGauges:
    """The gauges as of now; reads the device table and the cohort tiers, never the devices' own rows."""
    waiting, since = store.marks_state(MOST_MARKS)
    return FleetGauges(
        devices=_devices(now),
        releases=_releases(now),
        marks_waiting=waiting,
        folding_lag_s=(now - since).total_seconds() if since else 0.0,
    )


def _devices(now: datetime) -> dict[tuple[str, str], int]:
    counted = count_states(Device.objects.all(), now=now)
    # a state without a device is 0 and not absent, so that an alert on it can fire
    return {(target, state): counted[(target, state)] for target in {t for t, _ in counted} for state in STATES}


def _releases(now: datetime) -> list[ReleaseGauges]:
    wanted = [METRICS[name] for name in ("latency", "energy", "confidence", *_SHARES)]
    values = tuple(dict.fromkeys(column for metric in wanted for column in metric.values))
    grouped = grouped_rollups(
        Selection(),
        start=floor(now - WINDOW, FIVE_MINUTES),
        end=now + FIVE_MINUTES,
        values=values,
        group_by=("workload", "release"),
    )
    rollups = grouped.rollups
    if not rollups.n_rows:
        return []
    latency = metrics.quantiles(METRICS["latency"], rollups, QUANTILES)
    energy, confidence = (metrics.mean(METRICS[name], rollups) for name in ("energy", "confidence"))
    shares = {name: metrics.mean(METRICS[name], rollups) for name in _SHARES}
    return [
        ReleaseGauges(
            **grouped.groups[rollups.keys["group"][row]],
            inferences=int(rollups.numbers["count"][row]),
            latency_ms={p: float(latency[row, k]) for k, p in enumerate(QUANTILES)},
            joules=float(energy[row]) / 1000,
            confidence=float(confidence[row]),
            shares={name: float(share[row]) for name, share in shares.items()},
        )
        for row in range(rollups.n_rows)
    ]
