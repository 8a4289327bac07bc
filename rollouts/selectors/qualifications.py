"""The qualification matrix: where a release has been proven, board by mode, at what cost, and which board suits it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from fleet.models import HardwareTarget, Release
from rollouts.gate import MEASUREMENTS, Finding, GateResult, GateVerdict
from rollouts.models import Qualification
from rollouts.selectors.gates import anchor_release, current_runs, gate_for, last_release, targets_of

MODES = tuple(Qualification.Mode.values)
# What a cell shows of its cost, and in which order; energy is kept in mJ and shown in J.
COST = ("latency_p95_ms", "energy_mj")
# What boards are compared by, with the direction that is better.
COMPARED: dict[str, int] = {
    "latency_p50_ms": -1,
    "latency_p95_ms": -1,
    "latency_p99_ms": -1,
    "energy_mj": -1,
    "power_w": -1,
    "memory_mb": -1,
    "temperature_c": -1,
    "boot_s": -1,
    "fallback_rate": -1,
    "error_rate": -1,
    "accuracy": +1,
}


@dataclass(frozen=True)
class Creep:
    """How far a measurement has come from the anchor release, as a share of what it was there."""

    measurement: str
    anchor: str
    before: float
    now: float

    @property
    def share(self) -> float | None:
        """0.04 is four per cent more; None where the anchor measured nothing."""
        return self.now / self.before - 1.0 if self.before > 0.0 else None


@dataclass(frozen=True)
class Cell:
    """One mode on one board. `verdict` is pass, fail, missing, or "" where the mode was not run and is not owed."""

    mode: str
    verdict: str
    reasons: Sequence[str] = ()
    waived: Sequence[str] = ()
    run: Qualification | None = None
    creep: Sequence[Creep] = ()

    @property
    def mode_words(self) -> str:
        """The mode in words."""
        return self.mode.replace("_", " ")

    @property
    def latency_ms(self) -> float | None:
        """The p95 latency."""
        return self.run.measurements.get("latency_p95_ms") if self.run else None

    @property
    def energy_j(self) -> float | None:
        """Joules per inference."""
        found = self.run.measurements.get("energy_mj") if self.run else None
        return found / 1000 if found is not None else None


@dataclass(frozen=True)
class Row:
    """A board: its hardware target, its cells by mode, and what its accelerator cannot run."""

    target: HardwareTarget
    board: str
    precision: str
    cells: Sequence[Cell]
    unsupported: Sequence[str]


@dataclass(frozen=True)
class Matrix:
    """All boards of a release, with the gate of each hardware target."""

    release: Release
    rows: Sequence[Row]
    gates: Sequence[GateResult]
    previous: Mapping[str, str] = field(default_factory=dict)
    anchors: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The worst of the gates; missing where there is none."""
        found = [gate.verdict for gate in self.gates]
        order = (GateVerdict.FAIL, GateVerdict.MISSING, GateVerdict.PASS)
        return str(next((verdict for verdict in order if verdict in found), GateVerdict.MISSING))


def matrix_of(release: Release, now: datetime) -> Matrix:
    """The qualification matrix of a release as it stands now."""
    rows, gates, previous, anchors = [], [], {}, {}
    for target in targets_of(release):
        gate = gate_for(release, target, now)
        gates.append(gate)
        before, anchor = last_release(release, target), anchor_release(release, target)
        if before is not None:
            previous[target.slug] = before.version
        if anchor is not None:
            anchors[target.slug] = anchor.version
        rows += _rows(release, target, gate, anchor)
    return Matrix(release, rows, gates, previous, anchors)


def _rows(release: Release, target: HardwareTarget, gate: GateResult, anchor: Release | None) -> list[Row]:
    runs = current_runs(release, target)
    held_against = current_runs(anchor, target) if anchor else []
    boards = list(dict.fromkeys(_board(run) for run in runs)) or [""]
    found = []
    for board in boards:
        mine = {run.mode: run for run in runs if _board(run) == board}
        cells = [
            _cell(mode, mine.get(mode), board, gate.findings, _creep(mine.get(mode), held_against, anchor))
            for mode in MODES
        ]
        operators = sorted({name for run in mine.values() for name in run.unsupported_operators})
        precisions = sorted({run.precision for run in mine.values() if run.precision})
        found.append(Row(target, board, ", ".join(precisions), cells, operators))
    return found


