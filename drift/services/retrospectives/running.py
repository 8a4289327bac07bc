"""Running a retrospective: every look in order, each knowing only what was recorded before it."""

from collections.abc import Callable
from typing import Any

from drift.periods import Arm, Periods
from drift.services.attribution import explain_outcome
from drift.services.looks import RECENT_WINDOWS, LookPlan, look_at, read_arms, releases_read
from drift.services.retrospectives.asking import Schedule
from drift.services.secondary import secondary_metrics
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
    for index, as_of in enumerate(schedule.times):
        cumulative = windows[index] if cumulative is None else merge(cumulative, windows[index])
        recent = None
        if index >= RECENT_WINDOWS:
            recent = windows[index - RECENT_WINDOWS + 1]
            for window in windows[index - RECENT_WINDOWS + 2 : index + 1]:
                recent = merge(recent, window)
        outcome = look_at(plan, baseline, cumulative, recent, look=index + 1, as_of=as_of, state=state)
        state = outcome.state
        result = outcome.result.to_dict()
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
                "attribution": explain_outcome(plan, outcome, as_of),
                "completeness": outcome.completeness,
            }
        )
        progress(index + 1)
    secondary = secondary_metrics(plan, baseline, cumulative) if cumulative is not None else []
    return {"randomised": plan.randomised, "looks": looks, "secondary": secondary}


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
