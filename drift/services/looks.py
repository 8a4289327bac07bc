"""One look at a comparison: reads what the devices recorded, and hands it to the statistics as plain numbers."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.periods import Arm, Periods, shape_labels
from drift.stats.look import (
    DescribedInput,
    HardLimit,
    LookInput,
    LookResult,
    MetricInput,
    ShapeInput,
    evaluate_look,
)
from drift.stats.metrics import GUARDRAIL_SHAPES, GUARDRAILS, METRICS
from drift.stats.summaries import metric_values, nullable
from fleet.models.budgets import Limit
from telemetry.selectors import summaries

# The metric that a budget's limit is an absolute bound of; a limit that is not here is checked by device CI alone.
METRIC_OF_LIMIT: dict[str, str] = {
    Limit.LATENCY_P95_MS: "latency_p95",
    Limit.LATENCY_P99_MS: "latency_p99",
    Limit.ENERGY_MJ: "energy_mean",
    Limit.POWER_W: "power_mean",
    Limit.MEMORY_MB: "memory_mean",
    Limit.FALLBACK_RATE: "fallback_rate",
    Limit.ERROR_RATE: "error_rate",
}
PRE_DAYS = 7
MINIMUM_PRE_HOURS = 24
RECENT_WINDOWS = 24


@dataclass(frozen=True)
class PlanDevice:
    """A device of a frozen cohort; `stratum` is the stratum in which the draw was made, within one hardware target."""

    device_id: int
    serial: str
    treated: bool
    hardware_target: str
    stratum: str


@dataclass(frozen=True)
class LookPlan:
    """What is compared, and by which rules; fixed when the stage starts.

    `baseline_release_ids` empty means any release but the treated one. `margins` and `limits` are per hardware target:
    `{target: {metric: margin}}` in effect units, `{target: {budget limit: bound}}` in the limit's own unit. `window` is
    the step of the scan for late onset. `metrics` and what the budgets name are judged; of `described` those that are
    not judged are reported beside them.
    """

    workload_id: int
    release_id: int
    baseline_release_ids: tuple[int, ...]
    devices: tuple[PlanDevice, ...]
    seed: int
    pre_start: datetime
    pre_end: datetime
    started_at: datetime
    window: timedelta = timedelta(hours=1)
    planned_looks: int = 100
    minimum_hours: float = 24.0
    alpha: float = 0.05
    stages: int = 1
    permutations: int = 10_000
    randomised: bool = True
    margins: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    limits: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    stopped_lanes: tuple[str, ...] = ()
    metrics: tuple[str, ...] = GUARDRAILS
    shapes: tuple[str, ...] = GUARDRAIL_SHAPES
    described: tuple[str, ...] = tuple(METRICS)

    @property
    def arms(self) -> tuple[list[int], list[int]]:
        """Positions of the treated and of the control devices in `devices`."""
        treated = [index for index, device in enumerate(self.devices) if device.treated]
        control = [index for index, device in enumerate(self.devices) if not device.treated]
        return treated, control


@dataclass(frozen=True)
class LookOutcome:
    """What one look says, with the numbers that it was given."""

    given: LookInput
    result: LookResult
    completeness: dict[str, Any]

    @cached_property
    def inputs(self) -> dict[str, Any]:
        """What was given as plain JSON: `replay(inputs)` gives the same result, whatever arrived since."""
        return self.given.to_dict()

    @property
    def verdict(self) -> str:
        """pass, hold, inconclusive or fail: the worst of the lanes."""
        return self.result.verdict

    @property
    def reason(self) -> str:
        """The verdict in words, with its numbers."""
        return self.result.reason

    @property
    def lanes(self) -> list[dict[str, Any]]:
        """One entry per hardware target, as the API shows it."""
        return self.result.to_dict()["lanes"]

    @property
    def state(self) -> dict[str, Any]:
        """What the next look of the same stage needs."""
        return self.result.state


def pre_period(started_at: datetime) -> tuple[datetime, datetime]:
    """The last seven whole days (UTC) before the start; where the start is not at midnight, up to that hour.

    Whole days keep day and night in balance; ending at the hour of the start keeps the newest day in.
    """
    end = started_at.replace(minute=0, second=0, microsecond=0)
    return end - timedelta(days=PRE_DAYS), end


def take_look(
    plan: LookPlan, previous_state: dict[str, Any] | None, as_of: datetime, *, look: int | None = None
) -> LookOutcome:
    """Read what was recorded up to `as_of`, look at it once, and keep the exact numbers looked at.

    The caller folds the tiers first. `look` counts from 1; left out, it is one more than the previous state's.
    """
    look = look or (previous_state["look"] + 1 if previous_state else 1)
    baseline = read_arms(plan, plan.pre_start, plan.pre_end, treated_release=False)
    cumulative = read_arms(plan, plan.started_at, as_of)
    recent_start = as_of - RECENT_WINDOWS * plan.window
    recent = read_arms(plan, recent_start, as_of) if recent_start > plan.started_at else None
    return look_at(plan, baseline, cumulative, recent, look=look, as_of=as_of, state=previous_state)


def look_at(
    plan: LookPlan,
    baseline: Periods,
    cumulative: Periods,
    recent: Periods | None,
    *,
    look: int,
    as_of: datetime,
    state: dict[str, Any] | None,
) -> LookOutcome:
    """One look at periods that were read already; a retrospective calls it for look after look."""
    inputs = LookInput(
        devices=[device.serial for device in plan.devices],
        treated=[int(device.treated) for device in plan.devices],
        strata=[device.stratum for device in plan.devices],
        lanes=[device.hardware_target for device in plan.devices],
        look=look,
        planned_looks=plan.planned_looks,
        hours=(as_of - plan.started_at).total_seconds() / 3600,
        minimum_hours=plan.minimum_hours,
        alpha=plan.alpha,
        stages=plan.stages,
        seed=plan.seed,
        permutations=plan.permutations,
        randomised=plan.randomised,
        stopped_lanes=list(plan.stopped_lanes),
        metrics=[_metric_input(plan, name, baseline, cumulative, recent) for name in judged_metrics(plan)],
        shapes=[
            shape for name in plan.shapes if (shape := _shape_input(name, baseline, cumulative, recent)) is not None
        ],
        reporting=[int(count > 0) for count in cumulative.scatter(lambda arm: arm.period.count.astype(float), 0.0)],
        inferences=[int(count) for count in cumulative.scatter(lambda arm: arm.period.count.astype(float), 0.0)],
        hard_limits=_hard_limits(plan, cumulative),
        state=state,
        described=_described(plan, baseline, cumulative),
    )
    return LookOutcome(given=inputs, result=evaluate_look(inputs), completeness=_completeness(plan, cumulative))


def replay(inputs: dict[str, Any]) -> LookResult:
    """The result of the frozen inputs of a look, recomputed."""
    return evaluate_look(LookInput.from_dict(inputs))


def judged_metrics(plan: LookPlan) -> list[str]:
    """The guardrails and whatever else the budgets name, in the registry's order: the order given never matters."""
    named = {name for margins in plan.margins.values() for name in margins if name in METRICS}
    named |= {METRIC_OF_LIMIT[limit] for limits in plan.limits.values() for limit in limits if limit in METRIC_OF_LIMIT}
    return [name for name in METRICS if name in named or name in plan.metrics]


