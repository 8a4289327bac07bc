"""Windows that a device summed up itself: checked for consistency, their histograms folded to the server's scale.

A window belongs to the minute in which it starts, whole, because counts and histograms cannot be divided. So a window
of several minutes shows in its first minute, with `covered_ms` telling how much time it stands for; it is refused
beyond an hour, which bounds how far a tier can be off.

A histogram finer than the server's is folded down exactly. A coarser one keeps its own resolution, down to scale 0,
where a bin spans a factor of two; of one coarser still only the count and the sum are taken, because a percentile read
from it would be invented.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from telemetry.histograms import (
    MAX_INDEX,
    MIN_INDEX,
    SCALE,
    UNIT_BINS,
    Histogram,
    from_otel,
    lower_bounds,
    midpoints,
    upper_bounds,
)
from telemetry.protocol import wire
from telemetry.protocol.decoded import Section
from telemetry.protocol.errors import Rejection

LONGEST_US = 3_600_000_000
# The coarsest scale from which percentiles are read.
WIDEST_SCALE = 0
# What a sum may deviate from what its histogram allows: devices add in single precision.
_SUM_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class Summary:
    """Values of one measure in a window.

    Attributes:
        histogram: at the server's scale, or 100 unit bins from bin 0.
        count: how many values; more than the histogram holds where its bins were too wide to tell percentiles from.
        sum: of the values; where the device sent none, estimated from the middles of the bins.
        sumsq: sum of squares, estimated from the middles of the bins and the exact mean.
        low, high: smallest and largest value, as sent or as the histogram bounds them.
    """

    histogram: Histogram = field(default_factory=Histogram)
    count: int = 0
    sum: float = 0.0
    sumsq: float = 0.0
    low: float = np.nan
    high: float = np.nan


_EMPTY = Summary()


@dataclass(frozen=True, slots=True)
class CheckedWindow:
    """One window whose figures agree with each other; times in microseconds of the device's clock."""

    index: int
    start_us: int
    end_us: int
    uptime_ms: float | None
    count: int
    outcomes: dict[str, int]
    fallbacks: dict[str, int]
    classes: dict[str, int]
    retries: int
    throttled_ms: int
    idle_energy_mj: float
    latency: Summary
    energy: Summary
    confidence: Summary
    input_quality: Summary

    @property
    def covered_ms(self) -> int:
        """Length of the window."""
        return round((self.end_us - self.start_us) / 1000)

    @property
    def throttled(self) -> int:
        """How many of the inferences ran throttled, taken as spread evenly over the window."""
        covered = self.covered_ms
        return min(self.count, round(self.count * self.throttled_ms / covered)) if covered else 0


class _Inconsistent(Exception):
    """A window that contradicts itself."""

    def __init__(self, field: str, code: str, message: str) -> None:
        super().__init__(message)
        self.field, self.code, self.message = field, code, message


def check_windows(section: Section) -> tuple[list[CheckedWindow], list[Rejection]]:
    """The windows whose figures agree with each other, and rejections of the others."""
    windows, rejections = [], []
    for place, window in enumerate(section.records):
        index = place if section.index is None else section.index[place]
        try:
            windows.append(_check(index, window))
        except _Inconsistent as bad:
            rejections.append(Rejection("windows", index, bad.field, bad.code, bad.message))
    return windows, rejections


def _check(index: int, window: wire.Window) -> CheckedWindow:
    start, end = wire.microseconds(window.start), wire.microseconds(window.end)
    if end <= start:
        raise _Inconsistent("end", "range", "`end` must lie after `start`.")
    if end - start > LONGEST_US:
        raise _Inconsistent("end", "range", "A window must not be longer than one hour.")
    for name in ("outcomes", "fallbacks", "classes"):
        if sum(getattr(window, name).values()) > window.count:
            raise _Inconsistent(name, "inconsistent", f"`{name}` hold more inferences than `count` ({window.count}).")
    if window.throttled_ms > (end - start) / 1000 + 1:
        raise _Inconsistent("throttled_ms", "range", "`throttled_ms` must not exceed the length of the window.")
    latency = _exponential("latency_ms", window.latency_ms)
    if latency.count not in (0, window.count) or (window.latency_ms and window.latency_ms.counts and not latency.count):
        raise _Inconsistent(
            "latency_ms",
            "inconsistent",
            f"`latency_ms` holds {latency.count} values (zero_count and counts), `count` says {window.count}.",
        )
    parts = {
        "energy_mj": _exponential("energy_mj", window.energy_mj),
        "confidence": _unit("confidence", window.confidence),
        "input_quality": _unit("input_quality", window.input_quality),
    }
    for name, part in parts.items():
        if part.count > window.count:
            raise _Inconsistent(
                name, "inconsistent", f"`{name}` holds {part.count} values, `count` says {window.count}."
            )
    return CheckedWindow(
        index,
        start,
        end,
        window.uptime_ms,
        window.count,
        window.outcomes,
        window.fallbacks,
        window.classes,
        window.retries,
        round(window.throttled_ms),
        window.idle_energy_mj,
        latency,
        parts["energy_mj"],
        parts["confidence"],
        parts["input_quality"],
    )


