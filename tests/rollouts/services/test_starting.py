"""Starting large stages: the decision is quick, the rest is written piece by piece, and nothing breaks in between."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection

from fleet.exceptions import StateConflict
from rollouts.models import CohortMember, Delivery, DrawnMember, Holdback, StageRun
from rollouts.services import advancing, deciding, drafting, evaluating, starting
from tests.rollouts.conftest import DAY_LATER, actor_of

pytestmark = pytest.mark.django_db

STAGES = [{"name": "canary", "share": 0.5, "minimum_soak_s": 0, "minimum_devices": 6, "minimum_inferences": 100}]


@pytest.fixture
def large(monkeypatch, make_fleet, draft, start, now):
    """A started stage of 32 members that counts as large: nothing of it is written yet."""
    monkeypatch.setattr(starting, "AT_ONCE", 4)
    make_fleet(16)
    start(draft(stages=STAGES, policy={"hold_back_share": 0.1}), now)
    return StageRun.objects.get()


def again(now):
    return lambda: now


def test_a_large_stage_is_decided_at_once_and_written_piece_by_piece(large, now):
    assert (large.drawn, large.written, large.is_starting) == (32, 0, True)
    assert not Delivery.objects.exists()
    assert starting.go_on(again(now), pieces=2, size=5) == 10
    large.refresh_from_db()
    assert (large.written, CohortMember.objects.count(), large.is_starting) == (10, 10, True)
    assert starting.go_on(again(now)) == 22
    large.refresh_from_db()
    assert not large.is_starting
    assert Delivery.objects.count() == CohortMember.objects.filter(arm="treated").count() == 16
    assert Holdback.objects.count() == sum(row["holdback"] for row in large.strata) > 0
    assert not DrawnMember.objects.exists()
    assert starting.go_on(again(now)) == 0


def test_a_stage_that_is_still_starting_is_neither_judged_nor_settled(large, now):
    later = now + DAY_LATER
    starting.go_on(again(now), pieces=1, size=31)
    Delivery.objects.update(status="confirmed", offered_at=now)
    assert evaluating.due(later) == [] and evaluating.evaluate(large.pk, later) is None
    advancing.progress_lanes(later)
    assert set(large.current_lanes.values_list("state", flat=True)) == {"deploying"}
    starting.go_on(again(now))
    assert evaluating.due(later) == [large.pk]


def test_a_piece_that_breaks_leaves_no_trace_and_the_next_one_goes_on_there(large, now, monkeypatch):
    starting.go_on(again(now), pieces=1, size=5)
    with monkeypatch.context() as patched:
        patched.setattr(starting, "_DELIVERIES", "SELECT 1/0 -- ")
        with pytest.raises(Exception, match="zero"):
            starting.go_on(again(now), size=5)
    assert CohortMember.objects.count() == 5
    starting.go_on(again(now), size=5)
    assert CohortMember.objects.count() == 32


def test_a_lane_that_is_stopped_meanwhile_gets_no_further_delivery_and_a_paused_one_offers_none(large, cast, now):
    rollout, manager = large.rollout, {"by": cast.manager, "actor": actor_of(cast.manager), "now": now, "reason": "Hm."}
    starting.go_on(again(now), pieces=1, size=8)
    deciding.stop(rollout, hardware_target="hailo-8", **manager)
    deciding.pause(rollout, hardware_target="orin-nx-16", **manager)
    starting.go_on(again(now))
    rows = Delivery.objects.values_list("device__hardware_target__slug", "status")
    assert {status for target, status in rows if target == "hailo-8"} <= {"cancelled"}
    assert {status for target, status in rows if target == "orin-nx-16"} == {"queued"}
    assert CohortMember.objects.count() == 32


def test_another_rollout_of_the_workload_waits_until_the_stage_has_started(large, draft, start, cast, now):
    second = drafting.create_rollout(
        release=cast.candidate, by=cast.manager, actor=actor_of(cast.manager), now=now, stages=STAGES,
        change_record=large.rollout.change_record,
    )  # fmt: skip
    with pytest.raises(StateConflict) as refused:
        start(second, now)
    assert refused.value.code == "another_stage_is_starting"


def test_a_device_that_got_another_delivery_meanwhile_is_counted_as_left_out(large, cast, now):
    device_id = DrawnMember.objects.filter(arm="treated").first().device_id
    Delivery.objects.create(
        device_id=device_id, workload=cast.workload, release=cast.release, status="offered", created_at=now
    )
    starting.go_on(again(now))
    large.refresh_from_db()
    assert large.excluded == {"another delivery to the device began while the stage was starting": 1}
    assert Delivery.objects.filter(run=large).count() == 15


@pytest.mark.django_db(transaction=True)
def test_two_workers_write_each_member_once(large, now):
    together = Barrier(2)

    def work(_):
        try:
            together.wait()
            return starting.go_on(again(now), size=3)
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as pool:
        written = sum(pool.map(work, range(2)))
    starting.go_on(again(now))
    assert written <= 32
    assert CohortMember.objects.count() == CohortMember.objects.values("device").distinct().count() == 32
    assert Delivery.objects.count() == 16


def test_the_api_answers_202_with_how_far_the_start_is(monkeypatch, make_fleet, draft, cast, api_client, now):
    monkeypatch.setattr(starting, "AT_ONCE", 4)
    make_fleet(16)
    rollout = draft(stages=STAGES)
    drafting.submit(rollout, by=cast.manager, actor=actor_of(cast.manager), now=now)
    client = api_client(cast.manager)
    answer = client.post(f"/api/v1/rollouts/{rollout.pk}/start", {}, format="json")
    assert answer.status_code == 202
    assert [(lane["stage_state"], lane["starting"]) for lane in answer.json()["lanes"]] == [
        ("starting", {"done": 0, "of": 32})
    ] * 2
    starting.go_on(again(now))
    lanes = client.get(f"/api/v1/rollouts/{rollout.pk}").json()["lanes"]
    assert [(lane["stage_state"], lane["starting"]) for lane in lanes] == [("started", None)] * 2
