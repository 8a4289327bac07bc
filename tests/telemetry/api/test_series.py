"""GET /api/v1/series and /distributions: the shape of protocol.md, filters, refusals, and freshness."""

import csv
import io
from datetime import timedelta

import numpy as np
import pytest

from telemetry.models import BatchGap, Context
from tests.telemetry.records import draw_records, make_context, store_batch

HOUR = timedelta(hours=1)


@pytest.fixture
def client(cast, api_client):
    return api_client(cast.engineer, scopes=["telemetry:read"])


@pytest.fixture
def fleet(cast, make_device, now):
    """Three hours of two devices on two releases, not folded yet: [(device, context, Records)]."""
    rng = np.random.default_rng(31)
    stored = []
    for serial, target, region, release in [
        ("cam-1", "orin-nx-16", "eu-north", cast.release),
        ("cam-2", "hailo-8", "us-west", cast.candidate),
    ]:
        device, context = make_device(serial, target, region), make_context(release, now)
        records = draw_records(rng, [now - 3 * HOUR + 3 * HOUR * share for share in rng.random(200)])
        store_batch(device, context, records, seq=1, received_at=now)
        stored.append((device, context, records))
    return stored


@pytest.fixture
def span(now):
    return {"from": (now - 3 * HOUR).isoformat(), "to": now.isoformat()}


@pytest.mark.django_db
def test_a_series_answers_as_the_protocol_says(client, fleet, span):
    answer = client.get(
        "/api/v1/series", {"metric": "latency", "workload": "lane-assist", "group_by": "release", "step": "1h", **span}
    ).json()
    assert (answer["metric"], answer["unit"], answer["step"]) == ("latency", "ms", 3600)
    assert [line["group"] for line in answer["series"]] == [{"release": "4.1.0"}, {"release": "4.2.0"}]
    for line, (_, _, records) in zip(answer["series"], fleet, strict=True):
        assert [point["time"] for point in line["points"]] == [
            "2026-03-02T09:00:00Z",
            "2026-03-02T10:00:00Z",
            "2026-03-02T11:00:00Z",
        ]
        assert set(line["points"][0]) == {"time", "count", "mean", "p50", "p95", "p99", "completeness"}
        assert sum(point["count"] for point in line["points"]) == len(records)
        assert {point["completeness"] for point in line["points"]} == {1.0}


@pytest.mark.django_db
def test_what_was_just_stored_is_in_the_answer(client, fleet, span):
    """The fixture has folded nothing: the request does."""
    answer = client.get("/api/v1/series", {"metric": "energy", **span}).json()
    stored = sum(int((~np.isnan(records.measures["energy"])).sum()) for _, _, records in fleet)
    assert sum(point["count"] for point in answer["series"][0]["points"]) == stored


@pytest.mark.django_db
def test_the_quantiles_and_statistics_asked_for_are_those_answered(client, fleet, span):
    def fields(**parameters):
        answer = client.get("/api/v1/series", {**parameters, **span}).json()
        return set(answer["series"][0]["points"][0]) - {"time", "count", "completeness"}

    assert fields(metric="latency", quantiles="0.5,p99.9") == {"mean", "p50", "p99.9"}
    assert fields(metric="latency", stat="mean") == {"mean"}
    assert fields(metric="latency_ms", stat="max,stddev,p95") == {"max", "stddev", "p95"}
    assert fields(metric="latency", stat="count") == set()
    assert fields(metric="fallback_rate") == {"mean", "cpu", "smaller_model", "cloud", "reject"}
    assert fields(metric="fallback_rate", stat="cpu") == {"cpu"}
    assert fields(metric="temperature") == {"mean"}
    assert fields(metric="temperature", stat="mean,max") == {"mean", "max"}


@pytest.mark.django_db
def test_filters_and_one_device_narrow_the_answer(client, fleet, span):
    def count(**parameters):
        answer = client.get("/api/v1/series", {"metric": "latency", **parameters, **span}).json()
        return sum(point["count"] for line in answer["series"] for point in line["points"])

    assert count() == 400
    for parameters in (
        {"release": "4.2.0"},
        {"hardware_target": "hailo-8"},
        {"region": "us-west"},
        {"device": "cam-2"},
        {"device": str(fleet[1][0].pk), "workload": "Lane assist"},
        {"region": "us-west,eu-north", "release": "4.2.0"},
    ):
        assert count(**parameters) == 200, parameters
    assert count(device="cam-1", release="4.2.0") == 0
    assert count(power_mode="30W") == 0


@pytest.mark.django_db
@pytest.mark.parametrize("part", ["model_version", "firmware_version", "driver_version", "runtime_version"])
def test_the_version_of_a_part_narrows_the_answer_and_an_unknown_one_is_named(client, fleet, span, part):
    for context, version in zip(Context.objects.order_by("pk"), ("r36.4", "r37"), strict=True):
        Context.objects.filter(pk=context.pk).update(**{part: version})

    def count(version):
        answer = client.get("/api/v1/series", {"metric": "latency", part: version, **span}).json()
        return sum(point["count"] for line in answer["series"] for point in line["points"])

    assert (count("r37"), count("r36.4, r37")) == (200, 400)
    refused = client.get("/api/v1/series", {"metric": "latency", part: "r37,r3\0", **span})
    assert refused.status_code == 422
    assert [error["field"] for error in refused.json()["errors"]] == [part]


@pytest.mark.django_db
def test_a_range_of_days_is_answered_by_the_hour_whatever_step_is_wanted(client, fleet, now):
    parameters = {"metric": "latency", "from": (now - timedelta(days=5)).isoformat(), "to": now.isoformat()}
    assert client.get("/api/v1/series", {**parameters, "step": "60"}).json()["step"] == 3600
    assert client.get("/api/v1/series", {**parameters, "step": "5400"}).json()["step"] == 7200


