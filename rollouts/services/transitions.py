"""The one way in which a lane changes its state: compare-and-swap along the transition table, leaving a row behind."""

from datetime import datetime
from typing import Any

from django.db import transaction

from fleet.actors import Actor
from fleet.exceptions import StateConflict
from fleet.services import audit
from rollouts import machine
from rollouts.machine import Event
from rollouts.models import Lane, LaneTransition
from rollouts.services import webhooks


@transaction.atomic
def move(
    lane: Lane,
    event: Event,
    *,
    actor: Actor,
    now: datetime,
    reason: str = "",
    evidence_hash: str = "",
    **changes: Any,
) -> Lane:
    """Move the lane by an event and set the other fields that change with it.

    The row is written only where it still is in the state (and stage run) that the caller saw; whoever comes second
    gets `StateConflict` with the state as it is now. The row lock that the update takes lasts until the transaction
    ends, so the consequences of a move are the winner's alone.
    """
    old, stage = lane.state, lane.stage
    new = machine.next_state(old, event)
    if new is None:
        raise conflict(lane, event)
    swapped = Lane.objects.filter(pk=lane.pk, state=old, run=lane.run_id).update(state=new, state_since=now, **changes)
    if not swapped:
        lane.refresh_from_db()
        raise conflict(lane, event)
    lane.state, lane.state_since = new, now
    for field, value in changes.items():
        setattr(lane, field, value)
    LaneTransition.objects.create(
        lane=lane,
        at=now,
        event=event,
        old=old,
        new=new,
        stage=lane.stage or stage,
        actor=actor.label,
        user_id=actor.user_id,
        reason=reason,
        evidence_hash=evidence_hash,
    )
    audit.record(
        actor=actor,
        action=f"lane.{event}",
        obj=lane,
        now=now,
        old={"state": old},
        new={"state": str(new), "stage": lane.stage.name if lane.stage else None},
        reason=reason,
        evidence_hash=evidence_hash,
    )
    webhooks.announce(lane, f"lane.{new}", reason=reason, evidence_hash=evidence_hash, now=now)
    return lane


def conflict(lane: Lane, event: Event | str) -> StateConflict:
    """The refusal: which lane is in which state, and what it allows instead."""
    allowed = machine.allowed_actions(lane.state)
    return StateConflict(
        lane.state,
        allowed,
        f"{lane.hardware_target.slug} is {lane.state.replace('_', ' ')}, which does not allow "
        f"“{str(event).replace('_', ' ')}”; allowed: {', '.join(allowed) or 'nothing'}.",
    )
