"""Verdicts: from numbers already collected to fail, hold, inconclusive or pass, each with its reason in words."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from drift.stats.metrics import Kind, Metric
from drift.stats.scan import MINIMUM_PER_ARM, Group, Scope, Window


class Verdict(StrEnum):
    """What the evidence says of a release; ordered from worst to best."""

    FAIL = "fail"
    HOLD = "hold"
    INCONCLUSIVE = "inconclusive"
    PASS = "pass"


_ORDER = list(Verdict)


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of some verdicts; of none it is inconclusive: no evidence is never a pass."""
    return min(verdicts, key=_ORDER.index, default=Verdict.INCONCLUSIVE)


@dataclass(frozen=True)
class Crossing:
    """A statistic of the family that reached its critical value at this look or before.

    `theta` is its contrast today, toward harm and on the scale of device values.
    """

    group: Group
    window: Window
    look: int
    theta: float


@dataclass(frozen=True)
class Estimate:
    """All that is known of one metric in one lane at one look; contrasts and bounds point toward harm (larger: worse).

    `lower` and `upper` are infinite where no interval could be formed. `recent_theta` is NaN where there is no recent
    window of its own; `recent_upper` is that window's bound at this look alone, infinite where there is none.
    `owed_treated` and `owed_control` count the cohort, `n_*` those with a value.
    """

    metric: Metric
    delta: float
    theta: float
    standard_error: float
    lower: float
    upper: float
    recent_theta: float
    n_treated: int
    n_control: int
    owed_treated: int
    owed_control: int
    recent_upper: float = math.inf
    own: Sequence[Crossing] = ()
    pooled: Sequence[Crossing] = ()
    missing: str = ""
    """Why the values present cannot be taken for the whole cohort; empty when they can."""
    over_limit: str = ""
    """In words, an absolute limit of the budget that the treated devices are over; empty when none."""
    far_over_limit: bool = False
    """Whether that excess is beyond the noise of the devices, and the control is within the limit."""


@dataclass(frozen=True)
class Decision:
    """A verdict and its reason."""

    verdict: Verdict
    reason: str


def percent(metric: Metric, theta: float, *, signed: bool = True) -> str:
    """A harmward contrast in words, in the metric's own direction: "+5.2 %", "-0.031", "+0.6 points"."""
    effect = metric.to_effect(metric.harm * theta)
    sign = "+" if signed else ""
    if metric.relative:
        return f"{100 * effect:{sign}.1f} %"
    if metric.kind is Kind.SHARE:
        return f"{100 * effect:{sign}.2f} points"
    return f"{effect:{sign}.3g} {metric.unit}" if metric.unit in ("°C", "inferences") else f"{effect:{sign}.3f}"


def where(crossing: Crossing) -> str:
    """Where a crossing was seen, in words."""
    place = {
        Scope.ALL: "over all devices",
        Scope.LANE: f"on {crossing.group.name}",
        Scope.STRATUM: f"in {crossing.group.name}",
    }[crossing.group.scope]
    return place + (" in the latest windows" if crossing.window is Window.RECENT else "")


def _most_telling(crossings: Sequence[Crossing]) -> Crossing:
    """The widest group since the start, then the largest effect: what a person should read first."""
    widest = {Scope.ALL: 0, Scope.LANE: 1, Scope.STRATUM: 2}
    return min(crossings, key=lambda c: (c.window is Window.RECENT, widest[c.group.scope], -c.theta))


def _own_bound(estimate: Estimate, crossing: Crossing) -> float:
    """The lane's own upper bound over the window of a pooled crossing.

    A late harm is seen in the latest windows first, where a bound that was reached before it began says nothing.
    """
    return estimate.recent_upper if crossing.window is Window.RECENT else estimate.upper


def _clears(estimate: Estimate, crossing: Crossing) -> bool:
    return _own_bound(estimate, crossing) < estimate.delta


