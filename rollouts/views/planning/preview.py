"""The preview of a plan: devices per stage and lane, what can be shown with them, and when."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from drift.charts import effect_text
from drift.stats.metrics import METRICS
from rollouts import cohorts
from rollouts.cohorts import Arm
from rollouts.plans import tested_stages
from rollouts.selectors.cohorts import Plan, StagePreview, least_hours, preview_plan
from rollouts.selectors.expectations import Expectation, expectations
from rollouts.selectors.outlook import Outlook, Timing


@dataclass(frozen=True)
class LaneRow:
    """A lane of a stage: its devices, when it may be decided, and the metric that it is worst at seeing."""

    hardware_target: str
    eligible: int
    treated: int
    control: int
    holdback: int
    when: str
    details: Sequence[str]
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
    outlook = Outlook(plan, now)
    return [_stage_row(stage, outlook) for stage in preview_plan(plan)]


def _stage_row(found: StagePreview, outlook: Outlook) -> StageRow:
    lanes = [_lane_row(found.stage, lane, outlook) for lane in found.lanes()]
    return StageRow(found.stage, lanes, found.match.excluded_by_target, found.reason, len(found.draw.ids(Arm.TREATED)))


def _lane_row(stage: Any, lane: Mapping[str, Any], outlook: Outlook) -> LaneRow:
    plan, target = outlook.plan, lane["hardware_target"]
    tested = not lane["decidable"]
    sees = (
        expectations(
            outlook.pasts[target].noise,
            outlook.bounds[target],
            treated=min(lane["treated"], cohorts.ANALYSED_LIMIT),
            control=lane["control"] + lane["holdback"],
            policy=plan.policy,
            stages=tested_stages(plan.stages),
        )
        if tested and target in outlook.pasts
        else []
    )
    when, details = ("never by statistics", [])
    if stage.hand_picked:
        when = f"soak ends {_after(least_hours(stage, plan.policy))}"
    elif tested:
        when, details = _decided(outlook.timing(stage, lane), plan.policy.looks_max)
    return LaneRow(
        target,
        lane["eligible"],
        lane["treated"],
        lane["control"],
        lane["holdback"],
        when,
        details,
        _seen(sees),
        lane["decidable"] or _blind(sees),
    )


def _decided(timing: Timing, looks: int) -> tuple[str, list[str]]:
    """When the lane may be decided, and what that is made of."""
    times = timing.times
    if times is None:
        return "cannot say", [timing.unknown]
    details = []
    if times.passing.half is None:
        when = "held, by all that is known"
        details.append(
            f"only {times.passing.share:.0%} of such lanes would pass within {_span(times.horizon)} ({looks} looks) "
            "with nothing changed"
        )
    else:
        when = f"{_after(times.passing.half)} if nothing changed"
        if times.passing.most is None:
            details.append(f"more than one in five takes longer than {_span(times.horizon)}")
        elif times.passing.most > times.passing.half:
            details.append(f"four in five {_after(times.passing.most)}")
    title = METRICS[times.slowest].title
    if times.harm.half is None:
        details.append(f"a harm of one margin in {title} would be shown in {times.harm.share:.0%} of such lanes")
    else:
        details.append(f"a harm of one margin is shown {_after(times.harm.half)}, {title} being the slowest")
    return when, details


def _after(hours: float) -> str:
    return f"after {_span(hours)}"


def _span(hours: float) -> str:
    if hours < 1:
        return f"{math.ceil(hours * 60)} min"
    return f"{hours:.0f} h" if hours < 72 else f"{hours / 24:.1f} days"


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
