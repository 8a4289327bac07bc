"""Recommendations: what is advised for a lane, frozen with its evidence, and closed when it is decided or overtaken."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from fleet.models import User
from fleet.selectors.releases import difference
from rollouts import policy
from rollouts.models import CohortMember, Evidence, Lane, Look, Recommendation, StageRun
from rollouts.policy import Decision, LaneFacts, Rules
from rollouts.selectors import populations, signatures
from rollouts.selectors.budgets import Bounds
from rollouts.selectors.reversal import reverse_plan
from rollouts.services import documents, starting

SCHEMA = "ridgeline.evidence/1"


def rules_of(lane: Lane) -> Rules:
    """What a lane's present stage is decided by."""
    chosen, stage = lane.rollout.rules, lane.stage
    assert stage is not None, "a lane that is judged is in a stage"
    return Rules(
        minimum_soak_s=stage.minimum_soak_s,
        minimum_devices=stage.minimum_devices,
        minimum_inferences=stage.minimum_inferences,
        confirmed_share=chosen.confirmed_share,
        failure_devices=chosen.failure_devices,
        failure_share=chosen.failure_share,
        stale_after_s=chosen.stale_after_s,
    )


def recommend(
    lane: Lane,
    run: StageRun,
    decision: Decision,
    facts: LaneFacts,
    *,
    look: Look | None,
    look_inputs: Mapping[str, Any] | None,
    bounds: Bounds,
    now: datetime,
    shadow: bool = False,
    attribution: Mapping[str, Any] | None = None,
) -> Recommendation:
    """Freeze the evidence and open a recommendation; the one that stood is superseded."""
    close(lane, Recommendation.Status.SUPERSEDED, now=now)
    kind = decision.recommendation
    plan = reverse_plan(lane, now) if kind is policy.Recommendation.ROLLBACK else None
    evidence = documents.freeze(
        Evidence.Kind.RECOMMENDATION,
        _document(lane, run, decision, facts, look=look, look_inputs=look_inputs, bounds=bounds, reverse=plan, now=now)
        | {"attribution": attribution},
        rollout=lane.rollout,
        lane=lane,
        stage=lane.stage,
        now=now,
    )
    expires = None
    if kind is policy.Recommendation.PROMOTE:
        expires = now + timedelta(seconds=lane.rollout.rules.recommendation_ttl_s)
    return Recommendation.objects.create(
        lane=lane,
        run=run,
        look=look,
        kind=kind,
        verdict=decision.verdict,
        reason=decision.reason,
        checks=decision.to_dict()["checks"],
        reverse_plan=plan,
        next_stage=None if kind is policy.Recommendation.ROLLBACK else starting.stage_ahead(lane),
        evidence=evidence,
        shadow=shadow,
        created_at=now,
        expires_at=expires,
    )


def close(lane: Lane, status: str, *, now: datetime, by: User | None = None) -> bool:
    """Close the lane's open recommendation, if there is one."""
    return bool(
        Recommendation.objects.filter(lane=lane, status=Recommendation.Status.OPEN).update(
            status=status, closed_at=now, closed_by=by
        )
    )


def standing_kind(lane: Lane) -> str:
    """The kind of the open recommendation, or ""."""
    standing = signatures.open_recommendation(lane)
    return standing.kind if standing else ""


def _document(
    lane: Lane,
    run: StageRun,
    decision: Decision,
    facts: LaneFacts,
    *,
    look: Look | None,
    look_inputs: Mapping[str, Any] | None,
    bounds: Bounds,
    reverse: Mapping[str, Any] | None,
    now: datetime,
) -> dict[str, Any]:
    rollout = lane.rollout
    members = (
        CohortMember.objects.filter(run=run, lane=lane)
        .order_by("device__serial")
        .values_list("device__serial", "arm", "stratum", "analysed", "previous_release__version")
    )
    cohort = [
        {"device": serial, "arm": arm, "stratum": stratum, "analysed": analysed, "previous_release": previous}
        for serial, arm, stratum, analysed, previous in members
    ]
    return {
        "schema": SCHEMA,
        "as_of": now.isoformat(),
        "rollout": rollout.pk,
        "workload": rollout.workload.slug,
        "release": rollout.release.version,
        "hardware_target": lane.hardware_target.slug,
        "stage": lane.stage.name if lane.stage else None,
        "policy": rollout.policy,
        "run": {
            "id": run.pk,
            "started_at": run.started_at.isoformat(),
            "seed": run.seed,
            "randomised": run.randomised,
            "pre": {"from": run.pre_start.isoformat(), "to": run.pre_end.isoformat()},
            "strata": run.strata,
        },
        "look": look.number if look else None,
        "alpha_spent": look.alpha_spent if look else None,
        "decision": decision.to_dict(),
        "facts": facts.to_dict(),
        "look_inputs": look_inputs,
        "completeness": look.completeness if look else {},
        "bounds": bounds.to_dict(),
        "cohort": cohort,
        "excluded": run.excluded,
        "late_joiners": populations.late_joiners(rollout, now),
        "differs": _differs(lane, cohort),
        "reverse_plan": reverse,
    }


def _differs(lane: Lane, cohort: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts of the bill of materials that changed, against each release that the cohort ran before."""
    release = lane.rollout.release
    versions = sorted({row["previous_release"] for row in cohort if row["previous_release"]})
    found = []
    for version in versions:
        previous = release.workload.releases.filter(version=version).first()
        if previous is not None:
            parts = [row for row in difference(release, previous) if row["changed"]]
            found.append({"release": version, "parts": parts})
    return found
