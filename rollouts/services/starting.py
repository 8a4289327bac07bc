"""Starting a stage: cohorts are drawn at once, then written and queued; of a large stage piece by piece."""

from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta

from django.db import IntegrityError, connection, transaction

from drift.services.looks import PRE_DAYS, pre_period
from fleet.exceptions import StateConflict
from fleet.models import Workload
from rollouts import cohorts, machine
from rollouts.cohorts import Arm, Draw
from rollouts.machine import State
from rollouts.models import DrawnMember, Lane, Rollout, Stage, StageRun
from rollouts.plans import DAY_S, Policy
from rollouts.selectors import populations
from rollouts.selectors.cohorts import hand_picked_devices, holdback_of, population_of, rule_of, run_seed
from rollouts.selectors.populations import Match

# Stages of up to this many members are whole when the request that starts them is answered.
AT_ONCE = 2_000
# Members written in one transaction of a larger one: some tenths of a second, so that a stop waits no longer.
PIECE = 4_000
BATCH = 2_000
# Lanes whose devices get a delivery while a stage is still being written; a paused one offers it once it is resumed.
_QUEUES = machine.OFFERING | {State.PAUSED}


def draw_stage(rollout: Rollout, stage: Stage, lanes: Sequence[Lane]) -> tuple[Draw, Match]:
    """Draw a stage for some lanes, hold-backs fixed at the first stage of each lane.

    Draws of one workload come one after the other, and none while another rollout's stage is still being written:
    otherwise two could take the same device.
    """
    Workload.objects.select_for_update(no_key=True).get(pk=rollout.workload_id)
    other = StageRun.objects.filter(rollout__workload=rollout.workload_id, ready_at=None).exclude(rollout=rollout)
    if (busy := other.select_related("stage").first()) is not None:
        raise StateConflict(
            "busy", [], f"{busy} is just starting; try again when it has.", code="another_stage_is_starting"
        )
    return _drawn(rollout, stage, lanes)


def stage_ahead(lane: Lane) -> Stage | None:
    """The stage into which the lane would go on now: the next that has a device of it to treat; None: completion."""
    order = lane.stage.order if lane.stage else -1
    for stage in lane.rollout.stages.filter(order__gt=order).order_by("order"):
        drawn, _ = _drawn(lane.rollout, stage, [lane])
        if drawn.ids(Arm.TREATED):
            return stage
    return None


def _drawn(rollout: Rollout, stage: Stage, lanes: Sequence[Lane]) -> tuple[Draw, Match]:
    targets = {lane.hardware_target.slug for lane in lanes}
    everyone = populations.match(rollout.release, [rollout.selector], rollout=rollout).narrowed(targets)
    held = _holdback(rollout, everyone, lanes)
    match = (
        populations.match(rollout.release, [rollout.selector, stage.selector], rollout=rollout).narrowed(targets)
        if stage.selector
        else everyone
    )
    treated = set(populations.treated_devices(rollout))
    population = population_of(stage, match, everyone, treated, held)
    return cohorts.draw(population, rule_of(stage), seed=rollout.seed), match


def _holdback(rollout: Rollout, everyone: Match, lanes: Sequence[Lane]) -> set[int]:
    """The rollout's hold-backs; drawn now for lanes that begin."""
    held = set(rollout.holdbacks.values_list("device_id", flat=True))
    beginning = {lane.hardware_target.slug for lane in lanes if lane.run_id is None}
    if beginning:
        stages = list(rollout.stages.all())
        candidates = [c for c in everyone.candidates if c.hardware_target in beginning]
        picked = hand_picked_devices(rollout.selector, stages)
        held |= set(holdback_of(stages, candidates, rollout.rules, rollout.seed, picked))
    return held


@transaction.atomic
def begin(
    rollout: Rollout, stage: Stage, lanes: Sequence[Lane], drawn: Draw, match: Match, *, now: datetime
) -> StageRun:
    """Freeze the cohorts of a drawn stage; the caller has locked the lanes and moves them, then calls `settle`."""
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
        drawn=len(drawn.members),
    )
    run.lanes.set(lanes)
    _keep(run, drawn, {lane.hardware_target.slug: lane for lane in lanes}, match)
    return run


def settle(run: StageRun, now: datetime) -> None:
    """Write a stage that is small enough at once, within the decision; a large one is left to `go_on`."""
    if run.drawn > AT_ONCE:
        return
    try:
        with transaction.atomic():
            write_piece(run.pk, now, size=max(run.drawn, 1))
    except IntegrityError as error:
        raise StateConflict(
            "busy", [], "Another delivery to one of the devices began in this moment; try again.", code="device_busy"
        ) from error
    run.refresh_from_db()


def starting() -> list[int]:
    """Runs of which a part is still to be written."""
    return list(StageRun.objects.filter(ready_at=None).order_by("pk").values_list("pk", flat=True))


def go_on(clock: Callable[[], datetime], *, pieces: int | None = None, size: int = PIECE) -> int:
    """Write what is left of starting stages, piece by piece, and return how many members were written.

    Each piece is a transaction of its own that moves the run's own mark, so whoever goes on after a crash begins where
    the last whole piece ended. A run that another worker is at is left to that one.
    """
    total = 0
    for pk in starting():
        while pieces is None or pieces > 0:
            written = write_piece(pk, clock(), size=size, skip_locked=True, tolerant=True)
            if pieces is not None:
                pieces -= 1
            if not written:
                break
            total += written
    return total


