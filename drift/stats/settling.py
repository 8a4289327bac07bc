"""What would settle an open question: more devices, or more hours, estimated from how the standard error has fallen."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Settling:
    """Treated devices (with as many more controls in proportion) or hours that would do; None where they would not."""

    devices: int | None
    hours: float | None

    def words(self, treated: int, hours_now: float) -> str:
        """One clause for a person."""
        ways = []
        if self.devices is not None:
            ways.append(f"about {self.devices} treated devices instead of {treated}")
        if self.hours is not None:
            ways.append(f"about {math.ceil(self.hours)} h instead of {math.floor(hours_now)} h")
        return " or ".join(ways)


def settle(
    *,
    theta: float,
    delta: float,
    half_width: float,
    treated: int,
    hours: float,
    variance: float,
    first: tuple[float, float] | None,
) -> Settling:
    """How much more is needed if the estimate stays where it is.

    Below the margin the half-width must shrink to delta - theta; above it, to theta, which then is shown to be harm.
    The variance falls as 1 / devices. Over time it falls as a + b / hours, a being what no hour of a device can tell
    about other devices; a and b come from the first contrast (`first` is its hours and variance) and this one.
    """
    room = delta - theta if theta < delta else theta
    if not (math.isfinite(half_width) and math.isfinite(room)) or room <= 0.0 or half_width <= 0.0 or treated < 1:
        return Settling(None, None)
    factor = max((half_width / room) ** 2, 1.0)
    devices = math.ceil(treated * factor - 1e-9)
    if factor == 1.0:
        return Settling(None, None)
    return Settling(devices if devices <= 100_000 else None, _hours(factor, hours, variance, first))


def _hours(factor: float, hours: float, variance: float, first: tuple[float, float] | None) -> float | None:
    if first is None or hours <= first[0] or first[0] <= 0.0:
        return None
    falling = (first[1] - variance) / (1.0 / first[0] - 1.0 / hours)
    constant = max(variance - falling / hours, 0.0)
    wanted = variance / factor
    if falling <= 0.0 or wanted <= constant:
        return None
    needed = falling / (wanted - constant)
    # Beyond ninety days the answer is "not this way".
    return needed if needed <= 24.0 * 90 else None
