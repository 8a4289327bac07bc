"""A window covers all of its span: no silence within it, and completeness over the whole of it."""

from datetime import timedelta

import numpy as np
import pytest

from telemetry.metrics import METRICS
from telemetry.models import BatchGap
from telemetry.selectors.coverage import covering, spread
from telemetry.selectors.selection import Selection
from telemetry.selectors.series import metric_series
from telemetry.selectors.timeline import device_timeline
from telemetry.services.folding import fold
from tests.telemetry.envelopes import envelope, inferences
from tests.telemetry.services.ingest.sending import send

MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
STEP = 5 * MINUTE


def hourly(device, start, *, hours, now, count=600, seq=1, **changes):
    """Windows of an hour each, from `start` on, throttled for half of their time."""
    windows = [
        {
            "start": (start + k * HOUR).isoformat(),
            "end": (start + (k + 1) * HOUR).isoformat(),
            "count": count,
            "throttled_ms": 1_800_000,
            "latency_ms": {"scale": 5, "offset": 120, "counts": [count]},
        }
        for k in range(hours)
    ]
    send(device, envelope(now, seq=seq, inferences=..., windows=windows, **changes), now)


def long_enrolled(make_device, now):
    """A device that could have been silent for days."""
    device = make_device()
    device.enrolled_at = now - timedelta(days=9)
    device.save()
    return device


@pytest.fixture
def start(now):
    """Five hours ago, in the middle of a step."""
    return now - 5 * HOUR + 3 * MINUTE


@pytest.mark.django_db
@pytest.mark.parametrize("step", [MINUTE, STEP, 15 * MINUTE])
def test_a_device_that_sends_hourly_windows_is_silent_only_after_them(cast, make_device, now, start, step):
    device = long_enrolled(make_device, now)
    hourly(device, start, hours=3, now=now)
    told = device_timeline(device, start=now - 6 * HOUR, end=now, step=step)
    [before, after] = told.silences
    assert abs(before.end - start) <= step and abs(after.start - (start + 3 * HOUR)) <= step
    assert (before.start, after.end) == (now - 6 * HOUR, now)
    [hot] = told.throttled
    assert hot.share == 0.5 and abs(hot.end - hot.start - 3 * HOUR) <= 2 * step


@pytest.mark.django_db
def test_a_window_that_began_before_the_range_reaches_into_it(cast, make_device, now, start):
    device = long_enrolled(make_device, now)
    hourly(device, start, hours=1, now=now)
    told = device_timeline(device, start=start + HOUR / 2, end=now, step=MINUTE)
    assert [(s.start, s.end) for s in told.silences] == [(start + HOUR, now)]


@pytest.mark.django_db
@pytest.mark.parametrize("by_device", [True, False])
def test_the_lines_and_the_completeness_of_windows_go_over_all_of_their_span(cast, make_device, now, start, by_device):
    devices = [make_device(f"cam-{k}") for k in range(3)]
    for device in devices:
        hourly(device, start, hours=2, now=now)
    BatchGap.objects.create(
        device=devices[0],
        boot_id="boot-1",
        missing_from=9,
        missing_to=9,
        after_time=start,
        before_time=start + 2 * HOUR,
        found_at=now,
    )
    fold(now)
    selection = Selection(workload_id=cast.workload.pk, device_ids=tuple(d.pk for d in devices) if by_device else None)
    found = metric_series(
        selection, METRICS["latency"], start=now - 6 * HOUR, end=now, step=STEP, group_by=("release",)
    )
    [group] = found.groups
    first = next(k for k, time in enumerate(found.times) if time + STEP > start)
    assert np.flatnonzero(group.count).tolist() == [first, first + 12]
    held = np.isfinite(group.held("p95"))
    assert np.flatnonzero(held).tolist() == list(range(first, first + 24))
    assert set(group.held_count[held]) == {1800}
    assert group.has_windows
    # one record is known to be lost in two hours of 3,600
    inside = group.completeness[first : first + 24]
    assert np.isfinite(inside).all() and inside.min() > 0.999


@pytest.mark.django_db
def test_a_fleet_that_is_silent_in_part_is_not_covered_by_the_windows_of_the_rest(cast, make_device, now, start):
    devices = [make_device(f"cam-{k}") for k in range(4)]
    for device in devices:
        send(device, envelope(now - 6 * HOUR, inferences=inferences(now - 6 * HOUR, 2)), now - 6 * HOUR)
    for device in devices[:2]:
        hourly(device, start, hours=1, now=now, seq=2)
        hourly(device, now - MINUTE - HOUR, hours=1, now=now, seq=3)
    for device in devices[2:]:
        send(device, envelope(now, seq=2, inferences=inferences(now - 2 * MINUTE, 2)), now)
    fold(now)
    found = metric_series(
        Selection(workload_id=cast.workload.pk), METRICS["latency"], start=now - 5 * HOUR, end=now, step=STEP
    )
    [group] = found.groups
    first = next(k for k, time in enumerate(found.times) if time + STEP > start)
    # two of four devices for an hour: half an hour of the four
    assert np.flatnonzero(np.isfinite(group.held("p50")))[:7].tolist() == [
        *range(first, first + 6),
        len(found.times) - 13,
    ]


def test_what_reaches_over_several_steps_is_spread_evenly_and_an_own_record_goes_before():
    received = np.array([[12, 0, 0, 5, 0, 0]])
    reach = np.array([[4, 1, 1, 1, 1, 1]])
    assert spread(received, reach).tolist() == [[3, 3, 3, 8, 0, 0]]
    assert covering(received, reach).tolist() == [[0, 0, 0, 3, -1, -1]]
    assert covering(np.zeros((1, 3), dtype=int), np.ones((1, 3), dtype=int)).tolist() == [[-1, -1, -1]]
