"""GET /api/v1/ingest-health: every reason with a sample, every trouble with its device."""

import csv
import io
from datetime import timedelta

import numpy as np
import pytest
from django.db import connection
from django.db.models import F
from psycopg import sql

from telemetry.models import Batch, BatchGap, QuarantinedRecord, RequestReject
from telemetry.models.ledger import LATE
from telemetry.selectors.ingest_health import readable
from telemetry.store.connection import query
from telemetry.store.health import Whose
from tests.telemetry.envelopes import envelope
from tests.telemetry.records import draw_records, make_context, note_device, store_batch

HOUR = timedelta(hours=1)


@pytest.fixture
def client(cast, api_client):
    return api_client(cast.engineer, scopes=["telemetry:read"])


@pytest.fixture
def trouble(cast, make_device, now):
    """A good device, and one with everything wrong."""
    rng = np.random.default_rng(71)
    context = make_context(cast.release, now)
    good, bad = make_device("cam-good"), make_device("cam-bad", "hailo-8", "us-west")
    received = now - 30 * timedelta(minutes=1)
    for device in (good, bad):
        records = draw_records(rng, [now - 2 * HOUR] * 20)
        batch = store_batch(device, context, records, seq=5, received_at=received)
        skew = -1500 if device is bad else 3
        note_device(device, context, seen_at=received, since=now - 2 * HOUR, batch_seq=5, clock_skew_ms=skew)
    Batch.objects.filter(pk=batch.pk).update(
        rejected=3, repeats=2, unknown_fields=7, dropped_inferences=4, clock_synced=False, windows=0
    )
    for k in range(3):
        QuarantinedRecord.objects.create(
            device=bad,
            batch=batch,
            received_at=received + k * timedelta(seconds=1),
            section="inferences",
            index=k,
            field="latency_ms",
            code="range",
            message="`latency_ms` must not be below 0, got -1.",
            record={"latency_ms": -1, "k": k},
        )
    refused = {"at": received, "message": "no", "bytes": 600}
    RequestReject.objects.create(device=bad, status=400, code="malformed", body_sample=b'{"schema": NaN', **refused)
    RequestReject.objects.create(device=bad, status=429, code="throttled", **refused)
    RequestReject.objects.create(device=None, status=413, code="too_large", body_sample=b"\x1f\x8b\x08\x00", **refused)
    BatchGap.objects.create(
        device=bad,
        boot_id="boot",
        missing_from=2,
        missing_to=4,
        after_time=now - 3 * HOUR,
        before_time=now - 2 * HOUR,
        found_at=now,
    )
    return good, bad


def asked(client, now, path="/api/v1/ingest-health", **parameters):
    return client.get(path, {"from": (now - 6 * HOUR).isoformat(), "to": now.isoformat(), **parameters})


@pytest.mark.django_db
def test_every_reason_comes_with_its_count_and_the_newest_sample(client, trouble, now):
    answer = asked(client, now).json()
    reasons = {(row["section"], row["code"], row["status"]): row for row in answer["rejections"]}
    assert set(reasons) == {
        ("inferences", "range", None),
        ("", "malformed", 400),
        ("", "throttled", 429),
        ("", "too_large", 413),
    }
    bad = reasons[("inferences", "range", None)]
    assert (bad["count"], bad["devices"], bad["sample"]["record"]) == (3, 1, {"latency_ms": -1, "k": 2})
    assert bad["sample"]["field"] == "latency_ms"
    assert reasons[("", "malformed", 400)]["sample"]["body"] == '{"schema": NaN'
    large = reasons[("", "too_large", 413)]["sample"]
    assert (large["body_base64"], large["bytes"], "device" in large) == ("H4sIAA==", 600, False)


