"""Running a retrospective: every look in order, each knowing only what was recorded before it."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from typing import Any

from drift.periods import Arm, Periods
from drift.services.attribution import explain_lane, harmed_lanes
from drift.services.looks import RECENT_WINDOWS, LookOutcome, LookPlan, look_at, read_arms, releases_read
from drift.services.retrospectives.asking import Schedule
from drift.stats.metrics import METRICS
from telemetry.selectors import summaries


def run(plan: LookPlan, schedule: Schedule, *, progress: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Every look in order, each knowing only what was recorded before it; `progress` hears how many are done.

    `secondary` describes the last look's metrics that are not tested.
    """
    windows = _windows(plan, schedule)
    baseline = read_arms(plan, plan.pre_start, plan.pre_end, treated_release=False)
    looks: list[dict[str, Any]] = []
    state: dict[str, Any] | None = None
    cumulative: Periods | None = None
    explanations = Explanations(plan, len(schedule.times))
    secondary: list[dict[str, Any]] = []
    for index, as_of in enumerate(schedule.times):
        cumulative = windows[index] if cumulative is None else merge(cumulative, windows[index])
        recent = None
        if index >= RECENT_WINDOWS:
            recent = windows[index - RECENT_WINDOWS + 1]
            for window in windows[index - RECENT_WINDOWS + 2 : index + 1]:
                recent = merge(recent, window)
        if index + 1 == len(schedule.times):
            plan = replace(plan, described=tuple(METRICS))
        outcome = look_at(plan, baseline, cumulative, recent, look=index + 1, as_of=as_of, state=state)
        state = outcome.state
        result = outcome.result.to_dict()
        for lane in result["lanes"]:
            secondary += [{"hardware_target": lane["hardware_target"], **row} for row in lane.pop("described", [])]
        looks.append(
            {
                "look": index + 1,
                "as_of": as_of.isoformat(),
                "verdict": outcome.verdict,
                "reason": outcome.reason,
                "lanes": result["lanes"],
                "pooled": result["pooled"],
                "shape": [
                    {"hardware_target": lane["hardware_target"], **row}
                    for lane in result["lanes"]
                    for row in lane["shape"]
                ],
                "attribution": explanations.at(index + 1, outcome, as_of),
                "completeness": outcome.completeness,
            }
        )
        progress(index + 1)
    return {"randomised": plan.randomised, "looks": looks, "secondary": secondary}


class Explanations:
    """Attributions of lanes in which harm was shown, made anew whenever a lane's evidence has doubled since the last.

    A change is explained when it is first shown, at looks 2, 4, 8, … after that and at the last look; between them the
    newest explanation stands, with the look that it was made at.
    """

    def __init__(self, plan: LookPlan, last_look: int) -> None:
        self._plan, self._last_look = plan, last_look
        self._made: dict[str, tuple[str, int, dict[str, Any] | None]] = {}

    def at(self, look: int, outcome: LookOutcome, as_of: datetime) -> dict[str, Any]:
        """By hardware target; empty where no lane is harmed."""
        found = {}
        for target, metric in harmed_lanes(outcome).items():
            known = self._made.get(target)
            if known is None or known[0] != metric or look >= 2 * known[1] or look == self._last_look:
                explained = explain_lane(self._plan, target, metric, as_of)
                known = metric, look, explained and {**explained, "look": look}
                self._made[target] = known
            if known[2]:
                found[target] = known[2]
        return found


def merge(left: Periods, right: Periods) -> Periods:
    """Two periods of the same devices as one."""
    return Periods(
        left.size,
        tuple(
            Arm(one.positions, one.summary + other.summary) for one, other in zip(left.arms, right.arms, strict=True)
        ),
    )


def _windows(plan: LookPlan, schedule: Schedule) -> list[Periods]:
    """What each arm recorded between one look and the next, oldest first."""
    arms = []
    for positions, new in zip(plan.arms, (True, False), strict=True):
        read = summaries.device_summary_windows(
            [plan.devices[position].device_id for position in positions],
            workload_id=plan.workload_id,
            start=schedule.started_at,
            end=schedule.times[-1],
            window=schedule.every,
            **releases_read(plan, new=new),
        )
        arms.append([Arm(positions, summary) for summary in read])
    return [Periods(len(plan.devices), pair) for pair in zip(*arms, strict=True)]
