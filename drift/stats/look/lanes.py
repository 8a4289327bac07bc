"""One lane of a look: estimates per metric and shape put before the verdict, and what hangs around them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.stats import metrics as registry
from drift.stats.interval import minimum_detectable_effect
from drift.stats.look.cells import CellValue, LookCells, ShapeColumns, metric_arrays, real_contrast
from drift.stats.look.frame import Frame
from drift.stats.look.inputs import LookInput, MetricInput
from drift.stats.look.state import Cell, LookState
from drift.stats.metrics import Metric
from drift.stats.mixture import mixture_look, tuned_rho
from drift.stats.proportions import reporting_rate
from drift.stats.scan import MINIMUM_PER_ARM, Scope, Window
from drift.stats.settling import settle
from drift.stats.verdict import (
    Crossing,
    Decision,
    Estimate,
    LaneResult,
    MetricResult,
    ShapeEstimate,
    ShapeResult,
    Verdict,
    decide_lane,
    decide_metric,
    decide_shape,
)

# Standard errors by which a level must exceed an absolute limit before the limit alone fails a lane.
FAR_OVER = 3.0


@dataclass
class LaneContext:
    """What every lane of a look shares."""

    look: LookInput
    frame: Frame
    cells: LookCells
    state: LookState
    pooled: dict[str, list[Crossing]] = field(default_factory=dict)
    """Crossings over several lanes that no lane explains by its own, by metric or shape."""
    no_test: str = ""
    """Why there is no test at this look: observational, or too few assignments; empty when there is one."""

    @property
    def alpha_used(self) -> float:
        """The share of the stage's permutations spent so far."""
        return self.state.family.used / len(self.state.family.surviving)


def own_crossings(context: LaneContext, name: str, lane: str) -> list[Crossing]:
    """Crossings of a metric or shape inside one lane, at this look or before; "all" asks for those of the whole."""
    found = []
    for cell, at in sorted(context.state.crossings.items()):
        value = context.cells.values.get(cell)
        if cell[0] != name or value is None:
            continue
        inside = value.group.scope is Scope.ALL if lane == "all" else value.group.lane == lane
        if inside:
            found.append(Crossing(value.group, value.window, at, value.theta))
    return found


def delta_of(row: MetricInput, lane: str, lanes: Sequence[str]) -> float:
    """A lane's margin as a harmward difference of device values; the pooled figure has the smallest of all lanes."""
    judged = registry.metric(row.name)
    margin = min(row.margin(name) for name in lanes) if lane == "all" else row.margin(lane)
    return judged.harm * judged.from_effect(judged.harm * margin)


def lane_result(context: LaneContext, lane: str) -> LaneResult:
    """Everything about one lane, or about "all" lanes together."""
    look, frame = context.look, context.frame
    devices = frame.lane_devices(lane)
    treated = frame.treated[devices]
    rows: list[MetricResult] = []
    exclusions: list[dict[str, str]] = []
    for row in look.metrics:
        arrays = metric_arrays(row, frame)
        if reason := _not_owed(row, {part: values[devices] for part, values in arrays.items()}, treated):
            exclusions.append({"metric": row.name, "reason": reason})
            continue
        rows.append(_metric_result(context, lane, row, arrays, devices))
    shape_rows: list[ShapeResult] = []
    for column in context.cells.shapes:
        if column.window is not Window.CUMULATIVE:
            continue
        if not np.isfinite(column.differences[devices, 0]).any():
            exclusions.append({"metric": column.name, "reason": "no device has enough of it before and since"})
            continue
        shape_rows.append(_shape_result(context, lane, column, devices))
    limits = _hard_limits(context, devices)
    reporting = _reporting(context, devices)
    obstacles = _obstacles(context, int(treated.sum()), int((~treated).sum()))
    if reporting["reason"]:
        obstacles.append(reporting["reason"])
    if not rows:
        obstacles.append(
            "; ".join(f"{item['metric']}: {item['reason']}" for item in exclusions) or "no metric is judged"
        )
    decision = decide_lane(
        metrics=rows,
        shapes=shape_rows,
        hard_limits=[item["reason"] for item in limits if item["breached"]],
        obstacles=obstacles,
    )
    return LaneResult(
        hardware_target=lane,
        verdict=decision.verdict,
        reason=decision.reason,
        n_treated=int(treated.sum()),
        n_control=int((~treated).sum()),
        metrics=rows,
        shape=shape_rows,
        reporting=reporting,
        hard_limits=limits,
        would_settle=_lane_settling(look, rows, decision),
        exclusions=exclusions,
    )


