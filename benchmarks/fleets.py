"""Simulated fleets with the truth known: devices, hours, inferences, and harms that can be switched on."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from drift.stats.look import LookInput, MetricInput, ShapeInput
from drift.stats.metrics import GUARDRAIL_SHAPES, GUARDRAILS
from drift.stats.summaries import (
    BUCKETS_PER_OCTAVE,
    DevicePeriod,
    ExponentialHistograms,
    metric_values,
    nullable,
    shape_counts,
)

RECENT_HOURS = 24


@dataclass(frozen=True)
class Fleet:
    """How a fleet is made: log-normal latency, ten per cent between devices, hours that resemble their neighbours, day
    and night, three hardware targets, and a small lasting effect of the re-boot that every update brings."""

    devices: int = 100
    treated: int = 20
    targets: tuple[str, ...] = ("target-a", "target-b", "target-c")
    regions: tuple[str, ...] = ("north", "south")
    inferences_per_hour: int = 60
    baseline_hours: int = 168
    looks: int = 100
    between_devices: float = 0.10
    within_hour: float = 0.25
    hour_to_hour: float = 0.03
    correlation: float = 0.8
    day_and_night: float = 0.05
    reboot: float = 0.01


@dataclass(frozen=True)
class Harm:
    """What the new release does. Relative for latency and energy, absolute for the others."""

    name: str = "no change"
    latency: float = 0.0
    energy: float = 0.0
    confidence: float = 0.0
    bimodal: float = 0.0
    """Confidence moves up or down by this much at the toss of a coin: same mean, another shape."""
    fallback: float = 0.0
    tail_share: float = 0.0
    tail_factor: float = 1.0
    """This share of inferences takes that many times as long."""
    only_target: str = ""
    onset_hour: int = 0
    fallback_base: float = 0.01
    error_base: float = 0.002

    @property
    def harmful(self) -> bool:
        """Whether there is anything to detect."""
        return any((self.latency, self.energy, self.confidence, self.bimodal, self.fallback, self.tail_share))


@dataclass
class History:
    """One fleet's telemetry, cumulated by hour so that any period is a difference; hour 0 begins the baseline."""

    fleet: Fleet
    harm: Harm
    ids: list[str]
    targets: NDArray[np.str_]
    strata: NDArray[np.str_]
    treated: NDArray[np.bool_]
    latency_offset: int
    latency: NDArray[np.int32]
    """(devices, hours + 1, buckets)."""
    energy: NDArray[np.float64]
    confidence: NDArray[np.int32]
    confidence_sum: NDArray[np.float64]
    fallback: NDArray[np.int64]
    error: NDArray[np.int64]
    classes: NDArray[np.int32]
    raw_latency: NDArray[np.float32] | None = field(default=None, repr=False)
    """(devices, hours, inferences): what a pooled test would be fed; kept on request."""
    raw_confidence: NDArray[np.float32] | None = field(default=None, repr=False)

    def period(self, first: int, last: int) -> DevicePeriod:
        """What the devices recorded in the hours [first, last)."""

        def between(array: NDArray) -> NDArray:
            return array[:, last] - array[:, first]

        count = np.full(len(self.ids), self.fleet.inferences_per_hour * (last - first))
        zero = np.zeros(len(self.ids), dtype=np.int64)
        return DevicePeriod(
            count=count,
            outcomes={"error": between(self.error)},
            fallbacks={"cpu": between(self.fallback)},
            measure_n={"energy": count, "confidence": count},
            measure_sum={"energy": between(self.energy), "confidence": between(self.confidence_sum)},
            histograms={"latency": ExponentialHistograms(self.latency_offset, between(self.latency), zero)},
            bins={"confidence": between(self.confidence), "classes": between(self.classes)},
        )


def _cumulate(array: NDArray) -> NDArray:
    start = np.zeros((array.shape[0], 1, *array.shape[2:]), dtype=array.dtype)
    return np.concatenate([start, array.cumsum(axis=1, dtype=array.dtype)], axis=1)


