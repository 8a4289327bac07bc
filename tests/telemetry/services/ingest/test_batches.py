"""A batch becomes rows: raw, roll-ups, events, states, counters, and what is known of the device."""

from datetime import timedelta

import numpy as np
import pytest

from fleet.models import Release
from telemetry.columns import FALLBACKS, OUTCOMES
from telemetry.histograms import merge_packed
from telemetry.models import Batch, Context, DeviceLatest, ReleaseSpan
from telemetry.services.directives import set_directive
from telemetry.store import microseconds
from tests.telemetry.envelopes import envelope, inferences
from tests.telemetry.services.ingest.sending import rows, send

pytestmark = pytest.mark.django_db


@pytest.fixture
def device(make_device):
    """The device that sends."""
    return make_device()


def test_a_raw_row_holds_every_field(device, now):
    record = {
        "time": now.isoformat(),
        "latency_ms": 17.4,
        "preprocess_ms": 1.2,
        "inference_ms": 14.6,
        "postprocess_ms": 0.7,
        "queue_ms": 0.9,
        "energy_mj": 42.5,
        "power_w": 5.2,
        "temperature_c": 61.5,
        "memory_mb": 512,
        "accelerator_utilization": 0.83,
        "queue_depth": 1,
        "input_quality": 0.92,
        "confidence": 0.97,
        "predicted_class": "stop-sign",
        "fallback": "cloud",
        "retries": 2,
        "throttled": True,
        "outcome": "timeout",
        "sample_ref": "s-9",
    }
    send(device, envelope(now, inferences=[record]), now)
    coded = {
        **record,
        "time": now,
        "fallback": FALLBACKS.index("cloud"),
        "outcome": OUTCOMES.index("timeout"),
    }
    [row] = rows("inference", ", ".join(name for name in record if name != "predicted_class"))
    expected = [value for name, value in coded.items() if name != "predicted_class"]
    assert [value if not isinstance(value, float) else pytest.approx(value, rel=1e-6) for value in row] == expected
    [(name,)] = rows("inference JOIN telemetry_classlabel c ON c.id = predicted_class", "c.name")
    assert name == "stop-sign"


def test_the_ledger_says_what_came_and_what_was_lost(device, now):
    body = envelope(now, seq=17, dropped={"inferences": 5, "windows": 1, "events": 2})
    send(device, body, now + timedelta(seconds=2))
    batch = Batch.objects.get()
    assert (batch.device, batch.boot_id, batch.batch_seq) == (device, "boot-1", 17)
    assert (batch.received_at, batch.sent_at) == (now + timedelta(seconds=2), now)
    assert (batch.inferences, batch.windows, batch.rejected) == (3, 0, 0)
    assert (batch.dropped_inferences, batch.dropped_windows, batch.dropped_events) == (5, 1, 2)
    assert (batch.min_time, batch.max_time) == (now - timedelta(seconds=2), now)
    assert (batch.clock_synced, batch.clock_error_ms, batch.clock_offset_us) == (True, 3.0, 0)
    assert batch.context == Context.objects.get()


def test_minutes_and_marks_follow_event_time_however_late_it_comes(device, now):
    late = now - timedelta(days=3, seconds=now.second)
    send(device, envelope(now, inferences=inferences(late, 4, step_s=120)), now)
    assert rows("device_minute", "bucket, count") == [(late - timedelta(minutes=2 * i), 1) for i in (3, 2, 1, 0)]
    assert rows("dirty_bucket", "bucket") == [(late - timedelta(minutes=10),), (late - timedelta(minutes=5),), (late,)]


def test_percentiles_of_raw_records_and_of_windows_of_the_same_data_lie_in_one_bin(make_device, now):
    from ridgeline_sdk.windows import Window

    values = np.random.default_rng(3).lognormal(3, 0.4, 1000).astype(np.float32).astype(float)
    raw, summed = make_device("raw"), make_device("summed")
    start = microseconds(now) - 60_000_000
    window = Window(start, start + 60_000_000)
    for value in values:
        window.add({"latency_ms": value, "energy_mj": 2 * value, "confidence": 0.905})
    records = [
        {"time": start + i, "latency_ms": value, "energy_mj": 2 * value, "confidence": 0.905}
        for i, value in enumerate(values)
    ]
    send(raw, envelope(now, inferences=records), now)
    send(summed, envelope(now, inferences=..., windows=[window.to_wire()]), now)
    by_device = {
        device: dict(zip(("latency", "energy", "confidence", "n", "sum"), values, strict=True))
        for device, *values in rows(
            "device_minute", "device_id, latency_hist, energy_hist, confidence_hist, count, latency_sum"
        )
    }
    a, b = by_device[raw.pk], by_device[summed.pk]
    assert {name: a[name] for name in ("latency", "energy", "confidence", "n")} == {
        name: b[name] for name in ("latency", "energy", "confidence", "n")
    }
    assert a["sum"] == pytest.approx(b["sum"])
    assert merge_packed([a["latency"]]).quantile(0.95) == pytest.approx(np.quantile(values, 0.95), rel=0.011)


