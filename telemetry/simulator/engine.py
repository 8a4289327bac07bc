"""One simulated device moving through time: heat, battery, day and night, and the inferences that come of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from telemetry.simulator.faults import Effects, Fault, effects
from telemetry.simulator.fleet import REGIONS, Traits
from telemetry.simulator.hardware import (
    CPU_ENERGY_FACTOR,
    CPU_TIME_FACTOR,
    REVISIONS,
    THROTTLE_HYSTERESIS_K,
    THROTTLE_POWER_FACTOR,
    THROTTLE_TIME_FACTOR,
)

HOUR_S, DAY_S = 3600.0, 86_400.0
# Hour-to-hour correlation and stationary spread (log) of what else goes on at a device.
HOUR_CORRELATION, HOUR_SPREAD = 0.8, 0.015
BOOT_SPREAD = 0.01
LATENCY_NOISE, ENERGY_NOISE = 0.06, 0.03
TAIL_SHARE = 0.01
CPU_SHARE = 0.002
ERROR_SHARE = 0.0005
# Busy share of the time at the quietest and the busiest hour of the day.
QUIET, BUSY = 0.35, 0.60
BUSIEST_HOUR = 15.0
DRIVER_RESET_S = 2.0
# A hotter die leaks more: relative power per kelvin above 50 degrees.
LEAKAGE_PER_K = 0.002


@dataclass(frozen=True)
class Event:
    """Something that happened at `time_s` (seconds since the epoch)."""

    time_s: float
    type: str
    severity: str = "info"
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Step:
    """What a device measured in (before, now]: columns as in the telemetry protocol, all of the length of `time_s`.

    `labels` hold what is not a number (predicted_class, fallback, outcome), as lists of the same length.
    """

    time_s: NDArray[np.float64]
    columns: dict[str, NDArray[Any]]
    labels: dict[str, list[str]]
    events: list[Event]
    state: dict[str, float]
    idle_energy_mj: float
    cpu_fallbacks: int
    effects: Effects

    def __len__(self) -> int:
        return len(self.time_s)


class DeviceModel:
    """The physics of one device.

    `step` moves it to `now_s` and draws `count` inferences between the last step and now. The same traits, faults,
    generator and sequence of steps give the same measurements.
    """

    def __init__(self, traits: Traits, faults: Sequence[Fault], release: str, now_s: float, rng: np.random.Generator):
        self.traits, self.faults, self.release = traits, faults, release
        self.now_s = self.booted_s = now_s
        self.boots = 0
        # Two streams: what a device goes through does not depend on how much is measured.
        self._life, self._rng = rng.spawn(2)
        self._hour = math.floor(now_s / HOUR_S)
        self._hour_time, self._hour_power, self._hour_quality = self._life.normal(0.0, HOUR_SPREAD, 3)
        self._boot_time = self._boot_power = 1.0
        self._draw_boot()
        self._battery_wh = traits.hardware.battery_wh * self._life.uniform(0.5, 1.0)
        self.throttled = False
        self._case_c, self._die_c = self._equilibrium(self._power_w(Effects()), 1.0)

    def boot(self, now_s: float) -> Event:
        """Start anew, on whatever `release` is now."""
        self.booted_s = now_s
        self.boots += 1
        self._draw_boot()
        return Event(now_s, "boot", "info", {"release": self.release, "boots": self.boots})

    def step(self, now_s: float, count: int) -> Step:
        """Move on to `now_s` and measure `count` inferences spread over the time since the last step."""
        before_s, self.now_s = self.now_s, now_s
        elapsed_s = max(0.0, now_s - before_s)
        self._next_hours(now_s)
        traits, rng = self.traits, self._rng
        now = effects(
            self.faults,
            serial=traits.serial,
            target=traits.hardware.name,
            region=traits.region,
            release=self.release,
            before_s=before_s,
            now_s=now_s,
        )
        events = self._heat(elapsed_s, now)
        if now.driver_resets:
            events.append(Event(now_s, "driver_reset", "error", {"recovered_after_s": DRIVER_RESET_S}))
        power_w = self._power_w(now)
        self._discharge(power_w, elapsed_s)
        time_s = np.sort(rng.uniform(before_s, now_s, count)) if elapsed_s else np.full(count, now_s)
        columns, labels, cpu = self._measure(count, now, power_w)
        if now.driver_resets:
            _fail_before(columns, labels, time_s, now_s - DRIVER_RESET_S)
        state = {
            "temperature_c": float(self._die_c),
            "power_w": float(power_w),
            "memory_mb": float(columns["memory_mb"][-1]) if count else traits.hardware.memory_mb,
        }
        if traits.battery:
            state["battery_pct"] = 100.0 * self._battery_wh / traits.hardware.battery_wh
        idle_mj = traits.hardware.idle_w * (1.0 - self._busy()) * elapsed_s * 1000.0
        return Step(time_s, columns, labels, events, state, idle_mj, cpu, now)

    # -- state -------------------------------------------------------------------------------------------------------

    def _draw_boot(self) -> None:
        self._boot_time, self._boot_power = np.exp(self._life.normal(0.0, BOOT_SPREAD, 2))

    def _next_hours(self, now_s: float) -> None:
        """First-order autoregression, one draw per hour passed."""
        hour = math.floor(now_s / HOUR_S)
        passed = min(hour - self._hour, 200)
        innovation = HOUR_SPREAD * math.sqrt(1.0 - HOUR_CORRELATION**2)
        for _ in range(passed):
            draws = self._life.normal(0.0, innovation, 3)
            self._hour_time = HOUR_CORRELATION * self._hour_time + draws[0]
            self._hour_power = HOUR_CORRELATION * self._hour_power + draws[1]
            self._hour_quality = HOUR_CORRELATION * self._hour_quality + draws[2]
        self._hour = max(hour, self._hour)

    def _local_hour(self) -> float:
        offset_h, _ = REGIONS.get(self.traits.region, (0.0, 20.0))
        return (self.now_s / HOUR_S + offset_h) % 24.0

    def _daylight(self) -> float:
        """0 at the darkest and quietest hour, 1 at the busiest."""
        return 0.5 + 0.5 * math.cos(2.0 * math.pi * (self._local_hour() - BUSIEST_HOUR) / 24.0)

    def _busy(self) -> float:
        return QUIET + (BUSY - QUIET) * self._daylight()

    def _ambient_c(self) -> float:
        _, mean_c = REGIONS.get(self.traits.region, (0.0, 20.0))
        return mean_c + self.traits.ambient_offset_c + 6.0 * (self._daylight() - 0.5) + 30.0 * self._hour_quality

    def _active_w(self, now: Effects) -> float:
        """Power while an inference runs."""
        traits = self.traits
        _, revision = REVISIONS[traits.revision]
        factor = traits.power_factor * revision * traits.hardware.power_modes[traits.power_mode].power_factor
        factor *= self._boot_power * math.exp(self._hour_power) * now.energy_factor
        if self.throttled:
            factor *= THROTTLE_POWER_FACTOR
        return traits.hardware.active_w * factor

    def _power_w(self, now: Effects) -> float:
        """Mean power of the board: idle, and the inferences' part of the time."""
        idle_w = self.traits.hardware.idle_w
        return idle_w + self._busy() * max(0.0, self._active_w(now) - idle_w)

    def _equilibrium(self, power_w: float, heat_factor: float) -> tuple[float, float]:
        hardware = self.traits.hardware
        case_c = self._ambient_c() + hardware.case_resistance * heat_factor * power_w
        return case_c, case_c + hardware.die_resistance * power_w

    def _heat(self, elapsed_s: float, now: Effects) -> list[Event]:
        """Case and die approach their equilibrium exponentially; crossing the limit throttles, with hysteresis."""
        hardware, events = self.traits.hardware, []
        remaining_s = elapsed_s
        while remaining_s > 0.0:
            # A long step is walked in short ones, since throttling changes the power in between.
            part_s = min(remaining_s, 300.0)
            remaining_s -= part_s
            power_w = self._power_w(now)
            case_goal_c, _ = self._equilibrium(power_w, now.heat_factor)
            self._case_c += (case_goal_c - self._case_c) * -math.expm1(-part_s / hardware.case_tau_s)
            die_goal_c = self._case_c + hardware.die_resistance * power_w
            self._die_c += (die_goal_c - self._die_c) * -math.expm1(-part_s / hardware.die_tau_s)
            at_s = self.now_s - remaining_s
            detail = {"temperature_c": round(self._die_c, 1)}
            if not self.throttled and self._die_c > hardware.throttle_c:
                self.throttled = True
                events.append(Event(at_s, "thermal_throttle_start", "warning", detail))
            elif self.throttled and self._die_c < hardware.throttle_c - THROTTLE_HYSTERESIS_K:
                self.throttled = False
                events.append(Event(at_s, "thermal_throttle_end", "info", detail))
        return events

    def _discharge(self, power_w: float, elapsed_s: float) -> None:
        """By night a battery is drained; by day it is charged twice as fast (a vehicle's, or a panel's)."""
        if self.traits.battery:
            flow_w = 2.0 * power_w if self._daylight() > 0.5 else -power_w
            charge_wh = self._battery_wh + flow_w * elapsed_s / HOUR_S
            self._battery_wh = min(self.traits.hardware.battery_wh, max(5.0, charge_wh))

    # -- measuring ---------------------------------------------------------------------------------------------------

    def _measure(
        self, count: int, now: Effects, power_w: float
    ) -> tuple[dict[str, NDArray[Any]], dict[str, list[str]], int]:
        traits, hardware, rng = self.traits, self.traits.hardware, self._rng
        revision_time, _ = REVISIONS[traits.revision]
        slow = traits.time_factor * revision_time * hardware.power_modes[traits.power_mode].time_factor
        slow *= self._boot_time * math.exp(self._hour_time) * (1.0 + 0.03 * self._daylight())
        if self.throttled:
            slow *= THROTTLE_TIME_FACTOR
        inference_ms = hardware.inference_ms * slow * np.exp(rng.normal(0.0, LATENCY_NOISE, count))
        reported_cpu = rng.random(count) < CPU_SHARE
        silent_cpu = rng.random(count) < now.cpu_share
        on_cpu = reported_cpu | silent_cpu
        inference_ms = np.where(on_cpu, inference_ms * CPU_TIME_FACTOR, inference_ms)
        leakage = 1.0 + LEAKAGE_PER_K * (self._die_c - 50.0)
        active_w = self._active_w(now) * leakage
        # Energy follows the work done: what a latency fault adds is waiting.
        energy_mj = active_w * inference_ms * np.exp(rng.normal(0.0, ENERGY_NOISE, count))
        energy_mj = np.where(on_cpu, energy_mj * CPU_ENERGY_FACTOR / CPU_TIME_FACTOR, energy_mj)
        held_up = 1.0 + (rng.random(count) < TAIL_SHARE) * rng.exponential(0.6, count)
        tail, tail_factor = rng.random(count) < now.tail_share, 3.0 + rng.exponential(1.0, count)
        held_up = np.where(tail, held_up * tail_factor, held_up)
        inference_ms = inference_ms * held_up * now.latency_factor
        stages = {
            "preprocess_ms": hardware.preprocess_ms * np.exp(rng.normal(0.0, 0.10, count)) * now.latency_factor,
            "inference_ms": inference_ms,
            "postprocess_ms": hardware.postprocess_ms * np.exp(rng.normal(0.0, 0.10, count)) * now.latency_factor,
            "queue_ms": hardware.queue_ms * rng.gamma(2.0, 0.5, count) * now.latency_factor,
        }
        quality = self._quality(count, now)
        columns: dict[str, NDArray[Any]] = {
            "latency_ms": sum(stages.values()),
            **stages,
            "energy_mj": energy_mj,
            "power_w": np.full(count, power_w) * np.exp(rng.normal(0.0, 0.02, count)),
            "temperature_c": self._die_c + rng.normal(0.0, 0.3, count),
            "memory_mb": hardware.memory_mb * (1.0 + 0.01 * rng.random(count)),
            "accelerator_utilization": np.where(on_cpu, 0.02, np.clip(self._busy() + rng.normal(0, 0.05, count), 0, 1)),
            "queue_depth": rng.poisson(self._busy(), count),
            "input_quality": quality,
            "confidence": self._confidence(quality, now),
            "retries": (rng.random(count) < 0.002).astype(int),
            "throttled": np.full(count, self.throttled),
        }
        failed = rng.random(count) < ERROR_SHARE
        weights = self._class_weights()
        labels = {
            "predicted_class": [traits.classes[i] for i in rng.choice(len(weights), count, p=weights)],
            "fallback": np.where(reported_cpu, "cpu", "none").tolist(),
            "outcome": np.where(failed, "error", "ok").tolist(),
        }
        return columns, labels, int(on_cpu.sum())

    def _quality(self, count: int, now: Effects) -> NDArray[np.float64]:
        """Input quality on [0, 1]: worse by night, worse with a failing sensor."""
        centre = 1.6 + self.traits.quality_offset + 0.8 * self._daylight() + 2.0 * self._hour_quality
        quality = _logistic(centre + self._rng.normal(0.0, 0.45, count))
        return np.clip(quality - now.quality_loss, 0.0, 1.0)

    def _confidence(self, quality: NDArray[np.float64], now: Effects) -> NDArray[np.float64]:
        """Confidence on [0, 1], lower for poor input; split into two peaks with the same mean by a fault."""
        centre = 2.6 + self.traits.confidence_offset + 3.0 * (quality - 0.85)
        noise, jitter = self._rng.normal(0.0, 0.9, len(quality)), self._rng.normal(0.0, 0.01, len(quality))
        if not now.confidence_split:
            return _logistic(centre + noise)
        mean = _mean_confidence(self.traits, self._daylight(), now.quality_loss)
        split = min(now.confidence_split, 0.97 - mean)
        return np.clip(np.where(noise > 0.0, mean + split, mean - split) + jitter, 0.0, 1.0)

    def _class_weights(self) -> NDArray[np.float64]:
        """The device's own mix; by night there is less of every second class."""
        weights = np.array(self.traits.class_weights)
        weights[1::2] *= 0.7 + 0.3 * self._daylight()
        return weights / weights.sum()


def _logistic(value: NDArray[np.float64] | float) -> NDArray[np.float64]:
    return 1.0 / (1.0 + np.exp(-np.asarray(value)))


def _mean_confidence(traits: Traits, daylight: float, quality_loss: float) -> float:
    """Expected confidence without a split: Gauss-Hermite quadrature over the noise of quality and confidence."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(15)
    weights = weights / weights.sum()
    quality = np.clip(_logistic(1.6 + traits.quality_offset + 0.8 * daylight + 0.45 * nodes) - quality_loss, 0.0, 1.0)
    centre = 2.6 + traits.confidence_offset + 3.0 * (quality - 0.85)
    return float(weights @ _logistic(centre[:, None] + 0.9 * nodes[None, :]) @ weights)


def _fail_before(
    columns: dict[str, NDArray[Any]], labels: dict[str, list[str]], time_s: NDArray[np.float64], since_s: float
) -> None:
    """Inferences during a driver reset end in an error after a time-out."""
    for place in np.flatnonzero(time_s >= since_s):
        labels["outcome"][place] = "error"
        columns["latency_ms"][place] += 500.0
        columns["retries"][place] += 1
