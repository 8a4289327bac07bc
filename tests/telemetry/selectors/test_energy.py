"""Energy figures against brute force on raw records."""

from datetime import timedelta

import numpy as np
import pytest

from telemetry.columns import FALLBACKS
from telemetry.models import ClassLabel, ReleaseSpan
from telemetry.selectors.energy import (
    energy_by_class,
    energy_by_condition,
    energy_figures,
    energy_variation,
    ramp_up,
)
from telemetry.selectors.reporting import reporting_devices
from telemetry.selectors.selection import Selection
from telemetry.services import folding
from tests.telemetry.records import Records, draw_records, make_context, store_batch

HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
SPAN = timedelta(hours=4)


@pytest.fixture
def stored(cast, make_device, now):
    """Four hours of two devices in two power modes: [(device, context, [Records of a batch])]."""
    rng = np.random.default_rng(81)
    contexts = [make_context(cast.release, now, power_mode=mode) for mode in ("15W", "30W")]
    found = []
    for device in (make_device("cam-1"), make_device("cam-2", "hailo-8", "us-west")):
        for k, context in enumerate(contexts):
            batches = []
            for seq in range(3):
                records = draw_records(rng, [now - SPAN + SPAN * share for share in rng.random(60)])
                store_batch(device, context, records, seq=k * 3 + seq, received_at=now)
                batches.append(records)
            found.append((device, context, batches))
        ReleaseSpan.objects.create(
            device=device, workload=cast.workload, release=cast.release, first_time=now - SPAN, last_time=now
        )
    folding.fold(now)
    return found


def joined(stored, **wanted):
    """Records by power mode and region."""
    return Records.joined(
        [
            records
            for device, context, batches in stored
            if wanted.get("power_mode", context.power_mode) == context.power_mode
            and wanted.get("region", device.region.slug) == device.region.slug
            for records in batches
        ]
    )


def energy_of(records):
    values = records.measures["energy"].astype(np.float64)
    return values[~np.isnan(values)]


@pytest.mark.django_db
def test_figures_by_group_are_those_of_the_raw_records(stored, now):
    found = energy_figures(Selection(), start=now - SPAN, end=now, group_by=("power_mode", "region"))
    assert len(found) == 4
    for figures in found:
        records = joined(stored, **figures.group)
        energy = energy_of(records)
        power = records.measures["power"].astype(np.float64)
        assert figures.count == energy.size
        assert figures.joules == pytest.approx(energy.sum() / 1000)
        assert figures.mean_mj == pytest.approx(energy.mean())
        assert figures.stddev_mj == pytest.approx(energy.std(), rel=1e-6)
        assert figures.p95_mj == pytest.approx(np.quantile(energy, 0.95), rel=0.011)
        assert figures.sustained_w == pytest.approx(np.nanmean(power))
        assert figures.peak_w == pytest.approx(np.nanmax(power))
        assert figures.throttled_share == pytest.approx(records.throttled.mean())
        # records do not tell it
        assert figures.idle_share is None


@pytest.mark.django_db
@pytest.mark.parametrize("devices", [False, True])
@pytest.mark.parametrize("conditions", [("temperature_band",), ("throttled", "fallback")])
def test_energy_by_condition_is_that_of_the_raw_records(stored, now, conditions, devices):
    ids = tuple(sorted({device.pk for device, _, _ in stored})) if devices else None
    found = energy_by_condition(
        Selection(device_ids=ids), start=now - SPAN, end=now, group_by=("power_mode", "region"), conditions=conditions
    )
    seen = 0
    for row in found:
        records = joined(stored, **row.group)
        mask = np.ones(len(records), dtype=bool)
        if "temperature_c" in row.conditions:
            temperature = records.measures["temperature"]
            lower = row.conditions["temperature_c"]
            mask &= np.isnan(temperature) if lower is None else (temperature >= lower) & (temperature < lower + 10)
        if "throttled" in row.conditions:
            mask &= records.throttled == row.conditions["throttled"]
            mask &= records.fallback == FALLBACKS.index(row.conditions["fallback"])
        part = records.where(mask)
        energy = energy_of(part)
        seen += len(part)
        assert row.count == len(part)
        assert row.mean_mj == (pytest.approx(energy.mean()) if energy.size else None)
        assert row.latency_ms == pytest.approx(part.measures["latency"].astype(np.float64).mean())
    assert seen == len(joined(stored))


