"""Progress of lanes that nobody has to decide: devices settled, soak over, rollback done."""

from datetime import datetime

from fleet.actors import Actor
from rollouts.machine import Event, State
from rollouts.models import Lane
from rollouts.policy import Exposure
from rollouts.services import advising, reversal, transitions

ACTOR = Actor.system("rollout")


def progress(lane: Lane, exposure: Exposure, now: datetime) -> Lane:
    """Take a lane from deploying to soaking to evaluating as its exposure allows, as far as it goes."""
    rules = advising.rules_of(lane)
    settled = exposure.confirmed >= exposure.needed(rules)
    if lane.state == State.DEPLOYING and settled:
        transitions.move(
            lane,
            Event.SETTLED,
            actor=ACTOR,
            now=now,
            reason=f"{exposure.confirmed} of {exposure.treated} devices confirmed",
            soak_started_at=lane.soak_started_at or now,
        )
    if lane.state == State.SOAKING and settled and lane.soak_started_at is not None:
        soaked = (now - lane.soak_started_at).total_seconds()
        if soaked >= rules.minimum_soak_s and exposure.inferences >= rules.minimum_inferences:
            transitions.move(
                lane,
                Event.SOAKED,
                actor=ACTOR,
                now=now,
                reason=f"soaked {soaked / 3600:.1f} h, {exposure.inferences:,} inferences",
            )
    return lane


def finish_rollback(lane: Lane, now: datetime) -> bool:
    """Close a rollback once every device is back; returns whether it is."""
    if lane.state != State.ROLLING_BACK or reversal.outstanding(lane):
        return False
    transitions.move(lane, Event.ROLLBACK_DONE, actor=ACTOR, now=now, reason="every device is back")
    return True