def test_a_sample_is_kept_as_detail_and_only_its_windows_count(device, now):
    start = microseconds(now) - 60_000_000
    window = {
        "start": start,
        "end": start + 60_000_000,
        "count": 600,
        "latency_ms": {"scale": 5, "offset": 120, "counts": [600], "sum": 8160.0},
    }
    send(device, envelope(now, inferences_role="sample", windows=[window]), now)
    assert rows("device_minute", "count, latency_n, covered_ms") == [(600, 600, 60_000)]
    assert rows("device_cell", "count") == []
    assert len(rows("inference", "time")) == 3
    batch = Batch.objects.get()
    assert (batch.sampled, batch.inferences, batch.windows, batch.window_inferences) == (True, 3, 1, 600)


def test_windows_of_a_batch_with_complete_rows_count_beside_them(device, now):
    start = microseconds(now) - 600_000_000
    window = {"start": start, "end": start + 60_000_000, "count": 5, "throttled_ms": 30_000, "idle_energy_mj": 900}
    send(device, envelope(now, windows=[window]), now)
    minutes = rows("device_minute", "count, throttled, throttled_ms, idle_energy_mj")
    assert (5, 2, 30_000, 900.0) in minutes
    assert sum(count for count, *_ in minutes) == 8


def test_an_unsynced_clock_is_put_right_from_uptime(device, now):
    wrong = microseconds(now) - 20 * 365 * 86_400_000_000
    body = envelope(
        now,
        sent_at=wrong,
        uptime_ms=500_000,
        clock={"synced": False},
        inferences=[
            {"time": wrong - 3_000_000, "latency_ms": 1.0, "uptime_ms": 497_000},
            {"time": wrong - 2_000_000, "latency_ms": 2.0},
        ],
        windows=[{"start": wrong - 61_000_000, "end": wrong - 1_000_000, "count": 0, "uptime_ms": 499_000}],
        events=[{"time": wrong - 1_000_000, "type": "reboot", "uptime_ms": 499_000}],
    )
    send(device, body, now)
    assert rows("inference", "time") == [(now - timedelta(seconds=3),), (now - timedelta(seconds=2),)]
    assert rows("event", "time") == [(now - timedelta(seconds=1),)]
    assert (now - timedelta(seconds=61)).replace(second=0) in [bucket for (bucket,) in rows("device_minute", "bucket")]
    batch = Batch.objects.get()
    assert (batch.clock_synced, batch.clock_offset_us) == (False, microseconds(now) - wrong)


def test_a_body_sent_again_after_an_hour_lands_where_it_belongs(device, now):
    wrong = microseconds(now) - 20 * 365 * 86_400_000_000
    record = {"time": wrong, "latency_ms": 1.0, "uptime_ms": 500_000}
    body = envelope(now, sent_at=wrong, uptime_ms=500_000, clock={"synced": False}, inferences=[record])
    send(device, body, now, uptime_now_ms=500_000 + 3_600_000)
    assert rows("inference", "time") == [(now - timedelta(hours=1),)]


# --- contexts --------------------------------------------------------------------------------------------------------


def test_an_unknown_release_is_kept_as_unregistered_and_said_once(device, now):
    context = {"workload": "lane-assist", "release": "9.9.9"}
    for seq in (1, 2):
        send(device, envelope(now, seq=seq, context=context), now)
    assert Release.objects.get(version="9.9.9").status == Release.Status.UNREGISTERED
    assert rows("event", "type, detail::text") == [
        ("unregistered_release", '{"release": "9.9.9", "workload": "lane-assist"}')
    ]
    assert len(rows("inference", "time")) == 6


def test_an_unknown_workload_is_kept_as_well(device, now):
    send(device, envelope(now, context={"workload": "Brand New", "release": "1"}), now)
    assert len(rows("inference", "time")) == 3


def test_parts_other_than_the_release_declares_raise_a_mismatch_once_per_change(device, now):
    good = {"workload": "lane-assist", "release": "4.1.0", "driver_version": "540.4"}
    bad = good | {"driver_version": "535.1", "firmware_version": "r36.4"}
    for seq, context in enumerate([good, bad, bad, good, bad]):
        at = now + timedelta(seconds=10 * seq)
        send(device, envelope(at, seq=seq, context=context), at)
    assert [type for (type,) in rows("event", "type", "time")] == ["bom_mismatch", "bom_mismatch"]
    context = Context.objects.exclude(mismatches={}).get()
    assert context.mismatches == {"driver_version": {"release": "540.4", "device": "535.1"}}


def test_a_late_batch_of_an_old_context_raises_nothing(device, now):
    bad = {"workload": "lane-assist", "release": "4.1.0", "driver_version": "535.1"}
    send(device, envelope(now, seq=2), now)
    late = now - timedelta(hours=1)
    send(device, envelope(now, seq=1, context=bad, inferences=inferences(late)), now)
    assert rows("event", "type") == []


# --- the device ------------------------------------------------------------------------------------------------------


