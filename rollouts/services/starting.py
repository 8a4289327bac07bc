"""Starting a stage: cohorts are drawn and frozen, and every treated device gets a delivery."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, connection, transaction

from drift.services.looks import PRE_DAYS, pre_period
from fleet.exceptions import StateConflict
from fleet.models import HardwareTarget
from rollouts import cohorts
from rollouts.cohorts import Arm, Draw
from rollouts.models import Holdback, Lane, Rollout, Stage, StageRun
from rollouts.plans import DAY_S, Policy
from rollouts.selectors import populations
from rollouts.selectors.cohorts import hand_picked_devices, holdback_of, population_of, rule_of, run_seed
from rollouts.selectors.populations import Match

BATCH = 2_000


def draw_stage(rollout: Rollout, stage: Stage, lanes: Sequence[Lane]) -> tuple[Draw, Match]:
    """Draw a stage for some lanes, hold-backs fixed at the first stage of each lane."""
    targets = [lane.hardware_target for lane in lanes]
    everyone = _only(populations.match(rollout.release, [rollout.selector], rollout=rollout), targets)
    held = _holdback(rollout, everyone, lanes)
    match = (
        _only(populations.match(rollout.release, [rollout.selector, stage.selector], rollout=rollout), targets)
        if stage.selector
        else everyone
    )
    treated = set(populations.treated_devices(rollout))
    population = population_of(stage, match, everyone, treated, held)
    return cohorts.draw(population, rule_of(stage), seed=rollout.seed), match


def _only(match: Match, targets: Sequence[HardwareTarget]) -> Match:
    slugs = {target.slug for target in targets}
    return Match(
        tuple(candidate for candidate in match.candidates if candidate.hardware_target in slugs),
        match.excluded,
        match.running,
        match.never_reported,
    )


def _holdback(rollout: Rollout, everyone: Match, lanes: Sequence[Lane]) -> set[int]:
    """The rollout's hold-backs; drawn now for lanes that begin."""
    held = set(rollout.holdbacks.values_list("device_id", flat=True))
    beginning = {lane.hardware_target.slug for lane in lanes if lane.run_id is None}
    if beginning:
        stages = list(rollout.stages.all())
        candidates = [c for c in everyone.candidates if c.hardware_target in beginning]
        picked = hand_picked_devices(rollout, stages)
        held |= set(holdback_of(stages, candidates, rollout.rules, rollout.seed, picked))
    return held


@transaction.atomic
def begin(
    rollout: Rollout, stage: Stage, lanes: Sequence[Lane], drawn: Draw, match: Match, *, now: datetime
) -> StageRun:
    """Freeze the cohorts of a drawn stage and queue its deliveries; the caller has locked the lanes and moves them."""
    policy = rollout.rules
    pre_start, pre_end = look_back(policy, now)
    run = StageRun.objects.create(
        rollout=rollout,
        stage=stage,
        started_at=now,
        seed=run_seed(rollout.seed, stage.order, rollout.runs.filter(stage=stage).count() + 1),
        randomised=drawn.randomised,
        strata=[{name: getattr(row, name) for name in row.__dataclass_fields__} for row in drawn.strata],
        excluded=match.excluded,
        pre_start=pre_start,
        pre_end=pre_end,
        next_look_at=now + timedelta(seconds=policy.look_interval_s),
    )
    run.lanes.set(lanes)
    _freeze(run, drawn, {lane.hardware_target.slug: lane for lane in lanes}, match)
    held = [member.device_id for member in drawn.members if member.arm is Arm.HOLDBACK]
    Holdback.objects.bulk_create(
        (Holdback(rollout=rollout, device_id=device) for device in held), ignore_conflicts=True, batch_size=BATCH
    )
    _queue(run, now)
    return run


# One statement each: a stage may have tens of thousands of devices.
_MEMBERS = """
INSERT INTO rollouts_cohortmember (run_id, device_id, lane_id, arm, stratum, analysed, previous_release_id)
SELECT %s, * FROM unnest(%s::bigint[], %s::bigint[], %s::text[], %s::text[], %s::boolean[], %s::bigint[])
"""
_DELIVERIES = """
INSERT INTO rollouts_delivery (
    run_id, lane_id, device_id, previous_release_id, workload_id, release_id,
    kind, status, attempt, detail, created_at, cancel_refused, confirmed_inferences
)
SELECT run_id, lane_id, device_id, previous_release_id, %(workload)s, %(release)s,
    'install', 'queued', 1, '', %(now)s, false, 0
FROM rollouts_cohortmember WHERE run_id = %(run)s AND arm = 'treated' ORDER BY device_id
"""


def _freeze(run: StageRun, drawn: Draw, by_target: dict[str, Lane], match: Match) -> None:
    """Write the cohorts."""
    columns = (
        [member.device_id for member in drawn.members],
        [by_target[member.hardware_target].pk for member in drawn.members],
        [str(member.arm) for member in drawn.members],
        [member.stratum for member in drawn.members],
        [member.analysed for member in drawn.members],
        [match.running.get(member.device_id) for member in drawn.members],
    )
    with connection.cursor() as cursor:
        cursor.execute(_MEMBERS, [run.pk, *columns])


def _queue(run: StageRun, now: datetime) -> None:
    """A delivery per treated device."""
    release = run.rollout.release
    values = {"run": run.pk, "workload": release.workload_id, "release": release.pk, "now": now}
    try:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(_DELIVERIES, values)
    except IntegrityError as error:
        raise StateConflict(
            "busy", [], "Another delivery to one of the devices began in this moment; try again.", code="device_busy"
        ) from error


def look_back(policy: Policy, now: datetime) -> tuple[datetime, datetime]:
    """The period before the start that devices are compared with themselves in.

    The usual seven days are whole hours; a shorter one, for trials, ends at the very start.
    """
    if policy.pre_s == PRE_DAYS * DAY_S:
        return pre_period(now)
    return now - timedelta(seconds=policy.pre_s), now