def _board(run: Qualification) -> str:
    return " ".join(part for part in (run.board, run.accelerator_revision) if part)


def _cell(
    mode: str, run: Qualification | None, board: str, findings: Sequence[Finding], creep: Sequence[Creep]
) -> Cell:
    """What the gate found of this mode on this board; limits that nobody measured are owed in nominal mode."""
    about = [row for row in findings if row.mode == mode and row.board in (board, "")]
    closing = [row for row in about if row.verdict is not GateVerdict.PASS and not row.waived]
    waived = [row.reason for row in about if row.waived]
    verdict = next((v for v in (GateVerdict.FAIL, GateVerdict.MISSING) if v in [row.verdict for row in closing]), None)
    if verdict is None:
        verdict = GateVerdict.PASS if run is not None or waived else None
    return Cell(mode, str(verdict) if verdict else "", [row.reason for row in closing], waived, run, creep)


def _creep(run: Qualification | None, held_against: Sequence[Qualification], anchor: Release | None) -> list[Creep]:
    if run is None or anchor is None:
        return []
    other = next((row for row in held_against if row.mode == run.mode and _board(row) == _board(run)), None)
    if other is None:
        return []
    return [
        Creep(name, anchor.version, other.measurements[name], run.measurements[name])
        for name in COST
        if name in run.measurements and name in other.measurements
    ]


def compared_boards(release: Release, mode: str) -> dict[str, Any]:
    """Every board that ran the release in a mode, side by side, with the best value of each measurement.

    `{"boards": [{"target", "board", "precision", "values": [{"name", "unit", "value", "best", "share"}], …}]}`; `share`
    is how much more than the best board it is. Boards of hardware targets that the release does not support are among
    them: a candidate is tried before it is supported.
    """
    targets = HardwareTarget.objects.filter(qualifications__release=release).distinct().order_by("slug")
    runs = [run for target in targets for run in current_runs(release, target) if run.mode == mode]
    measured = [name for name in COMPARED if any(name in run.measurements for run in runs)]
    best = {
        name: (max if COMPARED[name] > 0 else min)(run.measurements[name] for run in runs if name in run.measurements)
        for name in measured
    }
    tied = {name for name in measured if len({run.measurements.get(name) for run in runs}) == 1}
    boards = [
        {
            "target": run.hardware_target,
            "board": _board(run),
            "precision": run.precision,
            "unsupported": run.unsupported_operators,
            "at": run.created_at,
            "values": [_value(name, run.measurements.get(name), best[name], name in tied) for name in measured],
        }
        for run in runs
    ]
    return {"measured": [_heading(name) for name in measured], "boards": boards}


def _heading(name: str) -> dict[str, str]:
    """`latency_p95_ms` is "latency p95" in ms; shares have no unit."""
    unit = MEASUREMENTS[name]
    words = name if unit == "share" else name.rsplit("_", 1)[0]
    return {"name": name, "title": words.replace("_", " "), "unit": "" if unit == "share" else unit}


def _value(name: str, value: float | None, best: float, tied: bool) -> dict[str, Any]:
    """A measurement beside the best one; where all boards are alike none is called the best."""
    found = {"name": name, "value": value, "best": False, "share": None}
    if value is None:
        return found
    found["best"] = value == best and not tied
    found["share"] = value / best - 1.0 if best > 0.0 and value != best else None
    return found


def as_rows(matrix: Matrix) -> list[dict[str, Any]]:
    """The matrix as flat rows, for CSV and JSON: one per board and mode that was run or is owed."""
    return [
        {
            "workload": matrix.release.workload.slug,
            "release": matrix.release.version,
            "hardware_target": row.target.slug,
            "board": row.board,
            "precision": row.precision,
            "mode": cell.mode,
            "verdict": cell.verdict,
            "latency_p95_ms": cell.latency_ms,
            "energy_j": cell.energy_j,
            **{f"{creep.measurement}_creep": creep.share for creep in cell.creep},
            "anchor": matrix.anchors.get(row.target.slug, ""),
            "unsupported_operators": list(cell.run.unsupported_operators) if cell.run else [],
            "reasons": list(cell.reasons),
            "waived": list(cell.waived),
            "at": cell.run.created_at if cell.run else None,
        }
        for row in matrix.rows
        for cell in row.cells
        if cell.verdict
    ]
