"""A window has its place from its start to its end."""

from datetime import timedelta

import pytest

from telemetry.models import Batch, DeviceLatest, ReleaseSpan
from telemetry.store.health import device_ledger
from tests.telemetry.envelopes import envelope
from tests.telemetry.services.ingest.sending import rows, send

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

pytestmark = pytest.mark.django_db


def window(start, end):
    """A window of two inferences."""
    histogram = {"scale": 5, "offset": 120, "counts": [2]}
    return {"start": start.isoformat(), "end": end.isoformat(), "count": 2, "latency_ms": histogram}


def test_an_hourly_window_that_is_sent_when_it_ends_is_not_late(make_device, now):
    device = make_device()
    send(device, envelope(now, inferences=..., windows=[window(now - HOUR, now)]), now + MINUTE)
    batch = Batch.objects.get()
    assert (batch.min_time, batch.max_time) == (now - HOUR, now)
    assert device_ledger([device.pk], now, now + HOUR)[device.pk].late == 0
    span = ReleaseSpan.objects.get()
    assert (span.first_time, span.last_time) == (now - HOUR, now)
    assert DeviceLatest.objects.get().last_event_time == now
    # it is stored where it begins
    assert rows("device_minute", "bucket, count, covered_ms") == [(now - HOUR, 2, 3_600_000)]
    # and is late when it waited
    send(device, envelope(now, seq=2, inferences=..., windows=[window(now - 3 * HOUR, now - 2 * HOUR)]), now + MINUTE)
    assert device_ledger([device.pk], now, now + HOUR)[device.pk].late == 1


def test_a_window_that_ends_in_the_future_is_refused_and_the_others_stay(make_device, now):
    windows = [window(now - MINUTE, now + end * MINUTE) for end in (0, 4, 6)] + [window(now + HOUR, now + 2 * HOUR)]
    answer = send(make_device(), envelope(now, inferences=..., windows=windows), now)
    assert (answer["accepted"]["windows"], answer["rejected"]) == (2, 2)
    told = {(e["section"], e["index"], e["field"], e["code"]) for e in answer["partial_success"]["errors"]}
    assert told == {("windows", 2, "end", "future"), ("windows", 3, "start", "future")}
