"""The batches that benchmarks of ingest send: plausible records with every field, and windows as the SDK makes them."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import numpy as np

from benchmarks.load import SEQ

MEASURES = {
    "preprocess_ms": 1.2,
    "inference_ms": 14.6,
    "postprocess_ms": 0.7,
    "queue_ms": 0.9,
    "energy_mj": 42.5,
    "power_w": 5.2,
    "temperature_c": 61.5,
    "memory_mb": 512.0,
}
SHARES = ("accelerator_utilization", "input_quality", "confidence")


def records(rng: np.random.Generator, n: int, end_us: int) -> dict[str, list]:
    """Columns of `n` plausible records with every field, ten a second, the last at `end_us`."""
    columns: dict[str, list] = {
        "time": (end_us - 100_000 * np.arange(n)[::-1]).tolist(),
        "latency_ms": rng.lognormal(3, 0.25, n).round(2).tolist(),
    }
    for name, middle in MEASURES.items():
        columns[name] = (middle * rng.lognormal(0, 0.1, n)).round(2).tolist()
    for name in SHARES:
        columns[name] = rng.beta(9, 2, n).round(3).tolist()
    columns["queue_depth"] = rng.poisson(1, n).tolist()
    columns["predicted_class"] = rng.choice(["stop-sign", "car", "lorry", "cyclist"], n).tolist()
    columns["fallback"] = rng.choice(["none", "cpu"], n, p=[0.98, 0.02]).tolist()
    columns["outcome"] = rng.choice(["ok", "error"], n, p=[0.99, 0.01]).tolist()
    columns["retries"] = [0] * n
    columns["throttled"] = [False] * n
    return columns


def window(rng: np.random.Generator, start_us: int) -> dict:
    """A minute of 600 inferences as the sdk sums it up."""
    from telemetry.histograms import Histogram

    latency, energy = rng.lognormal(3, 0.25, 600), rng.lognormal(3.7, 0.15, 600)
    confidence = rng.beta(9, 2, 600)

    def exponential(values: np.ndarray) -> dict:
        histogram = Histogram.of(values)
        return {
            "scale": 5,
            "offset": histogram.offset,
            "counts": histogram.counts.tolist(),
            "zero_count": 0,
            "sum": float(values.sum()),
            "min": float(values.min()),
            "max": float(values.max()),
        }

    return {
        "start": start_us,
        "end": start_us + 60_000_000,
        "count": 600,
        "fallbacks": {"cpu": 3},
        "outcomes": {"error": 1},
        "latency_ms": exponential(latency),
        "energy_mj": exponential(energy),
        "confidence": {
            "counts": np.histogram(confidence, 100, (0, 1))[0].tolist(),
            "sum": float(confidence.sum()),
        },
        "classes": {"stop-sign": 300, "car": 300},
    }


def body(section: dict, boot: str) -> bytes:
    """An envelope whose batch_seq is filled in by the load client."""
    envelope = {
        "schema": "ridgeline.telemetry/1",
        "boot_id": boot,
        "batch_seq": SEQ.decode(),
        "sent_at": datetime.now(UTC).isoformat(),
        "clock": {"synced": True, "source": "ntp", "error_ms": 3},
        "context": {
            "workload": "lane-assist",
            "release": "4.2.0",
            "model_version": "4.2.0",
            "driver_version": "540.4",
            "power_mode": "15W",
        },
        **section,
    }
    return json.dumps(envelope, separators=(",", ":")).encode().replace(b'"%s"' % SEQ, SEQ)