@transaction.atomic
def write_piece(run_id: int, now: datetime, *, size: int, skip_locked: bool = False, tolerant: bool = False) -> int:
    """Write the next members of a run and queue deliveries to the treated ones; returns how many were written.

    Lanes are locked before the run, in the order in which decisions lock them: whoever stops a lane waits for a piece
    at most, and no piece after that queues anything in it. `tolerant`: a device that got another delivery meanwhile is
    counted among those left out; otherwise that is an IntegrityError.
    """
    lanes = dict(
        Lane.objects.filter(run=run_id).order_by("pk").select_for_update(of=("self",)).values_list("pk", "state")
    )
    rows = StageRun.objects.select_for_update(of=("self",), skip_locked=skip_locked)
    run = rows.select_related("rollout__release").filter(pk=run_id, ready_at=None).first()
    if run is None:
        return 0
    until = min(run.written + size, run.drawn)
    release = run.rollout.release
    values = {
        "run": run.pk,
        "rollout": run.rollout_id,
        "after": run.written,
        "until": until,
        "lanes": [pk for pk, state in lanes.items() if state in _QUEUES],
        "workload": release.workload_id,
        "release": release.pk,
        "started": run.started_at,
    }
    with connection.cursor() as cursor:
        cursor.execute(_HOLDBACKS, values)
        cursor.execute(_MEMBERS, values)
        wanted = _treated(cursor, values)
        cursor.execute(_DELIVERIES + ("ON CONFLICT DO NOTHING" if tolerant else ""), values)
        missed = wanted - cursor.rowcount
        if until == run.drawn:
            cursor.execute("DELETE FROM rollouts_drawnmember WHERE run_id = %(run)s", values)
    written = until - run.written
    if missed:
        why = "another delivery to the device began while the stage was starting"
        run.excluded[why] = run.excluded.get(why, 0) + missed
    run.written = until
    run.ready_at = now if until == run.drawn else None
    run.save(update_fields=["written", "ready_at", "excluded"])
    return written


_PIECE = "FROM rollouts_drawnmember WHERE run_id = %(run)s AND position > %(after)s AND position <= %(until)s"
_HOLDBACKS = f"""
INSERT INTO rollouts_holdback (rollout_id, device_id)
SELECT %(rollout)s, device_id {_PIECE} AND arm = 'holdback'
ON CONFLICT DO NOTHING
"""
_MEMBERS = f"""
INSERT INTO rollouts_cohortmember (run_id, device_id, lane_id, arm, stratum, analysed, previous_release_id)
SELECT run_id, device_id, lane_id, arm, stratum, analysed, previous_release_id {_PIECE}
"""
_QUEUED = f"{_PIECE} AND arm = 'treated' AND lane_id = ANY(%(lanes)s)"
_DELIVERIES = f"""
INSERT INTO rollouts_delivery (
    run_id, lane_id, device_id, previous_release_id, workload_id, release_id,
    kind, status, attempt, detail, created_at, cancel_refused, confirmed_inferences
)
SELECT run_id, lane_id, device_id, previous_release_id, %(workload)s, %(release)s,
    'install', 'queued', 1, '', %(started)s, false, 0
{_QUEUED} ORDER BY device_id
"""


def _treated(cursor, values: dict[str, object]) -> int:
    cursor.execute(f"SELECT count(*) {_QUEUED}", values)
    return cursor.fetchone()[0]


_COLUMNS = ("run_id", "position", "device_id", "lane_id", "arm", "stratum", "analysed", "previous_release_id")


def _keep(run: StageRun, drawn: Draw, by_target: dict[str, Lane], match: Match) -> None:
    """Copy the draw to where pieces are taken from."""
    lanes = {target: lane.pk for target, lane in by_target.items()}
    rows = (
        (
            run.pk,
            position,
            member.device_id,
            lanes[member.hardware_target],
            str(member.arm),
            member.stratum,
            member.analysed,
            match.running.get(member.device_id),
        )
        for position, member in enumerate(drawn.members, start=1)
    )
    if len(drawn.members) > AT_ONCE:
        _copy(rows)
    else:
        names = _COLUMNS
        DrawnMember.objects.bulk_create(
            (DrawnMember(**dict(zip(names, row, strict=True))) for row in rows), batch_size=BATCH
        )


def _copy(rows: Iterable[tuple[object, ...]]) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy(f"COPY rollouts_drawnmember ({', '.join(_COLUMNS)}) FROM STDIN") as copy,
    ):
        for row in rows:
            copy.write_row(row)


def look_back(policy: Policy, now: datetime) -> tuple[datetime, datetime]:
    """The period before the start that devices are compared with themselves in.

    The usual seven days are whole hours; a shorter one, for trials, ends at the very start.
    """
    if policy.pre_s == PRE_DAYS * DAY_S:
        return pre_period(now)
    return now - timedelta(seconds=policy.pre_s), now