@pytest.mark.django_db
def test_a_device_with_trouble_is_listed_with_all_of_it(client, trouble, now):
    (row,) = asked(client, now).json()["devices"]
    assert row["device"] == "cam-bad"
    figures = {name: row[name] for name in row if name not in ("device", "accepted", "last_seen_at")}
    assert figures == {
        "batches": 1,
        "recorded": 20,
        "rejected": 3,
        "refused": 1,
        "throttled": 1,
        "duplicates": 2,
        "missing_batches": 3,
        "dropped": 4,
        "late": 1,
        "unsynced": 1,
        "unknown_fields": 7,
        "clock_skew_ms": -1500.0,
    }
    assert row["accepted"]["inferences"] == 20


@pytest.mark.django_db
def test_a_device_that_is_named_is_listed_even_where_nothing_is_wrong(client, trouble, now):
    answer = asked(client, now, device="cam-good").json()
    (row,) = answer["devices"]
    assert (row["device"], row["rejected"], row["batches"], row["clock_skew_ms"]) == ("cam-good", 0, 1, 3.0)
    assert answer["rejections"] == []
    assert answer["completeness"] == 1.0


@pytest.mark.django_db
def test_completeness_and_reporting_stand_beside_the_reasons(client, trouble, now):
    answer = asked(client, now).json()
    assert (answer["received"], answer["dropped"], answer["missing"]) == (40, 4.0, 60.0)
    assert answer["completeness"] == pytest.approx(40 / 104)
    assert (answer["devices_expected"], answer["devices_reporting"]) == (2, 2)


@pytest.mark.django_db
def test_what_came_late_is_told_in_total_and_by_release_and_hardware(client, trouble, now):
    waited = 90 * 60.0
    late = {"workload": "lane-assist", "release": "4.1.0", "batches": 1, "devices": 1, "records": 20}
    rows = [{**late, "hardware_target": name, "oldest_s": waited} for name in ("hailo-8", "orin-nx-16")]
    answer = asked(client, now).json()
    assert answer["late"] == rows
    assert (answer["late_batches"], answer["late_records"]) == (2, 40)
    assert asked(client, now, hardware_target="hailo-8").json()["late"] == rows[:1]
    other = asked(client, now, workload="lane-assist", release="4.2.0").json()
    assert (other["late_batches"], other["rejected"]) == (0, 0)
    # what was measured minutes ago is not late
    Batch.objects.update(max_time=F("received_at") - timedelta(minutes=9))
    assert asked(client, now).json()["late"] == []


@pytest.mark.django_db
def test_the_total_of_bad_records_is_the_ledgers_where_more_came_than_is_kept(
    client, browser_client, cast, trouble, now
):
    Batch.objects.filter(device__serial="cam-bad").update(rejected=70_000)
    assert asked(client, now).json()["rejected"] == 70_000
    page = asked(browser_client(cast.engineer), now, path="/ingest/").content.decode()
    assert "70,000 records were refused one by one" in page
    assert "40 inferences came late, in 2 batches;" in page


@pytest.mark.django_db
def test_devices_beyond_those_listed_are_counted_and_stand_in_the_file(client, trouble, now, monkeypatch):
    RequestReject.objects.create(device=trouble[0], at=now - HOUR, status=413, code="too_large")
    monkeypatch.setattr("telemetry.api.ingest_health.MOST_DEVICES", 1)
    answer = asked(client, now).json()
    assert ([row["device"] for row in answer["devices"]], answer["devices_with_trouble"]) == (["cam-bad"], 2)
    table = b"".join(asked(client, now, path="/api/v1/ingest-health.csv").streaming_content).decode()
    assert [row["device"] for row in csv.DictReader(io.StringIO(table))] == ["cam-bad", "cam-good"]


