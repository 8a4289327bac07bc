"""The state of the machine where Linux shows it: temperature, memory of this process, battery."""

from __future__ import annotations

import glob


def temperature_c(pattern: str = "/sys/class/thermal/thermal_zone*/temp") -> float | None:
    """The hottest thermal zone in degrees Celsius; None where none can be read."""
    readings = [value for value in map(_number, glob.glob(pattern)) if value is not None]
    return max(readings) / 1000.0 if readings else None


def memory_mb(path: str = "/proc/self/status") -> float | None:
    """Resident memory of this process in mebibytes."""
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith("VmRSS:"):
                    return int(line.split()[1]) / 1024.0
    except OSError:
        pass
    return None


def battery_pct(pattern: str = "/sys/class/power_supply/BAT*/capacity") -> float | None:
    """Charge of the first battery in percent."""
    readings = [value for value in map(_number, sorted(glob.glob(pattern))) if value is not None]
    return readings[0] if readings else None


def _number(path: str) -> float | None:
    try:
        with open(path, encoding="ascii") as file:
            return float(file.read())
    except (OSError, ValueError):
        return None
