"""Metrics that are reported beside the tested ones: effects with plain intervals, never a verdict.

Guardrails share one alpha over all looks; every further metric in their family would make each of them less sensitive.
So the others are described at one look, stage times and throttling and memory among them, and a budget that names one
moves it among the tested.
"""

from typing import Any

import numpy as np

from drift.periods import Periods
from drift.services.looks import LookPlan, judged_metrics
from drift.stats.contrast import stratified_contrast
from drift.stats.metrics import METRICS, Kind
from drift.stats.proportions import share_error_floor
from drift.stats.scan import MINIMUM_PER_ARM
from drift.stats.summaries import metric_values

NORMAL = 1.959964


def secondary_metrics(plan: LookPlan, baseline: Periods, cumulative: Periods) -> list[dict[str, Any]]:
    """One row per hardware target and metric that is not tested: effect and 95 % interval of this one look.

    The contrast is that of the looks (treated against control, device by device against its own past, in strata); the
    interval is the estimate's ± 1.96 standard errors, not corrected for looking often or at many. Metrics that fewer
    than six devices of an arm have are left out.
    """
    tested = set(judged_metrics(plan))
    names = [name for name in METRICS if name not in tested]
    values = {
        name: [
            periods.scatter(lambda arm, name=name: metric_values(arm.period, name), np.nan)
            for periods in (baseline, cumulative)
        ]
        for name in names
    }
    treated = np.array([device.treated for device in plan.devices])
    lanes = np.array([device.hardware_target for device in plan.devices])
    strata = np.array([device.stratum for device in plan.devices])
    counts = cumulative.scatter(lambda arm: arm.period.count.astype(float), 0.0)
    rows = []
    for lane in sorted(set(lanes.tolist())):
        inside = lanes == lane
        for name in names:
            pre, post = values[name]
            difference = np.where(inside, post - pre, np.nan)
            known = np.isfinite(difference)
            n_treated, n_control = int((known & treated).sum()), int((known & ~treated).sum())
            if min(n_treated, n_control) < MINIMUM_PER_ARM:
                continue
            contrast = stratified_contrast(
                treated[inside][None, :].astype(np.float64), strata[inside], difference[inside][:, None]
            )
            theta, error = float(contrast.theta[0, 0]), float(contrast.standard_error[0, 0])
            if not (np.isfinite(theta) and np.isfinite(error)):
                continue
            metric = METRICS[name]
            if metric.kind is Kind.SHARE:
                # devices that all saw no event agree perfectly, and still one in their number of inferences is possible
                error = max(error, share_error_floor(post[inside], counts[inside], treated[inside]))
            rows.append(
                {
                    "hardware_target": lane,
                    "metric": name,
                    "unit": metric.unit,
                    "effect": metric.to_effect(theta),
                    "lower": metric.to_effect(theta - NORMAL * error),
                    "upper": metric.to_effect(theta + NORMAL * error),
                    "n_treated": n_treated,
                    "n_control": n_control,
                }
            )
    return rows
