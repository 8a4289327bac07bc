"""What releases cost in the field beside what their budgets allow: the room left to each limit."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np

from fleet.models import Budget
from fleet.models.budgets import Limit
from fleet.selectors.budgets import Room, current_budgets, room_left
from telemetry import metrics
from telemetry.metrics import METRICS
from telemetry.rollups import Rollups
from telemetry.selectors.grouping import grouped_rollups
from telemetry.selectors.selection import Selection

_METRICS = ("latency", "energy", "power", "memory", "temperature", "fallback_rate", "error_rate")
# Limits that device-CI measures and telemetry does not: their room in the field is unknown.
NOT_IN_TELEMETRY = frozenset({Limit.BOOT_S.value, Limit.ACCURACY_DROP.value})


@dataclass(frozen=True)
class BudgetRoom:
    """A budget with the room left to each of its limits; `count` inferences is what the figures rest on."""

    budget: Budget
    count: int
    rooms: list[Room]

    @property
    def exceeded(self) -> list[Room]:
        """The hard limits that are exceeded."""
        return [room for room in self.rooms if room.state == "exceeded"]


def budget_rooms(selection: Selection, *, start: datetime, end: datetime) -> list[BudgetRoom]:
    """Every current budget beside what was measured over [start, end), by workload and hardware target.

    Percentiles come from merged histograms, the temperature is the highest that was measured, everything else a mean or
    a share of all inferences. A limit that nothing was measured for has the state "unknown".
    """
    wanted = [METRICS[name] for name in _METRICS]
    values = tuple(dict.fromkeys(column for metric in wanted for column in metric.values))
    group_by = ("workload", "hardware_target")
    grouped = grouped_rollups(selection, start=start, end=end, values=values, group_by=group_by)
    measured = _measured(grouped.rollups) if grouped.rollups.n_rows else []
    groups = [grouped.groups[index] for index in grouped.rollups.keys["group"]] if measured else []
    by_cell = {
        (group["workload"], group["hardware_target"]): figures for group, figures in zip(groups, measured, strict=True)
    }
    found = []
    for budget in _selected(selection):
        count, figures = by_cell.get((budget.workload.slug, budget.hardware_target.slug), (0, {}))
        found.append(BudgetRoom(budget, count, room_left(budget, figures)))
    return found


def _selected(selection: Selection) -> list[Budget]:
    budgets = current_budgets().order_by("workload__slug", "hardware_target__slug")
    if selection.workload_id is not None:
        budgets = budgets.filter(workload=selection.workload_id)
    if selection.hardware_target_ids is not None:
        budgets = budgets.filter(hardware_target__in=selection.hardware_target_ids)
    return list(budgets)


def _measured(rollups: Rollups) -> list[tuple[int, dict[str, float | None]]]:
    """Per row of the roll-ups: inferences, and each limit's figure by the limit's name."""
    p95, p99 = metrics.quantiles(METRICS["latency"], rollups, (0.95, 0.99)).T
    figures = {
        Limit.LATENCY_P95_MS: p95,
        Limit.LATENCY_P99_MS: p99,
        Limit.ENERGY_MJ: metrics.mean(METRICS["energy"], rollups),
        Limit.POWER_W: metrics.mean(METRICS["power"], rollups),
        Limit.MEMORY_MB: metrics.mean(METRICS["memory"], rollups),
        Limit.TEMPERATURE_C: metrics.statistic(METRICS["temperature"], rollups, "max"),
        Limit.FALLBACK_RATE: metrics.mean(METRICS["fallback_rate"], rollups),
        Limit.ERROR_RATE: metrics.mean(METRICS["error_rate"], rollups),
    }
    return [
        (
            int(rollups.numbers["count"][row]),
            {
                limit.value: float(column[row]) if np.isfinite(column[row]) else None
                for limit, column in figures.items()
            },
        )
        for row in range(rollups.n_rows)
    ]
