"""POST /api/v1/telemetry answers as the table of the protocol says, and keeps what it refuses."""

import gzip
import json
import uuid
import zlib
from datetime import timedelta

import pytest
import zstandard
from django.db import connection
from rest_framework.test import APIClient

from fleet.actors import Actor
from fleet.models import Device, Token
from fleet.services import tokens
from telemetry.models import Batch, QuarantinedRecord, RequestReject
from tests.telemetry.envelopes import encode, envelope, inferences

pytestmark = pytest.mark.django_db
URL = "/api/v1/telemetry"


@pytest.fixture
def device(make_device) -> Device:
    """The device that sends."""
    return make_device("cam-001")


@pytest.fixture
def api(device, device_token, api_client) -> APIClient:
    """A client with the device's token."""
    return api_client(device_token(device))


def post(api: APIClient, body, content_type: str = "application/json", **headers):
    """Send an envelope, or bytes as they are."""
    return api.post(URL, body if isinstance(body, bytes) else encode(body), content_type=content_type, **headers)


def stored(table: str, device: Device) -> int:
    """How many rows a hypertable holds of the device."""
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT count(*) FROM {table} WHERE device_id = %s", [device.pk])
        return cursor.fetchone()[0]


# --- 200 -------------------------------------------------------------------------------------------------------------


def test_a_stored_batch_is_answered_with_what_was_accepted(api, device, clock):
    body = envelope(
        clock,
        windows=[{"start": clock.isoformat(), "end": (clock + timedelta(minutes=1)).isoformat(), "count": 0}],
        events=[{"time": clock.isoformat(), "type": "reboot"}],
        states=[{"time": clock.isoformat(), "battery_pct": 88}],
        counters={"time": clock.isoformat(), "values": {"a": 1, "b": 2}},
    )
    answer = post(api, body)
    assert answer.status_code == 200
    assert answer.headers["Content-Type"] == "application/json"
    content = answer.json()
    assert content.pop("server_time").endswith("Z")
    assert content == {
        "accepted": {"inferences": 3, "windows": 1, "events": 1, "counters": 2, "states": 1},
        "rejected": 0,
        "duplicate": False,
        "directives": {},
    }
    assert (stored("inference", device), stored("event", device), stored("device_state", device)) == (3, 1, 1)


def test_a_duplicate_gets_the_answer_of_the_first_and_counts_once(api, device, clock):
    body = envelope(clock, inferences=[*inferences(clock), {"time": 5}])
    first, again = post(api, body), post(api, body)
    assert again.status_code == 200
    assert again.json()["duplicate"] is True
    same = ("accepted", "rejected", "partial_success")
    assert {name: again.json()[name] for name in same} == {name: first.json()[name] for name in same}
    assert stored("inference", device) == 3
    assert Batch.objects.get().repeats == 1


@pytest.mark.parametrize("encoding", ["gzip", "zstd"])
def test_a_retry_in_another_encoding_is_a_duplicate_all_the_same(api, clock, encoding):
    body = encode(envelope(clock))
    packed = gzip.compress(body) if encoding == "gzip" else zstandard.compress(body)
    assert post(api, packed, HTTP_CONTENT_ENCODING=encoding).json()["duplicate"] is False
    assert post(api, body).json()["duplicate"] is True


def test_an_empty_batch_is_welcome(api, clock):
    answer = post(api, envelope(clock, inferences=..., context=...))
    assert answer.status_code == 200
    assert sum(answer.json()["accepted"].values()) == 0


def test_bad_records_are_told_and_quarantined_and_the_others_stored(api, device, clock):
    good = inferences(clock, 40)
    bad = [{**record, "latency_ms": -1} for record in inferences(clock, 25)]
    answer = post(api, envelope(clock, inferences=good + bad))
    assert answer.status_code == 200
    content = answer.json()
    assert (content["accepted"]["inferences"], content["rejected"]) == (40, 25)
    assert content["partial_success"]["rejected"] == 25
    assert len(content["partial_success"]["errors"]) == 20
    assert content["partial_success"]["errors"][0] == {
        "section": "inferences",
        "index": 40,
        "field": "latency_ms",
        "code": "range",
        "message": "`latency_ms` must not be below 0, got -1.",
    }
    assert stored("inference", device) == 40
    kept = QuarantinedRecord.objects.order_by("index")
    assert [record.index for record in kept] == list(range(40, 65))
    assert kept[0].record == bad[0]
    assert kept[0].batch == Batch.objects.get()


