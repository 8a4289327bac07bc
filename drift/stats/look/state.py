"""What one look leaves to the next, as plain JSON: spent permutations, crossings, running intervals."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from drift.stats.interval import RunningInterval
from drift.stats.scan import Window
from drift.stats.sequential import SequentialState

SCHEMA = "ridgeline.look_state/1"

Cell = tuple[str, Window, str, str]
"""A statistic of the family: metric or shape, window, scope and name of the group."""

IntervalKey = tuple[str, str]
"""A running interval: metric and lane, "all" for the pooled one."""


@dataclass
class LookState:
    """The state of a stage; a look reads one and writes a new one."""

    family: SequentialState
    look: int = 0
    """The last look taken, with a test or without one."""
    crossings: dict[Cell, int] = field(default_factory=dict)
    """The look at which a statistic first reached its critical value."""
    intervals: dict[IntervalKey, RunningInterval] = field(default_factory=dict)
    first_width: dict[IntervalKey, tuple[float, float]] = field(default_factory=dict)
    """Hours and variance of the first contrast, from which the hours to a decision are estimated."""
    last_score: float | None = None
    """The family's critical value at the last look that had one, as a normal score."""

    @classmethod
    def start(cls, assignments: int) -> LookState:
        """Before the first look of a stage."""
        return cls(SequentialState.start(assignments))

    def interval(self, key: IntervalKey) -> RunningInterval:
        """A running interval, begun where there was none."""
        return self.intervals.get(key) or RunningInterval.start(len(self.family.surviving))

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "schema": SCHEMA,
            "look": self.look,
            "family": self.family.to_dict(),
            "crossings": [[*cell, look] for cell, look in sorted(self.crossings.items())],
            "intervals": [[*key, interval.to_dict()] for key, interval in sorted(self.intervals.items())],
            "first_width": [[*key, *width] for key, width in sorted(self.first_width.items())],
            "last_score": self.last_score,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> LookState:
        """The inverse of `to_dict`; raises ValueError for another schema."""
        if data.get("schema") != SCHEMA:
            raise ValueError(f"state.schema: expected {SCHEMA!r}, got {data.get('schema')!r}")
        return cls(
            SequentialState.from_dict(data["family"]),
            int(data["look"]),
            {(name, Window(window), scope, group): look for name, window, scope, group, look in data["crossings"]},
            {(name, lane): RunningInterval.from_dict(item) for name, lane, item in data["intervals"]},
            {(name, lane): (hours, variance) for name, lane, hours, variance in data["first_width"]},
            data["last_score"],
        )
