"""How lanes, cells and gate rows look: words for states, the effect that a cell shows, consequences of an action."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drift.charts import Effect, IntervalGlyph, effect_text, interval_glyph, interval_text
from drift.stats.metrics import METRICS
from rollouts.gate import MEASUREMENTS
from rollouts.machine import State
from rollouts.models import LaneTransition
from rollouts.selectors.board import Board, Cell
from rollouts.selectors.lanes import LaneView

# state -> (kind of the status dot, words)
STATES: dict[str, tuple[str, str]] = {
    State.DRAFT: ("off", "Draft"),
    State.AWAITING_APPROVAL: ("busy", "Awaiting approval"),
    State.DEPLOYING: ("busy", "Deploying"),
    State.SOAKING: ("busy", "Soaking"),
    State.EVALUATING: ("busy", "Evaluating"),
    State.PROMOTION_RECOMMENDED: ("good", "Promotion recommended"),
    State.HELD: ("warn", "Held"),
    State.ROLLBACK_RECOMMENDED: ("bad", "Rollback recommended"),
    State.ROLLING_BACK: ("bad", "Rolling back"),
    State.ROLLED_BACK: ("off", "Rolled back"),
    State.PAUSED: ("warn", "Paused"),
    State.STOPPED: ("off", "Stopped"),
    State.COMPLETED: ("good", "Completed"),
}
# Which lane a reader wants to see first.
ATTENTION = tuple(
    State(name)
    for name in (
        "rollback_recommended", "promotion_recommended", "held", "evaluating", "rolling_back", "awaiting_approval",
        "soaking", "deploying", "paused", "draft", "stopped", "rolled_back", "completed",
    )
)  # fmt: skip
# (action, its button, the question of its dialog), in the order of the buttons.
_LANE_ACTIONS = (
    ("promote", "Promote", "Promote {target}?"),
    ("resume", "Resume", "Resume {target}?"),
    ("rollback", "Roll back", "Roll back {target}?"),
    ("override", "Go on although undecided", "Go on with {target} although the evidence is inconclusive?"),
    ("hold", "Hold", "Hold {target}?"),
    ("pause", "Pause", "Pause {target}?"),
    ("stop", "Emergency stop", "Stop {target}?"),
)
_DESTRUCTIVE = ("rollback", "override", "stop")
_WORST_FIRST = ("fail", "hold", "inconclusive", "pass")


@dataclass(frozen=True)
class Finding:
    """The metric that a cell or lane is about, in words and as a glyph."""

    title: str
    verdict: str
    effect: str
    interval: str
    glyph: IntervalGlyph | None


@dataclass(frozen=True)
class BoardCell:
    """A cell of the board as the template shows it; `verdict` is a class of the design system or "future"."""

    cell: Cell
    verdict: str
    finding: Finding | None
    reason: str = ""


@dataclass(frozen=True)
class Action:
    """Something that may be done with a lane or a rollout, with what it will do."""

    name: str
    verb: str
    title: str
    consequences: Sequence[str]
    destructive: bool = False
    urgent: bool = False
    primary: bool = False
    asks_reason: bool = True
    evidence_hash: str = ""
    hardware_target: str = ""

    @property
    def key(self) -> str:
        """A name for its dialog, unique on the page."""
        return f"{self.name}-{self.hardware_target or 'all'}".replace(".", "-")


def status(state: str) -> dict[str, str]:
    """The dot and the words of a state."""
    kind, words = STATES[State(state)]
    return {"state": kind, "word": words}


def effect_of(row: Mapping[str, Any]) -> Effect:
    """A metric row of a look as the charts take it."""
    return Effect(
        metric=row["metric"],
        label=METRICS[row["metric"]].title if row["metric"] in METRICS else row["metric"],
        effect=row["effect"],
        lower=row["lower"],
        upper=row["upper"],
        margin=row["margin"],
        verdict=row["verdict"],
        n_treated=row["n_treated"],
        n_control=row["n_control"],
    )


def leading_finding(rows: Sequence[Mapping[str, Any]]) -> Finding | None:
    """The metric that decides: the worst verdict, and among equals the one that reaches furthest toward its margin."""
    known = [row for row in rows if row.get("effect") is not None and row.get("margin")]
    if not known:
        return None

    def reach(row: Mapping[str, Any]) -> float:
        return effect_of(row).in_margins(row["effect"]) or 0.0

    row = min(known, key=lambda one: (_WORST_FIRST.index(one["verdict"]), -reach(one)))
    effect = effect_of(row)
    return Finding(
        effect.label,
        row["verdict"],
        effect_text(effect.metric, effect.effect),
        interval_text(effect.metric, effect.lower, effect.upper),
        interval_glyph(effect),
    )


def board_rows(picture: Board) -> list[tuple[LaneView, dict[str, str], list[BoardCell]]]:
    """Every lane with its state and its cells."""
    rows = []
    for row in picture.rows:
        cells = []
        for cell in row.cells:
            entry = cell.look.lane(row.view.target) if cell.look else None
            finding = leading_finding(entry["metrics"]) if entry else None
            # a standing recommendation speaks for its cell; without one the newest look does
            advised = (
                row.view.recommendation is not None and cell.run is not None and cell.run.pk == row.view.lane.run_id
            )
            reason = cell.reason if advised or entry is None else entry["reason"]
            verdict = row.view.recommendation.verdict if advised else _look_of(cell)
            cells.append(BoardCell(cell, verdict, finding, reason))
        rows.append((row.view, status(row.view.lane.state), cells))
    return rows


def _look_of(cell: Cell) -> str:
    if cell.status in ("ahead", "skipped"):
        return "future"
    return cell.verdict or "no_data"


def gate_rows(table: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Rows of the gate table with effect, interval and margin in the metric's own words."""
    shown = []
    for row in table:
        metric = row["metric"]
        if row["kind"] == "metric":
            effect = effect_of(row)
            shown.append(
                {
                    **row,
                    "effect_text": effect_text(metric, row["effect"]),
                    "interval_text": interval_text(metric, row["lower"], row["upper"])
                    if row["effect"] is not None
                    else "",
                    "margin_text": effect_text(metric, row["margin"] * effect.harm),
                    "glyph": interval_glyph(effect),
                }
            )
        else:
            value = row.get("effect")
            shown.append(
                {
                    **row,
                    "effect_text": "–" if value is None else f"{value:.3f}",
                    "interval_text": "",
                    "margin_text": _bound_text(metric, row.get("margin")),
                    "glyph": None,
                }
            )
    return shown


