"""GET /api/v1/export/<table>: every table, whole, with public names, in slices."""

import csv
import io
import json
from datetime import timedelta

import numpy as np
import pytest

from telemetry import store
from telemetry.models import BatchGap, ClassLabel, QuarantinedRecord, ReleaseSpan, RequestReject
from telemetry.selectors.export import TABLES
from telemetry.services import folding
from tests.telemetry.records import draw_records, make_context, store_batch

HOUR = timedelta(hours=1)


@pytest.fixture
def client(cast, api_client):
    return api_client(cast.engineer, scopes=["telemetry:read"])


@pytest.fixture
def stored(cast, make_device, now):
    """Something in every table: two devices, a day and a half ago until now."""
    rng = np.random.default_rng(91)
    for pk in range(1, 6):
        ClassLabel.objects.create(pk=pk, workload=cast.workload, name=f"sign-{pk}")
    total = []
    for device, release in ((make_device("cam-1"), cast.release), (make_device("cam-2", "hailo-8"), cast.candidate)):
        records = draw_records(rng, [now - 36 * HOUR + 36 * HOUR * share for share in rng.random(50)])
        store_batch(device, make_context(release, now), records, seq=1, received_at=now - HOUR)
        store.copy_rows("device_state", [(now - HOUR, device.pk, 61.0, 5.0, 500.0, 80.0)])
        store.copy_rows("counter_rate", [(now - HOUR, device.pk, "resets", 2.0, 60.0, 7.0, "boot")])
        at = now - HOUR
        BatchGap.objects.create(device=device, boot_id="b", missing_from=1, missing_to=2, before_time=at, found_at=at)
        QuarantinedRecord.objects.create(
            device=device, received_at=at, section="events", code="type", message="no", record={"a": 1}
        )
        RequestReject.objects.create(device=device, at=at, status=400, code="malformed")
        ReleaseSpan.objects.create(device=device, workload=cast.workload, release=release, first_time=at, last_time=now)
        total.append(records)
    folding.fold(now)
    return total


def rows_of(client, now, table, **parameters):
    span = {"from": (now - 48 * HOUR).isoformat(), "to": now.isoformat(), **parameters}
    response = client.get(f"/api/v1/export/{table}", span)
    assert response.status_code == 200, response.content
    return json.loads(b"".join(response.streaming_content))


@pytest.mark.django_db
@pytest.mark.parametrize("table", TABLES)
def test_every_table_comes_whole_as_json_and_as_csv_with_the_same_rows(client, stored, now, table):
    rows = rows_of(client, now, table)
    span = {"from": (now - 48 * HOUR).isoformat(), "to": now.isoformat()}
    response = client.get(f"/api/v1/export/{table}.csv", span)
    lines = list(csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode())))
    assert len(lines) == len(rows) > 0
    assert list(lines[0]) == list(rows[0])
    assert not any(name.endswith("_id") and name not in ("boot_id", "batch_id", "first_boot_id") for name in rows[0])


@pytest.mark.django_db
def test_raw_rows_come_with_words_for_codes_and_names_for_ids(client, stored, now):
    rows = rows_of(client, now, "inferences", device="cam-1")
    records = stored[0]
    assert len(rows) == len(records)
    assert sum(row["latency_ms"] for row in rows) == pytest.approx(float(records.measures["latency"].sum()), rel=1e-5)
    assert {row["device"] for row in rows} == {"cam-1"}
    assert {row["release"] for row in rows} == {"4.1.0"}
    assert {row["fallback"] for row in rows} <= {"none", "cpu", "smaller_model", "cloud", "reject"}
    assert {row["predicted_class"] for row in rows} <= {f"sign-{k}" for k in range(1, 6)}
    assert rows == sorted(rows, key=lambda row: row["time"])


@pytest.mark.django_db
def test_roll_ups_come_with_quantiles_in_the_place_of_packed_histograms(client, stored, now):
    rows = rows_of(client, now, "cohorts-day")
    assert sum(row["count"] for row in rows) == 100
    for row in rows:
        assert row["latency_p50"] <= row["latency_p95"] <= row["latency_p99"]
        assert 0 <= row["confidence_p50"] <= 1
        assert "latency_hist" not in row


@pytest.mark.django_db
@pytest.mark.parametrize("table", ["inferences", "cohorts-5min", "batches", "release-spans", "device-hours"])
def test_filters_narrow_every_table(client, stored, now, table):
    everything = len(rows_of(client, now, table))
    for parameters in ({"release": "4.2.0"}, {"hardware_target": "hailo-8"}):
        rows = rows_of(client, now, table, **parameters)
        assert 0 < len(rows) < everything
        assert {row["release"] for row in rows} == {"4.2.0"}


@pytest.mark.django_db
def test_an_empty_table_is_an_empty_array_and_a_header_alone(client, cast, now):
    assert rows_of(client, now, "inferences") == []
    for table in TABLES:
        response = client.get(f"/api/v1/export/{table}.csv")
        [header] = b"".join(response.streaming_content).decode().splitlines()
        assert "device" in header or "region" in header, table
        assert "_hist" not in header and "class_counts" not in header


@pytest.mark.django_db
def test_an_unknown_table_and_a_missing_scope_are_refused(cast, client, api_client):
    assert client.get("/api/v1/export/secrets").status_code == 404
    assert api_client(cast.engineer, scopes=["fleet:read"]).get("/api/v1/export/inferences").status_code == 403
