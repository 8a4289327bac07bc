"""Faults to inject: how one is written, whom it hits and when, and what all of them together do to a device."""

from __future__ import annotations

import math
import re
import zlib
from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

NAMES = {
    "energy": "relative change of the energy per inference, +8%",
    "latency": "relative change of the latency, +12%",
    "tail": "share of inferences that take three times as long and more, 0.05",
    "throttle": "heat resistance to the ambient times this, a blocked fan, 3.2",
    "cpu_fallback": "share of inferences that silently run on the CPU, 0.3",
    "sensor_degradation": "loss of input quality, reached after an hour, 0.25",
    "bimodal_confidence": "distance of the two peaks from the mean, which stays, 0.08",
    "offline": "length of a spell without a connection, 3d; what was measured is sent afterwards",
    "clock_skew": "how far the unsynchronised wall clock is off, +10m",
    "reboot": "boots once, or every so often with every=6h",
    "driver_reset": "the driver resets once, or every so often with every=6h",
    "old_driver": "the driver that was there before the release stayed, against its bill of materials",
    "go_silent_after_update": "nothing is heard of a device once it runs the release",
}
_DEFAULTS = {
    "tail": 0.05,
    "throttle": 3.2,
    "cpu_fallback": 0.3,
    "sensor_degradation": 0.25,
    "bimodal_confidence": 0.08,
    "offline": 86_400.0,
    "clock_skew": 600.0,
}
_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}
DEGRADATION_RAMP_S = 3600.0


@dataclass(frozen=True)
class Fault:
    """One fault. Times are seconds since the epoch; None of a selector means everything."""

    name: str
    value: float = 0.0
    target: str | None = None
    release: str | None = None
    region: str | None = None
    serial: str | None = None
    share: float = 1.0
    begins_s: float = -math.inf
    ends_s: float = math.inf
    every_s: float | None = None

    def hits(self, serial: str, target: str, region: str, release: str) -> bool:
        """Whether this device belongs to those that the fault is for, with the release that it runs."""
        selected = all(
            wanted is None or wanted == found
            for wanted, found in (
                (self.serial, serial),
                (self.target, target),
                (self.region, region),
                (self.release, release),
            )
        )
        return selected and (self.share >= 1.0 or self._lot(serial) < self.share)

    def active(self, now_s: float, serial: str) -> bool:
        """Whether it is on now; a spell is on for `value` seconds, again and again with `every_s`.

        Without a beginning the spells of different devices come at different times.
        """
        if not self.begins_s <= now_s < self.ends_s:
            return False
        if self.name != "offline":
            return True
        if math.isfinite(self.begins_s):
            since_s = now_s - self.begins_s
        else:
            since_s = now_s + self._lot(serial[::-1]) * (self.every_s or 0.0)
        return (since_s % self.every_s if self.every_s else since_s) < self.value

    def strikes(self, before_s: float, now_s: float) -> bool:
        """Whether a momentary fault (a boot, a reset) falls into (before, now]."""
        begins_s = self.begins_s if math.isfinite(self.begins_s) else 0.0
        if now_s < begins_s or before_s >= self.ends_s:
            return False
        if self.every_s is None:
            return before_s < begins_s <= now_s
        return math.floor((now_s - begins_s) / self.every_s) > math.floor((before_s - begins_s) / self.every_s)

    def _lot(self, serial: str) -> float:
        return zlib.crc32(f"{self.name}|{self.value}|{serial}".encode()) / 2**32


@dataclass(frozen=True)
class Effects:
    """What the faults that are on do to one device now."""

    energy_factor: float = 1.0
    latency_factor: float = 1.0
    tail_share: float = 0.0
    heat_factor: float = 1.0
    cpu_share: float = 0.0
    quality_loss: float = 0.0
    confidence_split: float = 0.0
    clock_skew_s: float = 0.0
    offline: bool = False
    old_driver: bool = False
    silent: bool = False
    reboots: bool = False
    driver_resets: bool = False