def test_latest_figures_are_those_of_the_newest_event_time(device, now):
    newer = inferences(now, 20, confidence=0.9, temperature_c=61.5)
    newer[-1] |= {"throttled": True, "fallback": "cpu"}
    send(device, envelope(now, seq=2, inferences=newer, states=[{"time": now.isoformat(), "battery_pct": 88}]), now)
    late = now - timedelta(hours=1)
    later = now + timedelta(seconds=30)
    old = inferences(late, 5, confidence=0.1)
    send(device, envelope(now, seq=1, inferences=old, context={"workload": "lane-assist", "release": "4.2.0"}), later)
    latest = DeviceLatest.objects.get()
    assert latest.release.version == "4.1.0"
    assert (latest.last_seen_at, latest.last_event_time) == (later, now)
    assert (latest.latency_p95_ms, latest.energy_mj, latest.batch_seq) == (28.0, 40.0, 2)
    assert latest.confidence == pytest.approx(0.9)
    assert (latest.temperature_c, latest.battery_pct, latest.throttled) == (61.5, 88.0, True)
    assert (latest.fallback_rate, latest.error_rate) == (0.05, 0.0)


def test_a_batch_without_a_context_shows_that_the_device_lives(device, now):
    send(device, envelope(now), now)
    later = now + timedelta(minutes=1)
    send(device, envelope(now, seq=2, inferences=..., context=...), later)
    assert DeviceLatest.objects.get().last_seen_at == later


def spans():
    """Release, first and last minute of each span, in order of time."""
    return [
        (span.release.version, span.first_time, span.last_time)
        for span in ReleaseSpan.objects.select_related("release").order_by("first_time")
    ]


@pytest.mark.parametrize("order", [(0, 1, 2, 3), (3, 2, 1, 0), (2, 0, 3, 1)])
def test_release_spans_are_the_same_in_any_order_of_arrival(device, now, order):
    plan = [("4.1.0", 0), ("4.1.0", 10), ("4.2.0", 20), ("4.1.0", 30)]
    for seq in order:
        version, minute = plan[seq]
        at = now - timedelta(hours=1) + timedelta(minutes=minute)
        context = {"workload": "lane-assist", "release": version}
        send(device, envelope(now, seq=seq, context=context, inferences=inferences(at, 1)), now)
    start = now - timedelta(hours=1)
    found = spans()
    # two spans of 4.1.0 that a late batch would have joined may stay apart; they never overlap 4.2.0
    assert {version for version, _, _ in found} == {"4.1.0", "4.2.0"}
    assert [span for span in found if span[0] == "4.2.0"] == [
        ("4.2.0", start + timedelta(minutes=20), start + timedelta(minutes=20))
    ]
    for version, first, last in found:
        if version == "4.1.0":
            assert not first < start + timedelta(minutes=20) < last


def test_a_span_grows_with_its_release(device, now):
    for seq in range(4):
        at = now + timedelta(minutes=5 * seq)
        send(device, envelope(at, seq=seq, inferences=inferences(at, 1)), at)
    assert spans() == [("4.1.0", now, now + timedelta(minutes=15))]


def test_counters_become_increases_over_resets_and_reboots(device, now):
    readings = [("a", 100), ("a", 160), ("a", 40), ("b", 50), ("b", 70)]
    for seq, (boot, value) in enumerate(readings):
        at = now + timedelta(seconds=10 * seq)
        counters = {"time": at.isoformat(), "values": {"inferences_total": value}}
        send(device, envelope(at, seq=seq, boot_id=boot, counters=counters), at)
    assert rows("counter_rate", "name, delta, seconds", "time") == [
        ("inferences_total", 0.0, 0.0),
        *(("inferences_total", delta, 10.0) for delta in (60.0, 40.0, 50.0, 20.0)),
    ]


def test_a_counter_reading_that_comes_late_is_put_between_its_neighbours(device, now):
    for seq, second, value in ((1, 0, 100), (3, 20, 160), (2, 10, 130)):
        at = now + timedelta(seconds=second)
        counters = {"time": at.isoformat(), "values": {"a": value}}
        send(device, envelope(now, seq=seq, counters=counters), now + timedelta(seconds=20))
    assert rows("counter_rate", "delta, seconds", "time") == [(0.0, 0.0), (30.0, 10.0), (30.0, 10.0)]


def test_directives_are_told_the_more_particular_one_first(device, cast, now):
    from fleet.actors import Actor
    from fleet.models import DeviceGroup

    actor = Actor.of_user(cast.engineer)
    group = DeviceGroup.objects.create(slug="beta", name="Beta", created_at=now)
    device.groups.add(group)
    set_directive({"window_s": 60, "max_batch": 500}, actor=actor, now=now)
    set_directive({"window_s": 30, "raw_sample_rate": 0.5}, actor=actor, now=now, group=group)
    set_directive({"raw_sample_rate": 1}, actor=actor, now=now, device=device, source="rollout 7")
    assert send(device, envelope(now), now)["directives"] == {
        "window_s": 30,
        "max_batch": 500,
        "raw_sample_rate": 1.0,
    }
