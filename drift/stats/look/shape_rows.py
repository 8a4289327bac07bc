"""One distribution in one lane of a look: its size, its verdict, and the row that reports both."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from drift.stats import metrics as registry
from drift.stats.look.cells import ShapeColumns
from drift.stats.look.context import LaneContext, family_cell, own_crossings
from drift.stats.proportions import reporting_rate
from drift.stats.verdict import Decision, ShapeEstimate, ShapeResult, Verdict, decide_shape


def shape_result(context: LaneContext, lane: str, column: ShapeColumns, devices: NDArray[np.intp]) -> ShapeResult:
    """The row of one distribution in one lane; `devices` are the lane's positions in frame order."""
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
    value = family_cell(context, column.name, lane)
    return ShapeResult(
        metric=column.name,
        verdict=decision.verdict,
        statistic=value.statistic if value and math.isfinite(value.statistic) else None,
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
