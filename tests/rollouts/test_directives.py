"""A running stage asks the devices that it compares for more raw records: both arms alike, while it runs."""

import pytest

from rollouts.models import CohortMember, StageRun
from rollouts.selectors.directives import of_running_stages
from telemetry.services import directives
from telemetry.services.directives import directives_for, set_directive
from tests.rollouts.conftest import actor_of

pytestmark = pytest.mark.django_db


@pytest.fixture
def asked(play):
    """A rollout whose stages ask for half of the raw records, and the devices of its running stage."""
    game = play(per_target=8, policy={"raw_sample_rate": 0.5})
    [run] = StageRun.objects.filter(rollout=game.rollout, ended_at=None)
    members = list(CohortMember.objects.filter(run=run).select_related("device"))
    directives.forget()
    return game, run, members


def told(device, now):
    """What the device hears with its next batch."""
    directives.forget()
    return directives_for(device.pk, now)


def test_both_arms_are_asked_alike_and_nobody_else(asked):
    game, run, members = asked
    assert {member.arm for member in members} == {"treated", "control"}
    assert of_running_stages(game.now) == {member.device_id: {"raw_sample_rate": 0.5} for member in members}
    assert {tuple(told(member.device, game.now).items()) for member in members} == {(("raw_sample_rate", 0.5),)}
    assert told(members[0].device, run.started_at) and directives_for(10**9, game.now) == {}


def test_it_ends_with_the_stage(asked):
    game, run, members = asked
    StageRun.objects.filter(pk=run.pk).update(ended_at=game.now)
    assert told(members[0].device, game.now) == {}


def test_it_only_raises_what_all_are_asked_and_leaves_the_one_device_to_its_operator(asked, cast):
    game, _, [first, second, *_] = asked
    by = {"actor": actor_of(cast.manager), "now": game.now}
    set_directive({"raw_sample_rate": 0.1, "window_s": 30}, **by)
    assert told(first.device, game.now) == {"raw_sample_rate": 0.5, "window_s": 30}
    set_directive({"raw_sample_rate": 0.9}, **by)
    assert told(first.device, game.now) == {"raw_sample_rate": 0.9}
    # a thin link
    set_directive({"raw_sample_rate": 0.0}, device=first.device, **by)
    assert told(first.device, game.now) == {"raw_sample_rate": 0.0}
    assert told(second.device, game.now) == {"raw_sample_rate": 0.9}


def test_without_a_rate_in_the_policy_nothing_is_asked(quick):
    game = quick(advised=False)
    assert of_running_stages(game.now) == {}


def test_a_rate_beyond_one_is_refused(draft):
    with pytest.raises(Exception, match="raw_sample_rate"):
        draft(policy={"raw_sample_rate": 1.5})
