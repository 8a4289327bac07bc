"""Fail-open is impossible: whatever is missing, broken or late, no lane advances by it."""

from datetime import timedelta

import pytest

from drift.services import looks
from fleet.exceptions import StateConflict
from fleet.models import Device
from rollouts.machine import SPREADING, State
from rollouts.models import Delivery, LaneTransition, Recommendation, StageRun
from rollouts.selectors import signatures
from rollouts.services import advancing, approvals, deciding, evaluating
from tests.rollouts.conftest import QUICK_STAGES, actor_of, hash_of, sign_all

pytestmark = pytest.mark.django_db

STAGE = {"name": "canary", "share": 0.5, "minimum_soak_s": 0, "minimum_devices": 2, "minimum_inferences": 100}


def advanced() -> set[str]:
    """Events that took any lane forward."""
    return set(LaneTransition.objects.values_list("event", flat=True)) & {"passed", "promote", "complete"}


def promote(game, cast, **fields):
    return deciding.promote(
        game.rollout, by=cast.manager, actor=actor_of(cast.manager), now=game.now, reason="Go.", **fields
    )


def test_no_data_never_advances_a_lane(play):
    game = play(per_target=8, stages=[STAGE])
    for _ in range(4):
        game.pass_time(sending=[])
    assert set(game.states().values()) <= {"deploying", "rollback_recommended"}
    assert not advanced()


def test_inferences_that_all_fail_confirm_no_device(play):
    broken = {("4.2.0", target): {"error": 1.0} for target in ("orin-nx-16", "hailo-8")}
    game = play(per_target=8, stages=[STAGE], faults=broken, policy={"confirmed_inferences": 1})
    for _ in range(3):
        game.pass_time()
    assert not Delivery.objects.filter(status="confirmed").exists()
    assert Delivery.objects.filter(status="booted").count() == 8
    assert not advanced()


def test_too_few_devices_never_advance_a_lane(play):
    game = play(per_target=8, stages=[STAGE])
    for _ in range(5):
        game.pass_time()
    assert set(game.states().values()) == {"held"}
    advice = Recommendation.objects.filter(status="open").first()
    assert "4 treated devices, at least 6 are needed" in advice.reason
    assert not advanced()


def test_devices_that_fall_silent_after_the_update_halt_the_lane(play):
    game = play(per_target=8, stages=[STAGE], policy={"silent_intervals": 5})
    game.field.update(game.now)
    updated = {serial for serial, release in game.field.running.items() if release == "4.2.0"}
    others = [device for serial, device in game.field.devices.items() if serial not in updated]
    for _ in range(2):
        game.pass_time(sending=others)
    assert set(game.states().values()) == {"rollback_recommended"}
    assert "silent after the update" in Recommendation.objects.filter(status="open").first().reason
    assert not advanced()


def test_an_evaluation_that_raises_takes_a_recommendation_back_and_is_tried_again(quick, monkeypatch, cast):
    game = quick()
    run = StageRun.objects.get()

    def broken(*args, **kwargs):
        raise RuntimeError("the statistics are on fire")

    with monkeypatch.context() as patched:
        patched.setattr(looks, "take_look", broken)
        game.pass_time()
    run.refresh_from_db()
    assert run.last_error == "RuntimeError: the statistics are on fire"
    assert set(game.states().values()) == {"held"}
    assert "on fire" in Recommendation.objects.filter(status="open").first().reason
    game.pass_time()
    assert set(game.states().values()) == {"promotion_recommended"}


def test_a_stopped_worker_advances_nothing_and_soon_nobody_can_promote_on_what_it_left(quick, cast):
    game = quick()
    sign_all(game.rollout, cast, game.now)
    before = game.states()
    game.now += timedelta(hours=2)
    assert game.states() == before
    with pytest.raises(StateConflict) as refused:
        promote(game, cast, evidence_hash=hash_of(game.lane("hailo-8")))
    assert refused.value.code == "evidence_stale"


