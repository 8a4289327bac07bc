"""Deliveries: offered within slots and windows, retried with a rest, timed out, confirmed by telemetry alone."""

from datetime import datetime, timedelta

import pytest

from fleet.exceptions import InvalidInput, NotFound
from fleet.services.releases import withdraw
from rollouts.models import Delivery
from rollouts.services import advancing, offering, reporting
from telemetry.models import DeviceLatest
from tests.rollouts.conftest import actor_of

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def game(quick):
    """Four deliveries that nobody has asked for yet."""
    return quick(advised=False)


def device_of(game, serial: str = "hailo-8-000"):
    return game.field.devices[serial]


def report(game, status: str, serial: str = "hailo-8-000", **fields) -> Delivery:
    device = device_of(game, serial)
    newest = Delivery.objects.filter(device=device).latest("id")
    return reporting.report(device, action_id=newest.pk, status=status, now=game.now, **fields)


def test_a_delivery_is_offered_when_the_device_asks_and_not_before(game):
    assert set(Delivery.objects.values_list("status", flat=True)) == {"queued"}
    first = offering.desired(device_of(game), game.now)
    assert first.status == "offered"
    assert Delivery.objects.filter(status="offered").count() == 1
    assert offering.desired(device_of(game), game.now).pk == first.pk
    assert offering.desired(device_of(game), game.now, workload="other") is None


def test_slots_bound_how_many_devices_of_a_lane_install_at_once(quick):
    stage = {"name": "all", "hand_picked": True, "concurrency": 2, "minimum_inferences": 100}
    game = quick(advised=False, stages=[stage])
    serials = [f"hailo-8-{index:03d}" for index in range(4)]
    offered = [serial for serial in serials if offering.desired(device_of(game, serial), game.now)]
    assert len(offered) == 2
    assert offering.desired(device_of(game, "orin-nx-16-000"), game.now), "another lane has slots of its own"
    report(game, "failed", offered[0])
    waiting = next(serial for serial in serials if serial not in offered)
    assert offering.desired(device_of(game, waiting), game.now)


def test_a_maintenance_window_is_kept_in_the_time_of_the_site(quick, cast):
    cast.north.timezone = "Asia/Tokyo"
    cast.north.save()
    window = {"from": "02:00", "to": "05:00"}
    stage = {"name": "all", "hand_picked": True, "maintenance_window": window, "minimum_inferences": 100}
    game = quick(advised=False, stages=[stage])
    assert offering.desired(device_of(game), game.now) is None, "it is 21:00 in Tokyo"
    assert offering.desired(device_of(game), game.now + timedelta(hours=6))


def test_reports_never_go_backwards_and_an_end_stays_an_end(game):
    offering.desired(device_of(game), game.now)
    assert report(game, "installing", progress=40).status == "installing"
    assert report(game, "downloading", progress=90).status == "installing"
    assert report(game, "failed", detail="no space").status == "failed"
    assert report(game, "installed").status == "failed"
    steps = list(Delivery.objects.latest("id").steps.values_list("status", flat=True))
    delivery = Delivery.objects.get(device=device_of(game))
    assert list(delivery.steps.values_list("status", flat=True)) == ["installing", "downloading", "failed", "installed"]
    assert steps is not None and delivery.detail == "no space"


def test_bad_reports_are_refused_by_field_and_another_devices_action_is_unknown(game):
    delivery = offering.desired(device_of(game), game.now)
    with pytest.raises(InvalidInput, match="status"):
        report(game, "bored")
    with pytest.raises(InvalidInput, match="progress"):
        report(game, "installing", progress=101)
    with pytest.raises(NotFound):
        reporting.report(device_of(game, "orin-nx-16-000"), action_id=delivery.pk, status="installing", now=game.now)


def test_a_device_that_gets_stuck_while_installing_times_out_and_is_tried_again_later(game):
    offering.desired(device_of(game), game.now)
    report(game, "installing")
    advancing.advance(game.now + 29 * MINUTE)
    assert Delivery.objects.get(device=device_of(game)).status == "installing"
    advancing.advance(game.now + 31 * MINUTE)
    first, second = Delivery.objects.filter(device=device_of(game)).order_by("id")
    assert (first.status, second.status, second.attempt) == ("timed_out", "queued", 2)
    assert offering.desired(device_of(game), game.now + 32 * MINUTE) is None
    assert offering.desired(device_of(game), game.now + 42 * MINUTE).pk == second.pk


def test_a_device_that_is_merely_offline_has_not_failed(game):
    offering.desired(device_of(game), game.now)
    advancing.advance(game.now + timedelta(hours=5))
    assert Delivery.objects.get(device=device_of(game)).status == "offered"


def test_a_device_that_ignores_the_offer_and_goes_on_sending_times_out(game):
    offering.desired(device_of(game), game.now)
    game.field.send([game.now + 40 * MINUTE], devices=[device_of(game)])
    advancing.advance(game.now + 45 * MINUTE)
    assert Delivery.objects.filter(device=device_of(game)).earliest("id").status == "timed_out"


def test_three_failures_put_a_device_into_the_penalty_box_for_a_day(game):
    moment = game.now
    for attempt in (1, 2, 3):
        assert offering.desired(device_of(game), moment).attempt == attempt
        report(game, "failed")
        advancing.retry(moment)
        moment += 11 * MINUTE
    fourth = Delivery.objects.filter(device=device_of(game)).latest("id")
    assert fourth.attempt == 4
    assert fourth.blocked_until - game.now == timedelta(days=1)
    assert offering.desired(device_of(game), moment + timedelta(hours=20)) is None


