"""What a charge is worth, and how long devices throttle, against figures worked out by hand."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from telemetry import store
from telemetry.selectors.batteries import batteries
from telemetry.selectors.selection import Selection
from telemetry.selectors.throttling import throttling
from telemetry.services import folding
from tests.telemetry.records import draw_records, make_context, note_device, store_batch

HOUR = timedelta(hours=1)


@pytest.fixture
def stored(cast, make_device, now):
    """Two devices with thirty inferences an hour for four hours; of the first every third ran throttled."""
    rng = np.random.default_rng(3)
    context = make_context(cast.release, now)
    devices = [make_device("bat-1"), make_device("bat-2", "hailo-8", "us-west")]
    for number, device in enumerate(devices):
        times = [now - hour * HOUR - timedelta(minutes=1 + 1.9 * k) for hour in range(4) for k in range(30)]
        records = draw_records(rng, times)
        throttled = (np.arange(len(times)) % 3 == 0) & (number == 0)
        store_batch(device, context, replace(records, throttled=throttled), seq=0, received_at=now)
        battery = 50.0 if number == 0 else None
        note_device(device, context, seen_at=now, since=now - 4 * HOUR, battery_pct=battery)
    folding.fold(now)
    return devices


def levels(device, now, readings):
    rows = [(now - hours * HOUR, device.pk, None, None, None, level) for hours, level in readings]
    store.copy_rows("device_state", rows)


@pytest.mark.django_db
def test_a_charge_is_worth_the_hours_it_takes_to_lose_a_hundred_points(stored, now):
    # 10 points in 2 hours, a charge in between, and a fall over a gap too long to count
    levels(stored[0], now, [(3.9, 80), (2.9, 75), (2.8, 90), (1.8, 85)])
    found = batteries(Selection(), start=now - 4 * HOUR, end=now)
    assert (found.reporting, found.read) == (1, 1)
    [life] = found.lives
    assert life.hardware_target == "orin-nx-16" and life.devices == 1
    assert life.hours == pytest.approx(20.0)
    assert life.inferences == pytest.approx(20.0 * 30)


@pytest.mark.django_db
def test_readings_far_apart_and_small_losses_say_nothing(stored, now):
    levels(stored[0], now, [(3.9, 80), (1.0, 20), (0.1, 19.5)])
    found = batteries(Selection(), start=now - 4 * HOUR, end=now)
    assert found.reporting == 1 and found.lives == []


@pytest.mark.django_db
def test_a_fleet_on_mains_has_no_estimate(stored, now, cast):
    found = batteries(Selection(hardware_target_ids=(cast.hailo.pk,)), start=now - 4 * HOUR, end=now)
    assert (found.reporting, found.lives) == (0, [])


@pytest.mark.django_db
def test_throttled_minutes_are_the_share_of_each_reported_hour(stored, now):
    found = throttling(Selection(), start=now - 4 * HOUR, end=now)
    assert (found.devices, found.of_devices) == (2, 2)
    assert set(found.minutes) == {"orin-nx-16", "hailo-8"}
    assert found.minutes["orin-nx-16"].tolist() == pytest.approx([20.0] * 4)
    assert found.total == pytest.approx(80.0)
    assert found.reported == 480
