"""What the SDK sends is what the server's reader takes: no record rejected, no field unknown, the same numbers."""

import gzip
import random

import numpy as np
import pytest
from ridgeline_sdk import Device, Spool
from ridgeline_sdk.histogram import ExponentialHistogram

from telemetry import protocol
from telemetry.histograms import from_otel

CONTEXT = {
    "workload": "lane-assist",
    "release": "4.2.0",
    "model_version": "4.2.0",
    "firmware_version": "r36.4",
    "driver_version": "540.4",
    "runtime_version": "onnxruntime 1.31",
    "accelerator": "orin-nx-16",
    "power_mode": "15W",
}


def read(device):
    batch = device.spool.form(device.header, device.boot_id, adjust=device.adjust)
    device.spool.acknowledge(batch)
    return protocol.read_batch(gzip.decompress(batch.body), 5000)


def full_record(rng):
    return {
        "latency_ms": rng.lognormvariate(2.8, 0.2),
        "preprocess_ms": 1.2,
        "inference_ms": 14.6,
        "postprocess_ms": 0.7,
        "queue_ms": 0.9,
        "energy_mj": rng.lognormvariate(3.7, 0.2),
        "power_w": 5.2,
        "temperature_c": -3.5,
        "memory_mb": 512,
        "accelerator_utilization": 0.83,
        "queue_depth": 1,
        "input_quality": rng.random(),
        "confidence": rng.random(),
        "predicted_class": rng.choice(["stop-sign", "no-lane"]),
        "fallback": rng.choice(["none", "cpu"]),
        "retries": 0,
        "throttled": False,
        "outcome": "ok",
        "sample_ref": "frame-1",
    }


@pytest.mark.parametrize("synced", [True, False])
@pytest.mark.parametrize("windows", [True, False])
def test_every_field_and_section_is_taken(clock, windows, synced):
    clock.synced = synced
    rng = random.Random(1)
    device = Device(Spool(), CONTEXT, clock=clock, windows=windows, strict=True, rng=rng)
    for _ in range(200):
        device.record(**full_record(rng))
        clock.advance(0.5)
    device.record(latency_ms=0.0)
    for severity in ("debug", "info", "warning", "error", "critical"):
        device.event("driver_reset", severity, {"code": 5})
    device.state(temperature_c=60.1, power_w=4.9, memory_mb=500, battery_pct=88)
    device.count("inferences_total", 201)
    device.idle_energy(900.0)
    device.flush()
    batch = read(device)
    assert batch.rejections == []
    assert batch.unknown_fields == 0
    assert len(batch.inferences) == 201
    assert len(batch.events.records) == 5
    assert len(batch.states.records) == 1
    assert batch.counters.values == {"inferences_total": 201}
    assert batch.sample is windows
    assert sum(window.count for window in batch.windows) == (201 if windows else 0)


def test_the_server_sees_the_devices_histograms():
    rng = random.Random(2)
    histogram = ExponentialHistogram()
    values = [rng.lognormvariate(3.0, 1.0) for _ in range(5000)] + [0.0, 1.0, 2.0, 4.0]
    for value in values:
        histogram.add(value)
    wire = histogram.to_wire()
    theirs = from_otel(wire["scale"], wire["offset"], wire["counts"], wire["zero_count"])
    for p in (0.5, 0.95, 0.99):
        assert theirs.quantile(p) == pytest.approx(histogram.quantile(p), rel=0.001)
        assert theirs.quantile(p) == pytest.approx(np.quantile(values, p), rel=0.011)


def test_a_finer_or_coarser_device_histogram_is_folded_to_the_same_quantiles():
    rng = random.Random(3)
    values = [rng.lognormvariate(3.0, 1.0) for _ in range(5000)]
    fine = ExponentialHistogram(scale=8)
    for value in values:
        fine.add(value)
    wire = fine.to_wire()
    theirs = from_otel(wire["scale"], wire["offset"], wire["counts"], wire["zero_count"])
    assert theirs.quantile(0.95) == pytest.approx(np.quantile(values, 0.95), rel=0.011)


def test_what_the_reader_makes_of_an_unsynced_clock_is_when_it_happened(clock):
    true_us = clock.wall_us()
    clock.synced = False
    clock.now_us -= 9 * 365 * 86_400 * 1_000_000
    device = Device(Spool(), CONTEXT, clock=clock, strict=True)
    device.record(latency_ms=1.0)
    clock.advance(120)
    batch = read(device)
    reading = protocol.read_clock(batch.envelope, true_us + 120_000_000, clock.uptime_ms())
    times = reading.event_times(batch.inferences.time_us, batch.inferences.uptime_ms)
    assert abs(int(times[0]) - true_us) <= 1000