@pytest.mark.django_db
def test_steps_without_data_are_left_out_unless_loss_is_known(client, fleet, now):
    parameters = {
        "metric": "latency",
        "device": "cam-1",
        "from": (now - 5 * HOUR).isoformat(),
        "to": now.isoformat(),
        "step": "1h",
    }
    times = [p["time"] for p in client.get("/api/v1/series", parameters).json()["series"][0]["points"]]
    assert times[0] == "2026-03-02T09:00:00Z"
    BatchGap.objects.create(
        device=fleet[0][0],
        boot_id="boot",
        missing_from=0,
        missing_to=0,
        after_time=now - 5 * HOUR,
        before_time=now - 4 * HOUR,
        found_at=now,
    )
    first = client.get("/api/v1/series", parameters).json()["series"][0]["points"][0]
    assert first["time"] == "2026-03-02T07:00:00Z"
    assert (first["count"], first["mean"], first["completeness"]) == (0, None, 0.0)


@pytest.mark.django_db
def test_a_series_comes_as_a_table_too(client, fleet, span):
    parameters = {"metric": "latency", "group_by": "release", "workload": "lane-assist", "step": "1h", **span}
    for response in (
        client.get("/api/v1/series.csv", parameters),
        client.get("/api/v1/series", {**parameters, "format": "csv"}),
    ):
        rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
        assert len(rows) == 6
        assert rows[0]["release"] == "4.1.0"
        assert float(rows[0]["p95"]) > float(rows[0]["p50"])


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("parameters", "field"),
    [
        ({}, "metric"),
        ({"metric": "happiness"}, "metric"),
        ({"metric": "latency", "quantiles": "1.5"}, "quantiles"),
        ({"metric": "latency", "quantiles": "many"}, "quantiles"),
        ({"metric": "power", "quantiles": "0.5"}, "quantiles"),
        ({"metric": "power", "stat": "p95"}, "stat"),
        ({"metric": "latency", "stat": "mode"}, "stat"),
        ({"metric": "latency", "group_by": "colour"}, "group_by"),
        ({"metric": "latency", "group_by": "device"}, "group_by"),
        ({"metric": "latency", "step": "soon"}, "step"),
        ({"metric": "latency", "step": "0"}, "step"),
        ({"metric": "latency", "from": "yesterday"}, "from"),
        ({"metric": "latency", "workload": "nothing"}, "workload"),
        ({"metric": "latency", "release": "9.9"}, "release"),
        ({"metric": "latency", "device": "cam-9"}, "device"),
        ({"metric": "latency", "group": "beta"}, "group"),
        ({"metric": "latency", "region": "moon\0"}, "region"),
    ],
)
def test_a_parameter_that_makes_no_sense_is_named(client, fleet, parameters, field):
    response = client.get("/api/v1/series", parameters)
    assert response.status_code == 422
    assert [error["field"] for error in response.json()["errors"]] == [field]


@pytest.mark.django_db
def test_several_bad_parameters_are_named_at_once(client, fleet):
    response = client.get("/api/v1/series", {"metric": "latency", "from": "x", "region": "y", "group_by": "z"})
    assert {error["field"] for error in response.json()["errors"]} == {"from", "region", "group_by"}


@pytest.mark.django_db
def test_reading_needs_the_scope_and_no_device_token_has_it(cast, api_client, fleet, device_token):
    path = "/api/v1/series"
    assert api_client().get(path, {"metric": "latency"}).status_code == 401
    assert api_client(cast.engineer, scopes=["fleet:read"]).get(path, {"metric": "latency"}).status_code == 403
    assert api_client(device_token(fleet[0][0])).get(path, {"metric": "latency"}).status_code == 403


@pytest.mark.django_db
def test_distributions_answer_as_the_protocol_says(client, fleet, span):
    answer = client.get(
        "/api/v1/distributions",
        {"metric": "confidence", "workload": "lane-assist", "group_by": "release", **span},
    ).json()
    assert (answer["metric"], answer["unit"], answer["completeness"]) == ("confidence", "1", 1.0)
    for group, (_, _, records) in zip(answer["groups"], fleet, strict=True):
        values = records.measures["confidence"]
        values = values[~np.isnan(values)].astype(float)
        assert group["count"] == values.size == sum(bin["count"] for bin in group["bins"])
        assert group["mean"] == pytest.approx(values.mean())
        assert group["quantiles"]["p95"] == pytest.approx(np.quantile(values, 0.95), abs=0.0051)
        assert group["bins"][-1]["cumulative"] == pytest.approx(1)
        assert all(bin["lower"] < bin["upper"] for bin in group["bins"])


@pytest.mark.django_db
def test_distributions_of_one_device_and_as_a_table(client, fleet, span):
    answer = client.get("/api/v1/distributions", {"metric": "latency", "device": "cam-1", **span}).json()
    assert [group["count"] for group in answer["groups"]] == [200]
    response = client.get("/api/v1/distributions.csv", {"metric": "latency", "device": "cam-1", **span})
    rows = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert sum(int(row["count"]) for row in rows) == 200


@pytest.mark.django_db
def test_a_metric_without_a_distribution_is_refused(client, fleet):
    response = client.get("/api/v1/distributions", {"metric": "power"})
    assert response.status_code == 422
    assert response.json()["errors"][0]["field"] == "metric"


@pytest.mark.django_db
def test_an_empty_fleet_answers_with_nothing(client, cast):
    assert client.get("/api/v1/series", {"metric": "latency"}).json()["series"] == []
    assert client.get("/api/v1/distributions", {"metric": "latency"}).json()["groups"] == []
