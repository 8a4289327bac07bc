"""Who is in a simulated fleet: serials, targets, regions, and each device's own lasting traits."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from telemetry.simulator.hardware import REVISIONS, Hardware, hardware_for

# Region: hours ahead of UTC, mean ambient temperature in degrees Celsius.
REGIONS: dict[str, tuple[float, float]] = {
    "eu-north": (1.0, 12.0),
    "eu-central": (1.0, 18.0),
    "us-west": (-8.0, 20.0),
    "ap-south": (5.5, 27.0),
    "lab": (0.0, 22.0),
}
CLASSES: dict[str, tuple[str, ...]] = {
    "lane-assist": ("lane-solid", "lane-dashed", "no-lane", "vehicle", "pedestrian", "stop-sign"),
}
GENERIC_CLASSES = ("normal", "defect-a", "defect-b", "defect-c")
# The first class is common, the last rare.
CLASS_WEIGHTS = (0.42, 0.26, 0.14, 0.10, 0.05, 0.03)

# Spread between devices of one kind, as the standard deviation of the logarithm.
BETWEEN_DEVICES = 0.10
BATTERY_SHARE = 0.25


@dataclass(frozen=True)
class Traits:
    """What makes one device differ from the next of its kind, for as long as it lives."""

    serial: str
    hardware: Hardware
    region: str
    revision: str
    power_mode: str
    battery: bool
    time_factor: float
    power_factor: float
    confidence_offset: float
    quality_offset: float
    ambient_offset_c: float
    classes: tuple[str, ...]
    class_weights: tuple[float, ...]

    @property
    def power_source(self) -> str:
        """Stratum of the canary's randomisation."""
        return "battery" if self.battery else "mains"


def device_rng(seed: int, serial: str, purpose: int = 0) -> np.random.Generator:
    """The device's own stream: it does not change when other devices join or leave, nor with the order of steps."""
    return np.random.default_rng([seed, zlib.crc32(serial.encode()), purpose])


def draw_traits(seed: int, serial: str, target: str, region: str, workload: str) -> Traits:
    """Traits of a device, the same for the same seed and serial."""
    rng = device_rng(seed, serial)
    hardware = hardware_for(target)
    classes = CLASSES.get(workload, GENERIC_CLASSES)
    base = np.array(CLASS_WEIGHTS[: len(classes)])
    # Each device sees its own scene: a Dirichlet draw around the workload's mix.
    weights = rng.dirichlet(base / base.sum() * 60.0)
    return Traits(
        serial=serial,
        hardware=hardware,
        region=region,
        revision=str(rng.choice(list(REVISIONS))),
        power_mode=str(rng.choice(list(hardware.power_modes))),
        battery=bool(rng.random() < BATTERY_SHARE),
        time_factor=float(np.exp(rng.normal(0.0, BETWEEN_DEVICES))),
        power_factor=float(np.exp(rng.normal(0.0, BETWEEN_DEVICES))),
        confidence_offset=float(rng.normal(0.0, 0.15)),
        quality_offset=float(rng.normal(0.0, 0.15)),
        ambient_offset_c=float(rng.normal(0.0, 2.0)),
        classes=classes,
        class_weights=tuple(float(weight) for weight in weights),
    )


def build_fleet(
    seed: int, count: int, targets: Sequence[str], regions: Sequence[str], workload: str, prefix: str = "sim"
) -> list[Traits]:
    """`count` devices, spread evenly over targets and, within a target, over regions.

    Serials are PREFIX-TARGET-NUMBER, so a larger fleet of the same seed contains the smaller one.
    """
    if not targets or not regions:
        raise ValueError("a fleet needs at least one target and one region")
    fleet = []
    for number in range(count):
        target = targets[number % len(targets)]
        place = number // len(targets)
        region = regions[place % len(regions)]
        fleet.append(draw_traits(seed, f"{prefix}-{target}-{place + 1:04d}", target, region, workload))
    return fleet
