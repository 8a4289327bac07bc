"""What may be expected of a plan's lanes: the past of their devices, and when each may be decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any

import numpy as np

from drift.stats.metrics import METRICS
from fleet.models import HardwareTarget
from rollouts import cohorts
from rollouts.cohorts import MINIMUM_PER_ARM
from rollouts.decision_times import DecisionTimes, Design, MetricNoise, simulate
from rollouts.models import Stage
from rollouts.plans import tested_stages
from rollouts.selectors.budgets import Bounds, bounds_for
from rollouts.selectors.cohorts import Plan, least_hours
from rollouts.selectors.expectations import Past, margin_of, past_of

# The same plan gives the same figures each time it is drawn.
SEED = 20_260_302
# A lane takes some hundredths of a second; a plan of more lanes than this is not simulated as a whole.
MOST_LANES = 60


@dataclass(frozen=True)
class Timing:
    """When a lane may be decided; `unknown` says why that cannot be said, and then there are no times."""

    times: DecisionTimes | None = None
    unknown: str = ""


@dataclass(frozen=True)
class Outlook:
    """The past and the bounds of every hardware target of a plan, read once."""

    plan: Plan
    now: datetime

    @cached_property
    def _devices(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for candidate in self.plan.everyone.candidates:
            found.setdefault(candidate.hardware_target, []).append(candidate.device_id)
        return found

    @cached_property
    def bounds(self) -> dict[str, Bounds]:
        """What holds on each hardware target under a policy that may not be written down yet."""
        targets = HardwareTarget.objects.filter(slug__in=self._devices)
        return {row.slug: bounds_for(self.plan.release, row, self.now, self.plan.policy) for row in targets}

    @cached_property
    def pasts(self) -> dict[str, Past]:
        """How the devices of each hardware target varied of late; one sample serves every stage."""
        release = self.plan.release
        return {slug: past_of(release, found, self.bounds[slug], self.now) for slug, found in self._devices.items()}

    def timing(self, stage: Stage, lane: dict[str, Any]) -> Timing:
        """When the lane (a row of `StagePreview.lanes`) may be decided, by simulation."""
        slug, policy = lane["hardware_target"], self.plan.policy
        past = self.pasts.get(slug, Past())
        if not past.noise:
            return Timing(
                unknown="the devices sent too little in the last eight days; the last is held against the seven before"
            )
        if past.unknown:
            titles = ", ".join(METRICS[name].title.lower() for name in past.unknown)
            return Timing(unknown=f"fewer than {MINIMUM_PER_ARM} devices measured {titles} in the last eight days")
        if len(self._devices) * sum(not row.hand_picked for row in self.plan.stages) > MOST_LANES:
            return Timing(unknown=f"the plan has more than {MOST_LANES} lanes and stages; narrow it")
        bounds = self.bounds[slug]
        margins = {name: margin_of(row, bounds) for name, row in past.noise.items()}
        if spent := [METRICS[name].title for name, margin in margins.items() if margin <= 0.0]:
            return Timing(unknown=f"{', '.join(spent)}: devices are at their limit already, so nothing can pass")
        # Who says too little now will say too little then.
        heard = min(row.devices / row.asked for row in past.noise.values())
        treated, control = (
            math.floor(min(size, cohorts.ANALYSED_LIMIT) * heard + 1e-9)
            for size in (lane["treated"], lane["control"] + lane["holdback"])
        )
        if min(treated, control) < MINIMUM_PER_ARM:
            return Timing(
                unknown=f"only {heard:.0%} of the devices said enough in the last eight days: of the lane about "
                f"{treated} treated and {control} control devices would, and {MINIMUM_PER_ARM} of each are needed"
            )
        named = {*bounds.margins, *bounds.metric_limits}
        design = Design(
            treated=treated,
            control=control,
            alpha=policy.alpha / tested_stages(self.plan.stages),
            looks=policy.looks_max,
            look_hours=policy.look_interval_s / 3600,
            not_before=least_hours(stage, policy),
            lanes=len(self._devices),
        )
        noises = [_noise(row, margins[row.metric], row.metric in named) for row in past.noise.values()]
        return Timing(simulate(noises, design, np.random.default_rng(SEED)))


def _noise(row: Any, margin: float, named: bool) -> MetricNoise:
    metric = METRICS[row.metric]
    return MetricNoise(
        row.metric,
        row.lasting,
        row.passing,
        abs(metric.from_effect(metric.harm * margin)),
        from_hours=metric.minimum_n / row.per_hour,
        owed=named or not metric.may_be_thin,
    )
