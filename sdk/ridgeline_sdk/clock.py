"""What time the device believes it is, how long it has been up, and how far the wall clock can be trusted."""

from __future__ import annotations

import ctypes
import struct
import time
import uuid
from datetime import datetime, timezone
from typing import Any

_BOOT_ID_FILE = "/proc/sys/kernel/random/boot_id"
# struct timex on 64-bit Linux (man adjtimex): maxerror (µs) is the long at byte 24, status the int at byte 40.
_TIMEX_BYTES = 208
_STA_UNSYNC = 0x0040
# Asked for with every record, and it changes slowly.
QUALITY_KEPT_MS = 5000


class SystemClock:
    """The machine's own clocks. Tests and simulations pass an object with the same methods instead.

    `vouched_for` says who disciplines the wall clock where the kernel cannot know (a hypervisor, a GNSS receiver).
    """

    def __init__(self, vouched_for: str | None = None) -> None:
        self.vouched_for = vouched_for
        self._quality: dict[str, Any] = {}
        self._quality_at_ms = -QUALITY_KEPT_MS

    def wall_us(self) -> int:
        """Wall clock: microseconds since the epoch."""
        return time.time_ns() // 1000

    def uptime_ms(self) -> int:
        """Milliseconds since boot, suspend included where the system counts it; never steps back."""
        if hasattr(time, "CLOCK_BOOTTIME"):
            return int(time.clock_gettime(time.CLOCK_BOOTTIME) * 1000)
        return int(time.monotonic() * 1000)

    def boot_id(self) -> str:
        """Identity of this run of the operating system; random per process where the system has none."""
        try:
            with open(_BOOT_ID_FILE, encoding="ascii") as file:
                return file.read().strip()
        except OSError:
            return str(uuid.uuid4())

    def quality(self) -> dict[str, Any]:
        """The envelope's `clock` block: `synced`, `source`, `error_ms`. A clock nobody vouches for is not synced."""
        if self.vouched_for:
            return {"synced": True, "source": self.vouched_for}
        uptime_ms = self.uptime_ms()
        if uptime_ms - self._quality_at_ms >= QUALITY_KEPT_MS:
            self._quality, self._quality_at_ms = _kernel_quality(), uptime_ms
        return self._quality


def _kernel_quality() -> dict[str, Any]:
    """What the kernel's clock discipline says of itself (adjtimex), where there is one."""
    try:
        libc = ctypes.CDLL(None, use_errno=True)
        buffer = ctypes.create_string_buffer(_TIMEX_BYTES)
        if struct.calcsize("P") != 8 or libc.adjtimex(buffer) < 0:
            return {"synced": False, "source": "unknown"}
    except (OSError, AttributeError, TypeError):
        return {"synced": False, "source": "unknown"}
    (max_error_us,) = struct.unpack_from("q", buffer.raw, 24)
    (status,) = struct.unpack_from("i", buffer.raw, 40)
    if status & _STA_UNSYNC:
        return {"synced": False, "source": "kernel"}
    return {"synced": True, "source": "ntp", "error_ms": max_error_us // 1000}


def rfc3339(wall_us: int) -> str:
    """Microseconds since the epoch as RFC 3339 text in UTC with milliseconds."""
    moment = datetime.fromtimestamp(wall_us // 1_000_000, timezone.utc)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{wall_us % 1_000_000 // 1000:03d}Z"
