"""What an application records, and what becomes of it in the envelope."""

import gzip
import json
import math
import random
import sqlite3

import pytest
from ridgeline_sdk import Device, Spool
from ridgeline_sdk.envelope import as_rows
from ridgeline_sdk.records import INFERENCE, WINDOW

CONTEXT = {"workload": "lane-assist", "release": "4.1.0"}


@pytest.fixture
def device(clock):
    return Device(Spool(), CONTEXT, clock=clock, strict=True, rng=random.Random(1))


def envelopes(device, boot_id=None):
    """All that is spooled, as the server would read it."""
    found = []
    while batch := device.spool.form(device.header, boot_id or device.boot_id, adjust=device.adjust):
        envelope = json.loads(gzip.decompress(batch.body))
        if isinstance(envelope.get("inferences"), dict):
            envelope["inferences"] = as_rows(envelope["inferences"])
        found.append(envelope)
        device.spool.acknowledge(batch)
    return found


def test_an_envelope_has_the_head_that_the_protocol_asks_for(device, clock):
    device.record(latency_ms=17.4, confidence=0.97)
    clock.advance(2)
    (envelope,) = envelopes(device)
    assert envelope == {
        "schema": "ridgeline.telemetry/1",
        "boot_id": device.boot_id,
        "batch_seq": 1,
        "sent_at": "2026-03-02T12:00:02.000Z",
        "uptime_ms": 3_602_000,
        "clock": {"synced": True, "source": "ntp"},
        "context": CONTEXT,
        "dropped": {"inferences": 0, "windows": 0, "events": 0},
        "inferences": [{"time": 1_772_452_800_000_000, "latency_ms": 17.4, "confidence": 0.97}],
    }


def test_a_gateway_names_the_device_that_it_speaks_for(clock):
    device = Device(Spool(), CONTEXT, clock=clock, serial="cam-17")
    device.record(latency_ms=1.0)
    assert envelopes(device)[0]["device"] == "cam-17"


def test_a_with_block_measures_stages_and_the_whole(clock):
    ticks = iter([0.0, 0.001, 0.003, 0.003, 0.010, 0.012])
    device = Device(Spool(), CONTEXT, clock=clock, strict=True, perf_s=lambda: next(ticks))
    with device.inference() as inference:
        with inference.stage("preprocess"):
            pass
        with inference.stage("inference"):
            pass
        inference.confidence = 0.5
    (row,) = envelopes(device)[0]["inferences"]
    assert row["latency_ms"] == pytest.approx(12.0)
    assert (row["preprocess_ms"], row["inference_ms"]) == (pytest.approx(2.0), pytest.approx(7.0))
    assert row["confidence"] == 0.5


@pytest.mark.parametrize(
    ("error", "outcome"), [(MemoryError, "out_of_memory"), (TimeoutError, "timeout"), (RuntimeError, "error")]
)
def test_an_exception_in_an_inference_is_its_outcome_and_goes_on(device, error, outcome):
    with pytest.raises(error), device.inference():
        raise error
    assert envelopes(device)[0]["inferences"][0]["outcome"] == outcome


def test_a_misspelt_field_or_stage_is_told_at_once(device):
    with pytest.raises(AttributeError, match="confidnce"), device.inference() as inference:
        inference.confidnce = 0.9
    with pytest.raises(ValueError, match="warmup"), device.inference() as inference, inference.stage("warmup"):
        pass


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("latency_ms", -1.0),
        ("latency_ms", math.nan),
        ("latency_ms", None),
        ("energy_mj", math.inf),
        ("confidence", 1.01),
        ("input_quality", -0.1),
        ("queue_depth", 1.5),
        ("fallback", "gpu"),
        ("outcome", "bad"),
        ("retries", True),
        ("colour", "red"),
    ],
)
def test_a_value_that_the_protocol_does_not_allow_is_refused_by_name(device, field, value):
    with pytest.raises(ValueError, match=field):
        device.record(**{"latency_ms": 1.0, field: value})
    assert device.spool.is_empty()


def test_without_strict_a_bad_record_is_admitted_as_dropped_and_the_application_goes_on(clock):
    device = Device(Spool(), CONTEXT, clock=clock)
    device.record(latency_ms=math.nan)
    device.event("boot", severity="terrible")
    device.record(latency_ms=1.0)
    (envelope,) = envelopes(device)
    assert envelope["dropped"] == {"inferences": 1, "windows": 0, "events": 1}
    assert len(envelope["inferences"]) == 1


def test_a_spool_that_takes_no_writes_stops_no_application_and_the_loss_is_told_later(device):
    device.spool._db.execute("PRAGMA query_only=ON")
    device.record(latency_ms=1.0)
    device.event("boot")
    with pytest.raises(sqlite3.Error):
        device.spool.put([], drop_drafts=["x"])
    device.spool._db.execute("PRAGMA query_only=OFF")
    device.record(latency_ms=2.0)
    (envelope,) = envelopes(device)
    assert envelope["dropped"] == {"inferences": 1, "windows": 0, "events": 1}


def test_numpy_numbers_are_taken(device):
    numpy = pytest.importorskip("numpy")
    device.record(latency_ms=numpy.float32(1.5), queue_depth=numpy.int64(3), throttled=numpy.bool_(True))
    assert envelopes(device)[0]["inferences"][0]["queue_depth"] == 3


