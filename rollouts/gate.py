"""The device-CI gate as a pure decision: measurements on a hardware target against budget, last release and anchor."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

# What device CI may measure, with its unit. More is worse for all but accuracy, which is judged as a drop.
MEASUREMENTS: dict[str, str] = {
    "latency_p50_ms": "ms",
    "latency_p95_ms": "ms",
    "latency_p99_ms": "ms",
    "energy_mj": "mJ",
    "power_w": "W",
    "memory_mb": "MB",
    "temperature_c": "°C",
    "boot_s": "s",
    "fallback_rate": "share",
    "error_rate": "share",
    "accuracy": "share",
    "accuracy_drop": "share",
}
# Judged relative to the last and the anchor release; rates and accuracy by absolute difference.
RELATIVE = ("latency_p50_ms", "latency_p95_ms", "latency_p99_ms", "energy_mj", "power_w", "memory_mb", "boot_s")
ABSOLUTE = {"fallback_rate": 0.005, "error_rate": 0.005, "accuracy_drop": 0.01}
# Largest step against the release before, and largest way from the anchor release over any number of steps.
REGRESSION_MARGIN = 0.05
CREEP_MARGIN = 0.10
# Without a run in this mode there is no qualification; the other modes count where they were run.
REQUIRED_MODE = "nominal"
# Each must have been exercised on the board.
REQUIRED_CHECKS = ("boot", "rollback", "telemetry")


class GateVerdict(StrEnum):
    """What the gate says; only `pass` opens it."""

    FAIL = "fail"
    MISSING = "missing"
    PASS = "pass"


@dataclass(frozen=True)
class Run:
    """The newest run of a release on a hardware target in one mode on one board."""

    mode: str
    board: str = ""
    measurements: Mapping[str, float] = field(default_factory=dict)
    checks: Mapping[str, bool] = field(default_factory=dict)
    unsupported_operators: Sequence[str] = ()

    @property
    def place(self) -> str:
        """Mode and board, in words."""
        return f"{self.mode.replace('_', ' ')} on {self.board}" if self.board else self.mode.replace("_", " ")


@dataclass(frozen=True)
class Finding:
    """One thing that the gate looked at; `waived` findings are shown and do not close it."""

    subject: str
    mode: str
    board: str
    verdict: GateVerdict
    reason: str
    value: float | None = None
    bound: float | None = None
    against: str = ""
    # Name under which a waiver lifts it; "" where nothing does.
    limit: str = ""
    waived: bool = False


@dataclass(frozen=True)
class GateResult:
    """The verdict on one hardware target, and every finding behind it."""

    hardware_target: str
    verdict: GateVerdict
    findings: tuple[Finding, ...]

    @property
    def reasons(self) -> list[str]:
        """Why the gate is closed, or, where it is open, what it rests on."""
        closing = [f.reason for f in self.findings if f.verdict is not GateVerdict.PASS and not f.waived]
        if closing:
            return closing
        waived = [f"waived: {f.reason}" for f in self.findings if f.waived]
        passed = sum(1 for f in self.findings if f.verdict is GateVerdict.PASS)
        return [f"{passed} checks passed", *waived]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON."""
        return {
            "hardware_target": self.hardware_target,
            "verdict": str(self.verdict),
            "reasons": self.reasons,
            "findings": [
                {
                    "subject": f.subject,
                    "mode": f.mode,
                    "board": f.board,
                    "verdict": str(f.verdict),
                    "reason": f.reason,
                    "value": f.value,
                    "bound": f.bound,
                    "against": f.against,
                    "waived": f.waived,
                }
                for f in self.findings
            ],
        }


def decide_gate(
    hardware_target: str,
    runs: Sequence[Run],
    *,
    limits: Mapping[str, float],
    previous: Sequence[Run] = (),
    previous_version: str = "",
    anchor: Sequence[Run] = (),
    anchor_version: str = "",
    waived: Iterable[str] = (),
    margins: Mapping[str, float] | None = None,
) -> GateResult:
    """Judge one hardware target. `limits` are the budget's hard limits, `waived` the names that waivers lift.

    A waiver named "qualification" lifts everything, a missing run included; one named after a limit lifts what concerns
    that measurement. Nothing measured is never a pass: a limit without a measurement is missing.
    """
    lifted = set(waived)
    findings: list[Finding] = []
    if not any(run.mode == REQUIRED_MODE for run in runs):
        findings.append(
            Finding(
                "qualification",
                REQUIRED_MODE,
                "",
                GateVerdict.MISSING,
                f"{hardware_target} has no qualification in {REQUIRED_MODE} mode",
            )
        )
    for run in runs:
        findings += _operators(run) + _checks(run) + _limits(run, limits)
        findings += _against(run, previous, previous_version, "last release", margins or {}, REGRESSION_MARGIN)
        if anchor_version != previous_version:
            findings += _against(run, anchor, anchor_version, "anchor release", {}, CREEP_MARGIN)
    findings += _unmeasured(runs, limits)
    judged = tuple(_waive(finding, lifted) for finding in findings)
    standing = [f.verdict for f in judged if not f.waived]
    verdict = next((v for v in (GateVerdict.FAIL, GateVerdict.MISSING) if v in standing), GateVerdict.PASS)
    if not runs and "qualification" not in lifted:
        verdict = GateVerdict.MISSING
    return GateResult(hardware_target, verdict, judged)


