"""The metrics that series and distributions answer: what each is read from, and how it is computed from roll-ups."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from telemetry import columns, histograms
from telemetry.rollups import Rollups

Values = NDArray[np.float64]

DEFAULT_QUANTILES = (0.5, 0.95, 0.99)


@dataclass(frozen=True)
class Metric:
    """A quantity with its distribution or mean, or a rate.

    Attributes:
        unit: of every number but counts; "1" for shares.
        measure: the measure of telemetry.columns that it is the mean of, or "".
        histogram: the histogram column with its distribution, or "".
        parts: for a rate, name -> the column that counts that kind; their sum over `of` is the rate.
        of: for a rate, what it is a share of; several columns are added up.
        minimum, maximum, squares: further columns, or "".
        told: whether devices need not tell it, so that nothing at all means unknown and not zero.
    """

    name: str
    unit: str
    measure: str = ""
    histogram: str = ""
    parts: dict[str, str] = field(default_factory=dict)
    of: tuple[str, ...] = ()
    minimum: str = ""
    maximum: str = ""
    squares: str = ""
    told: bool = False

    @property
    def is_rate(self) -> bool:
        """Whether it is a share of inferences (or of energy) and not a mean."""
        return bool(self.parts)

    @property
    def bounded(self) -> bool:
        """Whether its distribution lives on [0, 1]."""
        return self.histogram in columns.UNIT_HISTOGRAMS

    @property
    def values(self) -> tuple[str, ...]:
        """The roll-up columns that it needs, `count` always among them."""
        needed = ["count", *self.parts.values(), *self.of, self.histogram, self.minimum, self.maximum, self.squares]
        if self.measure:
            needed += [f"{self.measure}_n", f"{self.measure}_sum"]
        return tuple(dict.fromkeys(name for name in needed if name))

    @property
    def stats(self) -> tuple[str, ...]:
        """The statistics besides quantiles that it has."""
        if self.is_rate:
            return ("mean", *(kind for kind in self.parts if len(self.parts) > 1))
        found = ["mean", "sum"]
        found += ["min"] if self.minimum else []
        found += ["max"] if self.maximum else []
        found += ["stddev"] if self.squares else []
        return tuple(found)


def _mean(measure: str, *, maximum: str = "") -> Metric:
    return Metric(measure, columns.UNITS[measure], measure=measure, maximum=maximum)


METRICS: dict[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric(
            "latency",
            "ms",
            measure="latency",
            histogram="latency_hist",
            minimum="latency_min",
            maximum="latency_max",
            squares="latency_sumsq",
        ),
        _mean("preprocess"),
        _mean("inference"),
        _mean("postprocess"),
        _mean("queue"),
        Metric("energy", "mJ", measure="energy", histogram="energy_hist", squares="energy_sumsq"),
        _mean("power", maximum="power_max"),
        _mean("temperature", maximum="temperature_max"),
        _mean("memory", maximum="memory_max"),
        _mean("accelerator_utilization"),
        _mean("queue_depth"),
        Metric("input_quality", "1", measure="input_quality", histogram="input_quality_hist"),
        Metric("confidence", "1", measure="confidence", histogram="confidence_hist"),
        Metric("fallback_rate", "1", parts=dict(columns.FALLBACK_COLUMN), of=("count",)),
        Metric("error_rate", "1", parts=dict(columns.OUTCOME_COLUMN), of=("count",)),
        Metric("retry_rate", "1", parts={"retries": "retries"}, of=("count",)),
        Metric("throttled_share", "1", parts={"throttled": "throttled"}, of=("count",)),
        # the share of all energy that was drawn while idle; where it is known, windows report it
        Metric("idle_share", "1", parts={"idle": "idle_energy_mj"}, of=("idle_energy_mj", "energy_sum"), told=True),
    )
}

# Names of fields on the wire and in budgets are understood as well.
ALIASES: dict[str, str] = {
    **{column: measure for measure, column in columns.RAW_COLUMN.items()},
    "fallback": "fallback_rate",
    "fallbacks": "fallback_rate",
    "error": "error_rate",
    "errors": "error_rate",
    "outcome": "error_rate",
    "retries": "retry_rate",
    "throttled": "throttled_share",
}


def find_metric(name: str) -> Metric | None:
    """The metric of a name or alias."""
    return METRICS.get(ALIASES.get(name, name))


def quantile_name(p: float) -> str:
    """p50, p95, p99, p99.9."""
    return f"p{100 * p:.6g}"


def measured_count(metric: Metric, rollups: Rollups) -> NDArray[np.int64]:
    """How many inferences each row's figures rest on, shape (rows,)."""
    return rollups.numbers[f"{metric.measure}_n" if metric.measure else "count"]


def mean(metric: Metric, rollups: Rollups) -> Values:
    """The exact mean, or the rate, shape (rows,); nan where nothing was measured."""
    if metric.is_rate:
        return _share(metric, rollups, metric.parts.values())
    return _ratio(rollups.numbers[f"{metric.measure}_sum"], rollups.numbers[f"{metric.measure}_n"])


def statistic(metric: Metric, rollups: Rollups, name: str) -> Values:
    """One of `metric.stats`, shape (rows,).

    `stddev` is that of single inferences: sqrt(E[x^2] - E[x]^2).
    """
    if name in metric.parts:
        return _share(metric, rollups, [metric.parts[name]])
    match name:
        case "mean":
            return mean(metric, rollups)
        case "sum":
            return rollups.numbers[f"{metric.measure}_sum"]
        case "min":
            return rollups.numbers[metric.minimum]
        case "max":
            return rollups.numbers[metric.maximum]
        case "stddev":
            n = rollups.numbers[f"{metric.measure}_n"]
            square = _ratio(rollups.numbers[metric.squares], n)
            return np.sqrt(np.maximum(square - mean(metric, rollups) ** 2, 0))
    raise ValueError(f"{metric.name} has no {name}")


def quantiles(metric: Metric, rollups: Rollups, ps: Sequence[float]) -> Values:
    """Quantiles from merged histograms, shape (rows, len(ps)); nan where a row is empty."""
    rows = rollups.histograms[metric.histogram]
    if metric.bounded:
        return histograms.unit_quantiles(rows.dense_unit(), ps)
    offset, dense = rows.dense()
    return histograms.quantiles(offset, dense, rows.zero, ps)


def error_bound(metric: Metric) -> dict[str, float]:
    """How far a quantile may be from the one of the raw values: relative, or absolute on [0, 1]."""
    if not metric.histogram:
        return {}
    if metric.bounded:
        return {"absolute_error": 0.5 / histograms.UNIT_BINS}
    return {"relative_error": round(histograms.RELATIVE_ERROR, 5)}


def _share(metric: Metric, rollups: Rollups, parts: Iterable[str]) -> Values:
    """The share of a rate's parts, nan where it is not known."""
    total = _total(rollups, parts)
    share = _ratio(total, _total(rollups, metric.of))
    return np.where(total > 0, share, np.nan) if metric.told else share


def _total(rollups: Rollups, names: Iterable[str]) -> NDArray:
    return sum(rollups.numbers[name] for name in names)


def _ratio(numerator: NDArray, denominator: NDArray) -> Values:
    known = denominator > 0
    return np.divide(numerator, denominator, out=np.full(known.size, np.nan), where=known)