@pytest.mark.django_db
def test_variation_adds_up_to_the_variance_of_all_inferences(stored, now):
    variation = energy_variation(Selection(), start=now - SPAN, end=now)
    batches = [energy_of(records) for _, _, parts in stored for records in parts]
    everything = np.concatenate(batches)
    assert (variation.devices, variation.of_devices, variation.batches) == (2, 2, 12)
    assert variation.count == everything.size
    assert variation.total == pytest.approx(everything.var(), rel=1e-6)
    within = sum(batch.var() * batch.size for batch in batches) / everything.size
    assert variation.within_batches == pytest.approx(within, rel=1e-6)


@pytest.mark.django_db
def test_batches_that_differ_show_as_variation_between_batches(cast, make_device, now):
    rng = np.random.default_rng(82)
    device, context = make_device(), make_context(cast.release, now)
    for seq in range(4):
        records = draw_records(rng, [now - HOUR + seq * 10 * MINUTE] * 50)
        records.measures["energy"][:] = 40 + 20 * (seq % 2)
        store_batch(device, context, records, seq=seq, received_at=now)
    ReleaseSpan.objects.create(
        device=device, workload=cast.workload, release=cast.release, first_time=now - HOUR, last_time=now
    )
    variation = energy_variation(Selection(), start=now - HOUR, end=now)
    assert (variation.within_batches, variation.between_devices) == pytest.approx((0, 0), abs=1e-9)
    assert variation.between_batches == pytest.approx(100)


@pytest.mark.django_db
def test_a_start_costs_what_its_first_minute_takes_beyond_the_steady_state(cast, make_device, now):
    rng = np.random.default_rng(83)
    device, context = make_device(), make_context(cast.release, now)
    ReleaseSpan.objects.create(
        device=device, workload=cast.workload, release=cast.release, first_time=now - 2 * HOUR, last_time=now
    )
    # ten minutes, a pause, ten minutes: the first minute after the pause takes 30 mJ more, in two batches
    for begin, seq in ((now - 2 * HOUR, 0), (now - HOUR, 10)):
        for k in range(10):
            for half in (0, 1):
                records = draw_records(rng, [begin + k * MINUTE + half * timedelta(seconds=30)] * 5)
                records.measures["energy"][:] = 70 if (seq, k) == (10, 0) else 40
                store_batch(device, context, records, seq=2 * (seq + k) + half, received_at=now)
    found = ramp_up(Selection(), start=now - 2 * HOUR, end=now)
    assert (found.starts, found.first_mj, found.steady_mj) == (1, pytest.approx(70), pytest.approx(40))
    assert found.extra_mj == pytest.approx(10 * 30)
    # without the pause in the range there is no start to be seen
    assert ramp_up(Selection(), start=now - HOUR, end=now) is None


@pytest.mark.django_db
def test_energy_by_class_names_the_dearest_first(cast, stored, now):
    for pk in range(1, 6):
        ClassLabel.objects.create(pk=pk, workload=cast.workload, name=f"sign-{pk}")
    found = energy_by_class(Selection(workload_id=cast.workload.pk), start=now - SPAN, end=now)
    records = joined(stored)
    recent = records.where(records.time >= records.time.max() // 3_600_000_000 * 3_600_000_000)
    means = {}
    for k in range(1, 6):
        energy = energy_of(recent.where(recent.predicted_class == k))
        means[f"sign-{k}"] = energy.mean()
    assert [row.name for row in found] == sorted(means, key=means.get, reverse=True)
    assert {row.name: row.mean_mj for row in found} == pytest.approx(means)


@pytest.mark.django_db
def test_where_nothing_was_measured_there_are_no_figures(cast, now):
    span = {"start": now - SPAN, "end": now}
    assert energy_figures(Selection(), **span) == []
    assert energy_by_condition(Selection(), **span) == []
    assert energy_variation(Selection(), **span) is None
    assert ramp_up(Selection(), **span) is None
    assert energy_by_class(Selection(), **span) == []


@pytest.mark.django_db
def test_a_device_that_ran_two_releases_is_read_once(stored, cast, now):
    device = stored[0][0]
    ReleaseSpan.objects.create(
        device=device, workload=cast.workload, release=cast.candidate, first_time=now - HOUR, last_time=now
    )
    ids, count = reporting_devices(Selection(), start=now - SPAN, end=now)
    assert (len(ids), count) == (2, 2)