def read_arms(plan: LookPlan, start: datetime, end: datetime, *, treated_release: bool = True) -> Periods:
    """What each arm recorded in [start, end): the treated on the new release, the control on the old one.

    Before the start (`treated_release=False`) both ran the old one. Records of a control device on the new release
    count for neither arm.
    """
    treated, control = plan.arms
    return Periods(
        len(plan.devices),
        tuple(
            Arm(positions, _read(plan, positions, start, end, new=new))
            for positions, new in ((treated, treated_release), (control, False))
        ),
    )


def _read(
    plan: LookPlan, positions: list[int], start: datetime, end: datetime, *, new: bool
) -> summaries.DeviceSummaries:
    """The devices' summaries on the new release, or on what they ran before it."""
    return summaries.device_summaries(
        [plan.devices[position].device_id for position in positions],
        workload_id=plan.workload_id,
        start=start,
        end=end,
        **releases_read(plan, new=new),
    )


def releases_read(plan: LookPlan, *, new: bool) -> dict[str, Any]:
    """Which releases' records an arm contributes, as the selectors of telemetry take it."""
    if new:
        return {"release_ids": (plan.release_id,)}
    if plan.baseline_release_ids:
        return {"release_ids": plan.baseline_release_ids}
    return {"release_ids": None, "exclude_release_ids": (plan.release_id,)}


