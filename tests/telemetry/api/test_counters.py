"""GET /api/v1/counters: rates of a device's cumulative counters, resets included."""

import csv
import io
from datetime import timedelta

import pytest

from telemetry import store

pytestmark = pytest.mark.django_db
MINUTE = timedelta(minutes=1)


@pytest.fixture
def counted(make_device, now):
    """A device whose counter goes 100, 160 and, after a new start, 10 and 25; another counter once."""
    device = make_device("cam-1")
    for ago, boot, values in (
        (40, "a", {"inferences_total": 100, "resets_total": 1}),
        (30, "a", {"inferences_total": 160}),
        (20, "b", {"inferences_total": 10}),
        (10, "b", {"inferences_total": 25}),
    ):
        store.count_up(device.pk, boot, now - ago * MINUTE, values)
    return device


def asked(client, now, **parameters):
    span = {"from": (now - timedelta(hours=1)).isoformat(), "to": now.isoformat()}
    return client.get("/api/v1/counters", {**span, **parameters})


@pytest.fixture
def client(cast, api_client):
    return api_client(cast.engineer, scopes=["telemetry:read"])


def test_a_counter_becomes_a_rate_and_a_new_start_counts_from_zero(client, counted, now):
    answer = asked(client, now, device="cam-1").json()
    assert [counter["name"] for counter in answer["counters"]] == ["inferences_total"]
    points = answer["counters"][0]["points"]
    assert [point["delta"] for point in points] == [60, 10, 15]
    assert [point["per_second"] for point in points] == pytest.approx([60 / 600, 10 / 600, 15 / 600])


def test_counters_can_be_named_and_come_as_csv(client, counted, now):
    assert asked(client, now, device="cam-1", name="resets_total").json()["counters"] == []
    text = b"".join(asked(client, now, device="cam-1", name="inferences_total", format="csv").streaming_content)
    rows = list(csv.DictReader(io.StringIO(text.decode())))
    assert [float(row["delta"]) for row in rows] == [60, 10, 15]


def test_a_device_must_be_named(client, counted, now):
    for parameters in ({}, {"device": "nobody"}):
        answer = asked(client, now, **parameters)
        assert answer.status_code == 422
        assert [error["field"] for error in answer.json()["errors"]] == ["device"]
