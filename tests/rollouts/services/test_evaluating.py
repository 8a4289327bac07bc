"""Evaluation: harm halts its own lane at once, health is recommended for promotion, the unknown never advances."""

import pytest

from rollouts.machine import State
from rollouts.models import Look, Recommendation
from rollouts.selectors.replay import replay

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