def decide_metric(estimate: Estimate) -> Decision:
    """The verdict on one metric in one lane.

    Fail: the test rejected, here or pooled over all devices, with an effect of at least the margin (pooled: and the
    lane's own upper bound does not clear it); or far over an absolute limit. Hold: it rejected with a smaller effect,
    and the upper bound does not clear the margin; or over an absolute limit. Pass: enough devices, none of them
    missing for a reason that may be the release, and upper bound and estimates below the margin. Else inconclusive.
    """
    metric, margin = estimate.metric, percent(estimate.metric, estimate.delta)
    cleared = estimate.upper < estimate.delta
    if harmful := [c for c in estimate.own if c.theta >= estimate.delta]:
        telling = _most_telling(harmful)
        return Decision(
            Verdict.FAIL,
            f"{metric.title} {percent(metric, telling.theta)} {where(telling)}, margin {margin}; "
            f"beyond chance at look {telling.look}",
        )
    if estimate.far_over_limit:
        return Decision(Verdict.FAIL, f"{metric.title}: {estimate.over_limit}")
    if harmful := [c for c in estimate.pooled if c.theta >= estimate.delta and not _clears(estimate, c)]:
        telling = _most_telling(harmful)
        own_bound = _own_bound(estimate, telling)
        own = f"up to {percent(metric, own_bound)}" if math.isfinite(own_bound) else "without a bound of its own"
        return Decision(
            Verdict.FAIL,
            f"{metric.title} {percent(metric, telling.theta)} {where(telling)}, margin {margin}; "
            f"this hardware target ({own}) does not clear itself",
        )
    if estimate.over_limit:
        return Decision(Verdict.HOLD, f"{metric.title}: {estimate.over_limit}")
    if min(estimate.n_treated, estimate.n_control) < MINIMUM_PER_ARM:
        return Decision(
            Verdict.INCONCLUSIVE,
            f"{metric.title}: {estimate.n_treated} treated and {estimate.n_control} control devices have a value, "
            f"{MINIMUM_PER_ARM} of each are needed",
        )
    crossings = [*estimate.own, *estimate.pooled]
    bound = f"between {percent(metric, estimate.lower)} and {percent(metric, estimate.upper)}"
    if metric.harm < 0:
        bound = f"between {percent(metric, estimate.upper)} and {percent(metric, estimate.lower)}"
    now = f"{metric.title} {percent(metric, estimate.theta)}"
    if crossings and not cleared:
        return Decision(
            Verdict.HOLD,
            f"{now}, {bound}: a regression shown {where(crossings[0])}, not shown to stay below the margin {margin}",
        )
    if estimate.missing:
        return Decision(Verdict.INCONCLUSIVE, f"{metric.title}: {estimate.missing}")
    if not math.isfinite(estimate.upper):
        return Decision(Verdict.INCONCLUSIVE, f"{now}: no interval yet, margin {margin}")
    if not cleared:
        return Decision(Verdict.INCONCLUSIVE, f"{now}, {bound}: the margin {margin} is not excluded yet")
    lately = max(estimate.theta, estimate.recent_theta if math.isfinite(estimate.recent_theta) else -math.inf)
    if lately >= estimate.delta:
        return Decision(
            Verdict.INCONCLUSIVE,
            f"{metric.title} {percent(metric, lately)} in the latest windows contradicts the bound of earlier looks, "
            f"margin {margin}",
        )
    if crossings:
        return Decision(Verdict.PASS, f"{now}: measured regression, {bound}, within budget {margin}")
    return Decision(Verdict.PASS, f"{now}, {bound}, below the margin {margin}")


@dataclass(frozen=True)
class ShapeEstimate:
    """What is known of one distribution in one lane: crossings, and today's size beside the practical margin."""

    title: str
    size: float
    size_name: str
    margin: float
    n_treated: int
    n_control: int
    own: Sequence[Crossing] = ()
    pooled: Sequence[Crossing] = ()
    missing: str = ""


def decide_shape(estimate: ShapeEstimate) -> Decision:
    """Hold on an alarm of practical size; inconclusive with too few devices; pass otherwise.

    A pooled alarm arrives here only when no lane explains it by one of its own. `Crossing.theta` is its size today.
    """
    crossings = [*estimate.own, *estimate.pooled]
    if alarms := [c for c in crossings if c.theta >= estimate.margin]:
        largest = max(alarms, key=lambda c: c.theta)
        return Decision(
            Verdict.HOLD,
            f"{estimate.title} changed {where(largest)}: {estimate.size_name} {largest.theta:.3f}, "
            f"practical size {estimate.margin:.3f}; beyond chance at look {largest.look}",
        )
    if min(estimate.n_treated, estimate.n_control) < MINIMUM_PER_ARM:
        return Decision(
            Verdict.INCONCLUSIVE,
            f"{estimate.title}: {estimate.n_treated} treated and {estimate.n_control} control devices have one, "
            f"{MINIMUM_PER_ARM} of each are needed",
        )
    if estimate.missing:
        return Decision(Verdict.INCONCLUSIVE, f"{estimate.title}: {estimate.missing}")
    if crossings:
        return Decision(
            Verdict.PASS,
            f"{estimate.title}: measured change, {estimate.size_name} {estimate.size:.3f}, within practical size "
            f"{estimate.margin:.3f}",
        )
    return Decision(Verdict.PASS, f"{estimate.title}: no change shown, {estimate.size_name} {estimate.size:.3f}")


