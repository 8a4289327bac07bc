"""What web processes counted lately: differences of counters, and quantiles of cumulative buckets."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Counter, Histogram

from telemetry.selectors.status.server_metrics import LATENCY, RESPONSES, Reading, between, quantile, read

INF = float("inf")


def test_only_requests_to_ingest_are_counted(now):
    registry = CollectorRegistry()
    latency = Histogram(LATENCY, "x", ["view", "method"], registry=registry, buckets=(0.1, 1.0))
    answers = Counter(RESPONSES, "x", ["status", "view", "method"], registry=registry)
    for view in ("telemetry:telemetry", "telemetry.api.ingest.TelemetryView", "fleet:home"):
        latency.labels(view, "POST").observe(0.05)
        answers.labels("200", view, "POST").inc()
    found = read(registry.collect(), now)
    assert found.buckets == {0.1: 2, 1.0: 2, INF: 2}
    assert found.answers == {"200": 2}


def test_what_happened_lately_is_the_difference(now):
    old = Reading(now, {0.1: 90, 1.0: 100, INF: 100}, {"200": 100})
    new = Reading(now + timedelta(minutes=1), {0.1: 90, 1.0: 110, INF: 110}, {"200": 109, "503": 1})
    found = between(old, new)
    assert (found.requests, found.answers) == (10, {"200": 9, "503": 1})
    assert 0.1 < found.p50 <= 1.0
    assert between(None, new).requests == 110


def test_without_requests_there_is_no_quantile(now):
    assert quantile({}, 0.5) is None
    assert quantile({0.1: 0, INF: 0}, 0.5) is None


@given(st.lists(st.integers(0, 50), min_size=3, max_size=3).filter(any), st.floats(0.01, 0.99))
def test_a_quantile_lies_in_the_bucket_that_holds_it(counts, p):
    edges = (0.1, 1.0, 5.0)
    cumulative = {edge: sum(counts[: k + 1]) for k, edge in enumerate(edges)} | {INF: sum(counts)}
    found = quantile(cumulative, p)
    k = next(k for k in range(3) if sum(counts[: k + 1]) >= p * sum(counts))
    assert (0.0, *edges)[k] <= found <= edges[k]
