"""Metrics that a look reports beside the tested ones: effects with plain intervals, never a verdict.

Guardrails share one alpha over all looks; every further metric in their family would make each of them less sensitive.
So the others are described: nothing here is read by what decides, and a budget that names one moves it to the tested.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy import stats

from drift.stats import metrics as registry
from drift.stats.contrast import Moments, stratum_moments, total
from drift.stats.look.frame import Frame
from drift.stats.look.inputs import LookInput
from drift.stats.proportions import share_error_floor
from drift.stats.scan import MINIMUM_PER_ARM
from drift.stats.summaries import from_nullable

CONFIDENCE = 0.95


def described_rows(look: LookInput, frame: Frame, lane: str) -> list[dict[str, Any]] | None:
    """Effect and 95 % interval of each described metric in one lane, in effect units; None where none was given.

    The contrast is that of the tested metrics (treated against control, each device against its own past, in strata).
    The interval is theta ± t SE with the degrees of freedom of Welch (Biometrika 34, 1947) for one variance per arm; it
    is that of one look, not corrected for looking often or at many. Metrics that fewer than six devices of an arm have
    are left out.
    """
    if not look.described:
        return None
    devices = frame.lane_devices(lane)
    treated = frame.treated[devices]
    since = [_values(row.post, row.name, frame)[devices] for row in look.described]
    before = [_values(row.pre, row.name, frame)[devices] for row in look.described]
    differences = np.full((len(frame.order), len(since)), np.nan)
    differences[devices] = np.array(since).T - np.array(before).T
    moments = total(
        stratum_moments(frame.treated[inside].astype(np.float64)[None, :], differences[inside])
        for inside in (frame.devices[stratum] for stratum in frame.lane_strata(lane))
    )
    contrast, freedom = moments.contrast(), _welch(moments)
    counts = None if look.inferences is None else np.array(look.inferences)[frame.order][devices]
    rows = []
    for index, row in enumerate(look.described):
        theta, error, degrees, n_treated, n_control = (
            float(np.broadcast_to(part, contrast.theta.shape)[0, index])
            for part in (contrast.theta, contrast.standard_error, freedom, moments.treated, moments.control)
        )
        if min(n_treated, n_control) < MINIMUM_PER_ARM or not (np.isfinite(theta) and np.isfinite(error)):
            continue
        metric = registry.metric(row.name)
        if metric.kind is registry.Kind.SHARE and counts is not None:
            # devices that all saw no event agree perfectly, and still one in their number of inferences is possible
            known = np.isfinite(differences[devices, index])
            error = max(error, share_error_floor(since[index][known], counts[known], treated[known]))
        half = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, degrees)) * error
        rows.append(
            {
                "metric": row.name,
                "unit": metric.unit,
                "effect": metric.to_effect(theta),
                "lower": metric.to_effect(theta - half),
                "upper": metric.to_effect(theta + half),
                "n_treated": int(n_treated),
                "n_control": int(n_control),
            }
        )
    return rows


def _values(values: Any, name: str, frame: Frame) -> np.ndarray:
    """Device values in frame order, NaN for none."""
    return from_nullable(values, f"described {name}", len(values))[frame.order]


def _welch(moments: Moments) -> np.ndarray:
    """Degrees of freedom of a contrast with one variance per arm pooled over strata; the smaller arm's at the least."""
    arms = []
    for spread, squares, freedom in (
        (moments.spread_treated, moments.squares_treated, moments.freedom_treated),
        (moments.spread_control, moments.squares_control, moments.freedom_control),
    ):
        freedom = np.maximum(freedom, 1.0)
        arms.append((spread * squares / freedom, freedom))
    (treated, of_treated), (control, of_control) = arms
    together = treated**2 / of_treated + control**2 / of_control
    least = np.minimum(of_treated, of_control)
    found = np.divide((treated + control) ** 2, together, out=least + np.zeros_like(together), where=together > 0.0)
    return np.maximum(found, least)
