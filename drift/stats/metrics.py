"""The metrics that releases are judged by: unit, transform, direction of harm, default margin and least sample size."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """How a device's value is made, and so how an effect reads."""

    LN_QUANTILE = "ln quantile"
    """Natural logarithm of a quantile of the device's histogram; an effect is relative, exp(theta) - 1."""
    LN_MEAN = "ln mean"
    """Natural logarithm of an exact mean; an effect is relative, exp(theta) - 1."""
    LN_SPREAD = "ln spread"
    """Natural logarithm of the coefficient of variation; an effect is relative, exp(theta) - 1."""
    MEAN = "mean"
    """An exact mean on its own scale; an effect is an absolute difference."""
    SHARE = "share"
    """A share of inferences in [0, 1]; an effect is an absolute difference of shares."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One judged quantity.

    `source` names the sum, histogram or counter in a DevicePeriod. `harm` is +1 when more is worse, -1 when less is
    worse. `margin` is positive and in effect units: 0.05 is five per cent for ln kinds, an absolute difference
    otherwise. A device has a value only with at least `minimum_n` inferences that carried the quantity. A metric that
    `may_be_thin` does not hold up a pass where traffic is too low to measure it, unless the budget names it.
    """

    name: str
    title: str
    unit: str
    kind: Kind
    source: str
    harm: int
    margin: float
    minimum_n: int
    quantile: float | None = None
    guardrail: bool = False
    may_be_thin: bool = False

    @property
    def relative(self) -> bool:
        """Whether the device value is a logarithm, so that effects are ratios."""
        return self.kind in (Kind.LN_QUANTILE, Kind.LN_MEAN, Kind.LN_SPREAD)

    def to_effect(self, theta: float) -> float:
        """A difference of device values as an effect: exp(theta) - 1 for ln kinds, theta itself otherwise."""
        return math.expm1(min(theta, 700.0)) if self.relative else theta

    def from_effect(self, effect: float) -> float:
        """The difference of device values that is this effect; raises ValueError at or below -100 %."""
        if not self.relative:
            return effect
        if effect <= -1.0:
            raise ValueError(f"{self.name}: a relative effect must be above -1, got {effect}")
        return math.log1p(effect)

    def level(self, y: float) -> float:
        """A device value back in the metric's own unit."""
        return math.exp(min(y, 700.0)) if self.relative else y

    def from_level(self, level: float) -> float:
        """A level in the metric's own unit as a device value; raises ValueError when a logarithm needs it positive."""
        if not self.relative:
            return level
        if level <= 0.0:
            raise ValueError(f"{self.name}: a level must be positive, got {level}")
        return math.log(level)


def quantile_minimum_n(p: float) -> int:
    """Inferences that a device needs before its p-quantile counts: 20 / (1 - p), so about twenty lie above it."""
    if not 0.0 < p < 1.0:
        raise ValueError(f"quantile must lie strictly between 0 and 1, got {p}")
    return math.ceil(20.0 / (1.0 - p) - 1e-9)


MEAN_MINIMUM_N = 20
SHARE_MINIMUM_N = 20
SHAPE_MINIMUM_N = 200


def _latency(p: float, label: str, margin: float, may_be_thin: bool = False) -> Metric:
    return Metric(
        name=f"latency_{label}",
        title=f"Latency {label}",
        unit="ms",
        kind=Kind.LN_QUANTILE,
        source="latency",
        harm=+1,
        margin=margin,
        minimum_n=quantile_minimum_n(p),
        quantile=p,
        guardrail=True,
        may_be_thin=may_be_thin,
    )


def _mean(name: str, title: str, unit: str, source: str, harm: int, margin: float, **more: bool) -> Metric:
    return Metric(name, title, unit, Kind.MEAN, source, harm, margin, MEAN_MINIMUM_N, **more)


def _ln_mean(name: str, title: str, unit: str, source: str, margin: float, **more: bool) -> Metric:
    return Metric(name, title, unit, Kind.LN_MEAN, source, +1, margin, MEAN_MINIMUM_N, **more)


