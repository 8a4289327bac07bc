"""Lanes as the API and the pages show them: state, figures, recommendation, signatures, and what may be done."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db.models import Count, Prefetch, Q, QuerySet

from rollouts import machine
from rollouts.models import Delivery, Lane, LaneTransition, Look, Recommendation, Rollout, StageRun
from rollouts.selectors import signatures
from rollouts.selectors.exposure import delivery_counts
from rollouts.selectors.reversal import not_reached, stranded
from rollouts.selectors.signatures import SignatureSheet

_GOING_BACK = (machine.State.ROLLING_BACK, machine.State.ROLLED_BACK)
# Serial numbers that an answer lists; the deliveries have all of them.
NOT_REACHED_LISTED = 500


@dataclass(frozen=True)
class LaneView:
    """One lane with everything that a decision needs; `look` is the newest of its run."""

    lane: Lane
    look: Look | None
    recommendation: Recommendation | None
    sheet: SignatureSheet | None
    deliveries: dict[str, int]
    rollbacks: dict[str, int]
    last_transition: LaneTransition | None
    # Devices whose way back has not ended well; known of lanes that roll or rolled back.
    not_reached: list[str] = field(default_factory=list)
    # Devices that have no earlier release to go back to; known of the same lanes.
    stranded: list[str] = field(default_factory=list)
    missing_roles: list[str] = field(default_factory=list)

    @property
    def target(self) -> str:
        """The hardware target's slug."""
        return self.lane.hardware_target.slug

    @property
    def verdict(self) -> str:
        """The lane's verdict at the newest look, "" before the first."""
        entry = self.look.lane(self.target) if self.look else None
        return entry["verdict"] if entry else ""

    @property
    def verdict_reason(self) -> str:
        """That verdict in words."""
        entry = self.look.lane(self.target) if self.look else None
        return entry["reason"] if entry else ""

    @property
    def reason(self) -> str:
        """Why the lane is where it is."""
        if self.recommendation is not None:
            return self.recommendation.reason
        return self.last_transition.reason if self.last_transition else ""

    @property
    def allowed_actions(self) -> list[str]:
        """What a person may do now."""
        return machine.allowed_actions(self.lane.state)

    @property
    def starting(self) -> dict[str, int] | None:
        """How far the lane's stage has been written down, None once it is whole."""
        run = self.lane.run
        return {"done": run.written, "of": run.drawn} if run is not None and run.is_starting else None

    @property
    def failure_shares(self) -> list[dict[str, Any]]:
        """Failures against both denominators: devices that were offered the release, and all that the stage treats."""
        failed = self.deliveries.get("failed", 0) + self.deliveries.get("silent", 0)
        rows = []
        for title, whole in (
            ("of those offered", self.deliveries.get("offered", 0)),
            ("of the stage", self.deliveries.get("treated", 0)),
        ):
            rows.append({"title": title, "failed": failed, "of": whole, "share": failed / whole if whole else None})
        return rows


def rollouts() -> QuerySet[Rollout]:
    """Rollouts with what their status and lists need."""
    lanes = Lane.objects.select_related("hardware_target", "stage").order_by("hardware_target__slug")
    return Rollout.objects.select_related("workload", "release__workload", "created_by").prefetch_related(
        Prefetch("lanes", queryset=lanes), "stages"
    )


def in_progress() -> QuerySet[Rollout]:
    """Rollouts of which a lane is neither draft nor at an end."""
    ended = {machine.State.DRAFT, *machine.FINAL}
    return rollouts().filter(lanes__state__in=set(machine.State) - ended).distinct()


def lane_views(rollout: Rollout, now: datetime) -> list[LaneView]:
    """Every lane of a rollout, by hardware target."""
    lanes = list(
        rollout.lanes.select_related(
            "hardware_target", "stage", "run__rollout__workload", "rollout__workload", "rollout__release__workload"
        ).order_by("hardware_target__slug")
    )
    last = {
        row.lane_id: row
        for row in LaneTransition.objects.filter(lane__in=lanes).order_by("lane_id", "-at", "-id").distinct("lane_id")
    }
    looks = newest_looks([lane.run for lane in lanes if lane.run])
    start = signatures.start_sheet(rollout)
    return [_view(lane, looks, last.get(lane.pk), start, now) for lane in lanes]


def newest_looks(runs: Sequence[StageRun]) -> dict[int, Look]:
    """The newest look of each run, by run id."""
    rows = Look.objects.filter(run__in=runs).order_by("run_id", "-number").distinct("run_id")
    return {row.run_id: row for row in rows}


