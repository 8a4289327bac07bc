"""What every lane of a look shares, and the questions that lanes ask of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from drift.stats import metrics as registry
from drift.stats.look.cells import CellValue, LookCells
from drift.stats.look.frame import Frame
from drift.stats.look.inputs import LookInput, MetricInput
from drift.stats.look.state import Cell, LookState
from drift.stats.scan import Scope, Window
from drift.stats.verdict import Crossing


@dataclass
class LaneContext:
    """What every lane of a look shares."""

    look: LookInput
    frame: Frame
    cells: LookCells
    state: LookState
    pooled: dict[str, list[Crossing]] = field(default_factory=dict)
    """Crossings over several lanes that no lane explains by its own, by metric or shape."""
    no_test: str = ""
    """Why there is no test at this look: observational, or too few assignments; empty when there is one."""

    @property
    def alpha_used(self) -> float:
        """The share of the stage's permutations spent so far."""
        return self.state.family.used / len(self.state.family.surviving)


def own_crossings(context: LaneContext, name: str, lane: str) -> list[Crossing]:
    """Crossings of a metric or shape inside one lane, at this look or before; "all" asks for those of the whole."""
    found = []
    for cell, at in sorted(context.state.crossings.items()):
        value = context.cells.values.get(cell)
        if cell[0] != name or value is None:
            continue
        whole = value.group.scope is Scope.ALL or len(context.frame.lanes) == 1
        if whole if lane == "all" else value.group.lane == lane:
            found.append(Crossing(value.group, value.window, at, value.theta))
    return found


def delta_of(row: MetricInput, lane: str, lanes: Sequence[str]) -> float:
    """A lane's margin as a harmward difference of device values; the pooled figure has the smallest of all lanes."""
    judged = registry.metric(row.name)
    margin = min(row.margin(name) for name in lanes) if lane == "all" else row.margin(lane)
    return judged.harm * judged.from_effect(judged.harm * margin)


def interval_name(frame: Frame, lane: str) -> str:
    """Running intervals of the whole are kept by what the whole is: without a stopped lane it is another estimand."""
    if lane != "all":
        return lane
    whole = [group.name for group in frame.groups if group.scope is Scope.ALL]
    return whole[0] if whole else frame.lanes[0]


def family_cell(context: LaneContext, name: str, lane: str, window: Window = Window.CUMULATIVE) -> CellValue | None:
    """The family's statistic of a lane; of the whole for "all", which is the lane itself when there is only one."""
    scope = Scope.ALL if lane == "all" and len(context.frame.lanes) > 1 else Scope.LANE
    cell: Cell = (name, window, str(scope), interval_name(context.frame, lane))
    return context.cells.values.get(cell)
