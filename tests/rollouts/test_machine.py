"""The transition table: what people may do from where, and what no event can ever do."""

from hypothesis import given
from hypothesis import strategies as st

from rollouts import machine
from rollouts.machine import ACTIONS, FINAL, HAS_DEVICES, SPREADING, TRANSITIONS, Event, State

walks = st.lists(st.sampled_from(list(Event)), max_size=40)


def walk(events: list[Event]) -> list[State]:
    """The states that a lane passes through when it is given these events, those that it refuses left out."""
    states = [State.DRAFT]
    for event in events:
        after = machine.next_state(states[-1], event)
        if after is not None:
            states.append(after)
    return states


@given(walks)
def test_a_lane_deploys_only_after_a_person_started_promoted_or_resumed_it(events):
    state = State.DRAFT
    for event in events:
        after = machine.next_state(state, event)
        if after is None:
            continue
        if after is State.DEPLOYING:
            assert event in {Event.START, Event.PROMOTE, Event.OVERRIDE, Event.RESUME}
        state = after


@given(walks)
def test_a_lane_completes_only_by_a_person_who_promotes_or_overrides(events):
    state = State.DRAFT
    for event in events:
        after = machine.next_state(state, event)
        if after is State.COMPLETED:
            assert (state, event) in {
                (State.PROMOTION_RECOMMENDED, Event.COMPLETE),
                (State.HELD, Event.OVERRIDE_COMPLETE),
            }
        state = after or state


def test_a_held_lane_goes_on_only_by_an_override_that_says_so():
    assert "promote" not in machine.allowed_actions(State.HELD)
    assert "override" in machine.allowed_actions(State.HELD)


@given(walks)
def test_promotion_is_recommended_only_after_evaluation(events):
    states = walk(events)
    if State.PROMOTION_RECOMMENDED in states:
        assert State.EVALUATING in states[: states.index(State.PROMOTION_RECOMMENDED)]


def test_rollback_is_one_action_away_wherever_devices_run_the_new_release():
    for state in HAS_DEVICES - {State.ROLLING_BACK}:
        assert "rollback" in machine.allowed_actions(state), state


def test_stop_is_one_action_away_wherever_devices_change():
    for state in SPREADING | {State.PAUSED, State.ROLLBACK_RECOMMENDED, State.ROLLING_BACK}:
        assert "stop" in machine.allowed_actions(state), state


def test_harm_halts_every_state_in_which_the_release_may_spread():
    for state in SPREADING | {State.PAUSED, State.COMPLETED}:
        assert machine.next_state(state, Event.HARMED) is State.ROLLBACK_RECOMMENDED, state


def test_after_a_rollback_recommendation_only_a_person_moves_the_lane_and_never_forward():
    assert machine.allowed_actions(State.ROLLBACK_RECOMMENDED) == ["rollback", "stop"]
    assert {event for state, event in TRANSITIONS if state is State.ROLLBACK_RECOMMENDED} <= ACTIONS


def test_every_state_is_reachable_and_every_way_ends():
    reached = {State.DRAFT}
    while True:
        more = {after for (before, _), after in TRANSITIONS.items() if before in reached} - reached
        if not more:
            break
        reached |= more
    assert reached == set(State)
    for state in set(State) - FINAL:
        ahead = {state}
        for _ in State:
            ahead |= {after for (before, _), after in TRANSITIONS.items() if before in ahead}
        assert ahead & FINAL, state


def test_a_rolled_back_lane_allows_nothing():
    assert machine.allowed_actions(State.ROLLED_BACK) == []


def test_only_a_lane_with_something_to_sign_can_be_approved():
    assert [state for state in State if "approve" in machine.allowed_actions(state)] == [
        State.AWAITING_APPROVAL,
        State.PROMOTION_RECOMMENDED,
        State.HELD,
    ]


def test_a_rollout_shows_the_lane_that_needs_attention_first():
    assert machine.rollout_state(["completed", "rollback_recommended", "soaking"]) is State.ROLLBACK_RECOMMENDED
    assert machine.rollout_state(["completed", "rolled_back"]) is State.COMPLETED
    assert machine.rollout_state([]) is State.DRAFT
    assert machine.summary(["soaking", "held", "soaking"]) == {"held": 1, "soaking": 2}


def test_the_diagram_shows_every_transition_once():
    diagram = machine.mermaid()
    for (before, event), after in TRANSITIONS.items():
        line = next(line for line in diagram.splitlines() if line.startswith(f"    {before} --> {after}:"))
        assert str(event) in line
    assert diagram.count("-->") == len({(b, a) for (b, _), a in TRANSITIONS.items()}) + 1 + len(FINAL)