def effects(
    faults: Iterable[Fault], *, serial: str, target: str, region: str, release: str, before_s: float, now_s: float
) -> Effects:
    """The faults that hit this device in (before, now], taken together."""
    total = Effects()
    for fault in faults:
        if not fault.hits(serial, target, region, release):
            continue
        if fault.name in ("reboot", "driver_reset"):
            if fault.strikes(before_s, now_s):
                total = replace(total, **{"reboots" if fault.name == "reboot" else "driver_resets": True})
        elif fault.active(now_s, serial):
            total = _add(total, fault, now_s)
    return total


def _add(total: Effects, fault: Fault, now_s: float) -> Effects:
    name, value = fault.name, fault.value
    if name == "energy":
        return replace(total, energy_factor=total.energy_factor * (1.0 + value))
    if name == "latency":
        return replace(total, latency_factor=total.latency_factor * (1.0 + value))
    if name == "tail":
        return replace(total, tail_share=min(1.0, total.tail_share + value))
    if name == "throttle":
        return replace(total, heat_factor=total.heat_factor * value)
    if name == "cpu_fallback":
        return replace(total, cpu_share=min(1.0, total.cpu_share + value))
    if name == "sensor_degradation":
        since_s = now_s - fault.begins_s if math.isfinite(fault.begins_s) else math.inf
        return replace(total, quality_loss=total.quality_loss + value * min(1.0, since_s / DEGRADATION_RAMP_S))
    if name == "bimodal_confidence":
        return replace(total, confidence_split=value)
    if name == "clock_skew":
        return replace(total, clock_skew_s=total.clock_skew_s + value)
    if name == "offline":
        return replace(total, offline=True)
    if name == "old_driver":
        return replace(total, old_driver=True)
    return replace(total, silent=True)


def parse_fault(text: str, start_s: float) -> Fault:
    """A fault from NAME[:VALUE][@KEY=VALUE,…]; ValueError says what is wrong.

    Keys: target, release, region, serial (whom), share (of them, drawn by serial), from and until (seconds since the
    epoch, RFC 3339, or +2h after `start_s`), every (for offline, reboot, driver_reset). For example
    `energy:+8%@target=orin-nx-16,release=4.2.0` or `offline:3d@share=0.1,from=+1h`.
    """
    head, _, selectors = text.partition("@")
    name, _, value = head.partition(":")
    if name not in NAMES:
        raise ValueError(f"fault {text!r}: no fault {name!r}; known are {', '.join(NAMES)}")
    try:
        amount = _amount(value) if value else _DEFAULTS.get(name, 0.0)
        fault = Fault(name, amount)
        for selector in filter(None, selectors.split(",")):
            key, separator, wanted = selector.partition("=")
            if not separator or not wanted:
                raise ValueError(f"{selector!r} is not KEY=VALUE")
            fault = _select(fault, key, wanted, start_s)
    except ValueError as error:
        raise ValueError(f"fault {text!r}: {error}") from None
    if name in ("energy", "latency") and not value:
        raise ValueError(f"fault {text!r}: {name} needs a value such as +8%")
    if fault.every_s is not None and fault.every_s <= 0:
        raise ValueError(f"fault {text!r}: every must be positive")
    return fault


def _select(fault: Fault, key: str, wanted: str, start_s: float) -> Fault:
    if key in ("target", "release", "region", "serial"):
        return replace(fault, **{key: wanted})
    if key == "share":
        return replace(fault, share=_amount(wanted))
    if key == "every":
        return replace(fault, every_s=_amount(wanted))
    if key == "from":
        return replace(fault, begins_s=_moment(wanted, start_s))
    if key == "until":
        return replace(fault, ends_s=_moment(wanted, start_s))
    raise ValueError(f"no selector {key!r}; known are target, release, region, serial, share, from, until, every")


def _amount(text: str) -> float:
    """A number, a percentage, or a duration in seconds: 0.3, +8%, 3d."""
    match = re.fullmatch(r"([+-]?\d+(?:\.\d+)?)([%smhd]?)", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is neither a number, nor a percentage, nor a duration")
    number, unit = float(match[1]), match[2]
    if unit == "%":
        return number / 100.0
    return number * _UNITS.get(unit, 1.0)


def _moment(text: str, start_s: float) -> float:
    if re.fullmatch(r"[+-].*", text):
        return start_s + _amount(text)
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text!r} needs an offset or Z")
    return moment.timestamp()
