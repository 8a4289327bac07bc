"""The state of the fleet in few numbers: who is heard, what fails, and each hardware target against its budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from fleet.selectors.budgets import current_budgets
from telemetry import metrics
from telemetry.metrics import METRICS
from telemetry.models import DeviceLatest
from telemetry.selectors.grouping import grouped_rollups
from telemetry.selectors.presence import SILENT_AT_LEAST
from telemetry.selectors.selection import Selection

_METRICS = ("latency", "energy", "confidence", "fallback_rate", "error_rate", "throttled_share")
# Figure of a cell -> the limit of the budget that bounds it.
LIMITS = {
    "latency_p95": "latency_p95_ms",
    "latency_p99": "latency_p99_ms",
    "energy": "energy_mj",
    "fallback_rate": "fallback_rate",
    "error_rate": "error_rate",
}


@dataclass(frozen=True)
class Figure:
    """A measured figure beside its hard limit; None where nothing was measured or no limit is set."""

    value: float | None
    limit: float | None = None

    @property
    def exceeded(self) -> bool:
        """Whether the value is known to lie above the limit."""
        return self.value is not None and self.limit is not None and self.value > self.limit

    @property
    def used(self) -> float | None:
        """The value as a share of the limit."""
        return None if self.value is None or not self.limit else self.value / self.limit


@dataclass(frozen=True)
class Cell:
    """A group (workload by hardware target, or release by hardware target) with what it measured."""

    group: dict[str, str]
    count: int
    latency_p50: Figure
    latency_p95: Figure
    latency_p99: Figure
    energy: Figure
    confidence: Figure
    fallback_rate: Figure
    error_rate: Figure
    throttled_share: Figure

    @property
    def exceeded(self) -> list[str]:
        """The figures that lie above their limits."""
        return [name for name in LIMITS if getattr(self, name).exceeded]


def cells(
    selection: Selection, *, start: datetime, end: datetime, group_by: Sequence[str] = ("workload", "hardware_target")
) -> list[Cell]:
    """Figures per group over [start, end), each beside the budget of its workload and hardware target."""
    wanted = [METRICS[name] for name in _METRICS]
    values = tuple(dict.fromkeys(column for metric in wanted for column in metric.values))
    grouped = grouped_rollups(selection, start=start, end=end, values=values, group_by=group_by)
    rollups = grouped.rollups
    if not rollups.n_rows:
        return []
    budgets = {(budget.workload.slug, budget.hardware_target.slug): budget.hard_limits for budget in current_budgets()}
    quantiles = metrics.quantiles(METRICS["latency"], rollups, (0.5, 0.95, 0.99))
    means = {metric.name: metrics.mean(metric, rollups) for metric in wanted}
    found = []
    for row in np.argsort(rollups.keys["group"]):
        group = grouped.groups[rollups.keys["group"][row]]
        limits = budgets.get((group.get("workload", ""), group.get("hardware_target", "")), {})
        figures = {f"latency_{name}": quantiles[row, k] for k, name in enumerate(("p50", "p95", "p99"))}
        figures |= {name: values[row] for name, values in means.items() if name != "latency"}
        found.append(
            Cell(
                group,
                int(rollups.numbers["count"][row]),
                **{name: Figure(_known(value), limits.get(LIMITS.get(name, ""))) for name, value in figures.items()},
            )
        )
    return found


def throttled_now(selection: Selection, *, now: datetime) -> int:
    """Devices whose newest batch, if it is not old, said that they throttle."""
    rows = DeviceLatest.objects.filter(selection.devices(), throttled=True, last_seen_at__gte=now - SILENT_AT_LEAST)
    if selection.workload_id is not None:
        rows = rows.filter(workload=selection.workload_id)
    return rows.values("device").distinct().count()


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
