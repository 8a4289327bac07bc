"""Decisions of people: start, promote, hold, pause, resume, stop, roll back. Of two at once, one wins."""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

from django.db import transaction

from fleet.actors import Actor
from fleet.exceptions import InvalidInput, NotAllowed, StateConflict
from fleet.models import Release, User
from rollouts import machine, policy
from rollouts.cohorts import Arm
from rollouts.gate import GateVerdict
from rollouts.machine import Event, State
from rollouts.models import Lane, Recommendation, Rollout, Stage, StageRun
from rollouts.selectors import signatures
from rollouts.selectors.gates import gate_for
from rollouts.services import advising, reversal, rights, starting, transitions


def _locked_lanes(rollout: Rollout, hardware_target: str = "") -> list[Lane]:
    """The lanes that an action is about, locked in a fixed order so that two deciders wait and never deadlock."""
    rows = rollout.lanes.select_for_update(of=("self",)).order_by("pk")
    lanes = list(rows.select_related("hardware_target", "stage", "run", "rollout__release__workload"))
    if not hardware_target:
        return lanes
    found = [lane for lane in lanes if lane.hardware_target.slug == hardware_target]
    if not found:
        known = ", ".join(lane.hardware_target.slug for lane in lanes)
        raise InvalidInput({"hardware_target": f"This rollout has no lane “{hardware_target}”; it has {known}."})
    return found


def _that_allow(lanes: Sequence[Lane], *events: Event) -> list[Lane]:
    """The lanes whose state allows one of the events; `StateConflict` where none does."""
    able = [lane for lane in lanes if any(machine.next_state(lane.state, event) for event in events)]
    if able:
        return able
    if len(lanes) == 1:
        raise transitions.conflict(lanes[0], events[0])
    state = machine.rollout_state(lane.state for lane in lanes)
    raise StateConflict(state, machine.allowed_actions(state))


def _assert_gates_open(lanes: Sequence[Lane], now: datetime) -> None:
    """Device CI must have passed, or a waiver must hold, for every lane; a withdrawn release goes nowhere."""
    release = lanes[0].rollout.release
    if release.status != Release.Status.PUBLISHED:
        raise _refusal(lanes[0], f"{release} is {release.status}.", "release_not_published")
    closed = []
    for lane in lanes:
        result = gate_for(release, lane.hardware_target, now)
        if result.verdict is not GateVerdict.PASS:
            closed.append(f"{lane.hardware_target.slug} ({result.verdict}): {'; '.join(result.reasons)}")
    if closed:
        raise _refusal(lanes[0], f"The device-CI gate is closed. {' · '.join(closed)}.", "gate_closed")


def _refusal(lane: Lane, detail: str, code: str) -> StateConflict:
    return StateConflict(lane.state, machine.allowed_actions(lane.state), detail, code=code)


def _assert_signed(sheet: signatures.SignatureSheet, now: datetime) -> None:
    missing = sheet.missing(now)
    if missing:
        raise _refusal(sheet.lanes[0], f"Signatures are missing: {', '.join(missing)}.", "approvals_missing")


@transaction.atomic
def start(
    rollout: Rollout,
    *,
    by: User,
    actor: Actor,
    now: datetime,
    reason: str = "",
    hardware_target: str = "",
    evidence_hash: str = "",
) -> list[Lane]:
    """Begin the first stage of every lane that awaits approval, once all have signed and the gates are open."""
    rights.assert_manager(by)
    lanes = _that_allow(_locked_lanes(rollout, hardware_target), Event.START)
    sheet = signatures.start_sheet(rollout)
    assert sheet is not None, "a lane awaits approval, so there is a submission"
    if evidence_hash and evidence_hash != sheet.evidence.sha256:
        raise _refusal(lanes[0], "The evidence has changed since it was shown; look at it again.", "evidence_changed")
    _assert_signed(sheet, now)
    _assert_gates_open(lanes, now)
    signed = dict.fromkeys((lane.pk for lane in lanes), sheet.signed(now))
    _advance(lanes, Event.START, None, signed, actor=actor, now=now, reason=reason, evidence_hash=sheet.evidence.sha256)
    Rollout.objects.filter(pk=rollout.pk, started_at=None).update(started_at=now)
    return lanes