def test_times_in_the_future_and_before_retention_are_quarantined_with_their_reason(api, device, clock):
    records = [
        {"time": (clock + timedelta(minutes=6)).isoformat(), "latency_ms": 1.0},
        {"time": (clock - timedelta(days=15)).isoformat(), "latency_ms": 1.0},
        {"time": (clock - timedelta(days=13)).isoformat(), "latency_ms": 1.0},
        {"time": (clock + timedelta(minutes=4)).isoformat(), "latency_ms": 1.0},
    ]
    content = post(api, envelope(clock, inferences=records)).json()
    assert [(e["index"], e["field"], e["code"]) for e in content["partial_success"]["errors"]] == [
        (0, "time", "future"),
        (1, "time", "too_old"),
    ]
    assert stored("inference", device) == 2


def test_unknown_fields_are_counted(api, clock):
    records = [{**record, "novelty": 1} for record in inferences(clock)]
    content = post(api, envelope(clock, inferences=records)).json()
    assert (content["accepted"]["inferences"], content["rejected"], content["unknown_fields"]) == (3, 0, 3)
    assert Batch.objects.get().unknown_fields == 3


def test_the_accept_header_of_a_device_does_not_matter(api, clock):
    assert post(api, envelope(clock), HTTP_ACCEPT="text/html").status_code == 200


# --- 400, 413, 415 ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"{nonsense", "syntax"),
        (b"", "syntax"),
        (b'{"schema": NaN}', "syntax"),
        (b'{"schema": "other/1"}', "schema"),
        (b'{"schema": "ridgeline.telemetry/1", "boot_id": "b"}', "missing"),
        (b"\x1f\x8bdamaged", "encoding"),
    ],
)
def test_a_body_that_cannot_be_read_is_400_and_kept(api, device, body, code):
    encoding = {"HTTP_CONTENT_ENCODING": "gzip"} if code == "encoding" else {}
    answer = post(api, body, **encoding)
    assert answer.status_code == 400
    assert answer.headers["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == code
    refused = RequestReject.objects.get()
    assert (refused.device, refused.status, refused.code, refused.bytes) == (device, 400, code, len(body))
    assert bytes(refused.body_sample or b"") == body[:512]


def test_unequal_columns_are_400_naming_them(api, clock):
    columns = {"time": [clock.isoformat()] * 2, "latency_ms": [1.0]}
    problem = post(api, envelope(clock, inferences=columns)).json()
    assert (problem["status"], problem["code"]) == (400, "unequal_columns")
    assert problem["errors"][0]["field"] == "inferences"
    assert Batch.objects.count() == 0


def test_fifty_megabytes_of_zeros_are_413_with_the_limits(api, device):
    packer = zlib.compressobj(wbits=31)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(50)) + packer.flush()
    assert len(bomb) < 1 << 20
    answer = post(api, bomb, HTTP_CONTENT_ENCODING="gzip")
    assert answer.status_code == 413
    assert answer.json()["limits"] == {"compressed_bytes": 1 << 20, "bytes": 8 << 20, "records": 5000}
    assert RequestReject.objects.get().status == 413


@pytest.mark.parametrize(
    ("size", "encoding"), [((1 << 20) + 1, "gzip"), ((8 << 20) + 1, "identity")], ids=["compressed", "in clear"]
)
def test_a_body_beyond_the_limit_is_413(api, size, encoding):
    assert post(api, bytes(size), HTTP_CONTENT_ENCODING=encoding).status_code == 413


def test_more_than_5000_inferences_are_413(api, clock):
    columns = {"time": [1] * 5001, "latency_ms": [1.0] * 5001}
    assert post(api, envelope(clock, inferences=columns)).status_code == 413


def test_another_media_type_or_encoding_is_415(api, clock):
    assert post(api, envelope(clock), content_type="text/csv").status_code == 415
    answer = post(api, envelope(clock), HTTP_CONTENT_ENCODING="br")
    assert (answer.status_code, answer.json()["code"]) == (415, "unknown_encoding")


# --- 401, 403 --------------------------------------------------------------------------------------------------------


def test_without_a_good_token_it_is_401_and_kept_where_the_token_is_known(device, device_token, api_client, clock, now):
    token = device_token(device)
    unknown = token[:4] + ("A" if token[4] != "A" else "B") + token[5:]
    assert post(api_client(), envelope(clock)).status_code == 401
    assert post(api_client("nonsense"), envelope(clock)).status_code == 401
    assert post(api_client(unknown), envelope(clock)).status_code == 401
    assert RequestReject.objects.count() == 0
    wrong_secret = token[:-1] + ("A" if token[-1] != "A" else "B")
    assert post(api_client(wrong_secret), envelope(clock)).status_code == 401
    tokens.revoke_device_tokens(device, actor=Actor.system("tests"), now=now)
    answer = post(api_client(token), envelope(clock))
    assert answer.status_code == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    assert [(r.device, r.status) for r in RequestReject.objects.all()] == [(device, 401)] * 2


def test_an_expired_token_is_401(device, device_token, api_client, clock):
    token = device_token(device, expires_at=clock - timedelta(seconds=1))
    assert post(api_client(token), envelope(clock)).status_code == 401


