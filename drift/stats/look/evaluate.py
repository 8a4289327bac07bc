"""The one entry of the statistics: a look in, verdicts and the next state out."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from drift.stats import metrics as registry
from drift.stats.interval import aligned_differences
from drift.stats.look.cells import cells_of, group_cells, metric_arrays, real_contrast
from drift.stats.look.context import LaneContext, delta_of, own_crossings
from drift.stats.look.frame import Frame, frame_of
from drift.stats.look.inputs import LookInput
from drift.stats.look.lanes import lane_result
from drift.stats.look.state import LookState
from drift.stats.proportions import share_error_floor
from drift.stats.scan import MINIMUM_PER_ARM, Group, Scope, Window, group_contrast, moments_by_unit
from drift.stats.sequential import SequentialStep, spent_alpha, take_look
from drift.stats.verdict import Crossing, LaneResult, Verdict, worst

SCHEMA = "ridgeline.look_result/1"


@dataclass(frozen=True)
class LookResult:
    """The answer to a look; `state` goes into the next one."""

    look: int
    verdict: Verdict
    reason: str
    randomised: bool
    lanes: list[LaneResult]
    pooled: LaneResult | None
    alpha: float
    """What this stage may spend over all its looks."""
    alpha_spent: float
    critical_value: float | None
    """On the scale of normal scores; null where this look had nothing to spend."""
    permutations: int
    distinct_assignments: int
    state: dict[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON, canonical once sorted."""
        return {
            "schema": SCHEMA,
            "look": self.look,
            "verdict": str(self.verdict),
            "reason": self.reason,
            "randomised": self.randomised,
            "lanes": [lane.to_dict() for lane in self.lanes],
            "pooled": self.pooled.to_dict() if self.pooled else None,
            "alpha": self.alpha,
            "alpha_spent": self.alpha_spent,
            "critical_value": self.critical_value,
            "permutations": self.permutations,
            "distinct_assignments": self.distinct_assignments,
            "state": self.state,
        }


def evaluate_look(look: LookInput) -> LookResult:
    """Judge one look. The same input gives the same result; nothing but the input is read.

    Raises LookInputError for input that cannot be judged and ValueError for a look that was taken already.
    """
    frame = frame_of(look)
    if not frame.lanes:
        state = dict(look.state) if look.state is not None else None
        return LookResult(
            look.look, Verdict.INCONCLUSIVE, "every lane is stopped", look.randomised, [], None,
            frame.alpha, 0.0, None, look.permutations, 0, state,
        )  # fmt: skip
    cells = cells_of(look, frame)
    state = LookState.from_dict(look.state) if look.state is not None else LookState.start(len(cells.maximum))
    if look.look <= state.look:
        raise ValueError(f"look {look.look} was taken already: the state is at look {state.look}")
    state.look = look.look
    context = LaneContext(look, frame, cells, state, no_test=_no_test(look, frame))
    critical_value = None
    if not context.no_test:
        step = take_look(
            state.family,
            cells.maximum,
            look=look.look,
            alpha_spent=spent_alpha(frame.alpha, look.look, look.planned_looks),
        )
        state.family = step.state
        critical_value = step.critical_value
        state.last_score = state.last_score if critical_value is None else critical_value
        for cell, value in cells.values.items():
            if step.reached_by(value.score):
                state.crossings.setdefault(cell, look.look)
        _take_interval_looks(context)
        _pool(context, step)
    lanes = [lane_result(context, lane) for lane in frame.lanes]
    verdict = worst(lane.verdict for lane in lanes)
    return LookResult(
        look=look.look,
        verdict=verdict,
        reason="; ".join(f"{lane.hardware_target}: {lane.reason}" for lane in lanes if lane.verdict is verdict),
        randomised=look.randomised,
        lanes=lanes,
        pooled=lane_result(context, "all"),
        alpha=frame.alpha,
        alpha_spent=context.alpha_used,
        critical_value=critical_value,
        permutations=look.permutations,
        distinct_assignments=frame.distinct,
        state=state.to_dict(),
    )


def _no_test(look: LookInput, frame: Frame) -> str:
    if not look.randomised:
        return "observational: the canary was not drawn at random, so figures only"
    if frame.too_few_assignments:
        return (
            f"only {frame.distinct} distinct assignments were possible: more devices per stratum, or fewer strata, "
            "are needed for a test"
        )
    return ""


