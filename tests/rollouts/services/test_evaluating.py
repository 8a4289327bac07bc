"""Evaluation: harm halts its own lane at once, health is recommended for promotion, the unknown never advances."""

import pytest

from rollouts.machine import State
from rollouts.models import Look, Recommendation
from rollouts.selectors.replay import replay
from rollouts.services import deciding, evaluating
from tests.rollouts.conftest import actor_of, hash_of, sign_all

pytestmark = pytest.mark.django_db


def test_more_energy_on_one_hardware_target_halts_that_lane_and_lets_the_other_pass(play):
    game = play(faults={("4.2.0", "orin-nx-16"): {"energy": 1.15}})
    for _ in range(6):
        game.pass_time()
    states = game.states()
    assert states["orin-nx-16"] == State.ROLLBACK_RECOMMENDED
    assert states["hailo-8"] == State.PROMOTION_RECOMMENDED, Look.objects.last().reason
    advice = Recommendation.objects.get(lane=game.lane("orin-nx-16"), status="open")
    assert "Energy per inference" in advice.reason
    assert advice.reverse_plan["destinations"] == [{"release": "4.1.0", "devices": 12}]
    assert replay(advice.evidence).agrees


def test_lanes_that_enter_a_stage_one_by_one_divide_what_it_may_spend(quick, cast):
    """The chance of a false alarm is promised for the whole rollout, whatever the order of promotions."""
    game = quick()
    sign_all(game.rollout, cast, game.now)
    spent = []
    for target in ("orin-nx-16", "hailo-8"):
        deciding.promote(
            game.rollout,
            by=cast.manager,
            actor=actor_of(cast.manager),
            now=game.now,
            reason="Because.",
            evidence_hash=hash_of(game.lane(target)),
            hardware_target=target,
        )
        lane = game.lane(target)
        spent.append(evaluating.look_plan(lane.run, [lane], {target: evaluating.bounds_of(lane, game.now)}))
    assert [(plan.alpha, plan.stages) for plan in spent] == [(0.025, 1), (0.025, 1)]
