"""How much of a change lies within like conditions, and how much comes from a change of conditions (Kitagawa)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]

WITHIN = "within"
"""The component that remains when every condition is held equal: model, runtime, or something not recorded."""


@dataclass(frozen=True)
class CellTable:
    """Inferences of n devices over one period, one row per device and combination of conditions, any order.

    `device` is 0 … n-1. `factors` holds an integer level per row and condition (power_mode, throttled,
    temperature_band, quality_band, fallback). `count` is inferences, `total` the sum of the metric over them.
    """

    device: NDArray[np.integer]
    factors: Mapping[str, NDArray[np.integer]]
    count: Floats
    total: Floats

    def __post_init__(self) -> None:
        rows = len(self.device)
        for name, array in {**self.factors, "count": self.count, "total": self.total}.items():
            if len(array) != rows:
                raise ValueError(f"{name}: {len(array)} rows, device has {rows}")


@dataclass(frozen=True)
class Estimate:
    """A mean over devices with its bootstrap interval."""

    value: float
    lower: float
    upper: float

    @property
    def shown(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.lower > 0.0 or self.upper < 0.0

    def to_dict(self) -> dict[str, float]:
        """Plain JSON."""
        return {"value": self.value, "lower": self.lower, "upper": self.upper}


@dataclass(frozen=True)
class Component:
    """One part of the change: in the treated devices, in the control, and the difference of the two."""

    name: str
    treated: Estimate
    control: Estimate | None
    difference: Estimate
    share: float | None
    """Of the whole difference; None where that is not shown to differ from zero."""

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "name": self.name,
            "treated": self.treated.to_dict(),
            "control": self.control.to_dict() if self.control else None,
            "difference": self.difference.to_dict(),
            "share": self.share,
        }


@dataclass(frozen=True)
class Attribution:
    """A change of a mean, taken apart. The components add up to `total` exactly; shares describe and prove nothing."""

    total: Component
    components: list[Component]
    explained_share: float | None
    """The part of the difference in components that are themselves shown; the rest is left unexplained."""
    n_treated: int
    n_control: int

    def component(self, name: str) -> Component:
        """A component by name; raises KeyError."""
        for component in self.components:
            if component.name == name:
                return component
        raise KeyError(name)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "total": self.total.to_dict(),
            "components": [component.to_dict() for component in self.components],
            "explained_share": self.explained_share,
            "unexplained_share": None if self.explained_share is None else 1.0 - self.explained_share,
            "n_treated": self.n_treated,
            "n_control": self.n_control,
        }


def kitagawa(
    share_before: Floats, mean_before: Floats, share_after: Floats, mean_after: Floats
) -> tuple[Floats, Floats]:
    """Within and mix part of each device's change, shape (n,); inputs have shape (n, cells).

    within = sum_s (p_sA + p_sB)/2 (m_sB - m_sA), mix = sum_s (p_sB - p_sA)(m_sA + m_sB)/2 (Kitagawa 1955). A cell that
    a device visited in one period only has no mean in the other; it borrows the one there is, so that it counts as mix.
    Whatever is borrowed, the two parts add up to the change, for its share is zero.
    """
    before = np.where(share_before > 0, mean_before, np.where(share_after > 0, mean_after, 0.0))
    after = np.where(share_after > 0, mean_after, before)
    within = ((share_before + share_after) / 2.0 * (after - before)).sum(axis=1)
    mix = ((share_after - share_before) * (before + after) / 2.0).sum(axis=1)
    return within, mix


def attribute(
    before: CellTable,
    after: CellTable,
    treated: NDArray[np.bool_],
    *,
    seed: int,
    resamples: int = 1000,
    confidence: float = 0.95,
) -> Attribution | None:
    """Take the change of a metric's mean apart, treated against control; None with fewer than two treated devices.

    The mix part is shared among the conditions by Shapley's rule: each gets its average contribution over all orders in
    which conditions could be brought in, so the parts add up and none depends on an order somebody chose. Intervals
    are percentiles of `device_bootstrap` inside each arm. With fewer than two control devices the difference is the
    treated change itself.
    """
    names = list(before.factors)
    if set(names) != set(after.factors):
        raise ValueError(f"factors disagree: {sorted(before.factors)} before, {sorted(after.factors)} after")
    changes = _device_parts(before, after, names, len(treated))
    known = np.isfinite(changes[:, -1])
    canary, control = changes[known & treated], changes[known & ~treated]
    if len(canary) < 2:
        return None
    if len(control) < 2:
        control = control[:0]
    rng = np.random.default_rng(seed)
    canary_draws = device_bootstrap(canary, resamples, rng, confidence=confidence)
    control_draws = np.zeros_like(canary_draws)
    if len(control):
        control_draws = device_bootstrap(control, resamples, rng, confidence=confidence)
    tails = ((1.0 - confidence) / 2.0, (1.0 + confidence) / 2.0)
    labels = [WITHIN, *names, "total"]
    control_mean = control.mean(axis=0) if len(control) else np.zeros(len(labels))
    difference = canary.mean(axis=0) - control_mean
    draws = canary_draws - control_draws
    whole = _estimate(difference[-1], draws[:, -1], tails)

    def component(index: int) -> Component:
        return Component(
            labels[index],
            _estimate(canary[:, index].mean(), canary_draws[:, index], tails),
            _estimate(control[:, index].mean(), control_draws[:, index], tails) if len(control) else None,
            _estimate(difference[index], draws[:, index], tails),
            float(difference[index] / difference[-1]) if whole.shown else None,
        )

    components = [component(index) for index in range(len(labels) - 1)]
    explained = None
    if whole.shown:
        explained = float(np.clip(sum(c.share or 0.0 for c in components if c.difference.shown), 0.0, 1.0))
    return Attribution(component(len(labels) - 1), components, explained, len(canary), len(control))


def _device_parts(before: CellTable, after: CellTable, names: list[str], n: int) -> Floats:
    """Per device: within part, mix part per condition, total; shape (n, 2 + conditions), NaN without both periods."""
    rows = [np.concatenate([before.factors[name], after.factors[name]]) for name in names]
    levels = np.stack(rows, axis=1) if rows else np.zeros((len(before.device) + len(after.device), 0), dtype=np.int64)
    cells, cell_of = np.unique(levels, axis=0, return_inverse=True)
    cell_of = cell_of.reshape(-1)
    split = len(before.device)
    counts, totals = [], []
    for table, cell in ((before, cell_of[:split]), (after, cell_of[split:])):
        index = table.device * len(cells) + cell
        size = n * len(cells)
        counts.append(np.bincount(index, weights=table.count, minlength=size).reshape(n, -1))
        totals.append(np.bincount(index, weights=table.total, minlength=size).reshape(n, -1))
    present = (counts[0].sum(axis=1) > 0) & (counts[1].sum(axis=1) > 0)
    mix: dict[tuple[int, ...], Floats] = {(): np.zeros(n)}
    within = np.zeros(n)
    for size in range(1, len(names) + 1):
        for subset in combinations(range(len(names)), size):
            within, mix[subset] = _collapsed(cells[:, subset], counts, totals)
    parts = np.empty((n, len(names) + 2))
    first, last = (
        np.divide(t.sum(1), c.sum(1), out=np.zeros(n), where=present) for c, t in zip(counts, totals, strict=True)
    )
    parts[:, -1] = last - first
    # Within is what remains once every condition is held equal; the last subset looked at holds all of them.
    parts[:, 0] = within if names else parts[:, -1]
    for position in range(len(names)):
        parts[:, 1 + position] = _shapley(mix, position, len(names))
    parts[~present] = np.nan
    return parts


def _collapsed(
    levels: NDArray[np.integer], counts: Sequence[Floats], totals: Sequence[Floats]
) -> tuple[Floats, Floats]:
    merged, index = np.unique(levels, axis=0, return_inverse=True)
    to = np.zeros((len(levels), len(merged)))
    to[np.arange(len(levels)), index.reshape(-1)] = 1.0
    shares, means = [], []
    for count, total in zip(counts, totals, strict=True):
        cell_count, cell_total = count @ to, total @ to
        whole = cell_count.sum(axis=1, keepdims=True)
        shares.append(cell_count / np.maximum(whole, 1e-300))
        means.append(np.divide(cell_total, cell_count, out=np.zeros_like(cell_total), where=cell_count > 0))
    return kitagawa(shares[0], means[0], shares[1], means[1])


def _shapley(mix: Mapping[tuple[int, ...], Floats], position: int, count: int) -> Floats:
    others = [other for other in range(count) if other != position]
    value = np.zeros_like(mix[()])
    for size in range(count):
        weight = math.factorial(size) * math.factorial(count - size - 1) / math.factorial(count)
        for subset in combinations(others, size):
            with_it = tuple(sorted((*subset, position)))
            value += weight * (mix[with_it] - mix[subset])
    return value


def device_bootstrap(rows: Floats, resamples: int, rng: np.random.Generator, *, confidence: float = 0.95) -> Floats:
    """Means over devices drawn with replacement, shape (resamples, columns) or (resamples,); `rows` one per device.

    Percentiles of such means make too short an interval, as if the variance were known and divided by n: with six
    devices it covers 86 % instead of 95 % (Hesterberg, The American Statistician 69, 2015). The draws are therefore
    stretched about the mean by sqrt(n / (n - 1)) t_{n-1} / z, after which it covers 94 % from two devices on. Raises
    ValueError with fewer than two: one device says nothing of others.
    """
    n = len(rows)
    if n < 2:
        raise ValueError(f"a bootstrap needs at least two devices, got {n}")
    drawn = rng.multinomial(n, np.full(n, 1.0 / n), size=resamples)
    tail = 0.5 + confidence / 2.0
    stretch = math.sqrt(n / (n - 1)) * float(stats.t.ppf(tail, n - 1) / stats.norm.ppf(tail))
    mean = rows.mean(axis=0)
    return mean + stretch * (drawn @ rows / n - mean)


def _estimate(value: float, draws: Floats, tails: tuple[float, float]) -> Estimate:
    lower, upper = np.quantile(draws, tails)
    return Estimate(float(value), float(lower), float(upper))
