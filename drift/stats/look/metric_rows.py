"""One metric in one lane of a look: its estimate, its verdict, and the row that reports both."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from drift.stats import metrics as registry
from drift.stats.interval import minimum_detectable_effect
from drift.stats.look.cells import real_contrast
from drift.stats.look.context import LaneContext, delta_of, family_cell, interval_name, own_crossings
from drift.stats.look.inputs import MetricInput
from drift.stats.metrics import Metric
from drift.stats.mixture import mixture_look, tuned_rho
from drift.stats.proportions import reporting_rate
from drift.stats.scan import MINIMUM_PER_ARM, Window
from drift.stats.settling import settle
from drift.stats.verdict import Decision, Estimate, MetricResult, Verdict, decide_metric

# Standard errors by which a level must exceed an absolute limit before the limit alone fails a lane.
FAR_OVER = 3.0


def metric_result(
    context: LaneContext,
    lane: str,
    row: MetricInput,
    arrays: Mapping[str, NDArray[np.float64]],
    devices: NDArray[np.intp],
) -> MetricResult:
    """The row of one metric in one lane; `arrays` hold its device values, `devices` the lane's positions in them."""
    judged = registry.metric(row.name)
    estimate = _estimate(context, lane, row, judged, arrays, devices)
    decision = decide_metric(estimate)
    if context.no_test and decision.verdict is not Verdict.INCONCLUSIVE:
        decision = Decision(Verdict.INCONCLUSIVE, f"{decision.reason} ({context.no_test})")
    theta = estimate.theta
    # An estimate that has wandered past a bound of earlier looks widens it: the report never contradicts itself.
    lower = min(estimate.lower, theta) if math.isfinite(theta) else estimate.lower
    upper = max(estimate.upper, theta) if math.isfinite(theta) else estimate.upper
    low, high = (lower, upper) if judged.harm > 0 else (-upper, -lower)
    treated = frame_treated = context.frame.treated[devices]
    since = arrays["post"][devices]
    open_question = decision.verdict in (Verdict.INCONCLUSIVE, Verdict.HOLD)
    return MetricResult(
        metric=row.name,
        unit=judged.unit,
        verdict=decision.verdict,
        effect=_effect(judged, judged.harm * theta),
        lower=_effect(judged, low),
        upper=_effect(judged, high),
        standard_error=_number(estimate.standard_error),
        n_treated=estimate.n_treated,
        n_control=estimate.n_control,
        alpha_spent=context.alpha_used,
        minimum_detectable_effect=_detectable(context, lane, judged, estimate),
        margin=min(row.margin(name) for name in context.frame.lanes) if lane == "all" else row.margin(lane),
        rejected=bool(estimate.own),
        reason=decision.reason,
        would_settle=_settling(context, lane, estimate) if open_question else "",
        treated_level=_level(judged, since[treated]),
        control_level=_level(judged, since[~frame_treated]),
    )


def _estimate(
    context: LaneContext,
    lane: str,
    row: MetricInput,
    judged: Metric,
    arrays: Mapping[str, NDArray[np.float64]],
    devices: NDArray[np.intp],
) -> Estimate:
    frame, columns = context.frame, context.cells.metrics
    strata = frame.lane_strata(lane)
    index = columns.column(row.name, Window.CUMULATIVE)
    assert index is not None
    theta, error, n_treated, n_control = real_contrast(columns, strata, index)
    recent_index = columns.column(row.name, Window.RECENT)
    recent, recent_upper = math.nan, math.inf
    if recent_index is not None:
        recent, recent_error, *_ = real_contrast(columns, strata, recent_index)
        recent_upper = _bound_now(context, row.name, lane, recent, recent_error)
    delta = delta_of(row, lane, frame.lanes)
    lower, upper = -math.inf, math.inf
    if context.no_test:
        rho = tuned_rho(16.0 / max(delta, 1e-6) ** 2, frame.alpha)
        looked = mixture_look(theta, error, rho=rho, alpha=2.0 * frame.alpha, treated=n_treated, control=n_control)
        if looked:
            lower, upper = looked.lower, looked.upper
    elif interval := context.state.intervals.get((row.name, interval_name(frame, lane))):
        lower, upper = interval.lower, interval.upper
    treated = frame.treated[devices]
    valued = np.isfinite(columns.differences[devices, index])
    missing = reporting_rate(
        int(treated.sum()), int(valued[treated].sum()), int((~treated).sum()), int(valued[~treated].sum()),
        what="have a value",
    ).reason  # fmt: skip
    over, far = _over_limit(row, judged, lane, arrays["post"][devices], treated)
    return Estimate(
        metric=judged,
        delta=delta,
        theta=theta,
        standard_error=error,
        lower=lower,
        upper=upper,
        recent_theta=recent,
        recent_upper=recent_upper,
        n_treated=n_treated,
        n_control=n_control,
        owed_treated=int(treated.sum()),
        owed_control=int((~treated).sum()),
        own=own_crossings(context, row.name, lane),
        pooled=[] if lane == "all" else context.pooled.get(row.name, []),
        missing=missing,
        over_limit=over,
        far_over_limit=far and not context.no_test,
    )