def _not_owed(row: MetricInput, arrays: Mapping[str, NDArray[np.float64]], treated: NDArray[np.bool_]) -> str:
    """Why a lane does not owe a metric, or "". What the budget names is owed, and so is what the old release gave."""
    if row.required:
        return ""
    before, since = np.isfinite(arrays["pre"]), np.isfinite(arrays["post"])
    if not before.any():
        return "measured on no device here before the release"
    judged = registry.metric(row.name)
    usable = before & since
    if judged.may_be_thin and usable[~treated].sum() < max(MINIMUM_PER_ARM, 0.5 * (~treated).sum()):
        return f"too little traffic so far: a device needs {judged.minimum_n} inferences"
    return ""


def _obstacles(context: LaneContext, treated: int, control: int) -> list[str]:
    look = context.look
    found = [context.no_test] if context.no_test else []
    if treated < MINIMUM_PER_ARM:
        found.append(f"{treated} treated devices, at least {MINIMUM_PER_ARM} are needed")
    if control < MINIMUM_PER_ARM:
        found.append(f"{control} control devices, at least {MINIMUM_PER_ARM} are needed")
    if look.hours < look.minimum_hours:
        found.append(f"{look.hours:.3g} of {look.minimum_hours:.3g} hours observed")
    return found


def _reporting(context: LaneContext, devices: NDArray[np.intp]) -> dict[str, Any]:
    look, frame = context.look, context.frame
    if look.reporting is not None:
        heard = np.array(look.reporting, dtype=bool)[frame.order]
    else:
        heard = np.zeros(len(frame.order), dtype=bool)
        for row in look.metrics:
            heard |= np.isfinite(metric_arrays(row, frame)["post"])
    treated = frame.treated[devices]
    rate = reporting_rate(
        int(treated.sum()),
        int(heard[devices][treated].sum()),
        int((~treated).sum()),
        int(heard[devices][~treated].sum()),
    )
    return {
        "treated": rate.treated,
        "treated_reporting": rate.treated_reporting,
        "control": rate.control,
        "control_reporting": rate.control_reporting,
        "p_value": rate.p_value,
        "in_order": rate.in_order,
        "reason": rate.reason,
    }


def _hard_limits(context: LaneContext, devices: NDArray[np.intp]) -> list[dict[str, Any]]:
    look, frame = context.look, context.frame
    found = []
    for limit in look.hard_limits:
        values = np.array([math.nan if v is None else v for v in limit.values], dtype=np.float64)[frame.order][devices]
        over = np.isfinite(values) & (limit.harm * (values - limit.limit) > 0.0)
        treated = frame.treated[devices]
        broken = [look.devices[frame.order[devices[i]]] for i in np.flatnonzero(over & treated)]
        control = int((over & ~treated).sum())
        side = "above" if limit.harm > 0 else "below"
        unit = f" {limit.unit}" if limit.unit else ""
        found.append(
            {
                "name": limit.name,
                "limit": limit.limit,
                "devices": broken,
                "control_devices": control,
                "breached": len(broken) >= 2,
                "reason": f"hard limit {limit.name}: {len(broken)} treated devices {side} {limit.limit:g}{unit} "
                f"({control} control devices)",
            }
        )
    return found


def _metric_result(
    context: LaneContext,
    lane: str,
    row: MetricInput,
    arrays: Mapping[str, NDArray[np.float64]],
    devices: NDArray[np.intp],
) -> MetricResult:
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
    elif interval := context.state.intervals.get((row.name, _interval_name(frame, lane))):
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


