"""What an inference costs in energy: from the processor's own counters where they can be read, else an estimate."""

from __future__ import annotations

import glob
from dataclasses import dataclass

RAPL_PATTERN = "/sys/class/powercap/intel-rapl:[0-9]*/energy_uj"
RAPL, ESTIMATE = "rapl-package", "estimated-cpu-time"
# The counters move about every millisecond; over a shorter span their steps would be read as power.
SHORTEST_SPAN_S = 0.1
NOMINAL_CORE_W = 12.0


@dataclass(frozen=True)
class Reading:
    """Energy of one inference in millijoules, the power behind it in watts."""

    energy_mj: float
    power_w: float


class EnergyMeter:
    """Energy per inference. `source` says how it is known.

    "rapl-package": package power (all cores, whatever they do) over the last tenth of a second or more, times the
    inference's wall time. "estimated-cpu-time": CPU time of the inference times nominal watts of a core; good for
    comparing releases on one machine, not for absolute figures.
    """

    def __init__(self, now_s: float, nominal_core_w: float = NOMINAL_CORE_W, pattern: str = RAPL_PATTERN) -> None:
        self._nominal_w = nominal_core_w
        # Packages only: a name with two colons is a domain inside one.
        self._files = [path for path in sorted(glob.glob(pattern)) if path.split("/")[-2].count(":") <= 1]
        self._limits = [_read(path.replace("energy_uj", "max_energy_range_uj")) or 0 for path in self._files]
        first = self._counters()
        self.source = RAPL if first else ESTIMATE
        self._last, self._last_s = first, now_s
        self._package_w: float | None = None

    def measure(self, now_s: float, wall_s: float, cpu_s: float) -> Reading | None:
        """Cost of an inference that has just taken `wall_s` and `cpu_s`; None until the counters have moved once."""
        if self.source == ESTIMATE:
            power_w = self._nominal_w * cpu_s / wall_s if wall_s > 0 else 0.0
            return Reading(cpu_s * self._nominal_w * 1000.0, power_w)
        self._follow(now_s)
        if self._package_w is None:
            return None
        return Reading(self._package_w * wall_s * 1000.0, self._package_w)

    def _follow(self, now_s: float) -> None:
        span_s = now_s - self._last_s
        if span_s < SHORTEST_SPAN_S:
            return
        counters = self._counters()
        if counters is None or self._last is None:
            return
        spent_uj = 0
        for new, old, limit in zip(counters, self._last, self._limits):
            # The counter wraps at its range.
            spent_uj += new - old if new >= old else new - old + limit
        self._package_w = spent_uj / 1e6 / span_s
        self._last, self._last_s = counters, now_s

    def _counters(self) -> list[int] | None:
        values = [_read(path) for path in self._files]
        return None if not values or None in values else [value for value in values if value is not None]


def _read(path: str) -> int | None:
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError):
        return None
