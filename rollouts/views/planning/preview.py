"""The preview of a plan: devices per stage and lane, what can be shown with them, and when."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drift.charts import effect_text
from rollouts import cohorts
from rollouts.cohorts import Arm
from rollouts.selectors.cohorts import Plan, StagePreview, hours_to_decision, preview_plan
from rollouts.selectors.expectations import Expectation, bounds_of_target, expectations, noise_of


@dataclass(frozen=True)
class LaneRow:
    """A lane of a stage: its devices, when it may be decided, and the metric that it is worst at seeing."""

    hardware_target: str
    eligible: int
    treated: int
    control: int
    holdback: int
    when: str
    sees: Sequence[dict[str, Any]]
    problem: str


@dataclass(frozen=True)
class StageRow:
    """A stage of the preview."""

    stage: Any
    lanes: Sequence[LaneRow]
    excluded: Mapping[str, Mapping[str, int]]
    reason: str
    treated: int


def stage_rows(plan: Plan, now: datetime) -> list[StageRow]:
    """Every stage as it would be drawn now."""
    found = preview_plan(plan)
    noises = _noises(plan, found, now)
    bounds = {target: bounds_of_target(plan.release, target, now, plan.policy) for target in noises}
    stages = sum(not stage.hand_picked for stage in plan.stages) or 1
    rows = []
    for stage in found:
        lanes = []
        for lane in stage.lanes():
            target = lane["hardware_target"]
            control = lane["control"] + lane["holdback"]
            hours = hours_to_decision(stage.stage, plan.policy, control, lane["treated"])
            seen = (
                expectations(
                    noises.get(target, {}),
                    bounds[target],
                    treated=min(lane["treated"], cohorts.ANALYSED_LIMIT),
                    control=control,
                    policy=plan.policy,
                    stages=stages,
                )
                if not stage.stage.hand_picked and hours is not None and target in bounds
                else []
            )
            lanes.append(
                LaneRow(
                    target,
                    lane["eligible"],
                    lane["treated"],
                    lane["control"],
                    lane["holdback"],
                    _when(hours),
                    _seen(seen),
                    lane["decidable"] or _blind(seen),
                )
            )
        treated = len(stage.draw.ids(Arm.TREATED))
        rows.append(StageRow(stage.stage, lanes, stage.match.excluded_by_target, stage.reason, treated))
    return rows


def _noises(plan: Plan, found: Sequence[StagePreview], now: datetime) -> dict[str, dict[str, Any]]:
    """How the devices of each lane varied of late; one sample per lane serves every stage."""
    by_target: dict[str, list[int]] = {}
    for candidate in plan.everyone.candidates:
        by_target.setdefault(candidate.hardware_target, []).append(candidate.device_id)
    return {target: noise_of(plan.release, devices, now) for target, devices in sorted(by_target.items())}


def _when(hours: float | None) -> str:
    if hours is None:
        return "never by statistics"
    if hours < 1:
        return f"after {math.ceil(hours * 60)} min"
    return f"after {hours:.0f} h" if hours < 72 else f"after {hours / 24:.1f} days"


def _seen(rows: Sequence[Expectation]) -> list[dict[str, Any]]:
    return [
        {
            "title": row.title,
            "enough": row.enough,
            "smallest": effect_text(row.metric, row.smallest).lstrip("+"),
            "margin": effect_text(row.metric, row.margin).lstrip("+"),
            "needed": row.treated_needed,
        }
        for row in sorted(rows, key=lambda row: -(row.smallest / row.margin if row.margin else math.inf))
    ]


def _blind(rows: Sequence[Expectation]) -> str:
    blind = [row for row in rows if not row.enough]
    if not blind:
        return ""
    worst = max(blind, key=lambda row: row.treated_needed or math.inf)
    needed = f"; about {worst.treated_needed:,} treated devices would" if worst.treated_needed else ""
    names = ", ".join(row.title.lower() for row in blind[:3])
    return f"too few to exclude a harm of one margin in {names}: expect the lane to be held{needed}"
