"""Starting a stage: cohorts are drawn and frozen, and every treated device gets a delivery."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, transaction

from drift.services.looks import PRE_DAYS, pre_period
from fleet.exceptions import StateConflict
from fleet.models import HardwareTarget
from rollouts import cohorts
from rollouts.cohorts import Arm, Draw
from rollouts.models import CohortMember, Delivery, Holdback, Lane, Rollout, Stage, StageRun
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
    by_target = {lane.hardware_target.slug: lane for lane in lanes}
    CohortMember.objects.bulk_create(
        (
            CohortMember(
                run=run,
                lane=by_target[member.hardware_target],
                device_id=member.device_id,
                arm=member.arm,
                stratum=member.stratum,
                analysed=member.analysed,
                previous_release_id=match.running.get(member.device_id),
            )
            for member in drawn.members
        ),
        batch_size=BATCH,
    )
    held = [member.device_id for member in drawn.members if member.arm is Arm.HOLDBACK]
    Holdback.objects.bulk_create(
        (Holdback(rollout=rollout, device_id=device) for device in held), ignore_conflicts=True, batch_size=BATCH
    )
    queue_deliveries(run, drawn, by_target, match, now=now)
    return run


def look_back(policy: Policy, now: datetime) -> tuple[datetime, datetime]:
    """The period before the start that devices are compared with themselves in.

    The usual seven days are whole hours; a shorter one, for trials, ends at the very start.
    """
    if policy.pre_s == PRE_DAYS * DAY_S:
        return pre_period(now)
    return now - timedelta(seconds=policy.pre_s), now


def queue_deliveries(run: StageRun, drawn: Draw, by_target: dict[str, Lane], match: Match, *, now: datetime) -> None:
    """One delivery per treated device, in few statements."""
    release = run.rollout.release
    try:
        with transaction.atomic():
            Delivery.objects.bulk_create(
                (
                    Delivery(
                        device_id=member.device_id,
                        workload_id=release.workload_id,
                        lane=by_target[member.hardware_target],
                        run=run,
                        release=release,
                        previous_release_id=match.running.get(member.device_id),
                        created_at=now,
                    )
                    for member in drawn.members
                    if member.arm is Arm.TREATED
                ),
                batch_size=BATCH,
            )
    except IntegrityError as error:
        raise StateConflict(
            "busy", [], "Another delivery to one of the devices began in this moment; try again.", code="device_busy"
        ) from error
