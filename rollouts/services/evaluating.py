"""Evaluating stage runs: one look at a time, recorded, turned into a recommendation per lane; harm halts at once."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import structlog
from django.db import connection, transaction

from drift.services import looks
from drift.services.attribution import explain_outcome
from drift.services.looks import LookOutcome, LookPlan, PlanDevice
from drift.stats.metrics import METRICS
from fleet.actors import Actor
from rollouts import machine, policy
from rollouts.cohorts import Arm
from rollouts.machine import Event, State
from rollouts.models import CohortMember, Lane, Look, StageRun
from rollouts.plans import tested_stages
from rollouts.policy import Decision, Exposure, LaneFacts, Recommendation
from rollouts.selectors.budgets import Bounds, bounds_for
from rollouts.selectors.exposure import as_rows, exposure_of
from rollouts.services import advising, deciding, progressing, transitions

log = structlog.get_logger(__name__)

ACTOR = Actor.system("evaluation")
# A completed lane is watched less often than one that a decision waits for.
WATCH_INTERVAL_S = 6 * 3600
# First key of the advisory locks of runs that are being looked at.
ADVISORY_LOCK = 0x52494447


@dataclass(frozen=True)
class Evaluated:
    """What one evaluation did: the look's number, None where it failed, and the recommendation per hardware target."""

    run: int
    look: int | None
    recommendations: dict[str, str]
    error: str = ""


def due(now: datetime) -> list[int]:
    """The runs whose next look is due, the longest waiting first; a stage that is still starting is not looked at."""
    rows = StageRun.objects.filter(ended_at=None, next_look_at__lte=now, ready_at__isnull=False)
    return list(rows.order_by("next_look_at").values_list("pk", flat=True))


def evaluate_due(now: datetime) -> list[Evaluated]:
    """Look at every run that is due, one after the other."""
    found = [evaluate_or_note(pk, now) for pk in due(now)]
    return [evaluated for evaluated in found if evaluated is not None]


def evaluate_or_note(run_id: int, now: datetime) -> Evaluated | None:
    """Look at one run; where that raises it is noted and stands in nobody's way, its own lanes' included."""
    try:
        return evaluate(run_id, now)
    except Exception as error:  # whatever it is, no lane may advance on it
        log.exception("evaluation failed", run=run_id)
        return note_failure(run_id, error, now)


@transaction.atomic
def evaluate(run_id: int, now: datetime) -> Evaluated | None:
    """Take the next look at a run, if it is due and nobody else is at it; None otherwise.

    An advisory lock keeps a second worker away for the length of the look. Rows are locked only after the figures are
    there, lanes before the run, in the order in which deciding locks them: nobody who decides waits for a look.
    """
    if not _locked(run_id):
        return None
    runs = StageRun.objects.select_related("stage", "rollout__release__workload", "rollout__workload")
    run = runs.filter(pk=run_id, ended_at=None, next_look_at__lte=now, ready_at__isnull=False).first()
    if run is None:
        return None
    lanes = list(_watched(run))
    if not lanes:
        deciding.end_if_left(run, now)
        return None
    number = run.looks + 1
    exposures = {lane.hardware_target.slug: exposure_of(run, lane, now) for lane in lanes}
    bounds = {lane.hardware_target.slug: bounds_of(lane, now) for lane in lanes}
    plan = look_plan(run, lanes, bounds)
    outcome = looks.take_look(plan, run.look_state, now, look=number)
    attributions = explain_outcome(plan, outcome, now)
    look = _record(run, number, outcome, exposures, now)
    recommendations = {}
    # A lane that somebody moved meanwhile is not among them any more.
    for lane in _watched(run, lock=True):
        slug = lane.hardware_target.slug
        if look.lane(slug) is None:
            continue
        progressing.progress(lane, exposures[slug], now)
        facts = facts_of(lane, run, exposures[slug], bounds[slug], now, look=look.lane(slug))
        decision = policy.decide(facts)
        _act(lane, run, decision, facts, look, outcome.inputs, bounds[slug], now, attributions.get(slug))
        recommendations[slug] = str(decision.recommendation)
    StageRun.objects.filter(pk=run.pk, looks=run.looks).update(
        looks=number,
        last_look_at=now,
        next_look_at=now + timedelta(seconds=_interval(run, lanes)),
        look_state=outcome.state,
        last_error="",
    )
    return Evaluated(run.pk, number, recommendations)


