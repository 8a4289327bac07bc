"""The one transition table of lanes: which event leads from which state to which, and who may cause it."""

from collections import Counter
from collections.abc import Iterable
from enum import StrEnum


class State(StrEnum):
    """Where a lane (one hardware target of a rollout) stands."""

    DRAFT = "draft"
    AWAITING_APPROVAL = "awaiting_approval"
    DEPLOYING = "deploying"
    SOAKING = "soaking"
    EVALUATING = "evaluating"
    PROMOTION_RECOMMENDED = "promotion_recommended"
    HELD = "held"
    ROLLBACK_RECOMMENDED = "rollback_recommended"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    PAUSED = "paused"
    STOPPED = "stopped"
    COMPLETED = "completed"


class Event(StrEnum):
    """What moves a lane. The first ones are acts of people, named as the API names them; the others are found out."""

    SUBMIT = "submit"
    REVISE = "revise"
    START = "start"
    PROMOTE = "promote"
    COMPLETE = "complete"
    OVERRIDE = "override"
    OVERRIDE_COMPLETE = "override_complete"
    HOLD = "hold"
    PAUSE = "pause"
    RESUME = "resume"
    STOP = "stop"
    ROLLBACK = "rollback"

    APPROVAL_EXPIRED = "approval_expired"
    SETTLED = "settled"
    SOAKED = "soaked"
    PASSED = "passed"
    UNDECIDED = "undecided"
    HARMED = "harmed"
    RECOMMENDATION_EXPIRED = "recommendation_expired"
    ROLLBACK_DONE = "rollback_done"
    ROLLBACK_TIMED_OUT = "rollback_timed_out"


ACTIONS = frozenset(
    {
        Event.SUBMIT,
        Event.REVISE,
        Event.START,
        Event.PROMOTE,
        Event.COMPLETE,
        Event.OVERRIDE,
        Event.OVERRIDE_COMPLETE,
        Event.HOLD,
        Event.PAUSE,
        Event.RESUME,
        Event.STOP,
        Event.ROLLBACK,
    }
)
"""Events that only a person causes."""

# Events that are one act to people: promoting out of the last stage completes the lane, and going on although the
# evidence is inconclusive is an act of its own.
_ACTION_OF = {Event.COMPLETE: Event.PROMOTE, Event.OVERRIDE_COMPLETE: Event.OVERRIDE}

# Signing leaves the state as it is; these are the states in which there is something to sign.
SIGNABLE = frozenset({State.AWAITING_APPROVAL, State.PROMOTION_RECOMMENDED, State.HELD})

# Devices of the lane may run the new release, and more of them may get it.
SPREADING = frozenset({State.DEPLOYING, State.SOAKING, State.EVALUATING, State.PROMOTION_RECOMMENDED, State.HELD})
# Installations are handed out in these states and in no other: devices that were offline still get the stage's release.
OFFERING = SPREADING
# The stage's comparison is looked at in these states.
WATCHED = SPREADING | {State.PAUSED, State.COMPLETED, State.ROLLBACK_RECOMMENDED}
HAS_DEVICES = SPREADING | {State.ROLLBACK_RECOMMENDED, State.ROLLING_BACK, State.PAUSED, State.STOPPED, State.COMPLETED}
FINAL = frozenset({State.ROLLED_BACK, State.STOPPED, State.COMPLETED})


