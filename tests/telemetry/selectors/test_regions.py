"""Regions of the heatmap against brute force on raw records: counts, conditions, and which dimension comes out."""

from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from telemetry.metrics import METRICS
from telemetry.models import Context, ReleaseSpan
from telemetry.selectors.regions import region_differences, snapped
from telemetry.selectors.selection import Selection
from telemetry.services import folding
from tests.telemetry.records import draw_records, make_context, store_batch

HOUR = timedelta(hours=1)
SPAN = 6 * HOUR


@pytest.fixture
def stored(cast, make_device, now):
    """Eighteen devices, six hours; from the third hour on 4.2.0 on hailo-8 is slow when it falls back to the CPU."""
    rng = np.random.default_rng(12)
    contexts = [make_context(cast.release, now), make_context(cast.candidate, now)]
    Context.objects.filter(pk=contexts[1].pk).update(firmware_version="r37")
    found = []
    for number in range(18):
        target = ("orin-nx-16", "hailo-8")[number % 2]
        device = make_device(f"{target}-{number:02d}", target, ("eu-north", "us-west")[number // 2 % 2])
        context = contexts[number % 3 == 0]
        records = draw_records(rng, [now - SPAN * share for share in rng.uniform(0.001, 0.999, 80)])
        records.measures["latency"][:] = np.clip(records.measures["latency"], 1, 40)
        late = records.time > (now - 3 * HOUR).timestamp() * 1e6
        slow = late & (target == "hailo-8") & (number % 3 == 0)
        records.measures["latency"][slow] = rng.uniform(60, 90, int(slow.sum())).astype(np.float32)
        records = replace(records, fallback=np.where(slow, 1, np.where(records.fallback == 1, 0, records.fallback)))
        store_batch(device, context, records, seq=0, received_at=now)
        ReleaseSpan.objects.create(
            device=device, workload=cast.workload, release=context.release, first_time=now - SPAN, last_time=now
        )
        found.append((device, context, records))
    folding.fold(now)
    return found


def slow_region(now, **more):
    limits = {"start": now - 3 * HOUR, "end": now, "low": 50.0, "high": 100.0} | more
    return snapped(METRICS["latency"], within=(now - SPAN, now), now=now, **limits)


def differences(region, now, selection=Selection()):
    return region_differences(selection, METRICS["latency"], region, start=now - SPAN, end=now, now=now)


@pytest.mark.django_db
def test_what_lies_inside_is_counted_exactly(stored, now):
    region = slow_region(now)
    found = differences(region, now)
    inside = [
        (records.measures["latency"] > region.low)
        & (records.measures["latency"] <= region.high)
        & (records.time >= region.start.timestamp() * 1e6)
        & (records.time < region.end.timestamp() * 1e6)
        for _, _, records in stored
    ]
    assert found.inside == sum(int(mask.sum()) for mask in inside) > 50
    assert found.inside + found.outside == sum(len(records) for _, _, records in stored)
    assert found.devices == sum(bool(mask.any()) for mask in inside) == 3
    assert (found.devices_read, found.of_devices) == (18, 18)


@pytest.mark.django_db
def test_every_share_is_that_of_the_raw_records(stored, now):
    found = {one.name: one for one in differences(slow_region(now), now).dimensions}
    target = {level.label: level for level in found["hardware_target"].levels}
    assert target["hailo-8"].inside == 1.0
    total = sum(len(records) for device, _, records in stored if device.hardware_target.slug == "hailo-8")
    inside = differences(slow_region(now), now).inside
    everything = sum(len(records) for _, _, records in stored)
    assert target["hailo-8"].outside == pytest.approx((total - inside) / (everything - inside))
    fallback = {level.label: level for level in found["fallback"].levels}
    assert fallback["cpu"].inside == 1.0 and fallback["cpu"].outside == 0.0
    assert {level.label for level in found["firmware_version"].levels} == {"not told", "r37"}
    assert not found["fallback"].by_hour


@pytest.mark.django_db
def test_three_devices_show_nothing_and_a_region_of_all_devices_shows_what_is_common(stored, now):
    assert not any(one.shown for one in differences(slow_region(now), now).dimensions if one.name != "device")
    device = next(one for one in differences(slow_region(now), now).dimensions if one.name == "device")
    assert device.shown and device.levels[0].inside > device.levels[0].outside
    upper = snapped(METRICS["energy"], start=now - SPAN, end=now, low=40, high=1e6, within=(now - SPAN, now), now=now)
    found = region_differences(Selection(), METRICS["energy"], upper, start=now - SPAN, end=now, now=now)
    assert found.devices == 18
    assert not any(one.shown for one in found.dimensions), "energy was drawn alike everywhere"


@pytest.mark.django_db
def test_a_region_whose_records_are_gone_compares_its_hours(stored, now, settings):
    settings.RETENTION_DAYS = {**settings.RETENTION_DAYS, "raw": 0}
    found = {one.name: one for one in differences(slow_region(now), now).dimensions}
    assert found["fallback"].by_hour
    cpu = next(level for level in found["fallback"].levels if level.label == "cpu")
    assert 0 < cpu.inside < 1 and cpu.outside == 0.0


@pytest.mark.django_db
def test_filters_bound_what_is_compared(stored, now, cast):
    found = differences(slow_region(now), now, Selection(release_ids=(cast.candidate.pk,)))
    assert "release" not in {one.name for one in found.dimensions}
    assert found.devices_read == 6


@pytest.mark.django_db
def test_a_region_without_inferences_has_no_differences(stored, now):
    assert differences(slow_region(now, low=5_000.0, high=9_000.0), now) is None


def test_a_region_is_answered_on_whole_steps_and_bins(now):
    region = slow_region(now, start=now - timedelta(minutes=12), end=now - timedelta(minutes=11), low=50.0, high=50.1)
    assert (region.start, region.end) == (now - timedelta(minutes=15), now - timedelta(minutes=10))
    assert region.low < region.high < region.low * 1.03
    shares = snapped(
        METRICS["confidence"], start=now - HOUR, end=now, low=0.501, high=0.7, within=(now - SPAN, now), now=now
    )
    assert (shares.low, shares.high) == (0.5, 0.7)
    long = snapped(
        METRICS["latency"],
        start=now - 30 * HOUR,
        end=now - 29.5 * HOUR,
        low=1,
        high=9,
        within=(now - 96 * HOUR, now),
        now=now,
    )
    assert long.end - long.start == HOUR
