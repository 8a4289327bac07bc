"""POST /v1/metrics takes what an unmodified OpenTelemetry SDK exports."""

import json

import numpy as np
import pytest
from django.utils import timezone
from opentelemetry.exporter.otlp.proto.http import Compression
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import (
    ExportMetricsServiceRequest,
    ExportMetricsServiceResponse,
)
from opentelemetry.sdk.metrics import Counter, Histogram, MeterProvider
from opentelemetry.sdk.metrics.export import (
    AggregationTemporality,
    MetricExportResult,
    PeriodicExportingMetricReader,
)
from opentelemetry.sdk.metrics.view import ExponentialBucketHistogramAggregation, View
from opentelemetry.sdk.resources import Resource

from telemetry.histograms import merge_packed
from telemetry.models import Batch, Context
from telemetry.services.gaps import find_gaps
from tests.telemetry.services.ingest.sending import rows

URL = "/v1/metrics"
ATTRIBUTES = {
    "device.id": "cam-001",
    "service.name": "lane-assist",
    "service.version": "4.1.0",
    "hw.driver_version": "540.4",
}


class Recording(OTLPMetricExporter):
    """The SDK's own exporter, which also notes how each export ended."""

    results: list

    def export(self, *args, **kwargs):
        """Export and note the result."""
        result = super().export(*args, **kwargs)
        self.__dict__.setdefault("results", []).append(result)
        return result


@pytest.fixture
def device(make_device):
    """The device that sends."""
    return make_device("cam-001")


def sdk(live_server, token: str, *, temporality, exponential: bool = True, compression=Compression.Gzip):
    """A meter provider that exports to the live server when it is flushed, and its exporter."""
    exporter = Recording(
        endpoint=live_server.url + URL,
        headers={"Authorization": f"Bearer {token}"},
        compression=compression,
        preferred_temporality={Counter: temporality, Histogram: temporality},
    )
    views = [
        View(instrument_name="edge.*", instrument_type=Histogram, aggregation=ExponentialBucketHistogramAggregation())
    ]
    reader = PeriodicExportingMetricReader(exporter, export_interval_millis=float("inf"))
    provider = MeterProvider([reader], Resource(ATTRIBUTES), views=views if exponential else ())
    return provider, exporter


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("temporality", [AggregationTemporality.DELTA, AggregationTemporality.CUMULATIVE])
def test_an_unmodified_sdk_reports_counts_percentiles_and_sums(live_server, device, device_token, temporality):
    provider, exporter = sdk(live_server, device_token(device), temporality=temporality)
    meter = provider.get_meter("tests")
    duration = meter.create_histogram("edge.inference.duration", "s")
    energy = meter.create_histogram("edge.inference.energy", "J")
    confidence = meter.create_histogram("edge.inference.confidence", "1")
    counter = meter.create_counter("edge.inference.count")
    latencies = np.random.default_rng(2).lognormal(-4, 0.3, 300)
    for third in np.split(latencies, 3):
        for seconds in third:
            duration.record(seconds)
            energy.record(0.04)
            confidence.record(0.905)
            counter.add(1, {"outcome": "error" if seconds > 0.03 else "ok"})
        assert provider.force_flush()
    provider.shutdown()
    assert set(exporter.results) == {MetricExportResult.SUCCESS}
    [(count, errors, n, total, energy_total)] = rows(
        "device_minute", "sum(count), sum(outcome_error), sum(latency_n), sum(latency_sum), sum(energy_sum)"
    )
    assert (count, n, errors) == (300, 300, int((latencies > 0.03).sum()))
    assert total == pytest.approx(latencies.sum() * 1000)
    assert energy_total == pytest.approx(300 * 40)
    latency = merge_packed([packed for (packed,) in rows("device_minute", "latency_hist")])
    assert latency.count == 300
    assert latency.quantile(0.95) == pytest.approx(np.quantile(latencies, 0.95) * 1000, rel=0.035)
    packed = merge_packed([packed for (packed,) in rows("device_minute", "confidence_hist")])
    assert (packed.offset, packed.counts.tolist()) == (90, [300])
    context = Context.objects.get()
    assert (context.release.version, context.driver_version) == ("4.1.0", "540.4")
    assert Batch.objects.filter(boot_id="otlp").count() >= 3
    # numbers that are hashes leave no gaps
    assert find_gaps(timezone.now()).opened == 0