@pytest.mark.django_db
def test_the_totals_are_read_from_a_small_index(trouble, now):
    device_id = Batch.objects.values_list("device_id", flat=True).first()
    # a ledger that is well, of which the planner knows that it is
    Batch.objects.bulk_create(
        Batch(
            device_id=device_id,
            boot_id="well",
            batch_seq=seq,
            sha256=bytes(32),
            received_at=now - timedelta(seconds=seq),
            min_time=now - timedelta(seconds=seq),
            max_time=now - timedelta(seconds=seq),
        )
        for seq in range(3_000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE telemetry_batch")
    condition, parameters = Whose().condition()
    statement = query("late_and_bad").format(filter=condition, late=sql.Literal(LATE))
    with connection.cursor() as cursor:
        text = statement.as_string(connection.connection)
        cursor.execute(f"EXPLAIN {text}", {**parameters, "start": now - HOUR, "end": now})
        assert "batch_late_or_bad" in "\n".join(line for (line,) in cursor.fetchall())


@pytest.mark.django_db
def test_rows_that_are_a_sample_of_windows_do_not_count_beside_them(client, trouble, now):
    Batch.objects.filter(device__serial="cam-bad").update(sampled=True, windows=1, window_inferences=300)
    (row,) = asked(client, now).json()["devices"]
    assert (row["recorded"], row["accepted"]["inferences"], row["accepted"]["window_inferences"]) == (300, 20, 300)


@pytest.mark.django_db
def test_with_nothing_received_nothing_is_called_good(browser_client, cast, now):
    page = asked(browser_client(cast.engineer), now, path="/ingest/").content.decode()
    assert "so there is nothing to judge" in page and "no inference was received in this range either" in page
    assert "No device has trouble" not in page


@pytest.mark.django_db
def test_filters_narrow_reasons_and_devices(client, trouble, now):
    north = asked(client, now, region="eu-north").json()
    assert (north["rejections"], north["devices"], north["received"]) == ([], [], 20)
    west = asked(client, now, region="us-west").json()
    assert len(west["rejections"]) == 3
    assert [row["device"] for row in west["devices"]] == ["cam-bad"]


@pytest.mark.django_db
def test_the_devices_come_as_a_table(client, trouble, now):
    response = asked(client, now, path="/api/v1/ingest-health.csv")
    (row,) = csv.DictReader(io.StringIO(b"".join(response.streaming_content).decode()))
    assert (row["device"], row["duplicates"]) == ("cam-bad", "2")


@pytest.mark.django_db
def test_releases_that_nobody_registered_and_contradicted_bills_of_materials_are_told(
    client, cast, make_device, device_token, api_client, browser_client, clock
):
    sent = {
        "cam-1": {"release": "9.9.9"},
        "cam-2": {"release": "4.1.0", "driver_version": "541.0"},
        "cam-3": {"release": "4.1.0", "driver_version": "542.0"},
        "cam-4": {"release": "4.1.0", "driver_version": "540.4"},
    }
    for serial, labels in sent.items():
        body = envelope(clock, context={"workload": "lane-assist", **labels})
        answer = api_client(device_token(make_device(serial))).post("/api/v1/telemetry", body, format="json")
        assert answer.status_code == 200
    told = client.get("/api/v1/ingest-health", {"from": "-1h"}).json()
    assert told["received"] == 12
    assert [(one["release"], one["parts"], one["devices"]) for one in told["undeclared"]] == [
        ("9.9.9", [], 1),
        ("4.1.0", ["driver_version"], 2),
    ]
    page = " ".join(browser_client(cast.engineer).get("/ingest/", {"from": "-1h"}).content.decode().split())
    assert "1 device runs lane-assist" in page and "which nobody registered" in page
    assert "2 devices run lane-assist" in page and "but contradict its bill of materials (driver_version)" in page
    events = client.get("/api/v1/events", {"from": "-1h"}).json()
    kinds = sorted(event["type"] for event in events["results"])
    assert kinds == ["bom_mismatch", "bom_mismatch", "unregistered_release"]
    alone = client.get("/api/v1/ingest-health", {"from": "-1h", "device": "cam-4"}).json()
    assert alone["undeclared"] == []


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b'{"a": 1}', '{"a": 1}'),
        ("größer".encode(), "größer"),
        ("größ".encode()[:-1], "grö"),
        (b"line\nline\t", "line\nline\t"),
        (b"", ""),
        (b"\x1f\x8b\x08", None),
        (b"\x00\x01", None),
        (b"\xff\xfe\xfd\xfc\xfb", None),
    ],
)
def test_a_sample_is_shown_as_text_only_where_it_is_text(body, text):
    assert readable(body) == text
