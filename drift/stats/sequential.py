"""The sequential randomisation test: permutations that crossed are spent, and a look once taken stays taken."""

from __future__ import annotations

import base64
import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

# Two permutations that put the same devices together may differ in the last bits: that is a tie.
TIE = 1e-9


def spent_alpha(alpha: float, look: int, planned_looks: int) -> float:
    """alpha(t) = alpha ln(1 + t) / ln(1 + t_max) after look t = 1, 2, …; nothing more is spent after the last one.

    The logarithmic spending function gives much early, when a harmful release does its damage.
    """
    if not 0.0 < alpha < 1.0:
        raise ValueError(f"alpha must lie strictly between 0 and 1, got {alpha}")
    if look < 1 or planned_looks < 1:
        raise ValueError(f"look and planned_looks count from 1, got {look} of {planned_looks}")
    return alpha * math.log1p(min(look, planned_looks)) / math.log1p(planned_looks)


@dataclass(frozen=True)
class SequentialState:
    """What one look leaves to the next: which of the B assignments have not crossed yet, and how many were spent."""

    look: int
    used: int
    surviving: NDArray[np.bool_]
    critical_value: float | None

    @classmethod
    def start(cls, assignments: int) -> SequentialState:
        """Before the first look: every assignment survives."""
        return cls(0, 0, np.ones(assignments, dtype=bool), None)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON; the bitmap packed, deflated and in base64."""
        packed = zlib.compress(np.packbits(self.surviving).tobytes(), 9)
        return {
            "look": self.look,
            "used": self.used,
            "assignments": len(self.surviving),
            "surviving": base64.b64encode(packed).decode(),
            "critical_value": self.critical_value,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> SequentialState:
        """The inverse of `to_dict`; raises ValueError naming the field when the bitmap does not fit."""
        count = int(data["assignments"])
        try:
            raw = zlib.decompress(base64.b64decode(data["surviving"]))
        except (ValueError, zlib.error) as error:
            raise ValueError(f"surviving: not a packed bitmap ({error})") from None
        if len(raw) != (count + 7) // 8:
            raise ValueError(f"surviving: {len(raw)} bytes for {count} assignments")
        bits = np.unpackbits(np.frombuffer(raw, dtype=np.uint8), count=count).astype(bool)
        critical_value = data["critical_value"]
        return cls(
            int(data["look"]), int(data["used"]), bits, None if critical_value is None else float(critical_value)
        )


@dataclass(frozen=True)
class SequentialStep:
    """One look: the state after it, its critical value, and whether the real assignment (row 0) reached it."""

    state: SequentialState
    room: int
    critical_value: float | None
    rejects: bool

    def reached_by(self, value: float) -> bool:
        """Whether a statistic on the family's scale lies at or above the critical value."""
        return self.critical_value is not None and value >= self.critical_value - _slack(self.critical_value)


def _slack(value: float) -> float:
    return TIE * max(1.0, abs(value))


def critical_value(surviving_values: Floats, room: int) -> float | None:
    """The smallest value with at most `room` of the surviving values at or above it; None when there is no such value.

    Ties count together: when the group of equal values at the edge does not fit into the room, none of it crosses.
    """
    finite = surviving_values[np.isfinite(surviving_values)]
    if room <= 0 or len(finite) == 0:
        return None
    if room >= len(finite):
        return float(finite.min())
    top = np.sort(np.partition(finite, len(finite) - room - 1)[-room - 1 :])[::-1]
    first_outside = float(top[room])
    fits = top[:room] > first_outside + _slack(first_outside)
    return float(top[:room][fits][-1]) if fits.any() else None


def take_look(state: SequentialState, statistics: Floats, *, look: int, alpha_spent: float) -> SequentialStep:
    """Look at B statistics, row 0 real, higher meaning more harm; -inf for an assignment without a statistic.

    room = floor(alpha(t) B) - used. Permutations at or above the critical value leave the surviving set and are counted
    as used, so over all looks at most floor(alpha B) of the B assignments ever cross: under no effect the real one is
    exchangeable with them, hence rejects with probability at most alpha.
    Raises ValueError for a look that was taken already: looks are irrevocable.
    """
    if look <= state.look:
        raise ValueError(f"look {look} was taken already: the state is at look {state.look}")
    if statistics.shape != state.surviving.shape:
        raise ValueError(f"{statistics.shape[0]} statistics for {state.surviving.shape[0]} assignments")
    values = np.where(np.isnan(statistics), -np.inf, statistics)
    room = math.floor(alpha_spent * len(values) + 1e-9) - state.used
    threshold = critical_value(values[state.surviving], room)
    if threshold is None:
        return SequentialStep(SequentialState(look, state.used, state.surviving, None), max(room, 0), None, False)
    reached = values >= threshold - _slack(threshold)
    crossed = reached & state.surviving
    after = SequentialState(look, state.used + int(crossed.sum()), state.surviving & ~crossed, threshold)
    return SequentialStep(after, room, threshold, bool(reached[0]))


def sequential_test(statistics: Sequence[Floats], alpha: float) -> list[SequentialStep]:
    """The whole test over planned looks, stopping at the first rejection; `statistics[t]` has shape (B,)."""
    steps: list[SequentialStep] = []
    state = SequentialState.start(len(statistics[0])) if statistics else None
    for look, values in enumerate(statistics, start=1):
        assert state is not None
        step = take_look(state, values, look=look, alpha_spent=spent_alpha(alpha, look, len(statistics)))
        steps.append(step)
        state = step.state
        if step.rejects:
            break
    return steps
