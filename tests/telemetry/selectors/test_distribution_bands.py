"""Bands of whole distributions: which devices they rest on, and that they lie round the curve."""

from datetime import timedelta

import numpy as np
import pytest

from telemetry.metrics import METRICS
from telemetry.models import ReleaseSpan
from telemetry.selectors import distribution_bands as module
from telemetry.selectors.distributions import daily_distributions, metric_distributions
from telemetry.selectors.selection import Selection
from telemetry.services import folding
from tests.telemetry.records import draw_records, make_context, store_batch

HOUR = timedelta(hours=1)


@pytest.fixture
def stored(cast, make_device, now):
    """Eight devices on one release and three on the next, two hours long, each device with a pace of its own."""
    rng = np.random.default_rng(4)
    for number in range(11):
        release = cast.release if number < 8 else cast.candidate
        device = make_device(f"cam-{number:02d}", ("orin-nx-16", "hailo-8")[number % 2], "eu-north")
        times = [now - HOUR * 2 * share for share in rng.uniform(0.001, 0.999, 60)]
        records = draw_records(rng, times, latency_ms=20.0 * rng.lognormal(0, 0.1))
        store_batch(device, _context(release, now), records, seq=0, received_at=now)
        ReleaseSpan.objects.create(
            device=device, workload=cast.workload, release=release, first_time=now - 2 * HOUR, last_time=now
        )
    folding.fold(now)


def _context(release, now):
    found = release.contexts.first()
    return found or make_context(release, now)


def bands(metric, now, group_by=("release",)):
    span = {"start": now - 2 * HOUR, "end": now}
    found = metric_distributions(Selection(), METRICS[metric], group_by=group_by, **span)
    return found, module.distribution_bands(Selection(), METRICS[metric], found, group_by=group_by, **span)


@pytest.mark.django_db
@pytest.mark.parametrize("metric", ["latency", "confidence"])
def test_a_band_lies_round_its_curve_and_needs_six_devices(stored, now, metric):
    found, judged = bands(metric, now)
    assert [one.group["release"] for one in found] == ["4.1.0", "4.2.0"]
    first, second = judged.bands
    assert second is None
    assert first.devices == 8
    assert (first.lower <= found[0].ecdf).all() and (found[0].ecdf <= first.upper).all()
    assert (first.upper - first.lower).max() > 0.02


@pytest.mark.django_db
def test_of_a_large_fleet_some_devices_are_read(stored, now, monkeypatch):
    monkeypatch.setattr(module, "MOST_ROWS", 14)
    _, judged = bands("latency", now, ())
    assert (judged.devices, judged.of_devices) == (7, 11)


@pytest.mark.django_db
def test_days_are_told_apart(stored, now):
    found = daily_distributions(Selection(), METRICS["confidence"], start=now - timedelta(days=3), end=now)
    assert [day.date() for day, _ in found] == [now.date()]
    assert found[0][1].count > 500