def _share(name: str, title: str, source: str, margin: float, **more: bool) -> Metric:
    return Metric(name, title, "share", Kind.SHARE, source, +1, margin, SHARE_MINIMUM_N, **more)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        _latency(0.50, "p50", 0.05),
        _latency(0.95, "p95", 0.05),
        # A device's p99 rests on one inference in a hundred: five per cent of it is within its noise for days.
        _latency(0.99, "p99", 0.10, may_be_thin=True),
        _ln_mean("preprocess_mean", "Preprocessing time", "ms", "preprocess", 0.10),
        _ln_mean("inference_mean", "Inference time", "ms", "inference", 0.05),
        _ln_mean("postprocess_mean", "Postprocessing time", "ms", "postprocess", 0.10),
        _ln_mean("queue_mean", "Queueing time", "ms", "queue", 0.20),
        _ln_mean("energy_mean", "Energy per inference", "mJ", "energy", 0.05, guardrail=True),
        Metric("energy_spread", "Variation of energy per inference", "ratio", Kind.LN_SPREAD, "energy", +1, 0.20, 100),
        _ln_mean("power_mean", "Power", "W", "power", 0.05),
        _mean("temperature_mean", "Temperature", "°C", "temperature", +1, 3.0),
        _share("throttled_share", "Throttled share", "throttled", 0.01),
        _mean("confidence_mean", "Mean confidence", "confidence", "confidence", -1, 0.02, guardrail=True),
        _mean("input_quality_mean", "Mean input quality", "quality", "input_quality", -1, 0.02),
        _ln_mean("memory_mean", "Memory", "MB", "memory", 0.10),
        _mean("accelerator_utilization", "Accelerator utilization", "share", "accelerator_utilization", -1, 0.10),
        _mean("queue_depth_mean", "Queue depth", "inferences", "queue_depth", +1, 1.0),
        _share("fallback_rate", "Fallback rate", "fallback", 0.005, guardrail=True),
        _share("fallback_cpu_rate", "Fallback to the CPU", "fallback:cpu", 0.005),
        _share("fallback_smaller_model_rate", "Fallback to a smaller model", "fallback:smaller_model", 0.005),
        _share("fallback_cloud_rate", "Fallback to the cloud", "fallback:cloud", 0.005),
        _share("fallback_reject_rate", "Rejected inputs", "fallback:reject", 0.005),
        _share("error_rate", "Error rate", "outcome", 0.005, guardrail=True),
        _share("error_only_rate", "Errors without time-outs and memory", "outcome:error", 0.005),
        _share("timeout_rate", "Time-outs", "outcome:timeout", 0.005),
        _share("out_of_memory_rate", "Out of memory", "outcome:out_of_memory", 0.005),
        _share("retry_rate", "Retries per inference", "retries", 0.005),
    )
}
"""Every scalar metric by name."""

GUARDRAILS: tuple[str, ...] = tuple(name for name, metric in METRICS.items() if metric.guardrail)
"""Scalar metrics that judge a release unless its budget says otherwise; one family, one alpha."""


@dataclass(frozen=True, slots=True)
class Shape:
    """A distribution compared as a whole; an alarm holds a lane, it never rolls back.

    `margin` is the smallest practical size: Kolmogorov-Smirnov distance for ordered bins, total variation for classes.
    """

    name: str
    title: str
    source: str
    ordered: bool
    margin: float
    minimum_n: int = SHAPE_MINIMUM_N
    guardrail: bool = False


SHAPES: dict[str, Shape] = {
    shape.name: shape
    for shape in (
        Shape("confidence_shape", "Confidence distribution", "confidence", True, 0.02, guardrail=True),
        Shape("input_quality_shape", "Input-quality distribution", "input_quality", True, 0.02),
        Shape("class_mix", "Class mix", "classes", False, 0.02, guardrail=True),
    )
}
"""Every distribution metric by name."""

GUARDRAIL_SHAPES: tuple[str, ...] = tuple(name for name, shape in SHAPES.items() if shape.guardrail)


def metric(name: str) -> Metric:
    """The registered metric, or a ValueError that names it."""
    try:
        return METRICS[name]
    except KeyError:
        raise ValueError(f"unknown metric {name!r}; known: {', '.join(METRICS)}") from None


def shape(name: str) -> Shape:
    """The registered shape, or a ValueError that names it."""
    try:
        return SHAPES[name]
    except KeyError:
        raise ValueError(f"unknown shape {name!r}; known: {', '.join(SHAPES)}") from None


def margin_for(metric: Metric, *, budget_limit: float | None = None, control_level: float | None = None) -> float:
    """The margin in effect units: the metric's default, or the room left to a hard limit where that is less.

    `budget_limit` and `control_level` are in the metric's own unit. Without room (the control is at or over the limit)
    the margin is zero: nothing can pass, and the absolute check says why.
    """
    if budget_limit is None or control_level is None:
        return metric.margin
    if metric.relative:
        room = budget_limit / control_level - 1.0 if control_level > 0.0 else math.inf
    else:
        room = metric.harm * (budget_limit - control_level)
    return min(metric.margin, max(room, 0.0))