@pytest.mark.django_db(transaction=True)
def test_the_sdks_default_buckets_give_counts_and_means_and_no_invented_percentiles(live_server, device, device_token):
    provider, _ = sdk(
        live_server,
        device_token(device),
        temporality=AggregationTemporality.DELTA,
        exponential=False,
        compression=Compression.NoCompression,
    )
    duration = provider.get_meter("tests").create_histogram("edge.inference.duration", "s")
    for _ in range(10):
        duration.record(0.02)
    provider.force_flush()
    provider.shutdown()
    [(count, total, packed)] = rows("device_minute", "count, latency_sum, latency_hist")
    assert (count, packed) == (10, None)
    assert total == pytest.approx(200)


@pytest.mark.django_db
def test_a_client_with_wide_buckets_is_told_and_so_is_whoever_reads_its_chart(
    device, device_token, api_client, browser_client, cast
):
    now = timezone.now()
    body = request_json(now)
    [metric, _] = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    [point] = metric.pop("exponentialHistogram")["dataPoints"]
    wide = {name: point[name] for name in ("startTimeUnixNano", "timeUnixNano", "count", "sum")}
    buckets = {"explicitBounds": [0.005, 0.01, 0.025, 0.1], "bucketCounts": ["0", "0", "3", "0", "0"]}
    metric["histogram"] = {"dataPoints": [wide | buckets], "aggregationTemporality": 1}
    answer = api_client(device_token(device)).post(URL, body, format="json").json()
    # proto3 leaves out a zero
    assert "rejectedDataPoints" not in answer["partialSuccess"]
    assert "too wide to tell percentiles" in answer["partialSuccess"]["errorMessage"]
    query = {"from": "-1h", "workload": "lane-assist"}
    series = api_client(cast.engineer).get("/api/v1/series", {"metric": "latency", **query}).json()
    [point] = series["series"][0]["points"]
    assert (series["without_percentiles"], point["count"], point["p95"]) == (3, 3, None)
    assert point["mean"] == pytest.approx(20)
    chart = browser_client(cast.engineer).get("/figures/latency/", query).json()
    assert "3 inferences came without percentiles" in chart["foot"]["notes"]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("scale", "offset", "p95"), [(8, -1446, 20), (3, -46, 20), (0, -6, 20), (-1, -3, None), (-10, -1, None)]
)
def test_an_exponential_histogram_gives_percentiles_as_fine_as_it_is_and_none_from_bins_wider_than_an_octave(
    api, api_client, cast, clock, scale, offset, p95
):
    body = request_json(clock)
    [metric, _] = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    metric["exponentialHistogram"]["dataPoints"][0] |= {
        "scale": scale,
        "positive": {"offset": offset, "bucketCounts": ["3"]},
    }
    answer = post(api, body).json()
    query = {"from": "-1h", "workload": "lane-assist", "metric": "latency"}
    [point] = api_client(cast.engineer).get("/api/v1/series", query).json()["series"][0]["points"]
    assert (point["count"], point["mean"]) == (3, pytest.approx(20))
    assert point["p95"] == (p95 and pytest.approx(p95, rel=max(0.5 * 2.0**-scale, 0.02)))
    warned = "too wide to tell percentiles" in answer.get("partialSuccess", {}).get("errorMessage", "")
    assert warned is (p95 is None)


