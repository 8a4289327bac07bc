"""History against itself: how often would this policy have cried wolf where nothing was changed?

The same devices on the same release are drawn into two arms again and again, each draw from a seed of its own, and the
engine looks at each draw as at a rollout. Whatever it raises is a false alarm.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from drift.periods import Arm, Periods
from drift.services.looks import RECENT_WINDOWS, LookPlan, look_at
from drift.services.retrospectives.asking import Schedule, plan_of
from drift.services.retrospectives.running import merge
from drift.stats.assignments import draw_assignments
from drift.stats.proportions import wilson
from fleet.exceptions import InvalidInput
from telemetry.selectors import summaries

SEEDS_AT_MOST = 200
# Looks of one draw times devices: what every look has seen so far is held in memory at once.
SIZE_AT_MOST = 50_000


@dataclass(frozen=True)
class HistoryPlan:
    """A plan whose arms are drawn anew for each of `seeds`; the release is the one that all devices ran."""

    plan: LookPlan
    schedule: Schedule
    seeds: tuple[int, ...]
    treated_share: float

    @property
    def looks(self) -> int:
        """Looks of all draws together."""
        return len(self.seeds) * len(self.schedule.times)


def history_plan_of(request: Mapping[str, Any]) -> HistoryPlan:
    """The validated request; raises InvalidInput by field.

    The request is that of a release with `devices` instead of two groups, `draws` (how many), `treated_share`, and a
    first seed in `assignment.seed`.
    """
    devices = list(request["devices"])
    draws, share = request.get("draws", 20), request.get("treated_share", 0.5)
    errors = {}
    if not 1 <= draws <= SEEDS_AT_MOST:
        errors["draws"] = f"Between 1 and {SEEDS_AT_MOST}."
    if not 0.0 < share < 1.0:
        errors["treated_share"] = "Strictly between 0 and 1."
    if len(devices) < 2:
        errors["devices"] = "At least two devices are needed to draw two arms."
    if errors:
        raise InvalidInput(errors)
    first = (request.get("assignment") or {}).get("seed") or 1
    both = {
        **{name: value for name, value in request.items() if name not in ("devices", "draws", "treated_share")},
        "treated": devices[:1],
        "control": devices[1:],
        "assignment": {**(request.get("assignment") or {}), "seed": first},
    }
    try:
        plan, schedule = plan_of(both)
    except InvalidInput as refusal:
        fields = {"treated": "devices", "control": "devices"}
        raise InvalidInput({fields.get(name, name): text for name, text in refusal.errors.items()}) from None
    if len(schedule.times) * len(plan.devices) > SIZE_AT_MOST:
        raise InvalidInput({"looks.every": f"Looks times devices may be {SIZE_AT_MOST:,} at most: look less often."})
    return HistoryPlan(plan, schedule, tuple(range(first, first + draws)), share)


def run_history(asked: HistoryPlan, *, progress: Callable[[int], None] = lambda done: None) -> dict[str, Any]:
    """Every draw with its looks; the data are read once, since only the arms differ from draw to draw."""
    plan, schedule = asked.plan, asked.schedule
    ids = [device.device_id for device in plan.devices]
    ran = {"workload_id": plan.workload_id, "release_ids": (plan.release_id,)}
    before = summaries.device_summaries(ids, start=plan.pre_start, end=plan.pre_end, **ran)
    windows = summaries.device_summary_windows(
        ids, start=schedule.started_at, end=schedule.times[-1], window=schedule.every, **ran
    )
    everyone = list(range(len(ids)))
    baseline, cumulative, recent = Periods(len(ids), (Arm(everyone, before),)), [], []
    for index, window in enumerate(windows):
        now = Periods(len(ids), (Arm(everyone, window),))
        cumulative.append(merge(cumulative[-1], now) if cumulative else now)
        late = None
        if index >= RECENT_WINDOWS:
            late = Periods(len(ids), (Arm(everyone, windows[index - RECENT_WINDOWS + 1]),))
            for other in windows[index - RECENT_WINDOWS + 2 : index + 1]:
                late = merge(late, Periods(len(ids), (Arm(everyone, other),)))
        recent.append(late)
    draws = []
    for number, seed in enumerate(asked.seeds):
        drawn = _drawn(plan, seed, asked.treated_share)
        state, alarm, failure, last = None, None, None, None
        for index, as_of in enumerate(schedule.times):
            outcome = look_at(
                drawn, baseline, cumulative[index], recent[index], look=index + 1, as_of=as_of, state=state
            )
            state, last = outcome.state, outcome.verdict
            if alarm is None and state and state["crossings"]:
                alarm = index + 1
            if failure is None and outcome.verdict == "fail":
                failure = index + 1
            progress(number * len(schedule.times) + index + 1)
        treated = sum(device.treated for device in drawn.devices)
        draws.append(
            {"seed": seed, "treated": treated, "first_alarm": alarm, "first_failure": failure, "verdict": str(last)}
        )
    return {
        "draws": draws,
        "looks_each": len(schedule.times),
        "alpha": plan.alpha,
        "alarms": _share([draw["first_alarm"] for draw in draws]),
        "failures": _share([draw["first_failure"] for draw in draws]),
    }


def _drawn(plan: LookPlan, seed: int, share: float) -> LookPlan:
    """The plan with arms drawn inside its strata; strata of one device stay out of the treated arm."""
    rng = np.random.default_rng(seed)
    strata = np.array([device.stratum for device in plan.devices])
    treated = np.zeros(len(strata), dtype=bool)
    for stratum in sorted(set(strata.tolist())):
        inside = np.flatnonzero(strata == stratum)
        treated[inside[: int(np.clip(round(share * len(inside)), 0, len(inside) - 1))]] = True
    arms = draw_assignments(treated, strata, count=2, seed=int(rng.integers(2**63 - 1)))[1] > 0
    devices = tuple(replace(device, treated=bool(arm)) for device, arm in zip(plan.devices, arms, strict=True))
    return replace(plan, devices=devices, seed=seed, randomised=True)


def _share(firsts: list[int | None]) -> dict[str, Any]:
    """How many draws were hit at any look, as a share with Wilson's interval: draws share devices, so it is narrow."""
    hit = sum(first is not None for first in firsts)
    found = wilson(hit, len(firsts))
    return {"draws": hit, "of": len(firsts), "share": found.estimate, "lower": found.lower, "upper": found.upper}
