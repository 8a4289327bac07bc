"""The rollout board: stages by hardware lanes, each cell with its verdict in a word and a sentence."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from drift.stats.metrics import METRICS, SHAPES
from rollouts import machine
from rollouts.machine import State
from rollouts.models import Approval, Lane, LaneTransition, Look, Recommendation, Rollout, Stage, StageRun
from rollouts.selectors.exposure import inferences
from rollouts.selectors.lanes import LaneView, lane_views, look_with_lane, newest_looks


@dataclass(frozen=True)
class Cell:
    """A stage of a lane. `status`: ahead, skipped, current, passed, failed, left.

    `verdict` is pass, fail, hold, inconclusive or "" (no look yet); the counts are devices of the stage run.
    """

    stage: Stage
    status: str
    verdict: str = ""
    reason: str = ""
    state: str = ""
    run: StageRun | None = None
    treated: int = 0
    control: int = 0
    holdback: int = 0
    looks: int = 0
    # The newest look that has an entry for this lane.
    look: Look | None = None

    @property
    def compared(self) -> int:
        """The devices that the treated are compared with: control, and those held back."""
        return self.control + self.holdback


@dataclass(frozen=True)
class Row:
    """A lane with one cell per stage."""

    view: LaneView
    cells: list[Cell]


@dataclass(frozen=True)
class Board:
    """Everything on the rollout page above the details of a lane."""

    rollout: Rollout
    stages: list[Stage]
    rows: list[Row]
    status: State
    summary: dict[str, int] = field(default_factory=dict)


def board(rollout: Rollout, now: datetime) -> Board:
    """The board of one rollout."""
    stages = list(rollout.stages.all())
    views = lane_views(rollout, now)
    runs = list(rollout.runs.select_related("stage").prefetch_related("lanes"))
    looks = newest_looks(runs)
    rows = [Row(view, [_cell(view, stage, runs, looks) for stage in stages]) for view in views]
    states = [view.lane.state for view in views]
    return Board(rollout, stages, rows, machine.rollout_state(states), machine.summary(states))


def _cell(view: LaneView, stage: Stage, runs: list[StageRun], looks: dict[int, Look]) -> Cell:
    lane = view.lane
    run = next((r for r in reversed(runs) if r.stage_id == stage.pk and lane in r.lanes.all()), None)
    if run is None:
        passed_by = lane.stage is not None and stage.order < lane.stage.order
        return Cell(stage, "skipped" if passed_by else "ahead")
    look = look_with_lane(looks.get(run.pk), view.target)
    entry = look.lane(view.target) if look else None
    strata = [row for row in run.strata if row["hardware_target"] == view.target]
    is_current = lane.run_id == run.pk
    return Cell(
        stage,
        _status(lane, is_current),
        verdict=entry["verdict"] if entry else "",
        reason=(view.reason if is_current else "") or (entry["reason"] if entry else ""),
        state=lane.state if is_current else "",
        run=run,
        treated=sum(row["treated"] for row in strata),
        control=sum(row["control"] for row in strata),
        holdback=sum(row["holdback"] for row in strata),
        looks=look.number if look else run.looks,
        look=look,
    )


def _status(lane: Lane, is_current: bool) -> str:
    if not is_current or lane.state == State.COMPLETED:
        return "passed"
    if lane.state in (State.ROLLBACK_RECOMMENDED, State.ROLLING_BACK, State.ROLLED_BACK):
        return "failed"
    return "left" if lane.state == State.STOPPED else "current"


def gate_table(look: Look | None, hardware_target: str) -> list[dict[str, Any]]:
    """The rows of the gate table of a lane: metric, margin, counts, effect with interval, verdict, time to decide.

    Scalar metrics first, then shapes, then hard limits; each row has `kind`, `metric`, `title`, `verdict`, `reason`.
    """
    return table_of(look.lane(hardware_target) if look else None)


def table_of(entry: Mapping[str, Any] | None) -> list[dict[str, Any]]:
    """The gate table of a lane's entry in a look, as it stands in the database or in frozen evidence."""
    if entry is None:
        return []
    rows = [{"kind": "metric", "title": METRICS[row["metric"]].title, **row} for row in entry["metrics"]]
    rows += [
        {
            "kind": "shape",
            "title": SHAPES[row["metric"]].title,
            "unit": "",
            "effect": row["ks"] if SHAPES[row["metric"]].ordered else row["total_variation"],
            "lower": None,
            "upper": None,
            "would_settle": "",
            **row,
        }
        for row in entry["shape"]
    ]
    rows += [
        {
            "kind": "hard limit",
            "metric": row["name"],
            "title": row["name"].replace("_", " ").capitalize(),
            "verdict": _limit_verdict(row),
            "reason": row["reason"],
            "margin": row["limit"],
            "n_treated": row.get("known", len(row["devices"])),
            "n_control": row["control_devices"],
        }
        for row in entry["hard_limits"]
    ]
    return rows