@pytest.mark.parametrize("status", ["suspended", "pending", "retired"])
def test_a_device_that_may_not_send_is_403(api, device, clock, status):
    Device.objects.update(status=status)
    answer = post(api, envelope(clock))
    assert (answer.status_code, answer.json()["code"]) == (403, f"device_{status}")
    assert stored("inference", device) == 0


def test_an_envelope_for_another_device_is_403(api, make_device, clock):
    make_device("cam-002")
    answer = post(api, envelope(clock, device="cam-002"))
    assert (answer.status_code, answer.json()["code"]) == (403, "other_device")
    assert post(api, envelope(clock, device="cam-001")).status_code == 200


def test_a_persons_token_is_403(api_client, cast, clock):
    assert post(api_client(cast.administrator), envelope(clock)).status_code == 403


def test_a_gateway_speaks_for_the_devices_behind_it_and_no_others(make_device, device_token, api_client, clock):
    gateway = make_device("gate-1")
    behind, other = make_device("cam-002", gateway=gateway), make_device("cam-003")
    api = api_client(device_token(gateway, kind=Token.Kind.GATEWAY))
    assert post(api, envelope(clock, device="cam-002")).status_code == 200
    assert post(api, envelope(clock)).status_code == 200
    assert post(api, envelope(clock, device="cam-003")).status_code == 403
    assert post(api, envelope(clock, device="nobody")).status_code == 403
    assert [stored("inference", device) for device in (behind, gateway, other)] == [3, 3, 0]
    Device.objects.filter(pk=behind.pk).update(status="suspended")
    assert post(api, envelope(clock, device="cam-002", seq=2)).json()["code"] == "device_suspended"
    with_device_token = api_client(device_token(gateway))
    assert post(with_device_token, envelope(clock, device="cam-002", seq=3)).status_code == 403


# --- 409, 429 --------------------------------------------------------------------------------------------------------


def test_another_body_under_the_same_number_is_409_and_kept(api, device, clock):
    post(api, envelope(clock))
    answer = post(api, envelope(clock, inferences=inferences(clock, 4)))
    assert (answer.status_code, answer.json()["code"]) == (409, "batch_conflict")
    assert stored("inference", device) == 3
    assert RequestReject.objects.get().status == 409
    assert post(api, envelope(clock, boot_id="boot-2", inferences=inferences(clock, 4))).status_code == 200


def test_too_many_requests_are_429_with_a_wait_and_events_have_their_own_allowance(api, clock, settings):
    settings.INGEST_RATE, settings.INGEST_BURST = 0.5, 2
    reset = {"id": str(uuid.uuid4()), "time": clock.isoformat(), "type": "driver_reset"}
    statuses = [post(api, envelope(clock, seq=seq)).status_code for seq in (1, 2, 3)]
    assert statuses == [200, 200, 429]
    answer = post(api, envelope(clock, seq=3))
    assert 1 <= int(answer.headers["Retry-After"]) <= 2
    assert answer.json()["code"] == "too_many_requests"
    assert post(api, envelope(clock, seq=4, inferences=..., events=[reset])).status_code == 200
    # nothing of a refused batch was stored, so it comes again under its number
    assert not Batch.objects.filter(batch_seq=3).exists()


# --- keeping refusals ------------------------------------------------------------------------------------------------


def test_a_device_cannot_fill_the_disk_with_refusals(api):
    for _ in range(40):
        assert post(api, b"{").status_code == 400
    # 30 a minute, and the tenth that a process lets through by itself
    assert RequestReject.objects.count() == 33


def test_nul_characters_and_foreign_letters_go_through_quarantine_unharmed(api, clock):
    records = [{**record, "predicted_class": "a\0b", "note": "ü"} for record in inferences(clock, 1)]
    content = post(api, envelope(clock, inferences=records)).json()
    assert content["partial_success"]["errors"][0]["code"] == "character"
    assert QuarantinedRecord.objects.get().record["predicted_class"] == "a\ufffdb"


def test_a_long_bad_record_is_cut(api, clock):
    records = [{**record, "latency_ms": "x" * 10_000} for record in inferences(clock, 1)]
    post(api, envelope(clock, inferences=records))
    assert len(json.dumps(QuarantinedRecord.objects.get().record)) < 4_500


def test_more_bad_records_than_an_hour_may_hold_are_only_counted(api, clock, monkeypatch):
    monkeypatch.setattr("telemetry.services.quarantine._REASONS_PER_HOUR", 4)
    for seq in (1, 2):
        post(api, envelope(clock, seq=seq, inferences=[{"time": 1, "latency_ms": -1}] * 3))
    assert QuarantinedRecord.objects.count() == 3
    assert [batch.rejected for batch in Batch.objects.order_by("batch_seq")] == [3, 3]