def _locked(run_id: int) -> bool:
    """Whether this transaction is the one that may look at the run.

    The lock is a lease of the connection: of a killed process it ends at once, even in the middle of a query, and of a
    machine that was lost within half a minute, where the system's own keep-alive would hold it for two hours.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT set_config('client_connection_check_interval', '2s', true), "
            "set_config('tcp_keepalives_idle', '15', true), set_config('tcp_keepalives_interval', '5', true), "
            "set_config('tcp_keepalives_count', '3', true), pg_try_advisory_xact_lock(%s, %s)",
            [ADVISORY_LOCK, run_id % 2**31],
        )
        return cursor.fetchone()[-1]


def _interval(run: StageRun, lanes: Sequence[Lane]) -> int:
    usual = run.rollout.rules.look_interval_s
    if all(lane.state in (State.COMPLETED, State.ROLLBACK_RECOMMENDED) for lane in lanes):
        return max(usual, min(WATCH_INTERVAL_S, 6 * usual))
    return usual


def _watched(run: StageRun, *, lock: bool = False) -> list[Lane]:
    """The lanes that are in this run now; those for which a rollback was recommended have their verdict."""
    rows = Lane.objects.filter(run=run, state__in=machine.WATCHED - {State.ROLLBACK_RECOMMENDED})
    if lock:
        rows = rows.select_for_update(of=("self",))
    return list(
        rows.select_related(
            "hardware_target", "stage", "run", "rollout__release__workload", "rollout__workload"
        ).order_by("pk")
    )


def bounds_of(lane: Lane, now: datetime) -> Bounds:
    """Limits and margins that hold for the lane now."""
    return bounds_for(lane.rollout.release, lane.hardware_target, now, lane.rollout.rules)


def look_plan(run: StageRun, lanes: Sequence[Lane], bounds: dict[str, Bounds]) -> LookPlan:
    """The comparison as the statistics take it: every analysed device of the run, lanes that left it as stopped.

    The whole cohort stays in the plan, so that the stored permutations go on fitting.
    """
    rules = run.rollout.rules
    members = (
        CohortMember.objects.filter(run=run, analysed=True)
        .order_by("device_id")
        .values_list("device_id", "device__serial", "arm", "lane__hardware_target__slug", "stratum")
    )
    devices = tuple(
        PlanDevice(device_id=pk, serial=serial, treated=arm == Arm.TREATED, hardware_target=target, stratum=stratum)
        for pk, serial, arm, target, stratum in members
    )
    present = {lane.hardware_target.slug for lane in lanes}
    return LookPlan(
        workload_id=run.rollout.workload_id,
        release_id=run.rollout.release_id,
        baseline_release_ids=(),
        devices=devices,
        seed=run.seed,
        pre_start=run.pre_start,
        pre_end=run.pre_end,
        started_at=run.started_at,
        window=timedelta(seconds=rules.window_s),
        planned_looks=rules.looks_max,
        minimum_hours=rules.minimum_hours,
        alpha=rules.alpha * _share_of_lanes(run),
        stages=tested_stages(run.rollout.stages.all()),
        permutations=rules.permutations,
        randomised=run.randomised,
        margins={
            target: {name: value for name, value in found.margins.items() if name in METRICS}
            for target, found in bounds.items()
        },
        limits={target: found.limits for target, found in bounds.items()},
        stopped_lanes=tuple(sorted({device.hardware_target for device in devices} - present)),
    )


def _share_of_lanes(run: StageRun) -> float:
    """The part of the stage's alpha that this run may spend: lanes that enter a stage one by one divide it."""
    return run.lanes.count() / max(run.rollout.lanes.count(), 1)


def _record(run: StageRun, number: int, outcome: LookOutcome, exposures: dict[str, Exposure], now: datetime) -> Look:
    result = outcome.result.to_dict()
    return Look.objects.create(
        run=run,
        number=number,
        as_of=now,
        verdict=outcome.verdict,
        reason=outcome.reason,
        lanes=result["lanes"],
        pooled=result["pooled"],
        completeness=outcome.completeness,
        exposure=as_rows(exposures),
        alpha=result["alpha"],
        alpha_spent=result["alpha_spent"],
        critical_value=result["critical_value"],
    )


