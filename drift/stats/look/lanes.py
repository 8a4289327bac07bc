"""One lane of a look: its metrics and shapes put together, and what holds up a pass beside them."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from drift.stats import metrics as registry
from drift.stats.look.cells import metric_arrays
from drift.stats.look.context import LaneContext
from drift.stats.look.described import described_rows
from drift.stats.look.inputs import LookInput, MetricInput
from drift.stats.look.metric_rows import metric_result
from drift.stats.look.shape_rows import shape_result
from drift.stats.proportions import reporting_rate
from drift.stats.scan import MINIMUM_PER_ARM, Window
from drift.stats.verdict import Decision, LaneResult, MetricResult, ShapeResult, Verdict, decide_lane


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
        rows.append(metric_result(context, lane, row, arrays, devices))
    shape_rows: list[ShapeResult] = []
    for column in context.cells.shapes:
        if column.window is not Window.CUMULATIVE:
            continue
        if not np.isfinite(column.differences[devices, 0]).any():
            exclusions.append({"metric": column.name, "reason": "no device has enough of it before and since"})
            continue
        shape_rows.append(shape_result(context, lane, column, devices))
    limits = _hard_limits(context, lane, devices)
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
        # after the decision, which has nothing to do with it
        described=None if lane == "all" else described_rows(look, frame, lane),
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


def _hard_limits(context: LaneContext, lane: str, devices: NDArray[np.intp]) -> list[dict[str, Any]]:
    look, frame = context.look, context.frame
    found = []
    for limit in look.hard_limits:
        if limit.lane not in ("*", lane):
            continue
        values = np.array([math.nan if v is None else v for v in limit.values], dtype=np.float64)[frame.order][devices]
        known = int(np.isfinite(values[frame.treated[devices]]).sum())
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
                "known": known,
                "breached": len(broken) >= 2,
                "reason": f"hard limit {limit.name}: {len(broken)} treated devices {side} {limit.limit:g}{unit} "
                f"of {known} that reported it ({control} control devices)",
            }
        )
    return found


def _lane_settling(look: LookInput, rows: Sequence[MetricResult], decision: Decision) -> str:
    if decision.verdict in (Verdict.PASS, Verdict.FAIL):
        return ""
    wanted = [f"{row.metric}: {row.would_settle}" for row in rows if row.would_settle]
    if look.hours < look.minimum_hours:
        wanted.append(f"{look.minimum_hours - look.hours:.3g} h more")
    return "; ".join(wanted)