def test_records_keep_the_context_in_which_they_were_made(device):
    device.record(latency_ms=1.0)
    device.set_context(release="4.2.0")
    device.record(latency_ms=2.0)
    assert [(e["context"]["release"], e["inferences"][0]["latency_ms"]) for e in envelopes(device)] == [
        ("4.1.0", 1.0),
        ("4.2.0", 2.0),
    ]


def test_counters_are_cumulative_snapshots_once_a_minute(device, clock):
    device.count("inferences_total", 5)
    device.tick()
    clock.advance(61)
    device.count("inferences_total", 2)
    device.tick()
    device.tick()
    assert [e["counters"]["values"] for e in envelopes(device)] == [{"inferences_total": 7}]


def test_with_windows_every_inference_is_in_a_window_and_rows_are_a_sample(clock):
    device = Device(Spool(), CONTEXT, clock=clock, windows=True, raw_sample_rate=0.2, strict=True, rng=random.Random(3))
    for _ in range(1000):
        device.record(latency_ms=10.0)
        clock.advance(0.5)
    device.flush()
    found = envelopes(device)
    assert {envelope["inferences_role"] for envelope in found} == {"sample"}
    assert sum(window["count"] for envelope in found for window in envelope.get("windows", [])) == 1000
    assert 150 < sum(len(envelope.get("inferences", [])) for envelope in found) < 250


def test_a_directive_to_sample_turns_windows_on_and_nothing_counts_twice(device, clock):
    for _ in range(10):
        device.record(latency_ms=10.0)
        clock.advance(1)
    device.apply({"raw_sample_rate": 0.0, "window_s": 10})
    for _ in range(10):
        device.record(latency_ms=10.0)
        clock.advance(1)
    device.apply({"raw_sample_rate": 1.0})
    device.record(latency_ms=10.0)
    device.flush()
    complete = sampled = 0
    for envelope in envelopes(device):
        if envelope.get("inferences_role", "complete") == "complete":
            complete += len(envelope.get("inferences", []))
            assert "windows" not in envelope
        else:
            sampled += sum(window["count"] for window in envelope.get("windows", []))
            assert all(w["end"] - w["start"] == 10_000_000 for w in envelope.get("windows", []))
    assert (complete, sampled) == (11, 10)


@pytest.mark.parametrize("directives", [{"raw_sample_rate": 2}, {"window_s": 0}, {"window_s": "fast"}])
def test_a_directive_without_sense_is_ignored(device, directives):
    device.apply(directives)
    device.record(latency_ms=1.0)
    device.flush()
    assert device.spool.pending() == {INFERENCE: 1}


def test_an_open_window_survives_a_crash_up_to_the_last_checkpoint(tmp_path, clock):
    path = str(tmp_path / "spool.db")
    spool = Spool(path)
    device = Device(spool, CONTEXT, clock=clock, windows=True, raw_sample_rate=0.0)
    for _ in range(8):
        device.record(latency_ms=10.0)
        clock.advance(1)
    spool.close()
    device = Device(Spool(path), CONTEXT, clock=clock, windows=True, raw_sample_rate=0.0)
    assert device.spool.pending() == {WINDOW: 1}
    (envelope,) = envelopes(device)
    # The checkpoint is made with the first record after five seconds.
    assert envelope["windows"][0]["count"] == 6


def test_times_of_an_unsynced_clock_are_mended_once_it_is_synced(device, clock):
    clock.synced = False
    true_start = clock.now_us
    clock.now_us -= 400 * 86_400 * 1_000_000
    device.record(latency_ms=1.0)
    device.event("boot")
    clock.advance(30)
    clock.synced, clock.now_us = True, true_start + 30_000_000
    (envelope,) = envelopes(device)
    assert envelope["clock"]["synced"] is True
    assert envelope["inferences"][0]["time"] == true_start
    assert envelope["events"][0]["time"] == true_start
    assert "uptime_ms" not in envelope["inferences"][0]


def test_while_the_clock_is_unsynced_records_carry_their_uptime(device, clock):
    clock.synced = False
    device.record(latency_ms=1.0)
    clock.advance(30)
    (envelope,) = envelopes(device)
    assert envelope["clock"]["synced"] is False
    assert envelope["uptime_ms"] - envelope["inferences"][0]["uptime_ms"] == 30_000


def test_an_unsynced_record_of_an_earlier_boot_is_not_passed_off_as_synced(tmp_path, clock):
    path = str(tmp_path / "spool.db")
    clock.synced = False
    device = Device(Spool(path), CONTEXT, clock=clock)
    device.record(latency_ms=1.0)
    device.spool.close()
    clock.boot, clock.up_ms, clock.synced = "boot-2", 1000, True
    device = Device(Spool(path), CONTEXT, clock=clock)
    (envelope,) = envelopes(device)
    assert envelope["clock"]["synced"] is False
    assert "uptime_ms" not in envelope["inferences"][0]


def test_an_explicit_time_keeps_its_distance_in_uptime(device, clock):
    clock.synced = False
    device.record(latency_ms=1.0, time_us=clock.now_us - 10_000_000)
    (envelope,) = envelopes(device)
    assert envelope["uptime_ms"] - envelope["inferences"][0]["uptime_ms"] == 10_000


def test_records_made_while_synced_stay_trusted_when_the_clock_is_lost(device, clock):
    device.record(latency_ms=1.0)
    clock.synced = False
    (envelope,) = envelopes(device)
    assert envelope["clock"]["synced"] is True
    assert "uptime_ms" not in envelope["inferences"][0]