@transaction.atomic
def promote(
    rollout: Rollout,
    *,
    by: User,
    actor: Actor,
    now: datetime,
    reason: str,
    evidence_hash: str | Sequence[str],
    hardware_target: str = "",
    override: bool = False,
) -> list[Lane]:
    """Take lanes into their next stage, or complete them after the last.

    Which lanes is said by the hashes of the evidence that was decided on. With `override` a lane that is held goes on
    although the evidence is inconclusive: the same signatures, a reason, and never by the rollout's creator.
    """
    rights.assert_manager(by)
    rights.assert_reason(reason)
    hashes = [evidence_hash] if isinstance(evidence_hash, str) else list(evidence_hash)
    if not any(hashes):
        raise InvalidInput({"evidence_hash": "Name the SHA-256 of the evidence that you decide on."}, code="required")
    if override and by.pk == rollout.created_by_id:
        raise NotAllowed("Whoever created a rollout cannot override its evidence.", code="four_eyes")
    event = Event.OVERRIDE if override else Event.PROMOTE
    lanes = _that_allow(_locked_lanes(rollout, hardware_target), event)
    chosen = [lane for lane in lanes if _hash_of(lane) in hashes]
    if not chosen:
        raise _refusal(lanes[0], "The evidence has changed since it was shown; look at it again.", "evidence_changed")
    signed = {lane.pk: _assert_may_go_on(lane, now) for lane in chosen}
    _assert_gates_open(chosen, now)
    for lane in chosen:
        advising.close(lane, Recommendation.Status.ACCEPTED, now=now, by=by)
    completes = Event.OVERRIDE_COMPLETE if override else Event.COMPLETE
    _advance(chosen, event, completes, signed, actor=actor, now=now, reason=reason)
    return chosen


def _hash_of(lane: Lane) -> str:
    standing = signatures.open_recommendation(lane)
    return standing.evidence.sha256 if standing else ""


def _assert_may_go_on(lane: Lane, now: datetime) -> set[str]:
    """Signed, and watched until now: a recommendation outlives a stopped evaluation only briefly. Returns the roles."""
    sheet = signatures.lane_sheet(lane)
    assert sheet is not None, "the lane's hash was found, so a recommendation stands"
    _assert_signed(sheet, now)
    rules = advising.rules_of(lane)
    if lane.run is None or policy.is_stale(lane.run.last_look_at, now, rules):
        last = lane.run.last_look_at if lane.run else None
        when = f"{last:%Y-%m-%d %H:%M} UTC" if last else "never"
        raise _refusal(
            lane, f"The newest look was taken {when}; nothing is promoted on evidence that old.", "evidence_stale"
        )
    return sheet.signed(now)


def _advance(
    lanes: Sequence[Lane],
    event: Event,
    completes: Event | None,
    signed: Mapping[int, set[str]],
    *,
    actor: Actor,
    now: datetime,
    reason: str,
    evidence_hash: str = "",
) -> None:
    """Move lanes into the next stage that has devices for them; lanes that go into the same stage share one run.

    `signed` are the roles that signed for each lane: the fleet may have changed since they were asked, so that another
    stage begins than theirs.
    """
    rollout = lanes[0].rollout
    stages = list(rollout.stages.all())
    waiting = {lane.pk: lane for lane in lanes}
    hashes = {lane.pk: evidence_hash or _newest_hash(lane) for lane in lanes}
    leaving = {lane.run for lane in lanes if lane.run}
    for stage in stages:
        able = [lane for lane in waiting.values() if lane.stage is None or stage.order > lane.stage.order]
        if not able:
            continue
        drawn, match = starting.draw_stage(rollout, stage, able)
        treats = {member.hardware_target for member in drawn.members if member.arm is Arm.TREATED}
        going = [lane for lane in able if lane.hardware_target.slug in treats]
        if not going:
            continue
        if len(going) < len(able):
            # A lane that this stage has no device for takes no part in its comparison.
            drawn, match = starting.draw_stage(rollout, stage, going)
        for lane in going:
            if unsigned := [role for role in stage.required_roles if role not in signed[lane.pk]]:
                raise _refusal(
                    lane,
                    f"Signatures are missing: {', '.join(unsigned)}. By now it is the stage {stage.name} that begins; "
                    "hold the lane and resume it to have that signed.",
                    "approvals_missing",
                )
        run = starting.begin(rollout, stage, going, drawn, match, now=now)
        for lane in going:
            why = _with_skipped(reason, lane, stage, stages)
            transitions.move(
                lane,
                event,
                actor=actor,
                now=now,
                reason=why,
                evidence_hash=hashes[lane.pk],
                stage=stage,
                run=run,
                soak_started_at=None,
                hold_reason="",
            )
            del waiting[lane.pk]
        starting.settle(run, now)
    for lane in waiting.values():
        if completes is None:
            raise _refusal(lane, f"No stage has a device on {lane.hardware_target.slug}.", "no_devices")
        watched_until = now + timedelta(seconds=rollout.rules.watch_s)
        transitions.move(
            lane,
            completes,
            actor=actor,
            now=now,
            reason=reason,
            evidence_hash=hashes[lane.pk],
            hold_reason="",
            watched_until=watched_until,
        )
    for run in leaving:
        end_if_left(run, now)


def _newest_hash(lane: Lane) -> str:
    """The evidence of the recommendation that was closed by this decision."""
    newest = lane.recommendations.select_related("evidence").first()
    return newest.evidence.sha256 if newest else ""


def _with_skipped(reason: str, lane: Lane, stage: Stage, stages: Sequence[Stage]) -> str:
    begun = lane.stage.order if lane.stage else -1
    skipped = [other.name for other in stages if begun < other.order < stage.order]
    note = f"no device to treat in {', '.join(skipped)}" if skipped else ""
    return "; ".join(part for part in (reason, note) if part)


