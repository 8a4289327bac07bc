"""/metrics: the server's metrics and gauges of the fleet, as Prometheus reads them."""

from datetime import timedelta

import numpy as np
import pytest
from django.core.cache import cache
from prometheus_client.parser import text_string_to_metric_families

from telemetry.services import folding
from tests.telemetry.records import draw_records, make_context, note_device, store_batch

MINUTE = timedelta(minutes=1)


@pytest.fixture(autouse=True)
def nothing_cached():
    cache.delete("telemetry.fleet_gauges")
    yield
    cache.delete("telemetry.fleet_gauges")


def scraped(client, **headers):
    response = client.get("/metrics", headers=headers)
    assert response.status_code == 200
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(response.content.decode())
        for sample in family.samples
        if sample.name.startswith("ridgeline")
    }


@pytest.mark.django_db
def test_gauges_tell_devices_by_state_and_each_release_of_the_last_minutes(client, cast, make_device, clock):
    rng = np.random.default_rng(95)
    context = make_context(cast.release, clock)
    records = draw_records(rng, [clock - 2 * MINUTE] * 300)
    for serial, seen in (("cam-1", clock), ("cam-2", clock - timedelta(days=1))):
        device = make_device(serial)
        note_device(device, context, seen_at=seen)
    make_device("cam-3", "hailo-8")
    store_batch(device, context, records, seq=1, received_at=clock)
    folding.fold(clock)
    found = scraped(client)
    assert found[("ridgeline_devices", "orin-nx-16", "online")] == 1
    assert found[("ridgeline_devices", "orin-nx-16", "silent")] == 1
    assert found[("ridgeline_devices", "hailo-8", "never")] == 1
    assert found[("ridgeline_devices", "hailo-8", "online")] == 0
    # labels in the order of their names: quantile, release, workload
    release = ("4.1.0", "lane-assist")
    latency = records.measures["latency"].astype(float)
    assert found[("ridgeline_latency_milliseconds", "0.95", *release)] == pytest.approx(
        np.quantile(latency, 0.95), rel=0.011
    )
    energy = records.measures["energy"].astype(float)
    assert found[("ridgeline_joules_per_inference", *release)] == pytest.approx(np.nanmean(energy) / 1000)
    assert found[("ridgeline_fallback_rate", *release)] == pytest.approx((records.fallback > 0).mean())
    assert found[("ridgeline_inferences", *release)] == 300
    assert found[("ridgeline_marks_waiting",)] == 0


@pytest.mark.django_db
def test_what_is_not_folded_shows_as_lag(client, cast, make_device, clock):
    rng = np.random.default_rng(96)
    store_batch(
        make_device(), make_context(cast.release, clock), draw_records(rng, [clock] * 3), seq=1, received_at=clock
    )
    assert scraped(client)[("ridgeline_marks_waiting",)] == 1


@pytest.mark.django_db
def test_an_empty_fleet_still_answers_with_the_servers_own_metrics(client):
    response = client.get("/metrics")
    assert b"django_http_requests" in response.content
    assert scraped(client) == {("ridgeline_marks_waiting",): 0, ("ridgeline_folding_lag_seconds",): 0}


@pytest.mark.django_db
def test_with_a_token_set_only_its_bearer_is_answered(client, settings):
    settings.METRICS_TOKEN = "scrape-me"
    assert client.get("/metrics").status_code == 401
    assert client.get("/metrics", headers={"Authorization": "Bearer wrong"}).status_code == 401
    assert scraped(client, Authorization="Bearer scrape-me")