def _bound_text(name: str, bound: float | None) -> str:
    """A shape's practical size, or a limit in its own unit."""
    unit = MEASUREMENTS.get(name, "")
    if bound is None:
        return "–"
    return f"{100 * bound:g} %" if unit == "share" else f"{bound:g} {unit}".rstrip()


def moves(timeline: Sequence[LaneTransition]) -> list[dict[str, Any]]:
    """Transitions with their states in words, and how each looks on a timeline."""
    looks = {"bad": "fail", "warn": "hold", "good": "pass"}
    return [
        {"move": move, "words": STATES[State(move.new)][1], "state": looks.get(STATES[State(move.new)][0], "")}
        for move in timeline
    ]


def change_record(rows: Sequence[tuple[str, Any]]) -> list[tuple[str, list[str]]]:
    """A change record as title and lines of text."""
    return [(title, [text] if text and isinstance(text, str) else list(text or ())) for title, text in rows]


def lane_actions(view: LaneView, board: Board) -> list[Action]:
    """What may be done with a lane now, each with what it will do to how many devices."""
    lane, target, counts = view.lane, view.target, view.deliveries
    hash_now = view.recommendation.evidence.sha256 if view.recommendation else ""
    treated, confirmed = counts.get("treated", 0), counts.get("confirmed", 0)
    following = next((s for s in board.stages if lane.stage is None or s.order > lane.stage.order), None)
    goes_on = (
        f"The lane goes on to {following.name}: {following.share:.0%} of the devices that it selects."
        if following
        else "This was the last stage: the lane completes and is watched for the watch period."
    )
    plan = view.recommendation.reverse_plan if view.recommendation and view.recommendation.reverse_plan else {}
    back = plan.get("devices", counts.get("offered", treated))
    words = {
        "promote": [goes_on, "Signatures and the device-CI gate are checked again."],
        "override": [
            goes_on,
            "The evidence does not show that the release is safe; your reason stands beside it for good.",
        ],
        "hold": ["No promotion is recommended until somebody resumes the lane. Harm is still looked for."],
        "pause": ["No further device is offered the release. What has begun goes on; harm is still looked for."],
        "resume": ["The lane goes on where it was."],
        "stop": [
            f"Nothing is offered or installed any more; {confirmed} devices keep the release until a rollback.",
            "The lane ends here; it cannot be resumed.",
        ],
        "rollback": _rollback_words(plan, back, target),
    }
    hashes = {"promote": hash_now, "override": hash_now, "rollback": hash_now if plan else ""}
    return [
        Action(
            name,
            verb,
            title.format(target=target),
            words[name],
            destructive=name in _DESTRUCTIVE,
            urgent=name == "rollback" and view.lane.state == State.ROLLBACK_RECOMMENDED,
            primary=name in ("promote", "resume"),
            evidence_hash=hashes.get(name, ""),
            hardware_target=target,
        )
        for name, verb, title in _LANE_ACTIONS
        if name in view.allowed_actions
    ]


def _rollback_words(plan: Mapping[str, Any], devices: int, target: str) -> list[str]:
    if not plan:
        return [f"Up to {devices} devices on {target} return to what they ran before.", "The other lanes go on."]
    words = [f"{row['devices']} devices return to {row['release']}." for row in plan.get("destinations", [])]
    if plan.get("without_destination"):
        words.append(f"{plan['without_destination']} devices have no earlier release to return to and stay.")
    words.append(f"{plan['reachable']} of {plan['devices']} are reachable now; the others follow when they are heard.")
    words.append("The other lanes go on.")
    return words
