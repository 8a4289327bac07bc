"""Progress of lanes that nobody has to decide: devices settled, soak over, rollback done."""

from collections.abc import Sequence
from datetime import datetime

from fleet.actors import Actor
from rollouts.machine import Event, State
from rollouts.models import Lane
from rollouts.policy import Exposure
from rollouts.selectors.reversal import not_reached, stranded
from rollouts.services import advising, transitions

ACTOR = Actor.system("rollout")
# Serial numbers that a sentence repeats; the lane lists all of them.
NAMED = 10


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
    """Close a rollback once every device is back, or was given its time; returns whether it is closed.

    A device that could not be reached goes on being offered its way back: it is told when it calls again.
    """
    if lane.state != State.ROLLING_BACK:
        return False
    missing = not_reached(lane)
    if not missing:
        transitions.move(lane, Event.ROLLBACK_DONE, actor=ACTOR, now=now, reason=_back_words(stranded(lane)))
        return True
    given = lane.rollout.rules.rollback_timeout_s
    if (now - lane.state_since).total_seconds() <= given:
        return False
    transitions.move(
        lane, Event.ROLLBACK_TIMED_OUT, actor=ACTOR, now=now, reason=_not_reached_words(missing, given / 86_400)
    )
    return True


def _back_words(left: Sequence[str]) -> str:
    if not left:
        return "every device is back"
    return f"{_named(left)} on the release: there is no earlier one to go back to; every other device is back"


def _named(serials: Sequence[str]) -> str:
    more = f" and {len(serials) - NAMED} more" if len(serials) > NAMED else ""
    stay = "stays" if len(serials) == 1 else "stay"
    return f"{len(serials)} device{'s' * (len(serials) != 1)} {stay} ({', '.join(serials[:NAMED])}{more})"


def _not_reached_words(serials: Sequence[str], days: float) -> str:
    named = ", ".join(serials[:NAMED]) + (f" and {len(serials) - NAMED} more" if len(serials) > NAMED else "")
    return f"{len(serials)} device{'s' * (len(serials) != 1)} not reached within {days:.3g} days: {named}"
