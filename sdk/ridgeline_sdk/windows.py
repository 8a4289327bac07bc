"""Device-built windows: many inferences summed up in one record, exact in counts and mergeable in distributions."""

from __future__ import annotations

from typing import Any

from .histogram import ExponentialHistogram, UnitHistogram

SECOND_US = 1_000_000


class Window:
    """What happened between `start_us` and `end_us`, in one context."""

    def __init__(self, start_us: int, end_us: int) -> None:
        self.start_us, self.end_us = start_us, end_us
        self.count = 0
        self.throttled = 0
        self.idle_energy_mj = 0.0
        self.outcomes: dict[str, int] = {}
        self.fallbacks: dict[str, int] = {}
        self.classes: dict[str, int] = {}
        self.latency_ms = ExponentialHistogram()
        self.energy_mj = ExponentialHistogram()
        self.confidence = UnitHistogram()
        self.input_quality = UnitHistogram()

    def add(self, row: dict[str, Any]) -> None:
        """Count one inference, given as the fields of the telemetry protocol."""
        self.count += 1
        self.latency_ms.add(row["latency_ms"])
        if row.get("energy_mj") is not None:
            self.energy_mj.add(row["energy_mj"])
        if row.get("confidence") is not None:
            self.confidence.add(row["confidence"])
        if row.get("input_quality") is not None:
            self.input_quality.add(row["input_quality"])
        if row.get("predicted_class") is not None:
            self.classes[row["predicted_class"]] = self.classes.get(row["predicted_class"], 0) + 1
        if row.get("outcome", "ok") != "ok":
            self.outcomes[row["outcome"]] = self.outcomes.get(row["outcome"], 0) + 1
        if row.get("fallback", "none") != "none":
            self.fallbacks[row["fallback"]] = self.fallbacks.get(row["fallback"], 0) + 1
        if row.get("throttled"):
            self.throttled += 1

    def to_wire(self) -> dict[str, Any]:
        """The object of the envelope's `windows`; empty parts are left out.

        `throttled_ms` is the window's length times the share of its inferences that ran throttled.
        """
        wire: dict[str, Any] = {"start": self.start_us, "end": self.end_us, "count": self.count}
        if self.throttled:
            wire["throttled_ms"] = round((self.end_us - self.start_us) / 1000 * self.throttled / self.count)
        if self.idle_energy_mj:
            wire["idle_energy_mj"] = self.idle_energy_mj
        for name in ("outcomes", "fallbacks", "classes"):
            if getattr(self, name):
                wire[name] = dict(getattr(self, name))
        for name in ("latency_ms", "energy_mj", "confidence", "input_quality"):
            histogram = getattr(self, name)
            if histogram.count:
                wire[name] = histogram.to_wire()
        return wire


class WindowBuilder:
    """Sorts inferences into windows that begin at whole multiples of their length."""

    def __init__(self, window_s: float = 60.0) -> None:
        self.window_us = _length_us(window_s)
        self._open: dict[tuple[str, int], Window] = {}

    def resize(self, window_s: float) -> None:
        """Length of windows opened from now on; those open keep theirs."""
        self.window_us = _length_us(window_s)

    def add(self, label_key: str, time_us: int, row: dict[str, Any]) -> None:
        """Count one inference under its label."""
        self._at(label_key, time_us).add(row)

    def add_idle_energy(self, label_key: str, time_us: int, energy_mj: float) -> None:
        """Count energy spent while nothing was inferred."""
        self._at(label_key, time_us).idle_energy_mj += energy_mj

    def open_windows(self) -> list[tuple[str, Window]]:
        """Unfinished windows with their label keys, in order of their start."""
        return [(key[0], window) for key, window in sorted(self._open.items(), key=lambda item: item[0][1])]

    def close(self, now_us: int | None = None) -> list[tuple[str, Window]]:
        """Take out the windows that have ended by `now_us`, or all of them when it is None."""
        done = [key for key, window in self._open.items() if now_us is None or window.end_us <= now_us]
        return [(key[0], self._open.pop(key)) for key in sorted(done, key=lambda key: key[1])]

    def _at(self, label_key: str, time_us: int) -> Window:
        start_us = time_us - time_us % self.window_us
        key = (label_key, start_us)
        if key not in self._open:
            self._open[key] = Window(start_us, start_us + self.window_us)
        return self._open[key]


def _length_us(window_s: float) -> int:
    if not window_s > 0:
        raise ValueError(f"window_s must be positive, got {window_s!r}")
    return int(window_s * SECOND_US)
