"""Signatures: which document is up for signing, who must sign it, and who has."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from rollouts.machine import State
from rollouts.models import Approval, Evidence, Lane, Recommendation, Rollout, Stage


@dataclass(frozen=True)
class SignatureSheet:
    """A document up for signing. `lanes` go on once it is signed; `stage` is what then begins, None: completion."""

    evidence: Evidence
    lanes: tuple[Lane, ...]
    stage: Stage | None
    required: tuple[str, ...]
    approvals: tuple[Approval, ...]

    def signed(self, now: datetime) -> set[str]:
        """Roles whose signature is there and has not run out."""
        return {approval.role for approval in self.approvals if approval.expires_at > now}

    def missing(self, now: datetime) -> list[str]:
        """Roles whose signature is not there, or ran out."""
        signed = self.signed(now)
        return [role for role in self.required if role not in signed]


def submission(rollout: Rollout) -> Evidence | None:
    """The document of the newest submission."""
    return rollout.evidence.filter(kind=Evidence.Kind.SUBMISSION).order_by("-created_at", "-id").first()


def first_stages(evidence: Evidence, lanes: Sequence[Lane], order: Sequence[Stage]) -> dict[int, Stage]:
    """The stage in which each lane begins: the first that has a device of it to treat, as the submission froze it."""
    treats = {
        (row["stage"], lane["hardware_target"]): lane["treated"]
        for row in json.loads(evidence.body)["preview"]
        for lane in row["lanes"]
    }
    begins = {}
    for lane in lanes:
        slug = lane.hardware_target.slug
        begins[lane.pk] = next((stage for stage in order if treats.get((stage.name, slug), 0)), order[0])
    return begins


def start_sheet(rollout: Rollout) -> SignatureSheet | None:
    """What must be signed before the rollout starts; None while nothing awaits approval."""
    lanes = [
        lane
        for lane in rollout.lanes.select_related("hardware_target", "stage")
        if lane.state == State.AWAITING_APPROVAL
    ]
    evidence = submission(rollout)
    if not lanes or evidence is None:
        return None
    stages = list(rollout.stages.all())
    begins = first_stages(evidence, lanes, stages)
    first = min((begins[lane.pk] for lane in lanes), key=lambda stage: stage.order)
    roles = dict.fromkeys(role for lane in lanes for role in begins[lane.pk].required_roles)
    return _sheet(evidence, lanes, first, tuple(roles))


def lane_sheet(lane: Lane) -> SignatureSheet | None:
    """What must be signed before a lane goes on; None where no recommendation to promote or to hold stands."""
    if lane.state not in (State.PROMOTION_RECOMMENDED, State.HELD):
        return None
    standing = open_recommendation(lane)
    if standing is None:
        return None
    stage = standing.next_stage
    return _sheet(standing.evidence, [lane], stage, tuple(stage.required_roles) if stage else ())


def open_recommendation(lane: Lane) -> Recommendation | None:
    """The recommendation that stands."""
    return (
        lane.recommendations.filter(status=Recommendation.Status.OPEN)
        .select_related("evidence", "look", "run", "next_stage")
        .first()
    )


def sheets(rollout: Rollout) -> list[SignatureSheet]:
    """Every document of the rollout that can be signed now."""
    found = [start_sheet(rollout)]
    found += [lane_sheet(lane) for lane in rollout.lanes.select_related("hardware_target", "stage", "rollout")]
    return [sheet for sheet in found if sheet is not None]


def _sheet(evidence: Evidence, lanes: Sequence[Lane], stage: Stage | None, required: tuple[str, ...]) -> SignatureSheet:
    approvals = tuple(Approval.objects.filter(evidence=evidence).select_related("user"))
    return SignatureSheet(evidence, tuple(lanes), stage, required, approvals)
