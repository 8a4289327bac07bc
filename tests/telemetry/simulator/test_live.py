"""Simulated devices against the running product: what they say they sent is what the server has."""

import random
from datetime import timedelta

import pytest
from django.db.models import Sum
from django.utils import timezone
from ridgeline_sdk import Transport

from fleet.actors import Actor
from fleet.models import Device
from fleet.services import enrollment
from telemetry.models import Batch, QuarantinedRecord
from telemetry.simulator.context import OLD_DRIVER
from telemetry.simulator.faults import parse_fault
from telemetry.simulator.fleet import build_fleet
from telemetry.simulator.live import Habits, SimulatedDevice, enroller

pytestmark = pytest.mark.django_db(transaction=True)

MINUTES = 4
HABITS = Habits("lane-assist", "4.1.0", rate=1.0, interval_s=20.0, poll_s=60.0)


@pytest.fixture
def key(cast):
    _, text = enrollment.create_key(
        name="simulated",
        actor=Actor.system("test"),
        now=timezone.now(),
        may_register_labels=True,
        allows_reenrollment=True,
    )
    return text


@pytest.fixture
def simulate(live_server, key):
    """Lets a small fleet live through some minutes that have just passed; returns its devices."""
    transports = []

    def run(*faults, habits=HABITS, devices=4, minutes=MINUTES, meanwhile=lambda device, at_s: None):
        # The product judges times by its own clock, so the simulated minutes end now.
        start_s = timezone.now().timestamp() - minutes * 60
        fleet = build_fleet(3, devices, ["orin-nx-16", "hailo-8"], ["eu-north"], habits.workload)
        parsed = [parse_fault(spec, start_s) for spec in faults]
        transports.append(Transport(live_server.url))
        living = [
            SimulatedDevice(
                traits,
                parsed,
                habits,
                transport=transports[-1],
                server=live_server.url,
                enroll=enroller(key),
                now_s=start_s,
                seed=3,
            )
            for traits in fleet
        ]
        for second in range(0, minutes * 60 + 1, 10):
            for device in living:
                device.advance(start_s + second)
                meanwhile(device, second)
        for device in living:
            device.drain(5.0)
        return living

    yield run
    for transport in transports:
        transport.close()


def stored(device):
    """Inferences in the ledger, windows' contents included where rows are a sample."""
    totals = Batch.objects.filter(device__serial=device.traits.serial).aggregate(
        rows=Sum("inferences"), summed=Sum("window_inferences"), dropped=Sum("dropped_inferences")
    )
    return {name: value or 0 for name, value in totals.items()}


def test_every_inference_of_every_device_is_in_the_ledger_once(simulate):
    living = simulate("reboot@every=1m,share=0.5", "clock_skew:+3h@share=0.5", "offline:60s@from=+1m")
    for device in living:
        assert device.recorded >= MINUTES * 60 - 2
        assert stored(device) == {"rows": device.recorded, "summed": 0, "dropped": 0}
        assert device.account()["waiting"] == {}
    assert QuarantinedRecord.objects.count() == 0
    assert any(device.model.boots > 1 for device in living)


def test_device_built_windows_count_every_inference_once(simulate):
    habits = Habits("lane-assist", "4.1.0", rate=2.0, interval_s=20.0, poll_s=60.0, windows=True)
    for device in simulate(habits=habits, devices=2):
        assert stored(device)["summed"] == device.recorded
    assert QuarantinedRecord.objects.count() == 0


def test_event_times_of_a_device_with_a_wrong_clock_are_right(simulate):
    before = timezone.now() - timedelta(minutes=MINUTES, seconds=5)
    simulate("clock_skew:+40m", devices=2)
    for batch in Batch.objects.exclude(inferences=0):
        assert batch.clock_synced is False
        assert before <= batch.min_time <= batch.max_time <= timezone.now()


def test_an_offline_spell_is_sent_afterwards(simulate):
    seen = []

    def look(device, second):
        if device.effects.offline:
            seen.append(stored(device)["rows"])

    (device, _) = simulate("offline:90s@from=+1m,serial=sim-orin-nx-16-0001", devices=2, meanwhile=look)
    assert len(set(seen)) == 1
    assert stored(device)["rows"] == device.recorded > seen[0] + 80


def test_an_old_driver_is_reported_instead_of_that_of_the_release(simulate):
    bills = {"4.1.0": {"driver_version": "540.4"}}
    habits = Habits("lane-assist", "4.1.0", rate=1.0, bills_of_materials=bills)
    left_behind, renewed = simulate("old_driver@serial=sim-orin-nx-16-0001", habits=habits, devices=2, minutes=1)
    for device, driver in ((left_behind, OLD_DRIVER), (renewed, "540.4")):
        batches = Batch.objects.filter(device__serial=device.traits.serial)
        assert set(batches.values_list("context__driver_version", flat=True)) == {driver}


def test_devices_enrol_with_their_target_and_region(simulate):
    simulate(devices=2, minutes=1)
    assert set(Device.objects.values_list("serial", "hardware_target__slug", "region__slug")) >= {
        ("sim-orin-nx-16-0001", "orin-nx-16", "eu-north"),
        ("sim-hailo-8-0001", "hailo-8", "eu-north"),
    }


def test_a_revoked_token_is_replaced_by_enrolling_again(simulate):
    revoked = random.Random(1)

    def revoke(device, second):
        if second == 120:
            device.client.token = f"rdl_00000000_{revoked.randbytes(20).hex()}"

    for device in simulate(devices=2, meanwhile=revoke):
        assert stored(device)["rows"] == device.recorded