def _exponential(name: str, sent: wire.ExponentialCounts | None) -> Summary:
    """An exponential histogram of any scale, with its sum checked against what its bins allow."""
    if sent is None or not (sent.counts or sent.zero_count):
        return _EMPTY
    histogram = from_otel(sent.scale, sent.offset, sent.counts, sent.zero_count)
    count = histogram.count
    if count == 0:
        return _EMPTY
    index = histogram.offset + np.arange(histogram.counts.size)
    # A coarser histogram's counts stand in the middle of their own, wider bins.
    half = 0 if sent.scale >= SCALE else 1 << (SCALE - sent.scale - 1)
    lower, upper = lower_bounds(index - half), upper_bounds(index + half)
    # The first and the last bin also hold what lies beyond them.
    lower[index == MIN_INDEX], upper[index == MAX_INDEX] = 0, np.finfo(np.float32).max
    lowest, highest = float(histogram.counts @ lower), float(histogram.counts @ upper)
    middles = midpoints(index)
    estimate = float(histogram.counts @ middles)
    total = _checked_sum(name, sent.sum, lowest, highest, estimate)
    low = 0.0 if histogram.zero else float(lower[0])
    high = float(upper[-1]) if upper.size else 0.0
    if sent.min is not None and sent.max is not None and sent.min > sent.max:
        raise _Inconsistent(f"{name}.min", "inconsistent", f"`{name}.min` must not exceed `{name}.max`.")
    if sent.scale < WIDEST_SCALE and histogram.counts.size:
        if sent.sum is None:
            message = f"`{name}` is too coarse to tell a mean from: send its sum, or a scale of {WIDEST_SCALE} or more."
            raise _Inconsistent(f"{name}.sum", "missing", message)
        known = (np.nan if value is None else value for value in (sent.min, sent.max))
        return Summary(Histogram(), count, total, 0.0, *known)
    return Summary(
        histogram,
        count,
        total,
        _sum_of_squares(histogram.counts, middles, estimate, total),
        low if sent.min is None else sent.min,
        high if sent.max is None else sent.max,
    )


def _unit(name: str, sent: wire.UnitCounts | None) -> Summary:
    """Counts in a hundred bins on [0, 1], with their sum checked."""
    if sent is None or not sent.counts:
        return _EMPTY
    counts = np.array(sent.counts, dtype=np.int64)
    count = int(counts.sum())
    if count == 0:
        return _EMPTY
    lower = np.arange(counts.size) / UNIT_BINS
    lowest, estimate = float(counts @ lower), float(counts @ (lower + 0.5 / UNIT_BINS))
    total = _checked_sum(name, sent.sum, lowest, lowest + count / UNIT_BINS, estimate)
    return Summary(Histogram(0, counts), count, total)


def _checked_sum(name: str, sent: float | None, lowest: float, highest: float, estimate: float) -> float:
    """The sum as sent when the histogram allows it, else a refusal; the estimate when none was sent."""
    if sent is None:
        return estimate
    slack = _SUM_TOLERANCE * highest + 1e-9
    if not lowest - slack <= sent <= highest + slack:
        raise _Inconsistent(
            f"{name}.sum",
            "inconsistent",
            f"`{name}.sum` is {sent:g}, but its counts allow only {lowest:g} to {highest:g}.",
        )
    return sent


def _sum_of_squares(counts: np.ndarray, middles: np.ndarray, estimate: float, total: float) -> float:
    """Sum of squares with the bins' middles stretched so that they give the exact sum."""
    if estimate == 0:
        return 0.0
    return float(counts @ (middles * (total / estimate)) ** 2)
