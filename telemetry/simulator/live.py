"""A simulated device that is real to the server: it enrols, sends, polls and installs through the device SDK."""

from __future__ import annotations

import random
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from ridgeline_sdk import Client, Desired, Device, EnrollmentRefused, ReleaseClient, Spool, Transport, TransportError
from ridgeline_sdk import enroll as enroll_device
from ridgeline_sdk.desired import DesiredUnknown, DownloadFailed

from telemetry.simulator.context import context_of
from telemetry.simulator.engine import DeviceModel, Step
from telemetry.simulator.faults import Effects, Fault
from telemetry.simulator.fleet import Traits, device_rng

_LIVE = 1  # the purpose of the random stream, apart from the history's
STATE_EVERY_S = 30.0
# A device that has been away steps through the time in between in pieces no longer than this.
LONGEST_STEP_S = 60.0
# Batches that one turn of a device may send, so that a backlog does not hold up the rest of its thread.
BATCHES_PER_TURN = 20


@dataclass(frozen=True)
class Habits:
    """How the devices of a fleet behave; times in seconds."""

    workload: str
    release: str
    rate: float = 2.0
    interval_s: float = 5.0
    poll_s: float = 10.0
    install_s: float = 20.0
    install_failure: float = 0.0
    retry_s: float = 60.0
    windows: bool = False
    window_s: float = 60.0
    download: bool = False
    bills_of_materials: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


class SimulatedClock:
    """The clocks of a simulated device: simulated time, an error of the wall clock, boots."""

    def __init__(self, serial: str, now_s: float) -> None:
        self.serial, self.now_s, self.booted_s = serial, now_s, now_s
        self.skew_s = 0.0
        self.boots = 0

    def wall_us(self) -> int:
        """Wall clock, with its error."""
        return round((self.now_s + self.skew_s) * 1e6)

    def uptime_ms(self) -> int:
        """Milliseconds since the boot."""
        return round((self.now_s - self.booted_s) * 1000)

    def boot_id(self) -> str:
        """One per boot."""
        return f"{self.serial}-{self.boots}"

    def quality(self) -> dict[str, Any]:
        """Synchronised unless the clock is off."""
        return {"synced": False, "source": "rtc"} if self.skew_s else {"synced": True, "source": "ntp", "error_ms": 3}


@dataclass
class _Installation:
    desired: Desired
    ready_s: float