def _take_interval_looks(context: LaneContext) -> None:
    """Advance the running interval of each metric in each lane, and of all lanes together.

    Each interval spends its own alpha: it must hold by itself. A pass needs every bound at once, so the chance of a
    wrong pass is that of the one bound that errs, and bounds need no correction for their number.
    """
    look, frame, cells = context.look, context.frame, context.cells
    names = [name for name, window in cells.metrics.names if window is Window.CUMULATIVE]
    indices = [index for index, (_, window) in enumerate(cells.metrics.names) if window is Window.CUMULATIVE]
    if not names:
        return
    differences = cells.metrics.differences[:, indices]
    spent = spent_alpha(frame.alpha, look.look, look.planned_looks)
    wholes = [group for group in frame.groups if group.scope is Scope.ALL]
    lanes = [group for group in frame.groups if group.scope is Scope.LANE]
    for groups in (lanes, wholes):
        if not groups:
            continue
        real = {group: [real_contrast(cells.metrics, group.strata, index) for index in indices] for group in groups}
        theta = np.zeros_like(differences)
        for group in groups:
            for stratum in group.strata:
                theta[frame.devices[stratum]] = [row[0] for row in real[group]]
        moments = moments_by_unit(
            frame.units, frame.assignments, frame.devices, aligned_differences(differences, frame.treated, theta)
        )
        for group in groups:
            statistics = group_contrast(moments, group).statistic
            for column, name in enumerate(names):
                floor = _error_floor(context, name, group)
                _advance(context, (name, group.name), statistics[:, column], real[group][column], spent, floor)


def _advance(
    context: LaneContext,
    key: tuple[str, str],
    statistics: np.ndarray,
    real: tuple[float, float, int, int],
    spent: float,
    floor: float,
) -> None:
    theta, error, treated, control = real
    if min(treated, control) < MINIMUM_PER_ARM or not math.isfinite(error):
        return
    state, look = context.state, context.look
    state.intervals[key] = state.interval(key).take_look(
        statistics,
        theta=theta,
        standard_error=error,
        treated=treated,
        look=look.look,
        alpha_spent=spent,
        error_floor=floor,
    )
    if look.hours > 0.0:
        state.first_width.setdefault(key, (look.hours, error**2))


def _error_floor(context: LaneContext, name: str, group: Group) -> float:
    """What counting alone leaves open in a share, 0 for other metrics or where the inferences are not known."""
    look, frame = context.look, context.frame
    if look.inferences is None or registry.metric(name).kind is not registry.Kind.SHARE:
        return 0.0
    devices = np.concatenate([frame.devices[stratum] for stratum in group.strata])
    row = next(row for row in look.metrics if row.name == name)
    shares = metric_arrays(row, frame)["post"][devices]
    return share_error_floor(shares, np.array(look.inferences)[frame.order][devices], frame.treated[devices])


def _pool(context: LaneContext, step: SequentialStep) -> None:
    """Find the crossings over several lanes that concern lanes without one of their own.

    A lane that fails by itself explains a crossing of the whole; what remains is asked of the other lanes alone, so
    that one bad hardware target does not take the rest down with it.
    """
    frame, cells = context.frame, context.cells
    for row in context.look.metrics:
        failing = {
            lane
            for lane in frame.lanes
            if any(c.theta >= delta_of(row, lane, frame.lanes) for c in own_crossings(context, row.name, lane))
        }
        whole = [group for group in frame.groups if group.scope is Scope.ALL]
        if not whole or len(failing) == len(frame.lanes):
            continue
        group = frame.rest(failing) if failing else whole[0]
        if group is None:
            continue
        context.pooled[row.name] = (
            _rest_crossings(context, step, row.name, group)
            if failing
            else [c for c in own_crossings(context, row.name, "all") if c.group == group]
        )
    for name in {column.name for column in cells.shapes}:
        if not any(own_crossings(context, name, lane) for lane in frame.lanes):
            context.pooled[name] = own_crossings(context, name, "all")


def _rest_crossings(context: LaneContext, step: SequentialStep, name: str, group: Group) -> list[Crossing]:
    found = []
    for value, _ in group_cells(context.cells.metrics, group, context.frame, only=[name]):
        if step.reached_by(value.score):
            context.state.crossings.setdefault(value.cell, context.look.look)
        if value.cell in context.state.crossings:
            found.append(Crossing(group, value.window, context.state.crossings[value.cell], value.theta))
    return found