def test_an_expired_approval_starts_nothing_and_the_rollout_falls_back_to_a_draft(draft, make_fleet, cast, now):
    from rollouts.services import drafting

    make_fleet(4)
    rollout = draft(stages=[{**STAGE, "required_roles": ["qa"]}])
    manager = {"by": cast.manager, "actor": actor_of(cast.manager)}
    drafting.submit(rollout, now=now, **manager)
    sign_all(rollout, cast, now)
    late = now + timedelta(days=8)
    with pytest.raises(StateConflict, match="Signatures are missing: qa"):
        deciding.start(rollout, now=late, **manager)
    advancing.advance(late)
    assert {lane.state for lane in rollout.lanes.all()} == {"draft"}
    transition = LaneTransition.objects.filter(event="approval_expired").first()
    assert "7 days" in transition.reason


def test_a_recommendation_that_nobody_decides_on_expires_and_is_held(quick):
    game = quick(policy={"recommendation_ttl_s": 900})
    game.now += timedelta(minutes=20)
    advancing.advance(game.now)
    assert set(game.states().values()) == {"held"}
    assert set(Recommendation.objects.values_list("status", flat=True)) == {"expired"}


@pytest.mark.django_db(transaction=True)
def test_two_workers_that_evaluate_at_once_take_one_look(quick):
    from concurrent.futures import ThreadPoolExecutor
    from threading import Barrier

    from django.db import connection

    game = quick()
    game.field.send([game.now + timedelta(minutes=2)])
    at = game.now + timedelta(minutes=10)
    run = StageRun.objects.get()
    together = Barrier(3)

    def look(_):
        try:
            together.wait()
            return evaluating.evaluate(run.pk, at)
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        outcomes = list(pool.map(look, range(3)))
    assert sum(outcome is not None for outcome in outcomes) == 1
    assert run.look_rows.count() == run.looks + 1


def test_a_policy_on_trial_logs_and_neither_halts_nor_recommends(play):
    game = play(per_target=4, stages=[STAGE], policy={"shadow": True})
    for _ in range(2):
        game.field.update(game.now, lose=["hailo-8-000", "hailo-8-001", "hailo-8-002", "hailo-8-003"])
        game.pass_time()
    assert game.states()["hailo-8"] in SPREADING
    logged = Recommendation.objects.filter(lane=game.lane("hailo-8"), shadow=True)
    assert "rollback" in set(logged.values_list("kind", flat=True))


def test_a_policy_on_trial_holds_where_the_evidence_does_and_tells_a_promotion_without_making_it(quick, play):
    game = quick(advised=False, policy={"shadow": True})
    for _ in range(2):
        game.pass_time()
    assert set(game.states().values()) == {"evaluating"}
    told = Recommendation.objects.filter(status="open")
    assert {(row.kind, row.shadow) for row in told} == {("promote", True)}
    assert not advanced()


def test_a_policy_on_trial_holds_a_lane_that_cannot_be_decided(play):
    game = play(per_target=8, stages=[STAGE], policy={"shadow": True})
    for _ in range(5):
        game.pass_time()
    assert set(game.states().values()) == {"held"}
    assert {row.kind for row in Recommendation.objects.filter(status="open")} == {"hold"}


def test_a_beat_asks_for_one_look_per_run_so_that_a_slow_one_keeps_no_other_waiting(quick, monkeypatch):
    from django.utils import timezone

    from rollouts import tasks

    game = quick(advised=False)
    run, asked = StageRun.objects.get(), []
    monkeypatch.setattr(timezone, "now", lambda: game.now + timedelta(hours=1))
    monkeypatch.setattr(tasks.evaluate_run, "apply_async", lambda args, **options: asked.append((args, options)))
    assert tasks.evaluate_rollouts.apply().get() == [run.pk]
    assert asked == [([run.pk], {"expires": tasks.LOOK_EXPIRES_S})]
    assert tasks.evaluate_run(run.pk) is not None
    assert tasks.evaluate_run(run.pk) is None