@dataclass(frozen=True)
class MetricResult:
    """One metric in one lane, as reported: effects relative for ln metrics, absolute otherwise, not turned to harm."""

    metric: str
    unit: str
    verdict: Verdict
    effect: float | None
    lower: float | None
    upper: float | None
    standard_error: float | None
    n_treated: int
    n_control: int
    alpha_spent: float
    minimum_detectable_effect: float | None
    margin: float
    rejected: bool
    reason: str
    would_settle: str
    treated_level: float | None
    control_level: float | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; null where there is no number."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"verdict": str(self.verdict)}


@dataclass(frozen=True)
class ShapeResult:
    """One distribution in one lane, as reported."""

    metric: str
    verdict: Verdict
    statistic: float | None
    ks: float | None
    wasserstein: float | None
    total_variation: float | None
    n_treated: int
    n_control: int
    margin: float
    rejected: bool
    reason: str
    labels: list[str]
    difference: list[float] | None
    """Per bin, treated against control: the change of the share; it sums to zero."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; null where there is no number."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__} | {"verdict": str(self.verdict)}


@dataclass(frozen=True)
class LaneResult:
    """One lane (hardware target), as reported; `hardware_target` is "all" for the pooled figures."""

    hardware_target: str
    verdict: Verdict
    reason: str
    n_treated: int
    n_control: int
    metrics: list[MetricResult]
    shape: list[ShapeResult]
    reporting: dict[str, Any]
    hard_limits: list[dict[str, Any]]
    would_settle: str
    exclusions: list[dict[str, str]]
    """Metrics that this lane could not owe, each with the reason: never measured there, or too little traffic."""
    described: list[dict[str, Any]] | None = None
    """Metrics reported beside the judged ones; None where none was given, and then no word of it."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, the fields of a lane in a retrospective answer and more."""
        described = {} if self.described is None else {"described": self.described}
        return {
            **described,
            "hardware_target": self.hardware_target,
            "verdict": str(self.verdict),
            "reason": self.reason,
            "n_treated": self.n_treated,
            "n_control": self.n_control,
            "metrics": [metric.to_dict() for metric in self.metrics],
            "shape": [shape.to_dict() for shape in self.shape],
            "reporting": self.reporting,
            "hard_limits": self.hard_limits,
            "would_settle": self.would_settle,
            "exclusions": self.exclusions,
        }


def decide_lane(
    *,
    metrics: Sequence[MetricResult],
    shapes: Sequence[ShapeResult],
    hard_limits: Sequence[str],
    obstacles: Sequence[str],
) -> Decision:
    """The worst of all: hard limits fail at once; obstacles (no full day, silence, too few devices) hold up a pass.

    The reason gives the findings of the deciding kind, most telling first; of a pass, the figures that came closest.
    """
    if hard_limits:
        return Decision(Verdict.FAIL, "; ".join(hard_limits))
    verdict = worst([m.verdict for m in metrics] + [s.verdict for s in shapes])
    if not metrics:
        verdict = worst([verdict, Verdict.INCONCLUSIVE])
    if obstacles:
        verdict = worst([verdict, Verdict.INCONCLUSIVE])
    reasons = [row.reason for row in (*metrics, *shapes) if row.verdict is verdict]
    if verdict is Verdict.INCONCLUSIVE:
        reasons = [*obstacles, *reasons] or ["no metric has data"]
    if verdict is Verdict.PASS:
        regressions = [m.reason for m in metrics if m.rejected]
        count = f"all {len(metrics)} metrics are below their margins"
        reasons = [count if len(metrics) > 1 else reasons[0], *(regressions if len(metrics) > 1 else [])]
    return Decision(verdict, "; ".join(reasons))