@pytest.mark.django_db
@pytest.mark.parametrize("offset", [2_000_000, -2_000_000, 3000])
def test_bins_beyond_any_number_are_kept_in_the_outermost_ones(api, clock, offset):
    body = request_json(clock)
    [metric, _] = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    positive = {"offset": offset, "bucketCounts": ["3"]}
    metric["exponentialHistogram"]["dataPoints"][0] |= {"scale": 0, "positive": positive}
    assert post(api, body).status_code == 200
    [(packed,)] = rows("device_minute", "latency_hist")
    assert merge_packed([packed]).count == 3


# --- by hand ---------------------------------------------------------------------------------------------------------


def request_json(now, *, count: int = 3, total: float = 0.06, seconds: int = 60, **resource) -> dict:
    """An export of one exponential histogram of durations, as OTLP's JSON."""
    attributes = {name: value for name, value in (ATTRIBUTES | resource).items() if value is not None}
    end = int(now.timestamp() * 1e9)
    point = {
        "startTimeUnixNano": str(end - seconds * 10**9),
        "timeUnixNano": str(end),
        "count": str(count),
        "sum": total,
        "scale": 5,
        "positive": {"offset": -181, "bucketCounts": ["3"]},
    }
    metric = {
        "name": "edge.inference.duration",
        "unit": "s",
        "exponentialHistogram": {"dataPoints": [point], "aggregationTemporality": 1},
    }
    other = {"name": "process.cpu.time", "sum": {"dataPoints": [{"timeUnixNano": "1", "asInt": "5"}]}}
    return {
        "resourceMetrics": [
            {
                "resource": {"attributes": [{"key": k, "value": {"stringValue": v}} for k, v in attributes.items()]},
                "scopeMetrics": [{"metrics": [metric, other]}],
            }
        ]
    }


@pytest.fixture
def api(device, device_token, api_client):
    """A client with the device's token."""
    return api_client(device_token(device))


def post(api, body: dict):
    """Send JSON."""
    return api.post(URL, json.dumps(body), content_type="application/json")


@pytest.mark.django_db
def test_json_is_answered_in_json_and_the_same_body_counts_once(api, clock):
    body = request_json(clock)
    for _ in range(2):
        answer = post(api, body)
        assert (answer.status_code, answer.json()) == (200, {})
    assert rows("device_minute", "count, latency_sum::numeric(9, 3)::text, covered_ms") == [(3, "60.000", 60_000)]
    assert Batch.objects.get().unknown_fields == 1


@pytest.mark.django_db
def test_a_bad_point_is_partial_success_and_kept(api, clock):
    answer = post(api, request_json(clock, count=4))
    assert answer.status_code == 200
    partial = answer.json()["partialSuccess"]
    assert partial["rejectedDataPoints"] == "1"
    assert "buckets hold 3 values" in partial["errorMessage"]
    assert Batch.objects.get().quarantined_records.get().section == "otlp"


@pytest.mark.django_db
def test_protobuf_is_answered_in_protobuf(api, clock):
    body = ExportMetricsServiceRequest().SerializeToString()
    answer = api.post(URL, body, content_type="application/x-protobuf")
    assert answer.status_code == 200
    assert not ExportMetricsServiceResponse.FromString(answer.content).HasField("partial_success")


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"\xff\xff\xff", "application/x-protobuf", 400),
        (b"{", "application/json", 400),
        (b"{}", "text/plain", 415),
    ],
)
def test_what_cannot_be_read_is_refused(api, body, content_type, status):
    assert api.post(URL, body, content_type=content_type).status_code == status


@pytest.mark.django_db
def test_a_resource_of_another_device_is_403_and_one_without_a_release_is_400(api, make_device, clock):
    make_device("cam-002")
    assert post(api, request_json(clock, **{"device.id": "cam-002"})).status_code == 403
    assert post(api, request_json(clock, **{"service.version": None})).status_code == 400
    assert Batch.objects.count() == 0


@pytest.mark.django_db
def test_a_point_of_more_than_an_hour_is_rejected(api, clock):
    partial = post(api, request_json(clock, seconds=4000)).json()["partialSuccess"]
    assert "more than one hour" in partial["errorMessage"]