def test_a_gate_that_is_missing_or_a_waiver_that_ran_out_stops_the_start(draft, make_fleet, cast, now):
    from rollouts.models import Qualification
    from rollouts.services import drafting

    make_fleet(4)
    rollout = draft(stages=[STAGE])
    manager = {"by": cast.manager, "actor": actor_of(cast.manager), "now": now}
    drafting.submit(rollout, **manager)
    Qualification.objects.filter(hardware_target=cast.hailo).delete()
    with pytest.raises(StateConflict) as refused:
        deciding.start(rollout, **manager)
    assert refused.value.code == "gate_closed"
    assert "hailo-8 (missing)" in refused.value.detail
    waiver = cast.candidate.waivers.create(
        hardware_target=cast.hailo,
        limit="qualification",
        reason="Bench is broken.",
        requested_by=cast.manager,
        approver=cast.hardware,
        approved_at=now - timedelta(days=2),
        created_at=now - timedelta(days=2),
        expires_at=now - timedelta(minutes=1),
    )
    with pytest.raises(StateConflict):
        deciding.start(rollout, **manager)
    waiver.expires_at = now + timedelta(days=1)
    waiver.save()
    assert len(deciding.start(rollout, **manager)) == 2


SKIPPED_STAGES = [
    QUICK_STAGES[0],
    {
        "name": "few",
        "share": 1.0,
        "selector": {"devices": ["orin-nx-16-001", "orin-nx-16-003"]},
        "minimum_soak_s": 0,
        "minimum_devices": 1,
        "required_roles": ["qa"],
    },
    {"name": "fleet", "share": 1.0, "minimum_soak_s": 0, "minimum_devices": 1, "required_roles": ["ml", "qa"]},
]


def sign(game, cast, target: str, role: str) -> None:
    """One person signs what stands for a lane."""
    person, lane = getattr(cast, role), game.lane(target)
    who = {"by": person, "actor": actor_of(person), "now": game.now}
    approvals.sign(game.rollout, **who, role=role, remark="Read.", evidence_hash=hash_of(lane))


def go_on(game, cast, target: str):
    return promote(game, cast, evidence_hash=hash_of(game.lane(target)), hardware_target=target)


def test_a_lane_that_skips_a_stage_needs_the_signatures_of_the_stage_that_begins(quick, cast):
    game = quick(stages=SKIPPED_STAGES)
    sheets = {sheet.lanes[0].hardware_target.slug: sheet for sheet in signatures.sheets(game.rollout)}
    assert (sheets["orin-nx-16"].stage.name, sheets["orin-nx-16"].required) == ("few", ("qa",))
    assert (sheets["hailo-8"].stage.name, sheets["hailo-8"].required) == ("fleet", ("ml", "qa"))
    sign(game, cast, "hailo-8", "qa")
    with pytest.raises(StateConflict, match="missing: ml"):
        go_on(game, cast, "hailo-8")
    sign(game, cast, "hailo-8", "ml")
    assert go_on(game, cast, "hailo-8")[0].stage.name == "fleet"


def test_a_fleet_that_changed_since_the_signatures_never_lets_a_lane_into_a_stage_that_nobody_signed(quick, cast):
    game = quick(stages=SKIPPED_STAGES, per_target=8)
    # The two devices of the stage that was signed leave the fleet: the lane would go on into the one after.
    sign(game, cast, "orin-nx-16", "qa")
    Device.objects.filter(serial__in=SKIPPED_STAGES[1]["selector"]["devices"]).update(status="suspended")
    with pytest.raises(StateConflict) as refused:
        go_on(game, cast, "orin-nx-16")
    assert refused.value.code == "approvals_missing" and "fleet" in str(refused.value)
    assert game.states()["orin-nx-16"] == State.PROMOTION_RECOMMENDED