def look_with_lane(newest: Look | None, hardware_target: str) -> Look | None:
    """The newest look that says something of a lane: a lane that was halted is left out of the looks after it."""
    if newest is None or newest.lane(hardware_target) is not None:
        return newest
    earlier = Look.objects.filter(run=newest.run_id, lanes__contains=[{"hardware_target": hardware_target}])
    return earlier.order_by("-number").first()


def _view(
    lane: Lane, looks: dict[int, Look], last: LaneTransition | None, start: SignatureSheet | None, now: datetime
) -> LaneView:
    sheet = start if lane.state == machine.State.AWAITING_APPROVAL else signatures.lane_sheet(lane)
    counts = delivery_counts(lane.run, lane) if lane.run else {}
    return LaneView(
        lane=lane,
        look=look_with_lane(looks.get(lane.run_id), lane.hardware_target.slug) if lane.run_id else None,
        recommendation=signatures.open_recommendation(lane),
        sheet=sheet,
        deliveries={name: count or 0 for name, count in counts.items()},
        rollbacks=rollback_counts(lane),
        last_transition=last,
        not_reached=not_reached(lane) if lane.state in _GOING_BACK else [],
        stranded=stranded(lane) if lane.state in _GOING_BACK else [],
        missing_roles=sheet.missing(now) if sheet else [],
    )


def rollback_counts(lane: Lane) -> dict[str, int]:
    """Devices on their way back, by how far they are."""
    rows = Delivery.objects.filter(lane=lane, kind=Delivery.Kind.ROLLBACK)
    return rows.aggregate(
        devices=Count("device", distinct=True),
        back=Count("device", distinct=True, filter=Q(status=Delivery.Status.CONFIRMED)),
        open=Count("device", distinct=True, filter=Q(status__in=Delivery.OPEN)),
        failed=Count("device", distinct=True, filter=Q(status__in=["failed", "timed_out", "silent"])),
    )


def as_dict(view: LaneView) -> dict[str, Any]:
    """A lane for the API."""
    lane, advice = view.lane, view.recommendation
    return {
        "id": lane.pk,
        "hardware_target": view.target,
        "state": lane.state,
        "state_since": lane.state_since,
        "allowed_actions": view.allowed_actions,
        "stage": lane.stage.name if lane.stage else None,
        "stage_state": "starting" if view.starting else ("started" if lane.run_id else None),
        "starting": view.starting,
        "run": lane.run_id,
        "soak_started_at": lane.soak_started_at,
        "watched_until": lane.watched_until,
        "hold_reason": lane.hold_reason,
        "reason": view.reason,
        "verdict": view.verdict or None,
        "verdict_reason": view.verdict_reason,
        "look": view.look.number if view.look else None,
        "last_look_at": view.look.as_of if view.look else None,
        "metrics": (view.look.lane(view.target) or {}).get("metrics", []) if view.look else [],
        "deliveries": view.deliveries,
        "failure_shares": view.failure_shares,
        "rollbacks": view.rollbacks,
        "not_reached": view.not_reached[:NOT_REACHED_LISTED],
        "not_reached_count": len(view.not_reached),
        "stranded": view.stranded[:NOT_REACHED_LISTED],
        "stranded_count": len(view.stranded),
        "recommendation": recommendation_dict(advice) if advice else None,
        "evidence_hash": _hash(view),
        "required_roles": list(view.sheet.required) if view.sheet else [],
        "missing_roles": view.missing_roles,
        "evaluation_error": lane.run.last_error if lane.run else "",
    }


def _hash(view: LaneView) -> str | None:
    """The hash of whatever a person would decide on now."""
    if view.recommendation is not None:
        return view.recommendation.evidence.sha256
    return view.sheet.evidence.sha256 if view.sheet else None


def recommendation_dict(advice: Recommendation) -> dict[str, Any]:
    """A recommendation for the API."""
    return {
        "id": advice.pk,
        "kind": advice.kind,
        "verdict": advice.verdict,
        "reason": advice.reason,
        "checks": advice.checks,
        "reverse_plan": advice.reverse_plan,
        "status": advice.status,
        "shadow": advice.shadow,
        "evidence": advice.evidence_id,
        "evidence_hash": advice.evidence.sha256,
        "created_at": advice.created_at,
        "expires_at": advice.expires_at,
    }