def end_if_left(run: StageRun, now: datetime) -> None:
    """End a run that no lane is in any more: its last look was taken."""
    if not Lane.objects.filter(run=run, state__in=machine.WATCHED).exists():
        StageRun.objects.filter(pk=run.pk, ended_at=None).update(ended_at=now)


@transaction.atomic
def hold(
    rollout: Rollout, *, by: User, actor: Actor, now: datetime, reason: str, hardware_target: str = ""
) -> list[Lane]:
    """Hold lanes: no promotion is recommended before somebody resumes them; harm is still looked for."""
    return _each(rollout, Event.HOLD, by, actor, now, reason, hardware_target, lambda lane: {"hold_reason": reason})


@transaction.atomic
def pause(
    rollout: Rollout, *, by: User, actor: Actor, now: datetime, reason: str, hardware_target: str = ""
) -> list[Lane]:
    """Offer the release to no further device of the lanes; what has begun goes on, and harm is still looked for."""
    return _each(rollout, Event.PAUSE, by, actor, now, reason, hardware_target)


@transaction.atomic
def resume(
    rollout: Rollout, *, by: User, actor: Actor, now: datetime, reason: str, hardware_target: str = ""
) -> list[Lane]:
    """Let paused and held lanes go on where they were."""
    return _each(rollout, Event.RESUME, by, actor, now, reason, hardware_target, lambda lane: {"hold_reason": ""})


def _each(
    rollout: Rollout,
    event: Event,
    by: User,
    actor: Actor,
    now: datetime,
    reason: str,
    hardware_target: str,
    changes: Callable[[Lane], dict[str, str]] = lambda lane: {},
) -> list[Lane]:
    rights.assert_manager(by)
    rights.assert_reason(reason)
    lanes = _that_allow(_locked_lanes(rollout, hardware_target), event)
    for lane in lanes:
        if event is not Event.RESUME:
            advising.close(lane, Recommendation.Status.DECLINED, now=now, by=by)
        transitions.move(lane, event, actor=actor, now=now, reason=reason, **changes(lane))
    return lanes


@transaction.atomic
def stop(
    rollout: Rollout, *, by: User, actor: Actor, now: datetime, reason: str, hardware_target: str = ""
) -> list[Lane]:
    """Emergency stop: one person with any role and a reason.

    Nothing is offered or installed any more; devices that run the release keep it until somebody rolls back.
    """
    rights.assert_may_stop(by)
    rights.assert_reason(reason)
    lanes = _that_allow(_locked_lanes(rollout, hardware_target), Event.STOP)
    for lane in lanes:
        advising.close(lane, Recommendation.Status.DECLINED, now=now, by=by)
        transitions.move(lane, Event.STOP, actor=actor, now=now, reason=reason)
        reversal.call_off(lane, now=now)
        if lane.run:
            end_if_left(lane.run, now)
    return lanes


@transaction.atomic
def roll_back(
    rollout: Rollout,
    *,
    by: User,
    actor: Actor,
    now: datetime,
    reason: str,
    hardware_target: str = "",
    evidence_hash: str = "",
) -> list[Lane]:
    """Take every device of the lanes back to what it ran before.

    Without a hardware target: the lanes for which a rollback is recommended, or, where there are none, all that can.
    A hash, where one is given, must be that of the evidence which stands.
    """
    rights.assert_manager(by)
    rights.assert_reason(reason)
    lanes = _that_allow(_locked_lanes(rollout, hardware_target), Event.ROLLBACK)
    urgent = [lane for lane in lanes if lane.state == State.ROLLBACK_RECOMMENDED]
    if urgent and not hardware_target:
        lanes = urgent
    if evidence_hash:
        lanes = [lane for lane in lanes if _hash_of(lane) == evidence_hash]
        if not lanes:
            everything = _locked_lanes(rollout, hardware_target)
            raise _refusal(
                everything[0], "The evidence has changed since it was shown; look at it again.", "evidence_changed"
            )
    for lane in lanes:
        send_lane_back(lane, actor=actor, now=now, reason=reason, by=by)
    return lanes


def send_lane_back(lane: Lane, *, actor: Actor, now: datetime, reason: str, by: User | None = None) -> None:
    """Move one lane to rolling back and queue its way back; also called by the policy that rolls back by itself."""
    standing = signatures.open_recommendation(lane)
    recommended = standing is not None and standing.kind == policy.Recommendation.ROLLBACK
    outcome = Recommendation.Status.ACCEPTED if recommended else Recommendation.Status.DECLINED
    evidence_hash = standing.evidence.sha256 if standing else ""
    advising.close(lane, outcome, now=now, by=by)
    run = lane.run
    transitions.move(lane, Event.ROLLBACK, actor=actor, now=now, reason=reason, evidence_hash=evidence_hash)
    reversal.send_back(lane, now=now)
    if run:
        end_if_left(run, now)