def _limit_verdict(row: dict[str, Any]) -> str:
    """A limit that no device has reported a value for is not kept, it is unknown."""
    if row["breached"]:
        return "fail"
    return "pass" if row.get("known", 1) else "inconclusive"


def sequential_points(run: StageRun, hardware_target: str, metric: str) -> list[dict[str, Any]]:
    """The interval of one metric in one lane over the looks of a run, oldest first, for the sequential chart.

    Each point: `look`, `as_of`, `hours`, `effect`, `lower`, `upper`, `margin`, `verdict`, `alpha_spent`.
    """
    points = []
    for look in run.look_rows.order_by("number"):
        entry = look.lane(hardware_target)
        found = next((row for row in (entry or {}).get("metrics", []) if row["metric"] == metric), None)
        if found is None:
            continue
        points.append(
            {
                "look": look.number,
                "as_of": look.as_of,
                "hours": (look.as_of - run.started_at).total_seconds() / 3600,
                "alpha_spent": look.alpha_spent,
                **{name: found[name] for name in ("effect", "lower", "upper", "margin", "verdict")},
            }
        )
    return points


def timeline(rollout: Rollout) -> list[LaneTransition]:
    """Every move of every lane, newest first."""
    return list(
        LaneTransition.objects.filter(lane__rollout=rollout)
        .select_related("lane__hardware_target", "stage")
        .order_by("-at", "-id")
    )


def approvals(rollout: Rollout) -> list[Approval]:
    """Every signature, newest first."""
    rows = Approval.objects.filter(rollout=rollout).select_related("user", "stage", "lane__hardware_target", "evidence")
    return list(rows.order_by("-signed_at", "-id"))


def recommendations(rollout: Rollout) -> list[Recommendation]:
    """Every recommendation, newest first."""
    rows = Recommendation.objects.filter(lane__rollout=rollout)
    return list(
        rows.select_related("lane__hardware_target", "evidence", "look", "run__stage", "closed_by").order_by(
            "-created_at", "-id"
        )
    )


def since_decision(advice: Recommendation, now: datetime) -> dict[str, Any]:
    """What arrived after the evidence was frozen, shown beside it and never mixed in.

    `looks` that the lane was in since, and the newest verdict; `inferences` on the new release recorded since. A lane
    that has its verdict, or was stopped, is in no later look.
    """
    target = advice.lane.hardware_target.slug
    later = advice.run.look_rows.filter(
        as_of__gt=advice.created_at, lanes__contains=[{"hardware_target": target}]
    ).order_by("-number")
    newest = later.first()
    entry = newest.lane(target) if newest else None
    treated = list(
        advice.run.members.filter(lane=advice.lane, arm="treated", analysed=True).values_list("device_id", flat=True)
    )
    total = inferences(advice.run, treated, now)
    until_then = inferences(advice.run, treated, min(advice.created_at, now))
    return {
        "looks": later.count(),
        "verdict": entry["verdict"] if entry else None,
        "reason": entry["reason"] if entry else "",
        "inferences": total - until_then,
        "age": now - advice.created_at if now > advice.created_at else timedelta(0),
    }
