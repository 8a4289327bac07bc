"""The demo's story: a lane-assist fleet whose canary 4.2.0 draws 8 % more energy on one hardware target alone."""

from __future__ import annotations

from typing import Any

from telemetry.simulator.fleet import Traits, build_fleet

WORKLOAD = "lane-assist"
TARGETS = ("orin-nx-16", "hailo-8", "coral-tpu")
REGIONS = ("eu-north", "us-west")
DEVICES = 72
SEED = 20260302
RUNNING, CANARY = "4.1.0", "4.2.0"
BAD_TARGET = "orin-nx-16"

# Quantization and compiler are what changed: the parts of the bill of materials that a recommendation points at.
BILLS_OF_MATERIALS: dict[str, dict[str, str]] = {
    RUNNING: {
        "model_version": "lane-net-4.1.0",
        "model_hash": "sha256:3f0d7c1b5a3e4c0f9d2b6a8e7c5d4f3a2b1c0d9e8f7a6b5c4d3e2f1a0b9c8d7e",
        "quantization": "int8 per channel, percentile 99.9",
        "runtime_version": "onnxruntime 1.31.1",
        "compiler_version": "edge-compiler 3.8",
        "driver_version": "540.4",
        "firmware_version": "r36.4",
        "calibration_dataset": "lanes-2026-01",
    },
    CANARY: {
        "model_version": "lane-net-4.2.0",
        "model_hash": "sha256:9a1e2d3c4b5f60718293a4b5c6d7e8f90a1b2c3d4e5f60718293a4b5c6d7e8f9",
        "quantization": "int8 per tensor, entropy",
        "runtime_version": "onnxruntime 1.31.1",
        "compiler_version": "edge-compiler 3.9",
        "driver_version": "540.4",
        "firmware_version": "r36.4",
        "calibration_dataset": "lanes-2026-02",
    },
}

# Beside the story, what every fleet has: links that go away, a clock that is off, a fan that is blocked, a device that
# somebody forgot when the driver was renewed.
FAULTS = (
    f"energy:+8%@target={BAD_TARGET},release={CANARY}",
    "offline:45s@share=0.2,every=15m",
    "clock_skew:+7m@share=0.03",
    "throttle@share=0.03",
    "old_driver@serial=lane-hailo-8-0018",
)


def fleet(devices: int = DEVICES) -> list[Traits]:
    """The devices of the story: the same ones in the history and in the live fleet."""
    return build_fleet(SEED, devices, TARGETS, REGIONS, WORKLOAD, prefix="lane")


def bill_of_materials(version: str) -> dict[str, Any]:
    """The parts of a release of the story; empty for one that is not part of it."""
    return dict(BILLS_OF_MATERIALS.get(version, {}))
