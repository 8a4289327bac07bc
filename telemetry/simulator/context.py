"""The labels that a simulated device puts on its records."""

from __future__ import annotations

from collections.abc import Mapping

from telemetry.simulator.fleet import Traits

FROM_BILL = ("model_version", "firmware_version", "driver_version", "runtime_version")


OLD_DRIVER = "538.2"


def context_of(
    traits: Traits, workload: str, release: str, bill_of_materials: Mapping[str, str], *, old_driver: bool = False
) -> dict[str, str]:
    """Envelope context of a device on a release; parts that the bill does not name are left out."""
    labels = {"workload": workload, "release": release, "model_version": release}
    labels.update({name: bill_of_materials[name] for name in FROM_BILL if bill_of_materials.get(name)})
    if old_driver:
        labels["driver_version"] = OLD_DRIVER
    return {**labels, "accelerator": traits.hardware.name, "power_mode": traits.power_mode}
