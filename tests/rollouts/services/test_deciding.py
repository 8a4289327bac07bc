"""Decisions of people: who may, from where, on what, and what happens when two decide at once."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from fleet.exceptions import InvalidInput, NotAllowed, StateConflict
from fleet.models import AuditEntry, Release
from fleet.services.releases import withdraw
from rollouts.machine import State
from rollouts.models import Delivery, LaneTransition, StageRun
from rollouts.selectors.lanes import as_dict, lane_views
from rollouts.services import advancing, deciding
from tests.rollouts.conftest import actor_of, hash_of, sign_all

pytestmark = pytest.mark.django_db


@pytest.fixture
def act(cast):
    """Decide as somebody: `act(game, deciding.pause, reason="…")`; the manager unless told."""

    def go(game, decision, by=None, **fields):
        person = by or cast.manager
        fields.setdefault("reason", "Because.")
        return decision(game.rollout, by=person, actor=actor_of(person), now=game.now, **fields)

    return go


def hashes(game) -> list[str]:
    return [hash_of(lane) for lane in game.rollout.lanes.all()]


def test_promoting_takes_a_lane_into_the_next_stage_with_a_fresh_draw(quick, act, cast):
    game = quick()
    sign_all(game.rollout, cast, game.now)
    moved = act(game, deciding.promote, evidence_hash=hashes(game))
    assert {(lane.state, lane.stage.name) for lane in moved} == {("deploying", "fleet")}
    runs = list(StageRun.objects.order_by("id"))
    assert [(run.stage.name, run.randomised) for run in runs] == [("internal", False), ("fleet", True)]
    assert runs[0].ended_at == game.now
    fresh = Delivery.objects.filter(run=runs[1])
    assert fresh.count() == 4
    assert {delivery.device.region.slug for delivery in fresh} == {"us-west"}


@pytest.mark.django_db(transaction=True)
def test_of_two_managers_who_promote_at_once_one_wins_and_the_other_is_told_the_state(quick, act, cast):
    game = quick()
    sign_all(game.rollout, cast, game.now)
    target, shown = "hailo-8", hash_of(game.lane("hailo-8"))
    together = Barrier(2)

    def decide(_):
        try:
            together.wait()
            return act(game, deciding.promote, evidence_hash=shown, hardware_target=target)
        except StateConflict as refused:
            return refused
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(decide, range(2)))
    refused = [outcome for outcome in outcomes if isinstance(outcome, StateConflict)]
    assert len(refused) == 1
    assert refused[0].state == "deploying"
    assert "promote" not in refused[0].allowed_actions
    assert LaneTransition.objects.filter(event="promote").count() == 1
    assert StageRun.objects.filter(stage__name="fleet").count() == 1


@pytest.mark.django_db(transaction=True)
def test_over_http_the_second_of_two_managers_gets_a_409_with_the_state_and_what_it_allows(
    quick, cast, api_client, monkeypatch
):
    from django.utils import timezone

    game = quick()
    sign_all(game.rollout, cast, game.now)
    monkeypatch.setattr(timezone, "now", lambda: game.now)
    body = {"reason": "Go.", "evidence_hash": hash_of(game.lane("hailo-8")), "hardware_target": "hailo-8"}
    clients, together = [api_client(person) for person in (cast.manager, cast.administrator)], Barrier(2)

    def promote(client):
        try:
            together.wait()
            return client.post(f"/api/v1/rollouts/{game.rollout.pk}/promote", body, format="json")
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        answers = sorted(pool.map(promote, clients), key=lambda answer: answer.status_code)
    assert [answer.status_code for answer in answers] == [200, 409]
    refused = answers[1].json()
    assert refused["state"] == "deploying" and "stop" in refused["allowed_actions"]
    assert "promote" not in refused["allowed_actions"]


@pytest.mark.django_db(transaction=True)
def test_one_promotes_while_another_rolls_back_and_only_one_of_them_happens_to_the_lane(quick, act, cast):
    game = quick()
    sign_all(game.rollout, cast, game.now)
    shown = hash_of(game.lane("hailo-8"))
    together = Barrier(2)

    def decide(decision):
        try:
            together.wait()
            return act(game, decision, evidence_hash=shown, hardware_target="hailo-8")
        except StateConflict as refused:
            return refused
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        outcomes = list(pool.map(decide, (deciding.promote, deciding.roll_back)))
    assert sum(isinstance(outcome, StateConflict) for outcome in outcomes) == 1, outcomes


def test_a_promotion_names_the_evidence_that_stands(quick, act, cast):
    game = quick()
    sign_all(game.rollout, cast, game.now)
    with pytest.raises(InvalidInput, match="evidence_hash"):
        act(game, deciding.promote, evidence_hash="")
    with pytest.raises(StateConflict) as refused:
        act(game, deciding.promote, evidence_hash="f" * 64)
    assert refused.value.code == "evidence_changed"
    with pytest.raises(InvalidInput, match="reason"):
        act(game, deciding.promote, evidence_hash=hashes(game), reason=" ")


def test_only_a_release_manager_decides_but_anybody_with_a_role_stops(quick, act, cast):
    game = quick()
    for decision in (deciding.pause, deciding.hold, deciding.roll_back):
        with pytest.raises(NotAllowed):
            act(game, decision, by=cast.engineer)
    with pytest.raises(NotAllowed):
        act(game, deciding.stop, by=cast.visitor)
    with pytest.raises(InvalidInput, match="reason"):
        act(game, deciding.stop, by=cast.engineer, reason="")
    assert {lane.state for lane in act(game, deciding.stop, by=cast.engineer)} == {"stopped"}
    assert AuditEntry.objects.filter(action="lane.stop", user=cast.engineer).count() == 2


def test_a_stopped_lane_offers_nothing_and_can_still_be_rolled_back(quick, act):
    game = quick(advised=False)
    act(game, deciding.stop)
    assert game.field.update(game.now) == []
    assert set(Delivery.objects.values_list("status", flat=True)) == {"cancelled"}
    act(game, deciding.roll_back)
    assert set(game.states().values()) == {"rolling_back"}


def test_devices_without_an_earlier_release_are_never_said_to_be_back(quick, act, cast, browser_client):
    game = quick()
    withdraw(cast.release, actor=actor_of(cast.manager), now=game.now, reason="Broken too.")
    act(game, deciding.roll_back, hardware_target="hailo-8")
    advancing.advance(game.now)
    lane = game.lane("hailo-8")
    assert lane.state == "rolled_back" and not Delivery.objects.filter(kind="rollback").exists()
    told = lane.transitions.order_by("-pk").first().reason
    assert told.startswith("2 devices stay (hailo-8-000, hailo-8-002) on the release: there is no earlier one")
    view = next(view for view in lane_views(game.rollout, game.now) if view.target == "hailo-8")
    assert view.stranded == as_dict(view)["stranded"] == ["hailo-8-000", "hailo-8-002"]
    page = browser_client(cast.manager).get(f"/rollouts/{game.rollout.pk}/?lane=hailo-8").content.decode()
    assert "with no earlier release to return to stay on this one" in page


def test_rolling_back_sends_every_device_that_may_run_the_release_back_to_its_own_release(quick, act):
    game = quick()
    act(game, deciding.roll_back, hardware_target="hailo-8")
    back = Delivery.objects.filter(kind="rollback")
    assert {(row.device.hardware_target.slug, row.release.version) for row in back} == {("hailo-8", "4.1.0")}
    assert back.count() == 2
    for _ in range(2):
        game.pass_time()
    assert game.states() == {"hailo-8": "rolled_back", "orin-nx-16": "promotion_recommended"}
    assert game.field.running["hailo-8-000"] == "4.1.0"
    with pytest.raises(StateConflict) as refused:
        act(game, deciding.roll_back, hardware_target="hailo-8")
    assert refused.value.allowed_actions == []


def test_a_held_lane_is_not_recommended_before_it_is_resumed(quick, act):
    game = quick()
    act(game, deciding.hold, hardware_target="hailo-8", reason="Waiting for the weekend.")
    for _ in range(2):
        game.pass_time()
    assert game.states()["hailo-8"] == State.HELD
    act(game, deciding.resume, hardware_target="hailo-8")
    game.pass_time()
    assert game.states()["hailo-8"] == State.PROMOTION_RECOMMENDED


def test_a_paused_lane_offers_the_release_to_no_further_device(quick, act):
    game = quick(advised=False)
    act(game, deciding.pause)
    assert game.field.update(game.now) == []
    act(game, deciding.resume)
    assert len(game.field.update(game.now)) == 4


def test_a_lane_that_does_not_exist_is_bad_input_and_one_that_cannot_is_a_conflict(quick, act):
    game = quick(advised=False)
    with pytest.raises(InvalidInput, match="tpu"):
        act(game, deciding.pause, hardware_target="tpu")
    with pytest.raises(StateConflict) as refused:
        act(game, deciding.promote, evidence_hash="x", hardware_target="hailo-8")
    assert refused.value.state == "deploying"
    assert "stop" in refused.value.allowed_actions


def test_a_withdrawn_release_goes_no_further(quick, act, cast):
    game = quick()
    sign_all(game.rollout, cast, game.now)
    withdraw(Release.objects.get(version="4.2.0"), actor=actor_of(cast.manager), now=game.now)
    with pytest.raises(StateConflict) as refused:
        act(game, deciding.promote, evidence_hash=hashes(game))
    assert refused.value.code == "release_not_published"


def test_an_override_needs_another_person_and_the_same_signatures(quick, act, cast):
    stages = [{**STAGE, "minimum_devices": 1} for STAGE in ONE_STAGE]
    game = quick(advised=False, stages=stages, per_target=4)
    for _ in range(3):
        game.pass_time()
    assert set(game.states().values()) == {"held"}
    lane = game.lane("hailo-8")
    shown = {"evidence_hash": hash_of(lane), "hardware_target": "hailo-8"}
    with pytest.raises(StateConflict):
        act(game, deciding.promote, **shown)
    with pytest.raises(NotAllowed) as refused:
        act(game, deciding.promote, override=True, **shown)
    assert refused.value.code == "four_eyes"
    act(game, deciding.promote, by=cast.administrator, override=True, reason="Four devices are all we have.", **shown)
    assert game.states()["hailo-8"] == "completed"
    assert LaneTransition.objects.get(event="override_complete").reason == "Four devices are all we have."


ONE_STAGE = [{"name": "all", "share": 0.5, "minimum_soak_s": 0, "minimum_inferences": 100}]
