"""A body of unknown length is refused where a parser would take it for an empty one; text is sent compressed."""

import gzip
from io import BytesIO

import pytest
from django.http import HttpResponse
from django.test import RequestFactory

from fleet.middleware import CompressText
from fleet.models import Artifact, Workload

pytestmark = pytest.mark.django_db


@pytest.fixture
def api(cast, api_client):
    return api_client(cast.manager)


def chunked(api, url, content_type, **environ):
    """A request as the application server hands on a chunked one: with the header, and without a length."""
    environ |= {"HTTP_TRANSFER_ENCODING": "chunked", "CONTENT_LENGTH": ""}
    return api.generic("POST", url, b"", content_type=content_type, **environ)


def test_a_chunked_upload_is_refused_and_not_stored_as_an_empty_file(api, cast):
    url = f"/api/v1/releases/{cast.release.pk}/artifacts?filename=a.bin"
    answer = chunked(api, url, "application/octet-stream")
    assert (answer.status_code, answer.json()["code"]) == (411, "length_required")
    assert not Artifact.objects.exists()


def test_a_chunked_json_body_is_refused(api):
    assert chunked(api, "/api/v1/workloads", "application/json").status_code == 411
    assert Workload.objects.count() == 1


def test_a_request_with_a_length_passes(api):
    assert api.post("/api/v1/workloads", {"name": "x"}, format="json").status_code == 201


def test_pages_and_reads_are_left_alone(api, browser_client, cast):
    assert api.get("/api/v1/workloads").status_code == 200
    assert browser_client(cast.engineer).get("/", HTTP_TRANSFER_ENCODING="chunked").status_code == 200


def test_ingest_reads_chunked_bodies_itself_where_the_server_says_where_they_end(make_device, device_token, api_client):
    device = api_client(device_token(make_device("cam-001")))
    ends = {"wsgi.input_terminated": True, "wsgi.input": BytesIO()}
    assert chunked(device, "/api/v1/telemetry", "application/json", **ends).json()["code"] == "syntax"
    assert chunked(device, "/api/v1/telemetry", "application/json").status_code == 411


# --- compressed answers ----------------------------------------------------------------------------------------------


def answer_of(kind, content, **headers):
    """What becomes of an answer of this type to somebody who takes gzip."""
    request = RequestFactory().get("/", headers={"Accept-Encoding": "gzip, br"})
    return CompressText(lambda _: HttpResponse(content, content_type=kind, headers=headers))(request)


@pytest.mark.parametrize(
    "kind", ["text/html; charset=utf-8", "application/json", "application/problem+json", "text/csv", "image/svg+xml"]
)
def test_text_is_compressed_and_reads_back(kind):
    answer = answer_of(kind, b"joules " * 1000)
    assert answer.headers["Content-Encoding"] == "gzip"
    assert len(answer.content) < 500
    assert gzip.decompress(answer.content) == b"joules " * 1000


@pytest.mark.parametrize("kind", ["application/octet-stream", "multipart/byteranges; boundary=x", "image/png"])
def test_artifacts_and_pictures_go_as_they_are(kind):
    answer = answer_of(kind, b"0" * 9000, ETag='"abc"')
    assert "Content-Encoding" not in answer.headers
    assert (answer.content, answer.headers["ETag"]) == (b"0" * 9000, '"abc"')


def test_the_short_answers_that_devices_get_are_left_alone():
    assert "Content-Encoding" not in answer_of("application/json", b'{"accepted": {"inferences": 60}}').headers


def test_whoever_does_not_take_gzip_gets_none():
    answer = CompressText(lambda _: HttpResponse(b"joules " * 1000))(RequestFactory().get("/"))
    assert answer.content == b"joules " * 1000


def test_a_page_is_sent_compressed(cast, browser_client):
    answer = browser_client(cast.engineer).get("/devices/", headers={"Accept-Encoding": "gzip"})
    assert answer.headers["Content-Encoding"] == "gzip"
    assert b"<h1>Devices" in gzip.decompress(answer.content)


@pytest.mark.parametrize("address", ["/rollouts/?workload=a%00", "/decisions/%00/", "/webhooks/?endpoint=%00"])
def test_a_nul_in_an_address_is_a_bad_request_in_words_and_not_a_defect(cast, browser_client, address):
    browser = browser_client(cast.manager)
    browser.raise_request_exception = False
    answer = browser.get(address)
    assert answer.status_code == 400 and "This cannot be read" in answer.content.decode()


def test_a_nul_in_a_form_is_a_bad_request(cast, browser_client):
    browser = browser_client(cast.manager)
    browser.raise_request_exception = False
    answer = browser.post("/webhooks/", {"name": "a\0", "url": "https://x.org", "secret": "s" * 20})
    assert answer.status_code == 400


def test_a_name_that_is_no_field_is_refused_wherever_a_body_is_taken(api, cast):
    """`expires` for `expires_at` would have made a token that never expires."""
    for path, body, name in (
        ("tokens", {"name": "ci", "scopes": ["fleet:read"], "expires": "2026-12-01T00:00:00Z"}, "expires"),
        ("budgets", {"workload": "lane-assist", "hardware_target": "orin-nx-16", "hard_limit": {}}, "hard_limit"),
        ("devices", [{"serial": "a", "hardware_target": "orin-nx-16"}, {"serial": "b", "board": "x"}], "[1].board"),
    ):
        answer = api.post(f"/api/v1/{path}", body, format="json")
        assert answer.status_code == 422, answer.content
        assert [(error["field"], error["code"]) for error in answer.json()["errors"]] == [(name, "unknown")]


def test_a_refused_choice_names_the_choices(cast, api_client):
    answer = api_client(cast.administrator).post("/api/v1/users", {"username": "x", "roles": ["chef"]}, format="json")
    refused = next(error for error in answer.json()["errors"] if error["field"] == "roles[0]")
    assert "“chef”" in refused["message"] and "release_manager" in refused["message"]
