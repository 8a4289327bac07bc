"""The field for tests: devices that poll, install, and send windows of telemetry through the real ingest."""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from fleet.models import Device
from rollouts.models import Delivery
from rollouts.services import offering, reporting
from telemetry import allowances
from telemetry.histograms import Histogram, unit_index_of
from telemetry.services.ingest import Request, receive
from telemetry.store import microseconds

INFERENCES = 450


@dataclass
class Field:
    """Devices by serial, what each runs, and what releases do to them.

    `faults` maps (release version, hardware target) to factors on latency and energy: {"energy": 1.08}.
    """

    seed: int = 1
    workload: str = "lane-assist"
    running: dict[str, str] = field(default_factory=dict)
    faults: dict[tuple[str, str], dict[str, float]] = field(default_factory=dict)
    devices: dict[str, Device] = field(default_factory=dict)
    _own: dict[str, float] = field(default_factory=dict)
    _seq: dict[str, int] = field(default_factory=dict)
    rng: np.random.Generator = field(init=False)

    def __post_init__(self) -> None:
        self.rng = np.random.default_rng(self.seed)

    def add(self, devices: Iterable[Device], release: str) -> None:
        """Put devices into the field, running a release."""
        for device in devices:
            self.devices[device.serial] = device
            self.running[device.serial] = release
            self._own[device.serial] = float(self.rng.lognormal(0, 0.1))

    def window(self, device: Device, start: datetime, n: int = INFERENCES) -> dict:
        """One window of telemetry of what the device runs."""
        release = self.running[device.serial]
        fault = self.faults.get((release, device.hardware_target.slug), {})
        own = self._own[device.serial]
        latency = self.rng.lognormal(np.log(20 * own * fault.get("latency", 1.0)), 0.15, n)
        energy = self.rng.lognormal(np.log(40 * own * fault.get("energy", 1.0)), 0.10, n)
        confidence = self.rng.beta(18, 2, n)
        bins = np.bincount(unit_index_of(confidence), minlength=100)
        begins = microseconds(start)
        return {
            "start": begins,
            "end": begins + 60_000_000,
            "count": n,
            "outcomes": {"error": round(n * fault.get("error", 0.0))},
            "fallbacks": {},
            "latency_ms": _histogram(latency),
            "energy_mj": _histogram(energy),
            "confidence": {"counts": bins.tolist(), "sum": float(confidence.sum())},
            "classes": {"stop-sign": n // 3, "lane": n - n // 3},
        }

    def send(
        self, moments: Iterable[datetime], *, devices: Iterable[Device] | None = None, n: int = INFERENCES
    ) -> None:
        """Every device (or some) sends one batch with a window per moment; received a minute after the last."""
        starts = sorted(moments)
        for device in self.devices.values() if devices is None else devices:
            self._seq[device.serial] = self._seq.get(device.serial, 0) + 1
            body = {
                "schema": "ridgeline.telemetry/1",
                "boot_id": f"{device.serial}-{self.running[device.serial]}",
                "batch_seq": self._seq[device.serial],
                "clock": {"synced": True},
                "context": {"workload": self.workload, "release": self.running[device.serial]},
                "windows": [self.window(device, start, n) for start in starts],
            }
            allowances.refill()
            receive(Request(device, False, json.dumps(body).encode(), "", starts[-1] + timedelta(minutes=1)))

    def update(
        self, now: datetime, *, only: Iterable[Device] | None = None, lose: Iterable[str] = ()
    ) -> list[Delivery]:
        """Devices ask what they should run and do it; those in `lose` fail to install."""
        followed = []
        for device in list(self.devices.values()) if only is None else only:
            delivery = offering.desired(device, now)
            if delivery is None or delivery.release.version == self.running[device.serial]:
                continue
            outcome = "failed" if device.serial in lose else "installed"
            for status in ("downloading", "installing", outcome):
                reporting.report(device, action_id=delivery.pk, status=status, now=now, progress=50)
            if outcome == "installed":
                self.running[device.serial] = delivery.release.version
            followed.append(delivery)
        return followed


def _histogram(values: np.ndarray) -> dict:
    found = Histogram.of(values)
    return {
        "scale": 5,
        "offset": int(found.offset),
        "counts": found.counts.tolist(),
        "zero_count": int(found.zero),
        "sum": float(values.sum()),
        "min": float(values.min()),
        "max": float(values.max()),
    }
