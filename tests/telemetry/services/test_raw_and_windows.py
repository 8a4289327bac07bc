"""Raw records and windows of the same data, at any scale that a device may use, give the same percentiles."""

from datetime import timedelta

import numpy as np
import pytest
from django.db import transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from ridgeline_sdk.histogram import ExponentialHistogram, UnitHistogram

from telemetry.metrics import METRICS
from telemetry.selectors.selection import Selection
from telemetry.selectors.series import metric_series
from telemetry.store import microseconds
from tests.telemetry.envelopes import envelope
from tests.telemetry.services.ingest.sending import send

MINUTE = timedelta(minutes=1)
BUCKET = 2 ** (1 / 32)
QUANTILES = (0.5, 0.9, 0.95, 0.99)
# Bounds of buckets and powers of two are where histograms go wrong.
ON_BOUNDS = st.integers(-160, 480).map(lambda index: 2.0 ** (index / 32))
VALUES = st.lists(st.one_of(st.floats(0.01, 30_000), ON_BOUNDS, st.just(0.0)), min_size=1, max_size=80)


def exponential(values, scale):
    """What a device sends of the values at a scale."""
    histogram = ExponentialHistogram(scale)
    for value in values:
        histogram.add(value)
    return histogram.to_wire()


def unit(values):
    """What a device sends of shares."""
    histogram = UnitHistogram()
    for value in values:
        histogram.add(value)
    return histogram.to_wire()


def percentiles(device, metric, now):
    """Percentiles of one device over the minute before `now`, as charts read them."""
    chosen, span = Selection(device_ids=(device.pk,)), {"start": now - MINUTE, "end": now, "step": MINUTE}
    [group] = metric_series(chosen, METRICS[metric], **span, quantiles=QUANTILES).groups
    assert group.count.sum() > 0
    return {name: values[0] for name, values in group.values.items()}


@pytest.fixture
def registered(make_device, now):
    """The context is known before the first example is rolled back."""
    send(make_device("first"), envelope(now), now)


@pytest.mark.django_db
@pytest.mark.usefixtures("registered")
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(values=VALUES, scale=st.integers(5, 8), data=st.data())
def test_percentiles_of_raw_records_and_of_windows_lie_in_one_bucket(make_device, now, values, scale, data):
    shares = data.draw(st.lists(st.floats(0, 1), min_size=len(values), max_size=len(values)))
    start = microseconds(now - MINUTE)
    records = {"time": [start + k for k in range(len(values))], "latency_ms": values, "confidence": shares}
    window = {
        "start": start,
        "end": microseconds(now),
        "count": len(values),
        "latency_ms": exponential(values, scale),
        "confidence": unit(shares),
    }
    with transaction.atomic():
        raw, summed = make_device("raw"), make_device("summed")
        send(raw, envelope(now, inferences=records), now)
        send(summed, envelope(now, inferences=..., windows=[window]), now)
        a, b = percentiles(raw, "latency", now), percentiles(summed, "latency", now)
        c, d = percentiles(raw, "confidence", now), percentiles(summed, "confidence", now)
        transaction.set_rollback(True)
    assert a["mean"] == pytest.approx(b["mean"], rel=1e-6) == pytest.approx(np.mean(values), rel=1e-6)
    for p in QUANTILES:
        name = f"p{100 * p:g}"
        low, high = (np.quantile(values, p, method=method) for method in ("lower", "higher"))
        for found in (a[name], b[name]):
            assert low / BUCKET <= found <= high * BUCKET
        assert c[name] == pytest.approx(d[name], abs=0.01)
        # one bucket of the server, where the two lie between the same two values
        if high <= low * BUCKET:
            assert a[name] == b[name] == 0 or 1 / BUCKET - 1e-9 <= a[name] / b[name] <= BUCKET + 1e-9