def test_two_workers_that_retry_at_once_make_one_attempt(game):
    offering.desired(device_of(game), game.now)
    report(game, "failed")
    assert advancing.retry(game.now) == 1
    assert advancing.retry(game.now) == 0


def test_the_installers_word_confirms_nothing(game):
    offering.desired(device_of(game), game.now)
    report(game, "booted")
    advancing.advance(game.now + 10 * MINUTE)
    assert Delivery.objects.get(device=device_of(game)).status == "booted"


def test_telemetry_confirms_without_any_word_of_an_installer(game):
    game.field.running["hailo-8-000"] = "4.2.0"
    game.field.send([game.now + 2 * MINUTE], devices=[device_of(game)])
    advancing.advance(game.now + 5 * MINUTE)
    delivery = Delivery.objects.get(device=device_of(game))
    assert (delivery.status, delivery.confirmed_inferences) == ("confirmed", 450)
    assert delivery.offered_at is not None and delivery.booted_at is not None


def test_a_device_that_installed_and_was_not_heard_of_is_silent_and_comes_back_when_it_is(game):
    game.field.update(game.now, only=[device_of(game)])
    advancing.advance(game.now + 59 * MINUTE)
    assert Delivery.objects.get(device=device_of(game)).status == "installed"
    advancing.advance(game.now + 61 * MINUTE)
    assert Delivery.objects.get(device=device_of(game)).status == "silent"
    game.field.send([game.now + 70 * MINUTE], devices=[device_of(game)])
    advancing.advance(game.now + 75 * MINUTE)
    assert Delivery.objects.get(device=device_of(game)).status == "confirmed"


def test_an_installation_never_leads_backwards(game, cast):
    newer = type(cast.candidate).objects.create(
        workload=cast.workload, version="4.10.0", status="published", created_at=game.now
    )
    DeviceLatest.objects.filter(device=device_of(game)).update(release=newer)
    assert offering.desired(device_of(game), game.now) is None
    delivery = Delivery.objects.get(device=device_of(game))
    assert (delivery.status, delivery.detail) == ("cancelled", "the device runs 4.10.0, which is newer")


def test_a_device_has_one_open_delivery_per_workload(game):
    from django.db import IntegrityError, transaction

    delivery = Delivery.objects.first()
    with pytest.raises(IntegrityError, match="delivery_one_open_per_workload"), transaction.atomic():
        Delivery.objects.create(
            device=delivery.device, workload=delivery.workload, release=delivery.release, created_at=game.now
        )
    assert isinstance(delivery.created_at, datetime) and 0 < delivery.pk < 2**31


def test_holdbacks_get_the_release_when_the_watch_is_over(quick, cast):
    from rollouts.models import Holdback

    stages = [{"name": "fleet", "share": 1.0, "minimum_soak_s": 0, "minimum_inferences": 100, "minimum_devices": 1}]
    game = quick(advised=False, per_target=10, stages=stages, policy={"hold_back_share": 0.2, "watch_s": 3600})
    held = set(Holdback.objects.values_list("device__serial", flat=True))
    assert len(held) == 4
    for _ in range(4):
        game.pass_time()
    assert not {serial for serial, release in game.field.running.items() if release == "4.2.0"} & held
    game.complete(cast.administrator, "Two hold-backs cannot decide it.")
    game.pass_time()
    assert Delivery.objects.filter(device__serial__in=held).count() == 0
    game.now += timedelta(hours=1)
    advancing.advance(game.now)
    assert set(Delivery.objects.filter(device__serial__in=held).values_list("status", flat=True)) == {"queued"}
    assert {delivery.device.serial for delivery in game.field.update(game.now)} == held


def test_a_rollback_that_does_not_reach_every_device_ends_saying_which_and_they_go_back_later(quick, cast):
    from rollouts.selectors.lanes import as_dict, lane_views
    from rollouts.services import deciding

    game = quick(policy={"rollback_timeout_s": 3600})
    deciding.roll_back(
        game.rollout, by=cast.manager, actor=actor_of(cast.manager), now=game.now, reason="No.",
        hardware_target="hailo-8",
    )  # fmt: skip
    lost = Delivery.objects.filter(kind="rollback").order_by("pk").first().device
    away = game.field.devices.pop(lost.serial)
    for _ in range(7):
        game.pass_time()
    assert game.states()["hailo-8"] == "rolled_back"
    last = game.lane("hailo-8").transitions.order_by("-pk").first()
    assert last.event == "rollback_timed_out"
    assert last.reason == f"1 device not reached within 0.0417 days: {lost.serial}"
    row = next(as_dict(view) for view in lane_views(game.rollout, game.now) if view.target == "hailo-8")
    assert row["not_reached"] == [lost.serial]
    game.field.devices[lost.serial] = away
    game.pass_time()
    assert game.field.running[lost.serial] == "4.1.0"
    game.pass_time()
    assert lane_views(game.rollout, game.now)[0].not_reached == []


def test_a_release_that_was_withdrawn_is_offered_to_no_further_device(game, cast):
    begun, *others = [row.device for row in Delivery.objects.filter(status="queued").select_related("device__region")]
    first = offering.desired(begun, game.now)
    reporting.report(begun, action_id=first.pk, status="downloading", now=game.now)
    assert offering.desired(others[0], game.now) is not None, "offered, and not begun"
    withdraw(cast.candidate, actor=actor_of(cast.manager), now=game.now, reason="It burns.")
    assert offering.desired(begun, game.now) == first, (
        "what has begun goes on, or the device would be left half written"
    )
    assert [offering.desired(device, game.now) for device in others] == [None] * len(others)