def _interval_name(frame: Frame, lane: str) -> str:
    """Running intervals of the whole are kept by what the whole is: without a stopped lane it is another estimand."""
    if lane != "all":
        return lane
    whole = [group.name for group in frame.groups if group.scope is Scope.ALL]
    return whole[0] if whole else frame.lanes[0]


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
        value = _cell(context, judged.name, lane)
        critical = value.scale.value(context.state.last_score) if value else None
    detectable = minimum_detectable_effect(critical, estimate.standard_error)
    return _effect(judged, detectable)


def _bound_now(context: LaneContext, name: str, lane: str, theta: float, error: float) -> float:
    """The latest windows' upper bound at this look alone, by the family's critical value; infinite without one."""
    value = _cell(context, name, lane, Window.RECENT)
    if value is None or context.state.last_score is None or not math.isfinite(error):
        return math.inf
    return theta + max(value.scale.value(context.state.last_score), 0.0) * error


def _cell(context: LaneContext, name: str, lane: str, window: Window = Window.CUMULATIVE) -> CellValue | None:
    """The family's statistic of a lane; of the whole for "all", which is the lane itself when there is only one."""
    scope = Scope.ALL if lane == "all" and len(context.frame.lanes) > 1 else Scope.LANE
    cell: Cell = (name, window, str(scope), _interval_name(context.frame, lane))
    return context.cells.values.get(cell)


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
        first=context.state.first_width.get((estimate.metric.name, _interval_name(context.frame, lane))),
    )
    return answer.words(estimate.n_treated, look.hours)


def _lane_settling(look: LookInput, rows: Sequence[MetricResult], decision: Decision) -> str:
    if decision.verdict in (Verdict.PASS, Verdict.FAIL):
        return ""
    wanted = [f"{row.metric}: {row.would_settle}" for row in rows if row.would_settle]
    if look.hours < look.minimum_hours:
        wanted.append(f"{look.minimum_hours - look.hours:.3g} h more")
    return "; ".join(wanted)


def _shape_result(context: LaneContext, lane: str, column: ShapeColumns, devices: NDArray[np.intp]) -> ShapeResult:
    judged = registry.shape(column.name)
    strata = context.frame.lane_strata(lane)
    given = next(row for row in context.look.shapes if row.name == column.name)
    margin = judged.margin if given.margin is None else given.margin
    treated = context.frame.treated[devices]
    valued = np.isfinite(column.differences[devices, 0])
    n_treated, n_control = int(valued[treated].sum()), int(valued[~treated].sum())
    effect = column.effect_size(strata)
    own = own_crossings(context, column.name, lane)
    pooled = [] if lane == "all" else context.pooled.get(column.name, [])
    decision = decide_shape(
        ShapeEstimate(
            title=judged.title,
            size=column.size(strata),
            size_name="KS distance" if judged.ordered else "total variation",
            margin=margin,
            n_treated=n_treated,
            n_control=n_control,
            own=own,
            pooled=pooled,
            missing=reporting_rate(
                int(treated.sum()), n_treated, int((~treated).sum()), n_control, what="have enough of it"
            ).reason,
        )
    )
    if context.no_test and decision.verdict is not Verdict.INCONCLUSIVE:
        decision = Decision(Verdict.INCONCLUSIVE, f"{decision.reason} ({context.no_test})")
    theta = column.theta(strata) if effect else None
    if theta is not None and judged.ordered:
        theta = np.diff(theta, prepend=0.0)
    value = _cell(context, column.name, lane)
    return ShapeResult(
        metric=column.name,
        verdict=decision.verdict,
        statistic=_number(value.statistic) if value else None,
        ks=effect.ks if effect else None,
        wasserstein=effect.wasserstein if effect else None,
        total_variation=effect.total_variation if effect else None,
        n_treated=n_treated,
        n_control=n_control,
        margin=margin,
        rejected=bool(own),
        reason=decision.reason,
        labels=column.labels,
        difference=[float(step) for step in theta] if theta is not None else None,
    )


def _level(judged: Metric, values: NDArray[np.float64]) -> float | None:
    """The device-weighted level: mean of device values, back in the metric's unit (a geometric mean for logarithms)."""
    values = values[np.isfinite(values)]
    return judged.level(float(values.mean())) if len(values) else None


def _effect(judged: Metric, theta: float) -> float | None:
    return judged.to_effect(theta) if math.isfinite(theta) else None


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None
