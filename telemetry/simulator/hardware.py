"""What each hardware target is like: speed, power, heat, memory; figures in the range of the boards' data sheets."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class PowerMode:
    """A setting of the board: how long an inference takes and what it draws, relative to the first mode."""

    time_factor: float = 1.0
    power_factor: float = 1.0


@dataclass(frozen=True)
class Hardware:
    """One hardware target. Times in ms, power in W, temperature in degrees Celsius, thermal resistance in K/W."""

    name: str
    inference_ms: float
    preprocess_ms: float
    postprocess_ms: float
    queue_ms: float
    active_w: float
    idle_w: float
    memory_mb: float
    # From ambient to case, from case to die; the case soaks slowly, the die follows fast.
    case_resistance: float
    die_resistance: float
    case_tau_s: float = 1800.0
    die_tau_s: float = 45.0
    throttle_c: float = 85.0
    battery_wh: float = 90.0
    power_modes: dict[str, PowerMode] = field(default_factory=lambda: {"standard": PowerMode()})


HARDWARE: dict[str, Hardware] = {
    hardware.name: hardware
    for hardware in (
        Hardware(
            "orin-nx-16",
            inference_ms=14.0,
            preprocess_ms=1.2,
            postprocess_ms=0.7,
            queue_ms=0.9,
            active_w=9.0,
            idle_w=4.5,
            memory_mb=1450.0,
            case_resistance=3.0,
            die_resistance=1.5,
            throttle_c=85.0,
            power_modes={"15W": PowerMode(), "25W": PowerMode(time_factor=0.8, power_factor=1.35)},
        ),
        Hardware(
            "hailo-8",
            inference_ms=8.0,
            preprocess_ms=2.1,
            postprocess_ms=1.1,
            queue_ms=0.6,
            active_w=4.2,
            idle_w=1.8,
            memory_mb=620.0,
            case_resistance=6.0,
            die_resistance=3.0,
            throttle_c=82.0,
        ),
        Hardware(
            "coral-tpu",
            inference_ms=22.0,
            preprocess_ms=3.0,
            postprocess_ms=1.4,
            queue_ms=1.5,
            active_w=3.4,
            idle_w=1.2,
            memory_mb=310.0,
            case_resistance=9.0,
            die_resistance=3.0,
            throttle_c=80.0,
            power_modes={"max": PowerMode(), "std": PowerMode(time_factor=1.4, power_factor=0.65)},
        ),
    )
}

# Three revisions of every board are in the field: time and power relative to the first.
REVISIONS: dict[str, tuple[float, float]] = {"A": (1.0, 1.0), "B": (0.97, 1.02), "C": (1.04, 0.96)}

# Throttling: the clock is cut until the die has cooled down by this much.
THROTTLE_HYSTERESIS_K = 6.0
THROTTLE_TIME_FACTOR = 1.0 / 0.7
THROTTLE_POWER_FACTOR = 0.75

# An inference that falls back to the CPU.
CPU_TIME_FACTOR = 4.5
CPU_ENERGY_FACTOR = 2.2


def hardware_for(target: str) -> Hardware:
    """The target's figures; a board that is not known here behaves like a mid-range one under its own name."""
    if target in HARDWARE:
        return HARDWARE[target]
    return Hardware(
        target,
        inference_ms=18.0,
        preprocess_ms=2.0,
        postprocess_ms=1.0,
        queue_ms=1.0,
        active_w=6.0,
        idle_w=2.5,
        memory_mb=800.0,
        case_resistance=4.0,
        die_resistance=2.0,
    )