def _waive(finding: Finding, lifted: set[str]) -> Finding:
    if finding.verdict is GateVerdict.PASS or not ({"qualification", finding.limit} & lifted):
        return finding
    return Finding(**{**{name: getattr(finding, name) for name in Finding.__dataclass_fields__}, "waived": True})


def _operators(run: Run) -> list[Finding]:
    if not run.unsupported_operators:
        return []
    names = ", ".join(sorted(run.unsupported_operators))
    return [Finding("operators", run.mode, run.board, GateVerdict.FAIL, f"{run.place}: unsupported operators {names}")]


def _checks(run: Run) -> list[Finding]:
    findings = []
    required = REQUIRED_CHECKS if run.mode == REQUIRED_MODE else ()
    for name in dict.fromkeys([*required, *sorted(run.checks)]):
        outcome = run.checks.get(name)
        words = name.replace("_", " ")
        if outcome is None:
            verdict, reason = GateVerdict.MISSING, f"{run.place}: the check “{words}” was not run"
        elif outcome:
            verdict, reason = GateVerdict.PASS, f"{run.place}: the check “{words}” passed"
        else:
            verdict, reason = GateVerdict.FAIL, f"{run.place}: the check “{words}” failed"
        findings.append(Finding(f"check {words}", run.mode, run.board, verdict, reason))
    return findings


def _limits(run: Run, limits: Mapping[str, float]) -> list[Finding]:
    findings = []
    for name, bound in sorted(limits.items()):
        value = run.measurements.get(name)
        if value is None:
            continue
        unit = "" if MEASUREMENTS.get(name) == "share" else f" {MEASUREMENTS.get(name, '')}".rstrip()
        over = value > bound
        judged = "over" if over else "within"
        findings.append(
            Finding(
                name,
                run.mode,
                run.board,
                GateVerdict.FAIL if over else GateVerdict.PASS,
                f"{run.place}: {name} {value:.4g}{unit} is {judged} the budget of {bound:.4g}{unit}",
                value,
                bound,
                "budget",
                limit=name,
            )
        )
    return findings


def _unmeasured(runs: Sequence[Run], limits: Mapping[str, float]) -> list[Finding]:
    """Limits that no run measured; in nominal mode they are owed."""
    if not runs:
        return []
    measured = {name for run in runs for name in run.measurements}
    return [
        Finding(
            name,
            REQUIRED_MODE,
            "",
            GateVerdict.MISSING,
            f"the budget limits {name} to {bound:.4g}, and no run measured it",
            None,
            bound,
            "budget",
            limit=name,
        )
        for name, bound in sorted(limits.items())
        if name not in measured and name in MEASUREMENTS
    ]


def _against(
    run: Run, others: Sequence[Run], version: str, title: str, margins: Mapping[str, float], relative_margin: float
) -> list[Finding]:
    """The step from an earlier release's run in the same mode, on the same board where both name one."""
    other = next((o for o in others if o.mode == run.mode and o.board == run.board), None) or next(
        (o for o in others if o.mode == run.mode and not (o.board and run.board)), None
    )
    if other is None or not version:
        return []
    findings = []
    for name in (*RELATIVE, *ABSOLUTE):
        value, before = run.measurements.get(name), other.measurements.get(name)
        if value is None or before is None:
            continue
        if name in ABSOLUTE:
            margin = ABSOLUTE[name]
            step, bound, words = value - before, before + margin, f"{100 * (value - before):+.2f} points"
        elif before <= 0.0:
            continue
        else:
            margin = margins.get(name, relative_margin)
            step, bound = value / before - 1.0, before * (1.0 + margin)
            words = f"{100 * step:+.1f} %"
        worse = step > margin
        allowed = f"{100 * margin:.1f} points" if name in ABSOLUTE else f"{100 * margin:.0f} %"
        findings.append(
            Finding(
                name,
                run.mode,
                run.board,
                GateVerdict.FAIL if worse else GateVerdict.PASS,
                f"{run.place}: {name} {value:.4g} is {words} against {title} {version} ({before:.4g}), "
                f"{'more than' if worse else 'within'} {allowed}",
                value,
                bound,
                f"{title} {version}",
                limit=name,
            )
        )
    return findings
