"""What the web processes counted of requests, read from their Prometheus metrics, over the last minutes.

Prometheus counters run since a process began. To say how it is now, the first reading of every while is kept in the
cache, and the newest is held against the oldest that is not too old.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.core.cache import cache
from django.db import connection
from prometheus_client import REGISTRY, CollectorRegistry, Metric, multiprocess

LATENCY = "django_http_requests_latency_seconds_by_view_method"
RESPONSES = "django_http_responses_total_by_status_view_method"
KEEP_EVERY, LOOK_BACK = timedelta(seconds=20), timedelta(minutes=5)
# The address without a slash has a name, its twin with one is known by its class.
_INGEST = ("telemetry:telemetry", "telemetry.api.ingest.TelemetryView")


@dataclass(frozen=True)
class Reading:
    """What was counted at ingest up to a moment: requests per latency bucket (upper bound in s), answers by status."""

    at: datetime
    buckets: Mapping[float, float] = field(default_factory=dict)
    answers: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True)
class Recent:
    """What happened at ingest lately; `since` is None where it is everything since the web processes began."""

    since: datetime | None
    requests: float
    p50: float | None
    p99: float | None
    answers: Mapping[str, float]


def recent(now: datetime) -> Recent:
    """The requests of the last minutes."""
    newest = read(_families(), now)
    kept = [old for old in (cache.get(_key()) or []) if now - old.at <= LOOK_BACK]
    # counters that fell belong to processes that are gone: start anew
    kept = [old for old in kept if all(newest.buckets.get(edge, 0) >= n for edge, n in old.buckets.items())]
    if not kept or now - kept[-1].at >= KEEP_EVERY:
        cache.set(_key(), [*kept, newest], timeout=LOOK_BACK.total_seconds() * 2)
    return between(kept[0] if kept else None, newest)


def read(families: Iterable[Metric], now: datetime) -> Reading:
    """The requests to ingest in Prometheus' families."""
    buckets: dict[float, float] = {}
    answers: dict[str, float] = {}
    for family in families:
        for sample in family.samples:
            if not sample.labels.get("view", "").startswith(_INGEST):
                continue
            if sample.name == f"{LATENCY}_bucket":
                edge = float(sample.labels["le"])
                buckets[edge] = buckets.get(edge, 0.0) + sample.value
            elif sample.name == f"{RESPONSES}_total":
                status = sample.labels["status"]
                answers[status] = answers.get(status, 0.0) + sample.value
    return Reading(now, buckets, answers)


def between(old: Reading | None, new: Reading) -> Recent:
    """The difference of two readings, with quantiles interpolated within Prometheus' cumulative buckets."""
    before = old or Reading(new.at)
    counts = {edge: n - before.buckets.get(edge, 0.0) for edge, n in sorted(new.buckets.items())}
    answers = {status: n - before.answers.get(status, 0.0) for status, n in new.answers.items()}
    total = max(counts.values(), default=0.0)
    return Recent(
        old.at if old else None,
        total,
        quantile(counts, 0.5),
        quantile(counts, 0.99),
        {status: n for status, n in sorted(answers.items()) if n},
    )


def quantile(cumulative: Mapping[float, float], p: float) -> float | None:
    """A quantile of a cumulative histogram as Prometheus' histogram_quantile has it; None without observations.

    Args:
        cumulative: observations up to each upper bound, bounds rising, the last one infinite.
    """
    total = max(cumulative.values(), default=0.0)
    if not total:
        return None
    lower = below = 0.0
    for edge, n in cumulative.items():
        if n >= p * total:
            if edge == float("inf"):
                return lower
            return lower + (edge - lower) * ((p * total - below) / (n - below) if n > below else 1.0)
        lower, below = edge, n
    return lower


def _families() -> Iterable[Metric]:
    """The metrics of all web processes, or of this one where there is only one."""
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY.collect()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)
    return registry.collect()


def _key() -> str:
    return f"status:ingest:{connection.settings_dict['NAME']}"