def _over_limit(
    row: MetricInput, judged: Metric, lane: str, since: NDArray[np.float64], treated: NDArray[np.bool_]
) -> tuple[str, bool]:
    """In words that treated devices are, on average, over the budget's absolute limit; and whether beyond noise."""
    limit = None if lane == "all" else row.limit(lane)
    canary, control = since[treated & np.isfinite(since)], since[~treated & np.isfinite(since)]
    if limit is None or len(canary) == 0:
        return "", False
    bound = judged.harm * judged.from_level(limit)
    level = judged.harm * float(canary.mean())
    if level <= bound:
        return "", False
    also = len(control) > 0 and judged.harm * float(control.mean()) > bound
    error = float(canary.std(ddof=1)) / math.sqrt(len(canary)) if len(canary) >= MINIMUM_PER_ARM else math.inf
    words = f"{judged.level(judged.harm * level):.4g} {judged.unit} is over the limit {limit:.4g} {judged.unit}"
    if also:
        words += ", and so is the control"
    return words, not also and level - FAR_OVER * error > bound


def _detectable(context: LaneContext, lane: str, judged: Metric, estimate: Estimate) -> float | None:
    critical: float | None = None
    if context.state.last_score is not None:
        value = family_cell(context, judged.name, lane)
        critical = value.scale.value(context.state.last_score) if value else None
    detectable = minimum_detectable_effect(critical, estimate.standard_error)
    return _effect(judged, detectable)


def _bound_now(context: LaneContext, name: str, lane: str, theta: float, error: float) -> float:
    """The latest windows' upper bound at this look alone, by the family's critical value; infinite without one."""
    value = family_cell(context, name, lane, Window.RECENT)
    if value is None or context.state.last_score is None or not math.isfinite(error):
        return math.inf
    return theta + max(value.scale.value(context.state.last_score), 0.0) * error


def _settling(context: LaneContext, lane: str, estimate: Estimate) -> str:
    look = context.look
    if estimate.n_treated < MINIMUM_PER_ARM or estimate.n_control < MINIMUM_PER_ARM:
        return f"{MINIMUM_PER_ARM} treated and {MINIMUM_PER_ARM} control devices with a value"
    if estimate.missing:
        return "hearing from the devices that are silent"
    if not math.isfinite(estimate.upper):
        return "a look with permutations left to spend"
    answer = settle(
        theta=estimate.theta,
        delta=estimate.delta,
        half_width=estimate.upper - estimate.theta,
        treated=estimate.n_treated,
        hours=look.hours,
        variance=estimate.standard_error**2,
        first=context.state.first_width.get((estimate.metric.name, interval_name(context.frame, lane))),
    )
    return answer.words(estimate.n_treated, look.hours)


def _level(judged: Metric, values: NDArray[np.float64]) -> float | None:
    """The device-weighted level: mean of device values, back in the metric's unit (a geometric mean for logarithms)."""
    values = values[np.isfinite(values)]
    return judged.level(float(values.mean())) if len(values) else None


def _effect(judged: Metric, theta: float) -> float | None:
    return judged.to_effect(theta) if math.isfinite(theta) else None


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
