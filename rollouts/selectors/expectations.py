"""What a stage of a given size could show: the smallest effect that would be seen, from how devices varied of late."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from scipy.special import ndtri

from drift.periods import device_period
from drift.stats.interval import minimum_detectable_effect
from drift.stats.metrics import GUARDRAILS, METRICS, margin_for
from drift.stats.summaries import metric_values
from fleet.models import HardwareTarget, Release
from fleet.models.budgets import Limit
from rollouts.cohorts import MINIMUM_PER_ARM
from rollouts.plans import Policy
from rollouts.selectors.budgets import Bounds, bounds_for
from telemetry.selectors.summaries import device_summaries

# Devices of a lane whose past is read: a standard deviation from two hundred is good to five per cent.
SAMPLE = 200
# Days against which the newest day is held, as a stage holds its first day against the week before.
BEFORE = timedelta(days=7)
AFTER = timedelta(days=1)
_LIMIT_OF = {
    "latency_p95": Limit.LATENCY_P95_MS,
    "latency_p99": Limit.LATENCY_P99_MS,
    "energy_mean": Limit.ENERGY_MJ,
    "fallback_rate": Limit.FALLBACK_RATE,
    "error_rate": Limit.ERROR_RATE,
}


@dataclass(frozen=True)
class Noise:
    """How one metric varied between two periods without a release in between.

    `spread` is the standard deviation over `devices` of their own change, in the scale of device values; `level` is
    their median in the metric's own unit.
    """

    metric: str
    spread: float
    level: float
    devices: int


@dataclass(frozen=True)
class Expectation:
    """The smallest effect of one metric that a lane of a stage would see, beside the margin that it must exclude.

    Effects are relative for metrics that are judged by ratios, else absolute. `treated_needed` is how many treated
    devices (with as many times the control as now) would bring it down to the margin; None where it is there.
    """

    metric: str
    title: str
    relative: bool
    smallest: float
    margin: float
    treated_needed: int | None

    @property
    def enough(self) -> bool:
        """Whether the lane can exclude a harm of the size of its margin."""
        return self.smallest <= self.margin


def noise_of(release: Release, device_ids: Sequence[int], now: datetime) -> dict[str, Noise]:
    """The guardrail metrics' variation among some devices over the last day against the week before.

    A metric that fewer than six devices measured in both periods is left out. What the release itself recorded, where
    devices run it already, counts for neither period.
    """
    step = max(len(device_ids) // SAMPLE, 1)
    devices = sorted(device_ids)[::step][:SAMPLE]
    if not devices:
        return {}
    edge = now - AFTER
    before, after = (
        device_period(
            device_summaries(
                devices,
                workload_id=release.workload_id,
                release_ids=None,
                exclude_release_ids=(release.pk,),
                start=start,
                end=end,
            )
        )
        for start, end in ((edge - BEFORE, edge), (edge, now))
    )
    found = {}
    for name in GUARDRAILS:
        old, new = metric_values(before, name), metric_values(after, name)
        known = np.isfinite(old) & np.isfinite(new)
        if known.sum() >= MINIMUM_PER_ARM:
            change = (new - old)[known]
            level = METRICS[name].level(float(np.median(new[known])))
            found[name] = Noise(name, float(change.std(ddof=1)), level, int(known.sum()))
    return found


def expectations(
    noise: Mapping[str, Noise], bounds: Bounds, *, treated: int, control: int, policy: Policy, stages: int
) -> list[Expectation]:
    """What `treated` devices beside `control` would see of each metric, with 80 % power at the planned alpha.

    SE = spread sqrt(1/treated + 1/control). The critical value is that of one metric among all guardrails at a stage's
    share of alpha (Bonferroni): the test that judges is never less powerful.
    """
    if min(treated, control) < 1:
        return []
    critical = float(-ndtri(policy.alpha / max(stages, 1) / len(GUARDRAILS)))
    rows = []
    for name, row in noise.items():
        metric = METRICS[name]
        limit = bounds.limits.get(_LIMIT_OF.get(name, ""))
        default = margin_for(metric, budget_limit=limit, control_level=row.level)
        margin = bounds.margins.get(name, default)
        error = row.spread * math.sqrt(1 / treated + 1 / control)
        smallest = abs(metric.to_effect(minimum_detectable_effect(critical, error)))
        needed = None
        if margin > 0.0 and smallest > margin:
            at_margin = metric.from_effect(margin)
            seen = minimum_detectable_effect(critical, row.spread)
            needed = math.ceil((seen / at_margin) ** 2 * (1 + treated / control))
        rows.append(Expectation(name, metric.title, metric.relative, smallest, margin, needed))
    return rows


def bounds_of_target(release: Release, slug: str, now: datetime, policy: Policy) -> Bounds:
    """What holds for the release on a hardware target under a policy that may not be written down yet."""
    return bounds_for(release, HardwareTarget.objects.get(slug=slug), now, policy)