def facts_of(
    lane: Lane,
    run: StageRun,
    exposure: Exposure,
    bounds: Bounds,
    now: datetime,
    *,
    look: dict[str, Any] | None,
    error: str = "",
) -> LaneFacts:
    """Everything that decides about the lane now."""
    soaked = (now - lane.soak_started_at).total_seconds() / 3600 if lane.soak_started_at else None
    return LaneFacts(
        hardware_target=lane.hardware_target.slug,
        stage=run.stage.name,
        randomised=run.randomised,
        rules=advising.rules_of(lane),
        exposure=exposure,
        hours_soaked=soaked,
        look=look,
        look_error=error,
        look_age_s=0.0 if look is not None else None,
        limits=bounds.metric_limits,
    )


def _act(
    lane: Lane,
    run: StageRun,
    decision: Decision,
    facts: LaneFacts,
    look: Look | None,
    inputs: dict[str, Any] | None,
    bounds: Bounds,
    now: datetime,
    attribution: dict[str, Any] | None = None,
) -> None:
    """Turn a decision into what the lane's state allows; a decision that changes nothing leaves no row."""
    shadow = lane.rollout.rules.shadow
    event = _event_for(lane, decision, shadow=shadow)
    news = shadow and decision.recommendation not in (Recommendation.WAIT, advising.standing_kind(lane))
    if event is None and not news:
        return
    recommendation = advising.recommend(
        lane,
        run,
        decision,
        facts,
        look=look,
        look_inputs=inputs,
        bounds=bounds,
        now=now,
        shadow=shadow,
        attribution=attribution,
    )
    if event is None:
        return
    reason = decision.reason
    transitions.move(lane, event, actor=ACTOR, now=now, reason=reason, evidence_hash=recommendation.evidence.sha256)
    if event is Event.HARMED and lane.rollout.rules.auto_rollback:
        deciding.send_lane_back(
            lane, actor=Actor.system("policy"), now=now, reason=f"the policy rolls back by itself: {reason}"
        )


def _event_for(lane: Lane, decision: Decision, *, shadow: bool) -> Event | None:
    """Which move follows from the decision; None where the lane stays as it is.

    A policy on trial neither halts nor promotes: what it would have recommended is told beside a lane that goes on
    being evaluated. Where the evidence leaves the question open, the lane is held as ever.
    """
    wanted = decision.recommendation
    if shadow and wanted is not Recommendation.HOLD:
        event = None
    elif wanted is Recommendation.ROLLBACK:
        event = Event.HARMED
    elif wanted is Recommendation.PROMOTE and not lane.hold_reason:
        event = Event.PASSED
    else:
        event = Event.UNDECIDED
    return event if event and machine.next_state(lane.state, event) else None


@transaction.atomic
def note_failure(run_id: int, error: Exception, now: datetime) -> Evaluated:
    """An evaluation that raised: noted on the run, tried again after the usual interval; nobody is promoted on it."""
    text = f"{type(error).__name__}: {error}"[:2_000]
    runs = StageRun.objects.select_related("stage", "rollout__release__workload", "rollout__workload")
    run = runs.get(pk=run_id)
    lanes = _watched(run, lock=True)
    StageRun.objects.filter(pk=run_id).update(
        last_error=text,
        last_error_at=now,
        next_look_at=now + timedelta(seconds=run.rollout.rules.look_interval_s),
    )
    recommendations = {}
    for lane in lanes:
        if lane.state not in (State.EVALUATING, State.PROMOTION_RECOMMENDED):
            continue
        exposure = Exposure(treated=0, offered=0, confirmed=0, failed=0, silent=0, inferences=0)
        facts = facts_of(lane, run, exposure, Bounds(None), now, look=None, error=text)
        failed = policy.failed_evaluation(facts)
        _act(lane, run, failed, facts, None, None, Bounds(None), now)
        recommendations[lane.hardware_target.slug] = str(failed.recommendation)
    return Evaluated(run_id, None, recommendations, text)
