"""A whole simulated fleet in one process: threads that turn their devices, simulated time, and what came of it."""

from __future__ import annotations

import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ridgeline_sdk import EnrollmentRefused, Transport, TransportError

from telemetry.simulator.faults import Fault
from telemetry.simulator.fleet import Traits
from telemetry.simulator.live import Habits, SimulatedDevice

log = logging.getLogger("ridgeline.simulator")

ENROLL_AGAIN_S = 5.0
DRAIN_S = 20.0


class SimulatedTime:
    """Simulated seconds since the epoch: from `start_s` at `speed` until it has caught up with real time, then that."""

    def __init__(self, real_s: Callable[[], float], start_s: float, speed: float) -> None:
        if speed <= 0:
            raise ValueError(f"speed must be positive, got {speed}")
        self._real_s, self._start_s, self._speed = real_s, start_s, speed
        self._began_s = real_s()

    def now_s(self) -> float:
        """Simulated now; never after real now, since the server refuses times in the future."""
        real_s = self._real_s()
        return min(real_s, self._start_s + (real_s - self._began_s) * self._speed)


class Memory:
    """Which release each device runs, in a file, so that a fleet started again goes on where it was."""

    def __init__(self, path: Path | None) -> None:
        self._path, self._lock = path, threading.Lock()
        self._releases: dict[str, str] = {}
        if path is not None and path.exists():
            self._releases = json.loads(path.read_text())

    def release_of(self, serial: str) -> str | None:
        """What the device ran at last."""
        return self._releases.get(serial)

    def remember(self, serial: str, release: str) -> None:
        """The device runs `release` now."""
        with self._lock:
            self._releases[serial] = release
            if self._path is not None:
                scratch = self._path.with_suffix(".new")
                scratch.write_text(json.dumps(self._releases))
                scratch.replace(self._path)


class FleetRunner:
    """Runs devices in `threads` threads, each with a connection of its own, until it is told to stop."""

    def __init__(
        self,
        fleet: Sequence[Traits],
        faults: Sequence[Fault],
        habits: Habits,
        *,
        server: str,
        enroll: Callable[[Traits, Transport], str],
        time: SimulatedTime,
        seed: int,
        threads: int = 4,
        turn_s: float | None = None,
        memory: Memory | None = None,
    ) -> None:
        self._fleet, self._faults, self._habits = fleet, faults, habits
        self._server, self._enroll, self._time, self._seed = server, enroll, time, seed
        # In a large fleet a turn of everyone takes longer, and an idle turn costs as much as a busy one.
        self._turn_s = turn_s if turn_s is not None else min(5.0, max(1.0, len(fleet) / 200))
        self._memory = memory or Memory(None)
        self._stop = threading.Event()
        self._threads = [
            threading.Thread(target=self._work, args=(fleet[number::threads],), name=f"fleet-{number}")
            for number in range(min(threads, len(fleet)))
        ]
        self.devices: list[SimulatedDevice] = []
        self.refused: dict[str, str] = {}

    def start(self) -> None:
        """Enrol the devices and let them live."""
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Tell the devices to stop; what they have is sent first, for a while."""
        self._stop.set()

    def join(self) -> None:
        """Wait until the devices have stopped."""
        for thread in self._threads:
            thread.join()

    def working(self) -> bool:
        """Whether any device still lives."""
        return any(thread.is_alive() for thread in self._threads)

    def summary(self) -> str:
        """One line on how the fleet is."""
        devices = list(self.devices)
        releases = Counter(device.release for device in devices)
        away = sum(device.effects.offline or device.effects.silent for device in devices)
        waiting = sum(sum(device.spool.pending().values()) for device in devices)
        tally: Counter[str] = Counter()
        for device in devices:
            tally.update(device.client.tally)
        versions = ", ".join(f"{count} on {version}" for version, count in sorted(releases.items()))
        recorded = sum(device.recorded for device in devices)
        return (
            f"{len(devices)} devices ({versions}), {away} away; {recorded} inferences recorded, "
            f"{waiting} records waiting, {tally['retries']} retries, {tally['refused_batches']} batches refused"
        )

    def accounts(self) -> list[dict[str, Any]]:
        """What each device says it recorded, sent and lost."""
        return [device.account() for device in self.devices]

    def _work(self, fleet: Sequence[Traits]) -> None:
        transport = Transport(self._server)
        devices = self._enroll_all(fleet, transport)
        while devices and not self._stop.is_set():
            for device in devices:
                if self._stop.is_set():
                    break
                self._turn(device)
            self._stop.wait(self._turn_s)
        for device in devices:
            device.drain(DRAIN_S)
        transport.close()

    def _turn(self, device: SimulatedDevice) -> None:
        try:
            device.advance(self._time.now_s())
        except Exception:
            # One device that breaks must not take the devices of its thread along; it tries again at its next turn.
            log.exception("%s stumbled", device.traits.serial)

    def _enroll_all(self, fleet: Sequence[Traits], transport: Transport) -> list[SimulatedDevice]:
        devices = []
        for traits in fleet:
            while not self._stop.is_set():
                try:
                    device = self._new_device(traits, transport)
                except TransportError as error:
                    log.warning("%s cannot enrol, next attempt in %.0f s: %s", traits.serial, ENROLL_AGAIN_S, error)
                    self._stop.wait(ENROLL_AGAIN_S)
                    continue
                except EnrollmentRefused as error:
                    log.error("%s is not enrolled: %s", traits.serial, error)
                    self.refused[traits.serial] = str(error)
                    break
                devices.append(device)
                self.devices.append(device)
                break
        return devices

    def _new_device(self, traits: Traits, transport: Transport) -> SimulatedDevice:
        return SimulatedDevice(
            traits,
            self._faults,
            self._habits,
            transport=transport,
            server=self._server,
            enroll=self._enroll,
            now_s=self._time.now_s(),
            seed=self._seed,
            release=self._memory.release_of(traits.serial),
            on_release=self._memory.remember,
        )