def _table() -> dict[tuple[State, Event], State]:
    table = {
        (State.DRAFT, Event.SUBMIT): State.AWAITING_APPROVAL,
        (State.DRAFT, Event.STOP): State.STOPPED,
        (State.AWAITING_APPROVAL, Event.REVISE): State.DRAFT,
        (State.AWAITING_APPROVAL, Event.APPROVAL_EXPIRED): State.DRAFT,
        (State.AWAITING_APPROVAL, Event.START): State.DEPLOYING,
        (State.AWAITING_APPROVAL, Event.STOP): State.STOPPED,
        (State.DEPLOYING, Event.SETTLED): State.SOAKING,
        (State.SOAKING, Event.SOAKED): State.EVALUATING,
        (State.EVALUATING, Event.PASSED): State.PROMOTION_RECOMMENDED,
        (State.EVALUATING, Event.UNDECIDED): State.HELD,
        (State.HELD, Event.PASSED): State.PROMOTION_RECOMMENDED,
        (State.HELD, Event.RESUME): State.EVALUATING,
        (State.PROMOTION_RECOMMENDED, Event.UNDECIDED): State.HELD,
        (State.PROMOTION_RECOMMENDED, Event.RECOMMENDATION_EXPIRED): State.HELD,
        (State.PROMOTION_RECOMMENDED, Event.PROMOTE): State.DEPLOYING,
        (State.PROMOTION_RECOMMENDED, Event.COMPLETE): State.COMPLETED,
        (State.HELD, Event.OVERRIDE): State.DEPLOYING,
        (State.HELD, Event.OVERRIDE_COMPLETE): State.COMPLETED,
        (State.PAUSED, Event.RESUME): State.DEPLOYING,
        (State.ROLLING_BACK, Event.ROLLBACK_DONE): State.ROLLED_BACK,
        (State.ROLLING_BACK, Event.ROLLBACK_TIMED_OUT): State.ROLLED_BACK,
        (State.ROLLING_BACK, Event.STOP): State.STOPPED,
    }
    for state in SPREADING:
        table[state, Event.PAUSE] = State.PAUSED
        table[state, Event.HARMED] = State.ROLLBACK_RECOMMENDED
    for state in SPREADING - {State.DEPLOYING, State.HELD}:
        table[state, Event.HOLD] = State.HELD
    # Watching goes on while a lane is paused and after it completed.
    for state in (State.PAUSED, State.COMPLETED):
        table[state, Event.HARMED] = State.ROLLBACK_RECOMMENDED
    for state in SPREADING | {State.PAUSED, State.ROLLBACK_RECOMMENDED}:
        table[state, Event.STOP] = State.STOPPED
    for state in HAS_DEVICES - {State.ROLLING_BACK}:
        table[state, Event.ROLLBACK] = State.ROLLING_BACK
    return table


TRANSITIONS: dict[tuple[State, Event], State] = _table()
"""(state, event) -> next state; what is not in here does not happen."""


def next_state(state: str, event: Event) -> State | None:
    """The state after the event, or None where the state does not allow it."""
    return TRANSITIONS.get((State(state), event))


def allowed_actions(state: str) -> list[str]:
    """What a person may do with a lane in this state, sorted; `approve` where there is something to sign."""
    events = {event for (source, event) in TRANSITIONS if source == state and event in ACTIONS}
    actions = {str(_ACTION_OF.get(event, event)) for event in events}
    return sorted(actions | ({"approve"} if state in SIGNABLE else set()))


# What a rollout is said to be doing while its lanes differ: whatever needs a person soonest.
_ATTENTION = (
    State.ROLLBACK_RECOMMENDED,
    State.ROLLING_BACK,
    State.PROMOTION_RECOMMENDED,
    State.HELD,
    State.EVALUATING,
    State.SOAKING,
    State.DEPLOYING,
    State.PAUSED,
    State.AWAITING_APPROVAL,
    State.DRAFT,
    State.COMPLETED,
    State.ROLLED_BACK,
    State.STOPPED,
)


def rollout_state(lane_states: Iterable[str]) -> State:
    """The state of a rollout, derived from its lanes: the one that needs attention first; a draft has no lanes yet."""
    present = set(lane_states)
    return next((state for state in _ATTENTION if state in present), State.DRAFT)


def summary(lane_states: Iterable[str]) -> dict[str, int]:
    """How many lanes are in each state, in the order of attention."""
    counted = Counter(lane_states)
    return {str(state): counted[state] for state in _ATTENTION if counted[state]}


def mermaid() -> str:
    """The table as a Mermaid state diagram, one arrow per pair of states, as the README shows it."""
    lines = ["stateDiagram-v2", f"    [*] --> {State.DRAFT}"]
    arrows: dict[tuple[State, State], list[str]] = {}
    for (source, event), target in TRANSITIONS.items():
        arrows.setdefault((source, target), []).append(str(event))
    order = list(State)
    for (source, target), events in sorted(
        arrows.items(), key=lambda item: (order.index(item[0][0]), order.index(item[0][1]))
    ):
        lines.append(f"    {source} --> {target}: {', '.join(sorted(events))}")
    lines += [f"    {state} --> [*]" for state in order if state in FINAL]
    return "\n".join(lines) + "\n"
