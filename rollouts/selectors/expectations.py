"""What a stage of a given size could show, and when, from how the devices varied of late."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np
from scipy.special import ndtri

from drift.periods import device_period
from drift.stats.interval import minimum_detectable_effect
from drift.stats.metrics import GUARDRAILS, METRICS, Kind, margin_for
from drift.stats.summaries import DevicePeriod, metric_values
from fleet.models import Release
from fleet.models.budgets import Limit
from rollouts.cohorts import MINIMUM_PER_ARM
from rollouts.plans import Policy
from rollouts.selectors.budgets import Bounds
from telemetry.selectors.summaries import device_summaries

# Devices of a lane whose past is read: a standard deviation from two hundred is good to five per cent.
SAMPLE = 200
# Days against which the newest day is held, as a stage holds its first day against the week before.
BEFORE = timedelta(days=7)
AFTER = timedelta(days=1)
# The beginning of that day shows how much more a device's value strays while less has been seen of it.
EARLY = timedelta(hours=6)
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

    `spread` is the standard deviation over `devices` of their own change after a day, in the scale of device values;
    `level` is their median in the metric's own unit. After other times the variance is lasting + passing / hours.
    `asked` devices were looked at; one of those heard from makes `per_hour` inferences in the median.
    """

    metric: str
    spread: float
    level: float
    devices: int
    lasting: float
    passing: float
    asked: int
    per_hour: float


@dataclass(frozen=True)
class Past:
    """The last week of a lane's devices: the noise of each metric that can be judged, and what stands in the way.

    `unknown` are metrics that will be judged and of which too few devices said enough: the lane would wait for them.
    """

    noise: dict[str, Noise] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


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


def past_of(release: Release, device_ids: Sequence[int], bounds: Bounds, now: datetime) -> Past:
    """How some devices varied over the last day against the week before, in every metric that would judge them.

    Metrics are the guardrails and what the bounds name. One that fewer than six devices measured in both periods has
    no noise; it is unknown where the bounds name it or some device measured it. What the release itself recorded,
    where devices run it already, counts for neither period.
    """
    step = max(len(device_ids) // SAMPLE, 1)
    devices = sorted(device_ids)[::step][:SAMPLE]
    if not devices:
        return Past()
    edge = now - AFTER

    def period(start: datetime, end: datetime) -> DevicePeriod:
        return device_period(
            device_summaries(
                devices,
                workload_id=release.workload_id,
                release_ids=None,
                exclude_release_ids=(release.pk,),
                start=start,
                end=end,
            )
        )

    before, early, after = period(edge - BEFORE, edge), period(edge, edge + EARLY), period(edge, now)
    counts = after.count[after.count > 0]
    per_hour = float(np.median(counts)) / _hours(AFTER) if len(counts) else 0.0
    found, unknown = {}, []
    named = {*bounds.margins, *bounds.metric_limits}
    for name in (name for name in METRICS if name in named or name in GUARDRAILS):
        old, new = metric_values(before, name), metric_values(after, name)
        known = np.isfinite(old) & np.isfinite(new)
        if known.sum() < MINIMUM_PER_ARM:
            if name in named or (np.isfinite(old).any() and not METRICS[name].may_be_thin):
                unknown.append(name)
            continue
        spread = float((new - old)[known].std(ddof=1))
        lasting, passing = _by_time(metric_values(early, name) - old, spread)
        if METRICS[name].kind is Kind.SHARE:
            passing = max(passing, _counting(new[known], after.count[known]) / max(per_hour, 1e-9))
        level = METRICS[name].level(float(np.median(new[known])))
        found[name] = Noise(name, spread, level, int(known.sum()), lasting, passing, len(devices), per_hour)
    return Past(found, tuple(unknown))


def _hours(span: timedelta) -> float:
    return span.total_seconds() / 3600


def _by_time(early_change: np.ndarray, spread: float) -> tuple[float, float]:
    """Variance of a device's change as lasting + passing / hours, from a few hours and from a day of it.

    Where too few devices said enough in the few hours, all of it is taken to last: more time then promises nothing.
    """
    change = early_change[np.isfinite(early_change)]
    if len(change) < MINIMUM_PER_ARM:
        return spread**2, 0.0
    passing = max(float(change.var(ddof=1)) - spread**2, 0.0) / (1 / _hours(EARLY) - 1 / _hours(AFTER))
    lasting = max(spread**2 - passing / _hours(AFTER), 0.0)
    return lasting, passing if lasting else spread**2 * _hours(AFTER)


def _counting(shares: np.ndarray, counts: np.ndarray) -> float:
    """The variance of a share over one inference, p (1 - p) with Laplace's p: no event so far is not none ever."""
    p = (float((shares * counts).sum()) + 1.0) / (float(counts.sum()) + 2.0)
    return p * (1.0 - p)


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
        margin = margin_of(row, bounds)
        error = row.spread * math.sqrt(1 / treated + 1 / control)
        smallest = abs(metric.to_effect(minimum_detectable_effect(critical, error)))
        needed = None
        if margin > 0.0 and smallest > margin:
            at_margin = metric.from_effect(margin)
            seen = minimum_detectable_effect(critical, row.spread)
            needed = math.ceil((seen / at_margin) ** 2 * (1 + treated / control))
        rows.append(Expectation(name, metric.title, metric.relative, smallest, margin, needed))
    return rows


def margin_of(row: Noise, bounds: Bounds) -> float:
    """The margin that will judge the metric, in effect units: one that was set, or the room that a limit leaves."""
    limit = bounds.limits.get(_LIMIT_OF.get(row.metric, ""))
    return bounds.margins.get(row.metric, margin_for(METRICS[row.metric], budget_limit=limit, control_level=row.level))