class SimulatedDevice:
    """One device: `advance` moves it to a time and lets it do what it would have done by then.

    Not for use by two threads at once; several devices of one thread share its `transport`.
    """

    def __init__(
        self,
        traits: Traits,
        faults: Sequence[Fault],
        habits: Habits,
        *,
        transport: Transport,
        server: str,
        enroll: Callable[[Traits, Transport], str],
        now_s: float,
        seed: int,
        release: str | None = None,
        on_release: Callable[[str, str], None] = lambda serial, release: None,
    ) -> None:
        self.traits, self.habits = traits, habits
        self._server, self._transport, self._enroll, self._on_release = server, transport, enroll, on_release
        rng = device_rng(seed, traits.serial, _LIVE)
        self._model_rng, self._rng = rng.spawn(2)
        self._random = random.Random(int(self._rng.integers(2**63)))
        self.model = DeviceModel(traits, faults, release or habits.release, now_s, self._model_rng)
        self.clock = SimulatedClock(traits.serial, now_s)
        self.spool = Spool(max_rows=200_000)
        self.recorded = 0
        self.batches = 0
        self.effects = self._effects_now(now_s)
        self.clock.skew_s = self.effects.clock_skew_s
        self._installation: _Installation | None = None
        self._bill: Mapping[str, str] = habits.bills_of_materials.get(self.model.release, {})
        # Spread over their intervals, devices do not all speak in the same second.
        self._poll_s = now_s + float(self._rng.uniform(0.0, habits.poll_s))
        self._state_s = now_s
        self._carry = float(self._rng.uniform())
        self._token = enroll(traits, transport)
        self.client: Client | None = None
        self._start()
        self.device.event("boot", "info", {"release": self.model.release})

    @property
    def release(self) -> str:
        """What runs now."""
        return self.model.release

    def advance(self, now_s: float) -> None:
        """Measure up to `now_s`, then talk to the server unless the link is down."""
        while self.model.now_s < now_s:
            self._live(min(now_s, self.model.now_s + LONGEST_STEP_S))
        if self.effects.offline or self.effects.silent:
            return
        if now_s >= self._poll_s:
            self._poll_s = now_s + self.habits.poll_s
            self._poll(now_s)
        for _ in range(BATCHES_PER_TURN):
            if self.client.step() > 0.0:
                break

    def drain(self, timeout_s: float) -> bool:
        """Send all that is left, at the end of a simulation; True when the server has everything."""
        if self.effects.offline or self.effects.silent:
            return False
        return self.client.drain(timeout_s)

    def account(self) -> dict[str, Any]:
        """What the device says of itself: to be compared with what the server has."""
        return {
            "serial": self.traits.serial,
            "release": self.release,
            "recorded": self.recorded,
            "batches": self.batches + self.client.tally["batches"],
            "waiting": self.spool.pending(),
            "dropped": self.spool.dropped_total(),
            "last_error": self.client.last_error,
        }

    # -- living ------------------------------------------------------------------------------------------------------

    def _live(self, now_s: float) -> None:
        self._carry += self.habits.rate * (now_s - self.model.now_s)
        count, self._carry = int(self._carry), self._carry % 1.0
        step = self.model.step(now_s, count)
        self.clock.now_s, self.clock.skew_s = now_s, step.effects.clock_skew_s
        self.effects = step.effects
        self.device.record_many(self._rows(step))
        self.recorded += count
        for event in step.events:
            at_us = round((event.time_s + self.clock.skew_s) * 1e6)
            self.device.event(event.type, event.severity, dict(event.detail), time_us=at_us)
        self.device.idle_energy(step.idle_energy_mj)
        self.device.count("inferences_total", count)
        if step.cpu_fallbacks:
            # The driver counts every fallback, also those of which the runtime says nothing.
            self.device.count("cpu_fallback_total", step.cpu_fallbacks)
        if now_s >= self._state_s:
            self._state_s = now_s + STATE_EVERY_S
            self.device.state(**{name: round(value, 2) for name, value in step.state.items()})
        if step.effects.reboots:
            self._boot(now_s, "power lost")
        if self._installation is not None and now_s >= self._installation.ready_s:
            self._finish_installation(now_s, self._installation.desired)

    def _rows(self, step: Step) -> list[dict[str, Any]]:
        times = np.rint((step.time_s + self.clock.skew_s) * 1e6).astype(np.int64).tolist()
        columns = {
            name: (np.round(values, 4) if values.dtype.kind == "f" else values).tolist()
            for name, values in step.columns.items()
        }
        names = ["time_us", *columns, *step.labels]
        return [
            dict(zip(names, values, strict=True))
            for values in zip(times, *columns.values(), *step.labels.values(), strict=True)
        ]

    def _start(self) -> None:
        """The software's start: a recorder and a sender on the spool that outlives boots."""
        options = {"windows": self.habits.windows, "window_s": self.habits.window_s}
        self.device = Device(self.spool, self._context(), clock=self.clock, strict=True, rng=self._random, **options)
        if self.client is not None:
            self.batches += self.client.tally["batches"]
        self.client = Client(
            self.device,
            self._transport,
            self._token,
            interval_s=self.habits.interval_s,
            on_unauthorized=self._renew,
            rng=self._random,
            monotonic_s=lambda: self.clock.now_s,
            utc_now=lambda: datetime.fromtimestamp(self.clock.now_s, UTC),
            # There is nobody to wait for: a simulated device that is told to wait comes back at a later turn.
            sleep=self._skip,
        )
        self._releases = ReleaseClient(self._transport, self._token, self._server)

    def _context(self) -> dict[str, str]:
        old_driver = self.effects.old_driver
        return context_of(self.traits, self.habits.workload, self.model.release, self._bill, old_driver=old_driver)

    def _skip(self, seconds: float) -> None:
        self.clock.now_s += seconds

    def _renew(self) -> str | None:
        try:
            self._token = self._enroll(self.traits, self._transport)
        except (EnrollmentRefused, TransportError):
            return None
        self._releases.token = self._token
        return self._token

    def _boot(self, now_s: float, reason: str) -> None:
        # What was open at the moment is not lost but spooled: a device saves it as it goes down.
        self.device.flush()
        boot = self.model.boot(now_s)
        self.clock.boots, self.clock.booted_s = self.model.boots, now_s
        self._start()
        self.device.event(boot.type, boot.severity, {**boot.detail, "reason": reason})

    # -- following the desired release -------------------------------------------------------------------------------

    def _poll(self, now_s: float) -> None:
        try:
            desired = self._releases.desired(self.habits.workload)
        except DesiredUnknown:
            return
        if desired.release is None or desired.release == self.release:
            self._installation = None
            if desired.release and desired.bill_of_materials and dict(desired.bill_of_materials) != dict(self._bill):
                self._bill = desired.bill_of_materials
                self.device.set_context(**self._context())
            return
        pending = self._installation
        if pending is not None and pending.desired.release == desired.release:
            return
        self._releases.report(desired.action_id, "downloading")
        spread = float(self._rng.uniform(0.7, 1.3))
        self._installation = _Installation(desired, now_s + self.habits.install_s * spread)

    def _finish_installation(self, now_s: float, desired: Desired) -> None:
        if self.effects.offline:
            return
        self._installation = None
        failure = self._download(desired)
        if failure is None and self._rng.random() < self.habits.install_failure:
            failure = "the new image did not start; the old one runs"
        if failure is not None:
            self._poll_s = now_s + self.habits.retry_s
            self.device.event("install_failed", "error", {"release": desired.release, "reason": failure})
            self._releases.report(desired.action_id, "failed", detail=failure)
            return
        self._releases.report(desired.action_id, "installing", 60)
        self._releases.report(desired.action_id, "installed", 90)
        self.model.release = desired.release
        self._bill = desired.bill_of_materials or self.habits.bills_of_materials.get(desired.release, {})
        self._on_release(self.traits.serial, desired.release)
        self._boot(now_s, "update")
        # A fault may belong to the release that has just been started.
        self.effects = self._effects_now(now_s)
        if not self.effects.silent:
            self._releases.report(desired.action_id, "booted", 100)

    def _effects_now(self, now_s: float) -> Effects:
        return self.model.step(now_s, 0).effects

    def _download(self, desired: Desired) -> str | None:
        """Fetch and check every artifact if the fleet does so; the reason when that fails."""
        if not self.habits.download:
            return None
        with tempfile.TemporaryDirectory() as directory:
            try:
                for artifact in desired.artifacts:
                    self._releases.download(artifact, directory)
            except (DownloadFailed, TransportError) as error:
                return str(error)
        return None


def enroller(enrollment_key: str) -> Callable[[Traits, Transport], str]:
    """Enrols devices with one key; returns their tokens."""

    def enroll(traits: Traits, transport: Transport) -> str:
        return enroll_device(transport, enrollment_key, traits.serial, traits.hardware.name, traits.region).token

    return enroll