def _metric_input(
    plan: LookPlan, name: str, baseline: Periods, cumulative: Periods, recent: Periods | None
) -> MetricInput:
    def read(periods: Periods) -> list[float | None]:
        return nullable(periods.scatter(lambda arm: metric_values(arm.period, name), np.nan))

    bounds = {
        target: float(bound)
        for target, limits in plan.limits.items()
        for limit, bound in limits.items()
        if METRIC_OF_LIMIT.get(limit) == name
    }
    margins = {target: float(chosen[name]) for target, chosen in plan.margins.items() if name in chosen}
    return MetricInput(
        name=name,
        pre=read(baseline),
        post=read(cumulative),
        recent=read(recent) if recent is not None else None,
        margins=margins,
        limits=bounds,
        required=bool(margins or bounds),
    )


def _described(plan: LookPlan, baseline: Periods, cumulative: Periods) -> list[DescribedInput]:
    """Device values of what is reported and not judged; what no device has in both periods is left out."""
    judged = judged_metrics(plan)
    found = []
    for name in METRICS:
        if name in judged or name not in plan.described:
            continue
        pre, post = (
            periods.scatter(lambda arm, name=name: metric_values(arm.period, name), np.nan)
            for periods in (baseline, cumulative)
        )
        if (np.isfinite(pre) & np.isfinite(post)).any():
            found.append(DescribedInput(name, nullable(pre), nullable(post)))
    return found


def _shape_input(name: str, baseline: Periods, cumulative: Periods, recent: Periods | None) -> ShapeInput | None:
    """Counts per bin or class of every device; None where no device ever recorded any."""
    labels, class_ids = shape_labels(name, [period for period in (baseline, cumulative, recent) if period])
    if not labels:
        return None
    return ShapeInput(
        name=name,
        labels=labels,
        pre=baseline.counts(name, class_ids),
        post=cumulative.counts(name, class_ids),
        recent=recent.counts(name, class_ids) if recent else None,
        margin=None,
    )


def _hard_limits(plan: LookPlan, cumulative: Periods) -> list[HardLimit]:
    """Absolute bounds per device that act at once, without statistics, on two or more devices."""
    found = []
    for limit, source in ((Limit.ERROR_RATE, "error_rate"), (Limit.TEMPERATURE_C, "temperature_max")):
        bounds = {target: limits[limit] for target, limits in plan.limits.items() if limit in limits}
        if not bounds:
            continue
        values = cumulative.scatter(lambda arm, source=source: device_level(arm, source), np.nan)
        for target, bound in sorted(bounds.items()):
            inside = [
                value if device.hardware_target == target else np.nan
                for value, device in zip(values, plan.devices, strict=True)
            ]
            found.append(
                HardLimit(name=source, limit=float(bound), values=nullable(np.array(inside)), harm=1, lane=target)
            )
    return found


def device_level(arm: Arm, source: str) -> NDArray[np.float64]:
    """A device's own level of a hard limit, shape (n,): its error rate, or its highest temperature; NaN if unknown."""
    return metric_values(arm.period, "error_rate") if source == "error_rate" else arm.summary.temperature_max


def _completeness(plan: LookPlan, cumulative: Periods) -> dict[str, Any]:
    """Devices heard from and inferences seen, by arm."""
    counts = cumulative.scatter(lambda arm: arm.period.count.astype(float), 0.0)
    answer: dict[str, Any] = {}
    for name, positions in zip(("treated", "control"), plan.arms, strict=True):
        inside: Sequence[float] = [counts[position] for position in positions]
        answer[name] = {
            "devices": len(inside),
            "reporting": sum(1 for count in inside if count > 0),
            "inferences": int(sum(inside)),
            "silent": sorted(plan.devices[position].serial for position in positions if counts[position] == 0),
        }
    return answer
