"""The cohort behind a device: median and 5 to 95 % of the others of its workload and hardware target."""

import warnings
from datetime import timedelta

import numpy as np
import pytest

from telemetry.selectors import cohort_band
from telemetry.selectors.cohort_band import FEWEST_DEVICES, band, cohort_bands
from tests.telemetry.records import draw_records, make_context, note_device, store_batch


def test_a_band_is_numpys_quantiles_over_devices():
    values = np.random.default_rng(3).lognormal(size=(40, 6))
    assert np.allclose(band(values), np.quantile(values, (0.05, 0.5, 0.95), axis=0))


def test_a_step_in_which_too_few_measured_has_no_band():
    values = np.full((FEWEST_DEVICES, 3), 7.0)
    values[0, 1] = np.nan
    values[:, 2] = np.nan
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = band(values)
    assert found[:, 0].tolist() == [7.0, 7.0, 7.0]
    assert np.isnan(found[:, 1:]).all()


@pytest.fixture
def fleet(cast, make_device, now):
    """Six devices on orin-nx-16 with latencies of 10, 20, … 60 ms, and a slow one on hailo-8; the newest half hour."""
    rng = np.random.default_rng(5)
    context = make_context(cast.release, now)
    devices = []
    for n, (target, latency) in enumerate([*(("orin-nx-16", 10.0 * k) for k in range(1, 7)), ("hailo-8", 500.0)]):
        device = make_device(f"cam-{n}", target)
        times = [now - timedelta(seconds=20 * k + 1) for k in range(90)]
        store_batch(device, context, draw_records(rng, sorted(times), latency_ms=latency), seq=1, received_at=now)
        note_device(device, context, seen_at=now)
        devices.append(device)
    return devices


SPAN = {"step": timedelta(minutes=5)}


@pytest.mark.django_db
def test_the_cohort_is_the_others_on_the_same_hardware(fleet, now):
    found = cohort_bands(fleet[0], start=now - timedelta(minutes=30), end=now, **SPAN)
    assert (found.devices, found.of) == (5, 5)
    lower, median, upper = found.bands["latency_p95"]
    measured = np.isfinite(median)
    assert measured.any()
    assert (median[measured] > 30.0).all(), "the device itself, the fastest, is left out"
    assert (upper[measured] < 200.0).all(), "other hardware is left out"
    assert (lower[measured] <= median[measured]).all() and (median[measured] <= upper[measured]).all()


@pytest.mark.django_db
def test_too_small_a_cohort_has_no_band(fleet, now):
    found = cohort_bands(fleet[-1], start=now - timedelta(minutes=30), end=now, **SPAN)
    assert (found.bands, found.of) == ({}, 0)


@pytest.mark.django_db
def test_of_a_large_cohort_the_same_devices_are_drawn_each_time(fleet, now, monkeypatch):
    monkeypatch.setattr(cohort_band, "MOST_DEVICES", 4)
    found = [cohort_bands(fleet[0], start=now - timedelta(minutes=30), end=now, **SPAN) for _ in range(2)]
    assert (found[0].devices, found[0].of) == (4, 5)
    assert np.array_equal(found[0].bands["energy"], found[1].bands["energy"], equal_nan=True)