def _correlated(rng: np.random.Generator, devices: int, hours: int, scale: float, correlation: float) -> NDArray:
    """Stationary first-order autoregression per device, standard deviation `scale`."""
    noise = rng.normal(0.0, scale * np.sqrt(1.0 - correlation**2), (devices, hours))
    noise[:, 0] = rng.normal(0.0, scale, devices)
    for hour in range(1, hours):
        noise[:, hour] += correlation * noise[:, hour - 1]
    return noise


def draw_cohorts(
    fleet: Fleet, rng: np.random.Generator
) -> tuple[NDArray[np.str_], NDArray[np.str_], NDArray[np.bool_]]:
    """Targets, strata and the stratified random canary."""
    targets = np.array([fleet.targets[i % len(fleet.targets)] for i in range(fleet.devices)])
    regions = [fleet.regions[i // len(fleet.targets) % len(fleet.regions)] for i in range(fleet.devices)]
    strata = np.array([f"{target}|{region}" for target, region in zip(targets, regions, strict=True)])
    treated = np.zeros(fleet.devices, dtype=bool)
    remaining, left = fleet.treated, fleet.devices
    for stratum in sorted(set(strata)):
        members = np.flatnonzero(strata == stratum)
        quota = round(remaining * len(members) / left)
        treated[rng.permutation(members)[:quota]] = True
        remaining, left = remaining - quota, left - len(members)
    return targets, strata, treated


def simulate(fleet: Fleet, harm: Harm, rng: np.random.Generator, *, keep_raw: bool = False) -> History:
    """One fleet over its baseline and all its looks."""
    n, hours, each = fleet.devices, fleet.baseline_hours + fleet.looks, fleet.inferences_per_hour
    targets, strata, treated = draw_cohorts(fleet, rng)
    started = fleet.baseline_hours
    after = np.zeros((n, hours), dtype=bool)
    after[treated, started:] = True
    harmed = np.zeros((n, hours), dtype=bool)
    hit = treated & ((targets == harm.only_target) | (not harm.only_target))
    harmed[hit, started + harm.onset_hour :] = True

    day = np.sin(2 * np.pi * np.arange(hours) / 24.0)
    sensitivity = rng.uniform(0.5, 1.5, (n, 1))
    slow = fleet.day_and_night * sensitivity * day

    def log_level(spread: float, harm_effect: float) -> NDArray:
        level = rng.normal(0.0, spread, (n, 1)) + slow
        level = level + _correlated(rng, n, hours, fleet.hour_to_hour, fleet.correlation)
        level = level + after * rng.normal(0.0, fleet.reboot, (n, 1))
        return level + harmed * np.log1p(harm_effect)

    # Latency
    base = np.log(np.array([20.0 + 10.0 * fleet.targets.index(target) for target in targets]))[:, None]
    level = base + log_level(fleet.between_devices, harm.latency)
    latency = np.exp(level[:, :, None] + fleet.within_hour * rng.standard_normal((n, hours, each), dtype=np.float32))
    if harm.tail_share > 0.0:
        slowed = (rng.random((n, hours, each), dtype=np.float32) < harm.tail_share) & harmed[:, :, None]
        latency = np.where(slowed, latency * harm.tail_factor, latency)
    bucket = np.ceil(np.log2(latency) * BUCKETS_PER_OCTAVE).astype(np.int64) - 1
    offset = int(bucket.min())
    width = int(bucket.max()) - offset + 1
    cell = np.arange(n * hours).reshape(n, hours, 1) * width + (bucket - offset)
    histogram = np.bincount(cell.ravel(), minlength=n * hours * width).reshape(n, hours, width)

    # Energy: only its mean is judged, so the noise of an hour's mean is drawn at once.
    energy_level = log_level(fleet.between_devices, harm.energy) + rng.normal(0.0, 0.2 / np.sqrt(each), (n, hours))
    energy = 40.0 * each * np.exp(energy_level)

    # Confidence
    centre = 1.8 + rng.normal(0.0, 0.3, (n, 1)) + _correlated(rng, n, hours, 0.05, fleet.correlation)
    centre = centre + after * rng.normal(0.0, 0.02, (n, 1))
    confidence = 1.0 / (1.0 + np.exp(-(centre[:, :, None] + rng.standard_normal((n, hours, each), dtype=np.float32))))
    if harm.bimodal > 0.0:
        step = np.minimum(harm.bimodal, np.minimum(confidence, 1.0 - confidence))
        coin = rng.integers(0, 2, (n, hours, each), dtype=np.int8) * 2 - 1
        confidence = confidence + harmed[:, :, None] * step * coin
    if harm.confidence != 0.0:
        confidence = np.clip(confidence + harmed[:, :, None] * harm.confidence, 0.0, 1.0)
    bins = np.minimum((confidence * 100).astype(np.int64), 99)
    cell = np.arange(n * hours).reshape(n, hours, 1) * 100 + bins
    shape = np.bincount(cell.ravel(), minlength=n * hours * 100).reshape(n, hours, 100)

    fallback_rate = harm.fallback_base * np.exp(rng.normal(0.0, 0.3, (n, 1))) + harmed * harm.fallback
    error_rate = harm.error_base * np.exp(rng.normal(0.0, 0.3, (n, 1))) * np.ones((1, hours))
    mix = rng.dirichlet(np.full(6, 8.0), size=n)
    classes = rng.multinomial(each, mix[:, None, :], size=(n, hours))
    return History(
        fleet=fleet,
        harm=harm,
        ids=[f"device-{i:04d}" for i in range(n)],
        targets=targets,
        strata=strata,
        treated=treated,
        latency_offset=offset,
        latency=_cumulate(histogram.astype(np.int32)),
        energy=_cumulate(energy),
        confidence=_cumulate(shape.astype(np.int32)),
        confidence_sum=_cumulate(confidence.sum(axis=2, dtype=np.float64)),
        fallback=_cumulate(rng.binomial(each, np.clip(fallback_rate, 0.0, 1.0))),
        error=_cumulate(rng.binomial(each, error_rate)),
        classes=_cumulate(classes.astype(np.int32)),
        raw_latency=latency.astype(np.float32) if keep_raw else None,
        raw_confidence=confidence.astype(np.float32) if keep_raw else None,
    )


def look_input(
    history: History,
    look: int,
    state: dict | None,
    *,
    seed: int,
    permutations: int,
    metrics: tuple[str, ...] = GUARDRAILS,
    shapes: tuple[str, ...] = GUARDRAIL_SHAPES,
    stopped: tuple[str, ...] = (),
) -> LookInput:
    """The input of an hourly look, made the way the product makes it."""
    start = history.fleet.baseline_hours
    pre = history.period(0, start)
    post = history.period(start, start + look)
    recent = history.period(start + look - RECENT_HOURS, start + look) if look > RECENT_HOURS else None
    rows = []
    for name in metrics:
        rows.append(
            MetricInput(
                name,
                nullable(metric_values(pre, name)),
                nullable(metric_values(post, name)),
                nullable(metric_values(recent, name)) if recent else None,
            )
        )
    shape_rows = []
    for name in shapes:
        before, since = shape_counts(pre, name), shape_counts(post, name)
        lately = shape_counts(recent, name) if recent else None
        assert before is not None and since is not None
        labels = [str(i) for i in range(before.shape[1])]
        shape_rows.append(ShapeInput(name, labels, before, since, lately))
    return LookInput(
        devices=history.ids,
        treated=[int(z) for z in history.treated],
        strata=[str(s) for s in history.strata],
        lanes=[str(t) for t in history.targets],
        look=look,
        planned_looks=history.fleet.looks,
        hours=float(look),
        seed=seed,
        permutations=permutations,
        metrics=rows,
        shapes=shape_rows,
        stopped_lanes=stopped,
        inferences=[int(count) for count in post.count],
        state=state,
    )
